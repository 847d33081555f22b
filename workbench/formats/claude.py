"""Claude's account export, ``conversations.json``: each chat a list of messages, in newer exports a tree of them.

One demonstration for every path from the first message to an answer that nothing was answered below. The text of
attached files stands in the message; what the model thought is passed over; a path with images, other files or tools in
it is left out and counted.
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

_COLUMNS = frozenset(
    {"chat_messages", "name", "uuid", "summary", "model", "account", "created_at", "updated_at"}
    | {"current_leaf_message_uuid", "project", "project_uuid", "settings", "is_starred"}
)
_ROLES = {"human": t.USER, "user": t.USER, "assistant": t.ASSISTANT}
_UNSAID = {"thinking", "redacted_thinking", "token_budget", "flag"}
_Said = Mapping[str, Any]


def _score(row: Row) -> int:
    said = row.get("chat_messages")
    if not isinstance(said, list) or not all(isinstance(message, Mapping) for message in said):
        return 0
    return 100 if all("sender" in message for message in said) else 0


def _read(row: Row) -> Sequence[Part]:
    if not _score(row):
        raise DataError("'chat_messages' is not a list of messages with a sender")
    messages: dict[str, _Said] = {}
    children: dict[str, list[str]] = {}
    roots: list[str] = []
    before = ""
    said: list[_Said] = row["chat_messages"]  # type: ignore[assignment]
    for number, message in enumerate(said):
        name = message["uuid"] if isinstance(message.get("uuid"), str) else f"#{number}"
        if name in messages:
            raise DataError(f"two messages of the chat have the uuid {name!r}")
        messages[name] = message
        # a first message names one that is not there; older exports name none, and are in order
        parent = message.get("parent_message_uuid", before)
        (children.setdefault(parent, []) if isinstance(parent, str) and parent in messages else roots).append(name)
        before = name

    def below(name: str) -> Sequence[str]:
        return children.get(name, ())

    found = trees.answered(roots, below, lambda name: _role(messages[name]) == t.ASSISTANT)
    model = row.get("model")
    models = (model,) if isinstance(model, str) and model else ()
    return [_part([messages[name] for name in path], models) for path in found] or [LeftOut("chats without an answer")]


def _role(message: _Said) -> str | None:
    """Who speaks; None for one that says nothing."""
    role = _ROLES.get(str(message.get("sender")))
    return role if _text(message) != "" else None


def _text(message: _Said) -> str | None:
    """What a message says, with the text of what was attached; None when that is not all text."""
    blocks, attached, files = (message.get(name) or [] for name in ("content", "attachments", "files"))
    if files or not isinstance(blocks, list) or not isinstance(attached, list):
        return None
    parts: list[str] = []
    for file in attached:
        text = file.get("extracted_content") if isinstance(file, Mapping) else None
        if not isinstance(text, str):
            return None
        parts.append(f"{file.get('file_name')}:\n{text}" if file.get("file_name") else text)
    for block in blocks:
        kind = block.get("type") if isinstance(block, Mapping) else None
        if kind == "text" and isinstance(block.get("text"), str):
            parts.append(block["text"])
        elif kind not in _UNSAID:
            return None
    if not blocks and isinstance(message.get("text"), str):
        parts.append(message["text"])
    return "\n\n".join(part for part in parts if part.strip())


def _part(messages: Sequence[_Said], models: tuple[str, ...]) -> Part:
    said: list[Turn] = []
    written: list[str] = []
    for message in messages:
        if (text := _text(message)) is None or str(message.get("sender")) not in _ROLES:
            return LeftOut("paths with files, images or tools")
        if text:
            said.append(Turn(_ROLES[message["sender"]], text))
            written.append(moment(message.get("created_at")))
    if not any(turn.role == t.USER for turn in said):
        return LeftOut("chats without a question")
    return Reading(t.demonstration(tuple(said), "chat_messages"), models=models, written=tuple(written))


FORMAT = Format(
    name="claude",
    title="Claude export",
    summary="conversations.json of an account export: a demonstration for every path to a last answer",
    columns=_COLUMNS,
    score=_score,
    read=_read,
)
