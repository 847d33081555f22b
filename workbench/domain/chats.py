"""Chats: trees of immutable messages, and how a model was asked.

Owns the shape of a chat and the rules of its tree. Knows nothing of storage, of models in memory, or of screens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from workbench.errors import DataError


class Role(StrEnum):
    """Who speaks, by the names that chat templates use."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class StopReason(StrEnum):
    """Why an answer ended. Only ``STOP`` means that the model itself ended it."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    ERROR = "error"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Turn:
    """One role and what it says: the unit of prompts and completions (TRL's conversational form).

    ``extra`` is canonical JSON (see ``canonical_json``) of the message's other keys: tool calls, their ids, names,
    weights, reasoning. It is empty when there are none.
    """

    role: str
    content: str
    extra: str = ""

    def as_dict(self) -> dict[str, Any]:
        """``{"role", "content"}`` and the other keys, as chat templates and data formats have it."""
        message = {"role": self.role, "content": self.content}
        return message | json.loads(self.extra) if self.extra else message

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The calls that this turn makes, with their arguments as objects."""
        calls: list[dict[str, Any]] = json.loads(self.extra).get("tool_calls", []) if self.extra else []
        return calls

    @property
    def is_learnt(self) -> bool:
        """True for an answer that is trained on: one of the assistant whose weight is not 0 (OpenAI's key)."""
        is_weighted = '"weight"' in self.extra
        return self.role == Role.ASSISTANT and not (is_weighted and json.loads(self.extra).get("weight") == 0)

    @property
    def shown(self) -> str:
        """What a person reads and searches: the content, and each tool call as ``name(arguments)``."""
        if not self.extra:
            return self.content
        calls = [_call_text(call) for call in self.tool_calls]
        return "\n".join([*([self.content] if self.content or not calls else []), *calls])


def _call_text(call: Mapping[str, Any]) -> str:
    function = call.get("function", call)
    return f"{function.get('name', '')}({json.dumps(function.get('arguments', {}), ensure_ascii=False)})"


def canonical_json(value: object) -> str:
    """``value`` as compact JSON with sorted keys, so that equal values are equal texts; empty for an empty value."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")) if value else ""


def turn_from_dict(row: Mapping[str, Any]) -> Turn:
    """A turn from a message with ``role`` and ``content``; keys that are null are left out.

    The arguments of tool calls become objects where they are JSON text. Content may be missing only beside tool calls.
    Raises ``DataError``.
    """
    role, content = row.get("role"), row.get("content")
    if len(row) == 2 and isinstance(role, str) and isinstance(content, str):
        return Turn(role, content)
    extra = {key: value for key, value in row.items() if key not in ("role", "content") and value is not None}
    if calls := extra.pop("tool_calls", None):
        extra["tool_calls"] = tool_calls_of(calls)
    if content is None and (calls or extra.get("refusal")):
        content = ""
    if not isinstance(role, str) or not isinstance(content, str):
        raise DataError(
            "a turn needs a text 'role' and a text 'content'",
            hint='a turn looks like {"role": "user", "content": "Hello"}',
        )
    return Turn(role, content, canonical_json(extra))


def tool_calls_of(calls: object) -> list[dict[str, Any]]:
    """Calls as they are kept: each with a type, a function with a name, and its arguments as an object.

    Raises ``DataError``.
    """
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise DataError("'tool_calls' is not a list of calls")
    return [_with_object(call) for call in calls]


def _with_object(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict):
        function, call = call, {"type": "function"}
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise DataError("a tool call has no function name")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except ValueError:
            raise DataError(f"the arguments of the call of {function['name']!r} are not JSON") from None
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise DataError(f"the arguments of the call of {function['name']!r} are not an object")
    return call | {"type": call.get("type") or "function", "function": function | {"arguments": arguments}}


def turns_from_dicts(rows: Iterable[Mapping[str, object]]) -> tuple[Turn, ...]:
    """Turns from ``{"role", "content"}`` mappings; raises ``DataError`` naming the turn that is not one."""
    turns: list[Turn] = []
    for position, row in enumerate(rows, start=1):
        try:
            turns.append(turn_from_dict(row))
        except DataError as error:
            raise DataError(f"turn {position}: {error.message}", hint=error.hint) from None
    return tuple(turns)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. ``temperature`` 0 is greedy; ``seed`` None means a fresh one per answer."""

    temperature: float = 0.7
    top_p: float = 0.9
    max_tokens: int = 512
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 5.0:
            raise DataError(f"temperature {self.temperature} is outside 0 to 5", hint="0 is greedy, 0.7 is usual")
        if not 0.0 < self.top_p <= 1.0:
            raise DataError(f"top_p {self.top_p} is outside (0, 1]", hint="1 switches it off")
        if self.max_tokens < 1:
            raise DataError(f"max_tokens {self.max_tokens} is less than 1")


@dataclass(frozen=True, slots=True)
class Generation:
    """What was particular to one answer: model, sampling, timing (milliseconds) and why it ended.

    ``notice`` is what the engine has to say of it, such as that the oldest turns did not fit. ``given`` counts the
    characters at the beginning of the message that the model was given, and did not write now.
    """

    model: str
    sampling: Sampling
    tokens: int
    first_token_ms: int
    duration_ms: int
    stop_reason: StopReason
    notice: str = ""
    given: int = 0

    @property
    def tokens_per_second(self) -> float:
        """Decode rate over the whole answer; 0.0 when nothing was timed."""
        return 1000 * self.tokens / self.duration_ms if self.duration_ms > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Message:
    """One node of a chat's tree. Never changed: an edit is a sibling with ``edited_from`` set.

    ``generation`` is None for what a person wrote (user turns, and edited answers). With both, a model went on from the
    answer ``edited_from``, or from the beginning that a person made of it: the first ``generation.given`` characters.
    """

    id: int
    chat_id: int
    parent_id: int | None
    role: Role
    content: str
    created_utc: str
    generation: Generation | None = None
    edited_from: int | None = None

    @property
    def turn(self) -> Turn:
        """The message as role and content alone."""
        return Turn(self.role.value, self.content)


@dataclass(frozen=True, slots=True)
class Chat:
    """A named tree of messages; ``tip_id`` is the leaf where the person last stood.

    One that came out of another program's file has that program's dates, and ``imported_utc``.
    """

    id: int
    title: str
    system: str
    model: str
    sampling: Sampling
    tip_id: int | None
    created_utc: str
    updated_utc: str
    archived: bool = False
    imported_utc: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A message in which a search found its words, with the text around them; ``message_id`` None: in the title."""

    chat: Chat
    message_id: int | None
    role: Role | None
    text: str


@dataclass(frozen=True, slots=True)
class Preset:
    """A system prompt and sampling under a name."""

    name: str
    system: str
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class OutlineRow:
    """One message in a drawing of the tree: ``guide`` is what stands before it, ``on_path`` marks the shown branch."""

    message: Message
    guide: str
    on_path: bool


@dataclass(frozen=True, slots=True)
class ChatTree:
    """All messages of one chat, with the walks that a transcript needs."""

    chat: Chat
    messages: Mapping[int, Message] = field(default_factory=dict)

    def path(self, tip_id: int | None = None) -> tuple[Message, ...]:
        """The messages from the first turn to ``tip_id`` (default: the chat's tip); empty for an empty chat."""
        current = self.chat.tip_id if tip_id is None else tip_id
        path: list[Message] = []
        while current is not None:
            message = self.messages[current]
            path.append(message)
            current = message.parent_id
        return tuple(reversed(path))

    def children(self, parent_id: int | None) -> tuple[Message, ...]:
        """Messages under a parent, oldest first; None gives the roots."""
        found = [m for m in self.messages.values() if m.parent_id == parent_id]
        return tuple(sorted(found, key=lambda m: m.id))

    def siblings(self, message_id: int) -> tuple[Message, ...]:
        """All messages with the same parent and role, the message itself included, oldest first."""
        message = self.messages[message_id]
        return tuple(m for m in self.children(message.parent_id) if m.role == message.role)

    def leaf_below(self, message_id: int) -> int:
        """The newest leaf reached by always taking the newest child: where 'show this branch' ends."""
        current = message_id
        while below := self.children(current):
            current = below[-1].id
        return current

    def outline(self) -> list[OutlineRow]:
        """Every message, each branch below its fork, oldest first. A line of talk stays in one column."""
        shown = {message.id for message in self.path()} if self.chat.tip_id is not None else set()
        children: dict[int | None, list[Message]] = {}
        for message in sorted(self.messages.values(), key=lambda m: m.id):
            children.setdefault(message.parent_id, []).append(message)
        rows: list[OutlineRow] = []
        waiting = _branches(children.get(None, []), "")
        while waiting:  # no recursion: a chat may be longer than Python's stack
            message, guide, below = waiting.pop()
            rows.append(OutlineRow(message, guide, message.id in shown))
            waiting += _branches(children.get(message.id, []), below)
        return rows

    def prompt_for(self, message_id: int) -> tuple[Turn, ...]:
        """The turns a model saw before ``message_id``: system (if any), then the path above it."""
        parent = self.messages[message_id].parent_id
        return self.turns_to(parent)

    def turns_to(self, tip_id: int | None) -> tuple[Turn, ...]:
        """System turn (if any) and every turn down to and including ``tip_id``; None means system alone."""
        system = (Turn(Role.SYSTEM.value, self.chat.system),) if self.chat.system else ()
        return system if tip_id is None else system + tuple(m.turn for m in self.path(tip_id))


def _branches(messages: Sequence[Message], above: str) -> list[tuple[Message, str, str]]:
    """Messages below one another's parent, the last first: each with its guide and the guide of what is below it."""
    if len(messages) == 1:
        return [(messages[0], above, above)]
    last = len(messages) - 1
    drawn = [
        (message, above + ("└ " if at == last else "├ "), above + ("  " if at == last else "│ "))
        for at, message in enumerate(messages)
    ]
    return drawn[::-1]


def title_from(text: str, limit: int = 48) -> str:
    """A one-line title for a chat from its first words."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


@dataclass(frozen=True, slots=True)
class PendingAnswer:
    """An answer that is being written; its text so far is in the store, so that a killed bench loses next to none."""

    id: int
    chat_id: int
    parent_id: int | None
    model: str
    sampling: Sampling
    text: str
    created_utc: str
    edited_from: int | None = None
    given: int = 0


def storable(text: str) -> str:
    """``text`` as valid Unicode: halves of surrogate pairs are joined, those without a partner become U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
