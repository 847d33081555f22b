"""Tool calls and definitions of tools as a person edits them: JSON, laid out over lines.

Owns what may be written, and where in it a mistake stands. The shapes are those of the chat-completions protocol.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from workbench.domain.chats import Role, Turn, canonical_json, tool_calls_of
from workbench.domain.examples import Content, Kind, turns_of, with_turn
from workbench.errors import DataError

CALL_HINT = 'a call looks like {"function": {"name": "search", "arguments": {"query": "tea"}}}'
TOOL_HINT = 'a tool looks like {"type": "function", "function": {"name": "search", "parameters": {...}}}'


def calls_text(turn: Turn) -> str:
    """The calls of a turn; "" when it makes none."""
    return _laid_out(turn.tool_calls)


def tools_text(content: Content) -> str:
    """The tools that an example offers; "" when there are none."""
    return _laid_out(json.loads(content.tools) if content.tools else [])


def with_calls(content: Content, part: str, text: str, *, turn: int = -1) -> Content:
    """The same example with these calls in one turn of ``part``; "" takes them away.

    ``turn`` counts from 0; -1 is the last one. Raises ``DataError``, which says where in ``text`` the mistake is.
    """
    turns = turns_of(content, part)
    if content.kind is Kind.TEXT or not -len(turns) <= turn < len(turns):
        raise DataError(f"there is no turn {turn + 1} in the {part} to make calls")
    caller = turns[turn]
    if caller.role != Role.ASSISTANT:
        raise DataError(f"a {caller.role} turn makes no calls", hint="only answers of the assistant do")
    extra: dict[str, Any] = json.loads(caller.extra) if caller.extra else {}
    extra.pop("tool_calls", None)
    if calls := [_call(number, one) for number, one in enumerate(_objects(text, CALL_HINT), start=1)]:
        extra["tool_calls"] = calls
    changed = with_turn(content, part, replace(caller, extra=canonical_json(extra)), turn=turn)
    changed.check()
    return changed


def with_tools(content: Content, text: str) -> Content:
    """The same example offering these tools; "" takes all away. Raises ``DataError`` as ``with_calls`` does."""
    tools = _objects(text, TOOL_HINT)
    for number, tool in enumerate(tools, start=1):
        function = tool.get("function", tool)
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
            raise DataError(f"tool {number} has no function name", hint=TOOL_HINT)
        if not isinstance(function.get("parameters", {}), Mapping):
            raise DataError(f"the parameters of tool {number} ({function['name']}) are not an object", hint=TOOL_HINT)
    changed = replace(content, tools=canonical_json(tools))
    changed.check()
    return changed


def _laid_out(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) if value else ""


def _call(number: int, call: dict[str, Any]) -> dict[str, Any]:
    try:
        return tool_calls_of([call])[0]
    except DataError as error:
        raise DataError(f"call {number}: {error.message}", hint=CALL_HINT) from None


def _objects(text: str, hint: str) -> list[dict[str, Any]]:
    """The objects of a JSON list; of one object, that one; of an empty text, none."""
    if not text.strip():
        return []
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"this is not JSON: {error.msg} in line {error.lineno}, column {error.colno}", hint=hint
        ) from None
    except RecursionError:
        raise DataError("this is not JSON that can be read: it is nested too deeply", hint=hint) from None
    value = [value] if isinstance(value, dict) else value
    if not isinstance(value, list):
        raise DataError("this is not a list", hint=hint)
    for number, one in enumerate(value, start=1):
        if not isinstance(one, dict):
            raise DataError(f"entry {number} of the list is not an object", hint=hint)
    return value
