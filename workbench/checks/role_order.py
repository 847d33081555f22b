"""Turns in an order that chat templates refuse or render as something else."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.domain.chats import Role, Turn
from workbench.domain.checks import REJECT, Finding, Place, RowCheck, Severity
from workbench.domain.examples import Content, Kind

_ROLES = frozenset(Role)
_SYSTEM, _USER, _ASSISTANT, _TOOL = Role.SYSTEM.value, Role.USER.value, Role.ASSISTANT.value, Role.TOOL.value


def look(content: Content) -> Iterator[Finding]:
    """Findings for the prompt followed by each answer, as they are trained on."""
    if content.kind is Kind.TEXT:
        return
    if _is_plain(content):
        return
    yield from _walk(content.prompt, "prompt", before=None)
    last = content.prompt[-1] if content.prompt else None
    yield from _walk(content.chosen, "chosen", before=last)
    yield from _walk(content.rejected, "rejected", before=last)


def _is_plain(content: Content) -> bool:
    """True for one question and one answer (or two to choose from), which nearly all rows are."""
    prompt, chosen, rejected = content.prompt, content.chosen, content.rejected
    return (
        (len(prompt), len(chosen)) == (1, 1)
        and (prompt[0].role, chosen[0].role) == (_USER, _ASSISTANT)
        and (not rejected or (len(rejected) == 1 and rejected[0].role == _ASSISTANT))
    )


def _walk(turns: tuple[Turn, ...], part: str, *, before: Turn | None) -> Iterator[Finding]:
    for number, turn in enumerate(turns):
        place = str(Place(part, number))
        if turn.role not in _ROLES:
            yield Finding(Severity.ERROR, f"{turn.role!r} is not a role", place, fixable=True)
        elif problem := _problem(turn.role, before):
            severity, reason = problem
            yield Finding(severity, reason, place, fixable=severity is Severity.ERROR)
        before = turn


def _problem(role: str, before: Turn | None) -> tuple[Severity, str] | None:
    previous = before.role if before else ""
    if role == _SYSTEM and before is not None:
        return Severity.ERROR, "a system turn may only come first"
    if role == _TOOL and previous not in {_ASSISTANT, _TOOL}:
        return Severity.ERROR, "a tool answers, but nothing called it"
    if role == _ASSISTANT and previous in {"", _SYSTEM}:
        return Severity.WARNING, "the assistant speaks before anybody has asked"
    if role == previous == _USER:
        return Severity.WARNING, "two user turns follow each other"
    if role == previous == _ASSISTANT:
        return Severity.WARNING, "two assistant turns follow each other"
    return None


CHECK = RowCheck(
    "role_order",
    title="Order of roles",
    summary="a system turn that is not first, an unknown role, a tool nobody called, two turns of one speaker",
    look=look,
    fix=REJECT,
)
