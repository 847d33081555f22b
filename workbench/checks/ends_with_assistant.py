"""An answer that does not end with the assistant, or a prompt that does: nothing, or the wrong thing, is learnt."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.domain.chats import Role
from workbench.domain.checks import REJECT, Finding, Place, RowCheck, Severity
from workbench.domain.examples import Content, Kind

_TEXT = Kind.TEXT
_ASSISTANT, _SYSTEM = Role.ASSISTANT.value, Role.SYSTEM.value


def look(content: Content) -> Iterator[Finding]:
    """Findings for the last turn of each part."""
    if content.kind is _TEXT:
        return
    assistant = _ASSISTANT
    for part, turns in (("chosen", content.chosen), ("rejected", content.rejected)):
        if turns and turns[-1].role != assistant:
            reason = f"the answer ends with a {turns[-1].role} turn"
            yield Finding(Severity.ERROR, reason, str(Place(part, len(turns) - 1)), fixable=True)
    if content.prompt and content.prompt[-1].role == assistant:
        place = str(Place("prompt", len(content.prompt) - 1))
        yield Finding(Severity.ERROR, "the prompt ends with the assistant: there is nothing to answer", place, True)
    elif content.prompt and content.prompt[-1].role == _SYSTEM:
        place = str(Place("prompt", len(content.prompt) - 1))
        yield Finding(Severity.ERROR, "the prompt ends with a system turn: nobody has asked", place, True)


CHECK = RowCheck(
    "ends_with_assistant",
    title="Ends with the assistant",
    summary="an answer whose last turn is not the assistant's, or a prompt whose last turn is",
    look=look,
    fix=REJECT,
)
