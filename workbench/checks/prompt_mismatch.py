"""Pairs whose two answers are to different questions: the turns of others inside them differ."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.checks._likeness import normal
from workbench.domain.chats import Role, Turn
from workbench.domain.checks import REJECT, Finding, RowCheck, Severity
from workbench.domain.examples import Content, Kind

_PREFERENCE = Kind.PREFERENCE
_ASSISTANT = Role.ASSISTANT.value


def look(content: Content) -> Iterator[Finding]:
    """One finding when the answers begin with different prompts, or when what others say between differs."""
    if content.kind is not _PREFERENCE or (_is_one_answer(content.chosen) and _is_one_answer(content.rejected)):
        return
    if _opening(content.chosen) != _opening(content.rejected):
        reason = "chosen and rejected answer different prompts"
        yield Finding(Severity.ERROR, reason, "rejected turn 1", fixable=True)
    elif _others(content.chosen) != _others(content.rejected):
        # Two whole conversations may part after their first answers; that is a pair, if an unusual one.
        yield Finding(Severity.WARNING, "what the others say inside chosen and rejected differs", "rejected turn 2")


def _is_one_answer(turns: tuple[Turn, ...]) -> bool:
    return len(turns) == 1 and turns[0].role == _ASSISTANT


def _opening(turns: tuple[Turn, ...]) -> list[tuple[str, str]]:
    first = next((number for number, turn in enumerate(turns) if turn.role == _ASSISTANT), len(turns))
    return [_said(turn) for turn in turns[:first]]


def _others(turns: tuple[Turn, ...]) -> list[tuple[str, str]]:
    return [_said(turn) for turn in turns if turn.role == Role.USER.value]


def _said(turn: Turn) -> tuple[str, str]:
    return turn.role, normal(turn.content)


CHECK = RowCheck(
    "prompt_mismatch",
    title="Different prompts",
    summary="chosen and rejected answer different prompts",
    look=look,
    fix=REJECT,
)
