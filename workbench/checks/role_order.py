"""Turns in an order that chat templates refuse or render as something else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from workbench.domain.chats import Role, Turn
from workbench.domain.checks import REJECT, Finding, Place, RowCheck, Severity
from workbench.domain.examples import Content, Kind

_ROLES = frozenset(Role)
_SYSTEM, _USER, _ASSISTANT, _TOOL = Role.SYSTEM.value, Role.USER.value, Role.ASSISTANT.value, Role.TOOL.value
# A call may stand in the text: as JSON, or between tags of some template.
_WRITTEN_CALLS = ("{", "<", "[", "(", "`")


def look(content: Content) -> Iterator[Finding]:
    """Findings for the prompt followed by each answer, as they are trained on."""
    if _is_plain(content) or content.kind is Kind.TEXT:
        return
    yield from _walk(content.prompt, "prompt", before=())
    if content.prompt and not any(turn.role == _USER for turn in content.prompt):
        yield Finding(Severity.ERROR, "the prompt has no user turn", "prompt turn 1", fixable=True)
    yield from _walk(content.chosen, "chosen", before=content.prompt)
    yield from _walk(content.rejected, "rejected", before=content.prompt)


def _is_plain(content: Content) -> bool:
    """True for one question and one answer (or two to choose from), which nearly all rows are."""
    prompt, chosen, rejected = content.prompt, content.chosen, content.rejected
    return (
        (len(prompt), len(chosen)) == (1, 1)
        and (prompt[0].role, chosen[0].role) == (_USER, _ASSISTANT)
        and (not rejected or (len(rejected) == 1 and rejected[0].role == _ASSISTANT))
    )


def _walk(turns: tuple[Turn, ...], part: str, *, before: Sequence[Turn]) -> Iterator[Finding]:
    talk = list(before)
    for number, turn in enumerate(turns):
        place = str(Place(part, number))
        if turn.role not in _ROLES:
            yield Finding(Severity.ERROR, f"{turn.role!r} is not a role", place, fixable=True)
        elif problem := _problem(turn, talk):
            severity, reason = problem
            yield Finding(severity, reason, place, fixable=severity is Severity.ERROR)
        talk.append(turn)


def _problem(turn: Turn, talk: Sequence[Turn]) -> tuple[Severity, str] | None:
    """What is wrong with a turn behind these."""
    role, last = turn.role, talk[-1] if talk else None
    previous = last.role if last else ""
    if role == _SYSTEM and last is not None:
        return Severity.ERROR, "a system turn may only come first"
    if role == _TOOL:
        return _answered(turn, talk)
    if last is not None and previous == _ASSISTANT and last.tool_calls:
        return Severity.WARNING, "the call before it was never answered"
    if role == _ASSISTANT and previous in {"", _SYSTEM}:
        return Severity.WARNING, "the assistant speaks before anybody has asked"
    if role == previous == _USER:
        return Severity.WARNING, "two user turns follow each other"
    if role == previous == _ASSISTANT:
        return Severity.WARNING, "two assistant turns follow each other"
    if role == _USER and previous == _TOOL:
        return Severity.WARNING, "nobody has used what the tool answered"
    return None


def _answered(turn: Turn, talk: Sequence[Turn]) -> tuple[Severity, str] | None:
    """What is wrong with a tool's answer: nobody who called it, or another call than it names."""
    caller = next((one for one in reversed(talk) if one.role != _TOOL), None)
    if caller is None or caller.role != _ASSISTANT:
        return Severity.ERROR, "a tool answers, but nothing called it"
    calls = caller.tool_calls
    if not calls and not any(sign in caller.content for sign in _WRITTEN_CALLS):
        return Severity.WARNING, "a tool answers, but nothing called it"
    named = json.loads(turn.extra).get("tool_call_id") if turn.extra else None
    ids = {call.get("id") for call in calls} - {None}
    if named and ids and named not in ids:
        return Severity.WARNING, f"the tool answers {named!r}, which was not called"
    return None


CHECK = RowCheck(
    "role_order",
    title="Order of roles",
    summary="a system turn that is not first, an unknown role, a tool nobody called, two turns of one speaker",
    look=look,
    fix=REJECT,
)
