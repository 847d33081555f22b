"""ChatGPT's account export, ``conversations.json``: each chat a tree of messages.

One demonstration for every path from the first message to an answer that nothing was answered below: a regenerated
answer makes another one. What was asked and not answered at the end of a path is dropped with nothing lost; a path with
files, images or tools in it is left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.domain.chats import Turn
from workbench.domain.formats import Format, LeftOut, Part, Reading, Row
from workbench.domain.moments import moment
from workbench.errors import DataError
from workbench.formats import _trees as trees
from workbench.formats import _turns as t

_COLUMNS = frozenset({"mapping", "title", "create_time", "update_time", "current_node", "conversation_id", "id"})
_Node = Mapping[str, Any]


def _score(row: Row) -> int:
    mapping = row.get("mapping")
    if not isinstance(mapping, Mapping) or not mapping:
        return 0
    return 100 if all(isinstance(node, Mapping) and "children" in node for node in mapping.values()) else 0


def _read(row: Row) -> Sequence[Part]:
    mapping = row.get("mapping")
    if not isinstance(mapping, Mapping) or not all(isinstance(node, Mapping) for node in mapping.values()):
        raise DataError("'mapping' is not an object of messages")
    roots = [name for name, node in mapping.items() if not _is_name(node.get("parent"), mapping)]

    def below(name: str) -> list[str]:
        children = mapping[name].get("children")
        return [child for child in children if _is_name(child, mapping)] if isinstance(children, list) else []

    found = trees.answered(roots, below, lambda name: _role(mapping[name]) == t.ASSISTANT)
    return [_part([mapping[name] for name in path]) for path in found] or [LeftOut("chats without an answer")]


def _is_name(value: object, mapping: Mapping[str, _Node]) -> bool:
    return isinstance(value, str) and value in mapping


def _role(node: _Node) -> str | None:
    """Who speaks in a node; None for one without text, such as the empty first ones."""
    message = node.get("message")
    author = message.get("author") if isinstance(message, Mapping) else None
    role = author.get("role") if isinstance(author, Mapping) else None
    return role if isinstance(role, str) and (_text(node) != "" or role == t.TOOL) else None


def _text(node: _Node) -> str | None:
    """What a node says; None for what is not text (images, code, files)."""
    content = node["message"].get("content")
    if not isinstance(content, Mapping):
        return ""
    parts = content.get("parts")
    if content.get("content_type") != "text" or not isinstance(parts, list):
        return "" if content.get("content_type") in _UNSAID else None
    return "".join(parts) if all(isinstance(part, str) for part in parts) else None


_UNSAID = ("user_editable_context", "model_editable_context", "thoughts", "reasoning_recap")


def _part(nodes: Sequence[_Node]) -> Part:
    said: list[Turn] = []
    models: list[str] = []
    written: list[str] = []
    for node in nodes:
        if (role := _role(node)) is None:
            continue
        text = _text(node)
        if text is None or role not in (t.USER, t.ASSISTANT, t.SYSTEM):
            return LeftOut("paths with files, images or tools")
        said.append(Turn(role, text))
        written.append(moment(node["message"].get("create_time")))
        metadata = node["message"].get("metadata")
        if role == t.ASSISTANT and isinstance(metadata, Mapping) and isinstance(metadata.get("model_slug"), str):
            models.append(metadata["model_slug"])
    if not any(turn.role == t.USER for turn in said):
        return LeftOut("chats without a question")
    content = t.demonstration(tuple(said), "mapping")
    return Reading(content, models=tuple(dict.fromkeys(models)), written=tuple(written))


FORMAT = Format(
    name="chatgpt",
    title="ChatGPT export",
    summary="conversations.json of an account export: a demonstration for every path to a last answer",
    columns=_COLUMNS,
    score=_score,
    read=_read,
)
