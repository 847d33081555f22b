"""OpenAI's chat fine-tuning: ``messages`` with weights and tool calls, beside them ``tools`` (once ``functions``).

Arguments of tool calls are JSON text there and objects here. Answers that are only context are written with weight 0.
Source: https://platform.openai.com/docs/guides/supervised-fine-tuning
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.domain.chats import Turn
from workbench.domain.examples import Content, Example, Kind
from workbench.domain.formats import Format, Reading, Row
from workbench.formats import _turns as t

_COLUMNS = frozenset({"messages", "tools", "functions", "parallel_tool_calls"})
_OWN_KEYS = {"weight", "tool_calls", "tool_call_id", "function_call", "refusal", "name"}
_KEYS = {"role", "content", *_OWN_KEYS}


def _score(row: Row) -> int:
    said = row.get("messages")
    if not t.is_messages(said) or {"chosen", "rejected", "kto_tag", "label"} & t.present(row):
        return 0
    assert isinstance(said, list)
    if {"functions", "parallel_tool_calls"} & t.present(row):
        return 70
    return 55 if any(_OWN_KEYS & set(message) for message in said) else 48


def _read(row: Row) -> Sequence[Reading]:
    said = t.turns(row.get("messages"), "messages", t.USER)
    return [Reading(t.demonstration(said, "messages", read_tools(row)))]


def read_tools(row: Row) -> str:
    """The tools of a row; the older ``functions`` are tools of the type function."""
    functions = row.get("functions")
    if isinstance(functions, list) and functions and all(isinstance(one, Mapping) for one in functions):
        return t.tools_of([{"type": "function", "function": one} for one in functions])
    return t.tools_of(row.get("tools"))


def messages(said: Sequence[Turn]) -> list[dict[str, Any]]:
    """Turns as OpenAI has them: arguments as JSON text, and null for the content of a turn that only calls."""
    return [_message(turn) for turn in said]


def _message(turn: Turn) -> dict[str, Any]:
    row = {key: value for key, value in turn.as_dict().items() if key in _KEYS}
    if row.get("weight", 1) not in (0, 1):
        del row["weight"]
    if not turn.tool_calls:
        return row
    calls = [
        call | {"function": call["function"] | {"arguments": json.dumps(call["function"].get("arguments", {}))}}
        for call in turn.tool_calls
    ]
    return row | {"content": turn.content or None, "tool_calls": calls}


def _write(example: Example) -> dict[str, object]:
    row: dict[str, object] = {"messages": messages(t.dialogue(example.content))}
    if example.content.tools:
        row["tools"] = t.tools_list(example.content)
    return row


def lost(content: Content) -> str:
    """What OpenAI would refuse in a file: other keys of messages, and weights that are neither 0 nor 1."""
    for turn in (*content.prompt, *content.chosen, *content.rejected):
        keys = t.extra(turn)
        if keys.keys() - _KEYS:
            return "keys of messages that OpenAI does not know"
        if keys.get("weight", 1) not in (0, 1):
            return "weights between 0 and 1"
    return ""


FORMAT = Format(
    name="openai",
    title="OpenAI chat",
    summary="messages with weights, tools and tool calls: OpenAI's chat fine-tuning",
    columns=_COLUMNS,
    score=_score,
    read=_read,
    kinds=(Kind.DEMONSTRATION,),
    write=_write,
    lost=lost,
)
