"""Contents and rows for the checks, and what a check says of them."""

from __future__ import annotations

import json
from collections.abc import Iterable

from workbench import checks
from workbench.domain.chats import Turn, canonical_json
from workbench.domain.checks import CheckedRow, Finding, RowCheck, SetCheck, Surroundings
from workbench.domain.examples import TEXT_ROLE, Content, Kind, Split

USER = Turn("user", "Which tea is green?")


def of_row(name: str, content: Content) -> list[Finding]:
    """What a check of single rows finds."""
    check = checks.get(name)
    assert isinstance(check, RowCheck)
    return list(check.look(content))


def of_set(name: str, rows: Iterable[CheckedRow], around: Surroundings | None = None) -> list[Finding]:
    """What a check of many rows finds."""
    check = checks.get(name)
    assert isinstance(check, SetCheck)
    return [f for f in check.look(iter(list(rows)), around or Surroundings()) if isinstance(f, Finding)]


def demo(answer: str, prompt: str = USER.content, *, system: str = "") -> Content:
    """One question and one answer."""
    first = (Turn("system", system),) if system else ()
    return Content(Kind.DEMONSTRATION, (*first, Turn("user", prompt)), (Turn("assistant", answer),))


def pair(chosen: str, rejected: str, prompt: str = USER.content, *, system: str = "") -> Content:
    """One question, a better and a worse answer."""
    first = (Turn("system", system),) if system else ()
    answers = (Turn("assistant", chosen),), (Turn("assistant", rejected),)
    return Content(Kind.PREFERENCE, (*first, Turn("user", prompt)), *answers)


def thumb(answer: str, label: bool, prompt: str = USER.content, *, system: str = "") -> Content:
    """One answer that was judged."""
    return Content(Kind.JUDGEMENT, demo("", prompt, system=system).prompt, (Turn("assistant", answer),), label=label)


def raw(text: str) -> Content:
    """A text by itself."""
    return Content(Kind.TEXT, (), (Turn(TEXT_ROLE, text),))


def call(name: str, given: dict[str, object] | None = None, *, call_id: str = "") -> Turn:
    """A turn that calls one tool."""
    one = {"type": "function", "function": {"name": name, "arguments": given or {}}} | (
        {"id": call_id} if call_id else {}
    )
    return Turn("assistant", "", canonical_json({"tool_calls": [one]}))


def told(text: str, *, call_id: str = "") -> Turn:
    """What a tool answered."""
    return Turn("tool", text, canonical_json({"tool_call_id": call_id} if call_id else {}))


def having(turn: Turn, **more: object) -> Turn:
    """The turn with other keys."""
    return Turn(turn.role, turn.content, canonical_json((json.loads(turn.extra) if turn.extra else {}) | more))


def talk(*turns: Turn, answer: int = 1) -> Content:
    """A demonstration of these turns, of which the last ``answer`` are the answer."""
    return Content(Kind.DEMONSTRATION, turns[:-answer], turns[-answer:])


def user(text: str = "Which tea?") -> Turn:
    """A turn of the user."""
    return Turn("user", text)


def said(text: str = "Sencha.") -> Turn:
    """A turn of the assistant."""
    return Turn("assistant", text)


def row(number: int, content: Content, *, dataset: str = "teas", split: Split = Split.NONE) -> CheckedRow:
    """The content as a row of a dataset."""
    return CheckedRow(number, dataset, content, split)
