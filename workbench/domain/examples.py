"""Examples: what a model can be trained on, in one canonical shape (TRL conversational, explicit prompt).

Owns the three kinds, what makes each one valid, and the hash by which two examples are the same. The gestures of a
person (keep, edit, pick, thumb) become examples here, without a store or a screen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING

from workbench.domain.chats import Role, Turn
from workbench.errors import DataError

if TYPE_CHECKING:
    from workbench.domain.checks import Finding

_ROLES = tuple(role.value for role in Role)
_SYSTEM, _USER, _ASSISTANT = Role.SYSTEM.value, Role.USER.value, Role.ASSISTANT.value


class Kind(StrEnum):
    """The shape of an example."""

    DEMONSTRATION = "demonstration"
    PREFERENCE = "preference"
    JUDGEMENT = "judgement"
    TEXT = "text"
    PROMPT = "prompt"


# Looked up once: every row of an import is checked, and Python 3.11 takes 0.15 us to find a member of an enumeration.
_DEMONSTRATION, _PREFERENCE, _JUDGEMENT = Kind.DEMONSTRATION, Kind.PREFERENCE, Kind.JUDGEMENT
_TEXT, _PROMPT = Kind.TEXT, Kind.PROMPT

# The role of the one turn that holds a text for continued pre-training: nobody speaks in it.
TEXT_ROLE = "text"

PARTS = ("prompt", "chosen", "rejected")
_MISSING = {
    "prompt": "a text has no prompt",
    "chosen": "a prompt alone has no answer",
    "rejected": "a {kind} has no rejected answer",
}


class Status(StrEnum):
    """What a person decided; only accepted examples are trained on."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Split(StrEnum):
    """Which part of a dataset an example belongs to. ``TEST`` is never trained on."""

    NONE = "none"
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class SourceKind(StrEnum):
    """Where an example came from."""

    CHAT_KEEP = "chat-keep"
    CHAT_EDIT = "chat-edit"
    CHAT_PICK = "chat-pick"
    CHAT_THUMB = "chat-thumb"
    VOTE = "vote"
    VOTE_FIX = "vote-fix"
    IMPORT = "import"
    SYNTHETIC = "synthetic"


@dataclass(frozen=True, slots=True)
class Source:
    """Where an example came from, by ids that lead back: chat and messages, comparison, or file and line.

    ``origins`` are the examples that this one was copied or made from, the nearest first. ``away`` is true for a row
    that came from another workspace in a file with its provenance: then all ids are of that workspace.
    """

    kind: SourceKind
    chat_id: int | None = None
    message_id: int | None = None
    other_message_id: int | None = None
    comparison_id: int | None = None
    file: str = ""
    line: int | None = None
    models: tuple[str, ...] = ()
    origins: tuple[int, ...] = ()
    away: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """The trained part of an example: a prompt and, by kind, ``chosen`` and ``rejected`` or one labelled completion.

    ``chosen`` holds the completion of a demonstration or judgement too, so that every kind reads the same way.
    ``rejected`` is empty except for a preference; ``label`` is None except for a judgement. A text has no prompt and
    one chosen turn of the role ``text``; a prompt alone has nothing chosen. ``tools`` is the canonical JSON of the tool
    definitions that the model is offered; empty when there are none.
    """

    kind: Kind
    prompt: tuple[Turn, ...]
    chosen: tuple[Turn, ...]
    rejected: tuple[Turn, ...] = ()
    label: bool | None = None
    tools: str = ""

    def check(self) -> None:
        """Raise ``DataError`` with the reason when this could not be trained on as what it claims to be."""
        kind = self.kind
        if kind is _TEXT:
            _check_text(self)
            return
        _check_prompt(self.prompt)
        if kind is not _PROMPT:
            _check_completion(self.chosen, "chosen" if kind is _PREFERENCE else "completion")
            if kind is _DEMONSTRATION and not any(turn.is_learnt for turn in self.chosen):
                raise DataError("every answer has weight 0: there is nothing to learn")
        elif self.chosen:
            raise DataError("a prompt alone has no answer")
        if kind is _PREFERENCE:
            _check_completion(self.rejected, "rejected")
            if self.chosen == self.rejected:
                raise DataError("chosen and rejected are the same", hint="a pair needs two different answers")
        elif self.rejected:
            raise DataError(f"a {kind.value} has no rejected answer")
        if (self.label is None) == (kind is _JUDGEMENT):
            raise DataError("a judgement needs a label, true or false, and only a judgement has one")

    def hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON: equal for examples that train the same way."""
        label = "null" if self.label is None else "true" if self.label else "false"
        # The keys in the order of the alphabet, as ``json.dumps`` with ``sort_keys`` writes them.
        text = (
            f'{{"chosen":{_canonical(self.chosen)},"kind":"{self.kind.value}","label":{label},'
            f'"prompt":{_canonical(self.prompt)},"rejected":{_canonical(self.rejected)}'
        )
        text += f',"tools":{encode_basestring_ascii(self.tools)}}}' if self.tools else "}"
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def _canonical(turns: Sequence[Turn]) -> str:
    return f"[{','.join(map(_canonical_turn, turns))}]"


def _canonical_turn(turn: Turn) -> str:
    """One turn as canonical JSON; written out, because nearly all are plain, and that takes a tenth of the time."""
    if turn.extra:
        return json.dumps(turn.as_dict(), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return f'{{"content":{encode_basestring_ascii(turn.content)},"role":{encode_basestring_ascii(turn.role)}}}'


@dataclass(frozen=True, slots=True)
class Example:
    """A stored example: content, what people decided about it, and where it came from."""

    id: int
    dataset: str
    content: Content
    source: Source
    status: Status = Status.PENDING
    split: Split = Split.NONE
    tags: tuple[str, ...] = ()
    note: str = ""
    rating: int | None = None
    rater: str = ""
    created_utc: str = ""
    updated_utc: str = ""
    flags: tuple[str, ...] = field(default=())

    @property
    def prompt_text(self) -> str:
        """The last user turn, as one line of a list shows it."""
        return last_user_text(self.content.prompt)

    @property
    def answer_text(self) -> str:
        """The chosen (or only) answer's text, turns joined."""
        return "\n".join(t.shown for t in self.content.chosen)

    @property
    def origins_of_a_copy(self) -> tuple[int, ...]:
        """What a row that is made from this one came from: this one, and what is known here of its own origins."""
        return (self.id, *(() if self.source.away else self.source.origins))


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """An example as a list shows it: ``prompt`` and ``answer`` are only the first characters of the texts."""

    id: int
    kind: Kind
    status: Status
    split: Split
    rating: int | None
    prompt: str
    answer: str
    source: SourceKind
    tags: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class NewExample:
    """An example on its way into a dataset.

    ``status`` None takes the status given for the whole batch; ``rater`` is who decided on it before, if anybody.
    ``findings`` are what the checks of its content found on the way.
    """

    content: Content
    source: Source
    status: Status | None = None
    split: Split = Split.NONE
    tags: tuple[str, ...] = ()
    note: str = ""
    rating: int | None = None
    rater: str = ""
    flags: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def last_user_text(prompt: Sequence[Turn]) -> str:
    """The text of the last user turn; empty when there is none."""
    for turn in reversed(prompt):
        if turn.role == _USER:
            return turn.content
    return ""


def demonstration(prompt: Sequence[Turn], answer: str) -> Content:
    """A kept answer as an instruction/response example; raises ``DataError`` if it could not be trained on."""
    content = Content(Kind.DEMONSTRATION, tuple(prompt), (Turn(Role.ASSISTANT.value, answer),))
    content.check()
    return content


def preference(prompt: Sequence[Turn], chosen: str, rejected: str) -> Content:
    """A pair: the better answer and the worse one to the same prompt."""
    content = Content(
        Kind.PREFERENCE,
        tuple(prompt),
        (Turn(Role.ASSISTANT.value, chosen),),
        (Turn(Role.ASSISTANT.value, rejected),),
    )
    content.check()
    return content


def judgement(prompt: Sequence[Turn], answer: str, label: bool) -> Content:
    """An answer with a thumb: up is True, down is False (TRL's unpaired preference)."""
    content = Content(Kind.JUDGEMENT, tuple(prompt), (Turn(Role.ASSISTANT.value, answer),), label=label)
    content.check()
    return content


def plain_text(text: str) -> Content:
    """A text for continued pre-training."""
    content = Content(Kind.TEXT, (), (Turn(TEXT_ROLE, text),))
    content.check()
    return content


def swapped(content: Content) -> Content:
    """The same pair with chosen and rejected exchanged; raises ``DataError`` for other kinds."""
    if content.kind is not Kind.PREFERENCE:
        raise DataError(f"a {content.kind.value} has nothing to swap")
    return replace(content, chosen=content.rejected, rejected=content.chosen)


def with_text(content: Content, part: str, text: str, *, turn: int = -1) -> Content:
    """The same example with the text of one turn of ``part`` (one of ``PARTS``) replaced; raises ``DataError``.

    ``turn`` counts from 0; -1 is the last one. What else the turn holds (tool calls, names) stays.
    """
    turns = turns_of(content, part)
    if not turns:
        raise DataError(_MISSING[part].format(kind=content.kind.value))
    if not -len(turns) <= turn < len(turns):
        raise DataError(f"the {part} has {len(turns)} turn{'s' * (len(turns) != 1)}, and no turn {turn + 1}")
    changed = with_turn(content, part, replace(turns[turn], content=text), turn=turn)
    changed.check()
    return changed


def with_turn(content: Content, part: str, changed: Turn, *, turn: int = -1) -> Content:
    """The same example with another turn of ``part``, not checked; ``turn`` is the place, as for ``with_text``."""
    turns = turns_of(content, part)
    at = turn % len(turns)
    return _with_turns(content, part, (*turns[:at], changed, *turns[at + 1 :]))


def with_system(content: Content, text: str) -> Content:
    """The same example with this system turn, instead of the one it has or before its prompt; "" takes it away.

    Raises ``DataError`` for a text, which has no turns.
    """
    if content.kind is Kind.TEXT:
        raise DataError(_MISSING["prompt"])
    has_one = content.prompt[:1] and content.prompt[0].role == Role.SYSTEM
    first = replace(content.prompt[0], content=text) if has_one else Turn(Role.SYSTEM.value, text)
    changed = replace(content, prompt=((first,) if text.strip() else ()) + content.prompt[1 if has_one else 0 :])
    changed.check()
    return changed


def judged(content: Content, label: bool) -> Content:
    """The one answer of an example as a judgement, good or bad; raises ``DataError`` for what is not one answer."""
    if content.kind not in {Kind.JUDGEMENT, Kind.DEMONSTRATION}:
        hint = "of a pair, one answer is chosen" if content.kind is Kind.PREFERENCE else ""
        raise DataError(f"a {content.kind.value} is not judged good or bad", hint=hint)
    return replace(content, kind=Kind.JUDGEMENT, label=label)


def turns_of(content: Content, part: str) -> tuple[Turn, ...]:
    """The turns of one of ``PARTS``."""
    return {"prompt": content.prompt, "chosen": content.chosen, "rejected": content.rejected}[part]


def _with_turns(content: Content, part: str, turns: tuple[Turn, ...]) -> Content:
    match part:
        case "prompt":
            return replace(content, prompt=turns)
        case "chosen":
            return replace(content, chosen=turns)
        case _:
            return replace(content, rejected=turns)


def _check_text(content: Content) -> None:
    if content.prompt or content.rejected or content.label is not None or content.tools:
        raise DataError("a text is nothing but text")
    if len(content.chosen) != 1 or content.chosen[0].role != TEXT_ROLE:
        raise DataError("a text is one turn of the role 'text'")
    if not content.chosen[0].content.strip():
        raise DataError("the text is empty")


def _check_prompt(prompt: Sequence[Turn]) -> None:
    if not prompt:
        raise DataError("the prompt is empty", hint="an example needs at least one user turn")
    if len(prompt) == 1 and prompt[0].role == _USER and prompt[0].content.strip():  # as nearly all are
        return
    _check_roles(prompt)
    if len(prompt) > 1 and any(t.role == _SYSTEM for t in prompt[1:]):
        raise DataError("a system turn may only come first")
    if prompt[-1].role == _ASSISTANT:
        raise DataError("the prompt ends with an assistant turn", hint="it must end with what is to be answered")
    if prompt[-1].role == _SYSTEM:
        raise DataError("the prompt has no user turn")
    if not any(t.content.strip() for t in prompt if t.role == _USER):
        raise DataError("the prompt is empty text")


def _check_completion(turns: Sequence[Turn], name: str) -> None:
    if not turns or not (turns[-1].content.strip() or turns[-1].tool_calls):
        raise DataError(f"the {name} answer is empty")
    if len(turns) == 1 and turns[0].role == _ASSISTANT:  # as nearly all are
        return
    _check_roles(turns)
    if turns[0].role != _ASSISTANT:
        raise DataError(f"the {name} answer begins with a {turns[0].role} turn")
    if turns[-1].role != _ASSISTANT:
        raise DataError(f"the {name} answer does not end with an assistant turn")


def _check_roles(turns: Sequence[Turn]) -> None:
    for turn in turns:
        if turn.role not in _ROLES:
            raise DataError(f"{turn.role!r} is not a role", hint=f"roles: {', '.join(_ROLES)}")
