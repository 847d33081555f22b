"""How a chat looks as entries of a transcript and as lines of text: messages in, text out; no widget, no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from workbench.domain.chats import Chat, ChatTree, Message, Role, Sampling, StopReason
from workbench.domain.moments import on_the_wall
from workbench.errors import DataError, UsageError
from workbench.tui.widgets.dialogs import Field
from workbench.tui.widgets.folding import said_line
from workbench.tui.widgets.transcript import Entry

_STOPS = {
    StopReason.LENGTH: "cut at max tokens",
    StopReason.CANCELLED: "stopped",
    StopReason.ERROR: "broken off",
    StopReason.LOST: "cut off: workbench ended",
}


def entries_of(tree: ChatTree, tip_id: int | None, marks: Mapping[int, str]) -> list[Entry]:
    """The messages down to ``tip_id`` (None: an empty transcript); ``marks`` are what gestures made of them."""
    return [] if tip_id is None else [_entry(tree, message, marks.get(message.id, "")) for message in tree.path(tip_id)]


def _entry(tree: ChatTree, message: Message, mark: str) -> Entry:
    siblings = tree.siblings(message.id)
    place = f"{siblings.index(message) + 1}/{len(siblings)}" if len(siblings) > 1 else ""
    if message.role is Role.USER:
        return Entry(
            message.id, "you", message.content, _joined(place, on_the_wall(message.created_utc)[11:16]), "user"
        )
    who = message.generation.model if message.generation else tree.chat.model or "answer"
    edited = _made_from(tree, message)
    notice = f"⚠ {message.generation.notice}" if message.generation and message.generation.notice else ""
    meta = _joined(mark, place, edited, timing(message))
    return Entry(message.id, who, message.content, meta, "answer", aside=notice)


def _made_from(tree: ChatTree, message: Message) -> str:
    """Whose words an answer begins with, when they are not all its model's; "" when they are."""
    if message.edited_from is None:
        return ""
    if message.generation is None:
        return "edited by you"
    begun = message.content[: message.generation.given] != tree.messages[message.edited_from].content
    return "begun by you" if begun else "gone on with"


def timing(message: Message) -> str:
    """Tokens, speed, seconds and an unusual end of an answer; "" for what a person wrote."""
    made = message.generation
    if made is None:
        return ""
    decoding_ms = made.duration_ms - made.first_token_ms  # the wait before may be the loading of weights
    speed = f"{1000 * (made.tokens - 1) / decoding_ms:.0f} tok/s" if made.tokens > 1 and decoding_ms > 0 else ""
    seconds = f"{made.duration_ms / 1000:.1f} s" if made.duration_ms else ""
    return _joined(f"{made.tokens} tok" if made.tokens else "", speed, seconds, _STOPS.get(made.stop_reason, ""))


def _joined(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


def sampling_text(sampling: Sampling) -> str:
    """How answers are drawn, on one line."""
    seed = "random" if sampling.seed is None else str(sampling.seed)
    return f"T{sampling.temperature:g} p{sampling.top_p:g} max {sampling.max_tokens} seed {seed}"


def headline(chat: Chat | None, setup: Setup, default_model: str) -> str:
    """The line under the jump strip."""
    title = f"#{chat.id} {chat.title}" if chat else "new chat"
    system = "  system prompt" if setup.system else ""
    return f"{title}   {setup.model or default_model or 'no model'}   {sampling_text(setup.sampling)}{system}"


@dataclass(frozen=True, slots=True)
class Setup:
    """How a chat is asked: model ("" for the default), system prompt, sampling."""

    model: str
    system: str
    sampling: Sampling

    @classmethod
    def of(cls, chat: Chat) -> Setup:
        """The setup that a chat has."""
        return cls(chat.model, chat.system, chat.sampling)


def setup_fields(setup: Setup) -> list[Field]:
    """The form of Ctrl+T."""
    sampling = setup.sampling
    return [
        Field("system", "System prompt", setup.system, "Tab leaves it", lines=True),
        Field("temperature", "Temperature", f"{sampling.temperature:g}", "0 is greedy, 0.7 is usual"),
        Field("top_p", "Top p", f"{sampling.top_p:g}", "1 switches it off"),
        Field("max_tokens", "Longest answer", str(sampling.max_tokens), "in tokens"),
        Field("seed", "Seed", "" if sampling.seed is None else str(sampling.seed), "empty: a new one per answer"),
    ]


def setup_from(values: Mapping[str, str], model: str) -> Setup:
    """The form read back; raises ``DataError`` or ``UsageError`` naming what cannot be."""
    seed = values["seed"].strip()
    sampling = Sampling(
        temperature=_number("temperature", values["temperature"]),
        top_p=_number("top p", values["top_p"]),
        max_tokens=int(_number("longest answer", values["max_tokens"])),
        seed=int(_number("seed", seed)) if seed else None,
    )
    return Setup(model, values["system"].strip(), sampling)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name} takes a number, not {text!r}") from None


def facts_of(tree: ChatTree, message: Message, setup: Setup) -> str:
    """What the side column says about the message under the cursor."""
    lines = [
        "THIS MESSAGE",
        f"role      {message.role.value}",
        f"written   {on_the_wall(message.created_utc)[:16]}",
    ]
    if tree.chat.imported_utc:
        lines.append(f"imported  {on_the_wall(tree.chat.imported_utc)[:16]}")
    if made := message.generation:
        lines += [
            f"model     {made.model}",
            f"sampling  {sampling_text(replace(made.sampling, seed=None)).removesuffix(' seed random')}",
            f"seed      {made.sampling.seed}",
            f"tokens    {made.tokens}",
            f"first     {made.first_token_ms} ms",
            f"all       {made.duration_ms} ms",
            f"ended     {made.stop_reason.value}",
        ]
        lines += [f"note      {made.notice}"] if made.notice else []
    if message.edited_from is not None:
        lines.append(f"{'goes on' if made else 'edited':<9} from message {message.edited_from}")
    if made and made.given:
        begun = "your words" if _made_from(tree, message) == "begun by you" else "as it was"
        lines.append(f"given     {made.given} characters, {begun}")
    siblings = tree.siblings(message.id)
    if len(siblings) > 1:
        lines += ["", f"ALTERNATIVES  ← → walk, p picks ({len(siblings)})"]
        lines += [_alternative(number, other, message) for number, other in enumerate(siblings, start=1)]
    lines += ["", "SYSTEM PROMPT  (^t changes it)", setup.system or "(none)"]
    return "\n".join(lines)


def _alternative(number: int, other: Message, here: Message) -> str:
    mark = "▶" if other.id == here.id else " "
    return f"{mark} {number}  {said_line(other.content, 60)}"


def last_answer(path: Sequence[Message]) -> Message:
    """The newest answer of a path; raises ``DataError`` when there is none yet."""
    for message in reversed(path):
        if message.role is Role.ASSISTANT:
            return message
    raise DataError("there is no answer yet", hint="send a message first")
