"""Nothing said where something must be: an answer, a user turn or a text that is empty or only white space."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.domain.chats import Role, Turn
from workbench.domain.checks import REJECT, Finding, Place, RowCheck, Severity
from workbench.domain.examples import Content, Kind

# Characters that str.strip keeps and nobody sees.
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"


def look(content: Content) -> Iterator[Finding]:
    """Findings for turns that say nothing; a turn with tool calls says something without words."""
    for part, turns in (("prompt", content.prompt), ("chosen", content.chosen), ("rejected", content.rejected)):
        for number, turn in enumerate(turns):
            if _is_blank(turn) and turn.role not in {Role.TOOL.value, Role.SYSTEM.value}:
                yield Finding(Severity.ERROR, f"the {turn.role} turn is empty", str(Place(part, number)), fixable=True)
    if not content.prompt and content.kind is not Kind.TEXT:
        yield Finding(Severity.ERROR, "there is no prompt", "prompt", fixable=True)
    if not content.chosen and content.kind is not Kind.PROMPT:
        yield Finding(Severity.ERROR, "there is no answer", "chosen", fixable=True)
    if not content.rejected and content.kind is Kind.PREFERENCE:
        yield Finding(Severity.ERROR, "there is no rejected answer", "rejected", fixable=True)


def _is_blank(turn: Turn) -> bool:
    text = turn.content
    if text and (text[0].isalnum() or text[-1].isalnum()):
        return False
    return not text.strip().strip(_INVISIBLE).strip() and not turn.extra


CHECK = RowCheck(
    "empty",
    title="Nothing said",
    summary="an answer, a user turn or a text that is empty or only white space",
    look=look,
    fix=REJECT,
)
