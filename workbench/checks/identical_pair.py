"""Pairs whose two answers say the same: there is nothing to prefer.

A few changed words in long answers can lower the likelihood of both (Pal et al., "Smaug: Fixing failure modes of
preference optimisation with DPO-Positive", 2024); as a corrected figure is a good pair all the same, that is only told.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from workbench.checks._likeness import deeds
from workbench.domain.chats import Turn
from workbench.domain.checks import REJECT, Finding, RowCheck, Severity
from workbench.domain.examples import Content, Kind

NEAR = 0.97
"""Share of characters in common (Levenshtein, normalised) from which two answers count as nearly the same."""

_FEWEST_CHARACTERS = 80
_LONGEST = 20_000
_PUNCTUATION = re.compile(r"[\s.,;:!?…\"'“”‘’„«»`_–—。，、；：！？「」『』《》（）¿¡؟،]+")
# A sign between digits is part of the number, and so is one before it.
_FIGURES = re.compile(r"(?<!\w)[-–−+]?\d+(?:[.,:]\d+)*")
_PREFERENCE = Kind.PREFERENCE
_UNSEEN = dict.fromkeys((0x200B, 0x2060, 0xFEFF, 0xAD))
# In code every sign means something.
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)


def look(content: Content) -> Iterator[Finding]:
    """At most one finding: the same, the same but for case and punctuation, or nearly the same."""
    if content.kind is not _PREFERENCE or _differ(content.chosen, content.rejected):
        return
    if _deeds(content.chosen) != _deeds(content.rejected):
        return
    chosen, rejected = _text(content.chosen), _text(content.rejected)
    if _first_word(chosen) == _first_word(rejected) and chosen.split() == rejected.split():
        reason = "chosen and rejected are the same text"
        yield Finding(Severity.ERROR, reason, "rejected turn 1", fixable=True)
    elif (
        _may_be_alike(chosen, rejected)
        and _words(chosen) == _words(rejected)
        and _FIGURES.findall(chosen) == _FIGURES.findall(rejected)
        and _CODE.findall(chosen) == _CODE.findall(rejected)
    ):
        reason = "chosen and rejected differ only in case and punctuation"
        yield Finding(Severity.WARNING, reason, "rejected turn 1")
    elif (alike := _likeness(chosen, rejected)) >= NEAR:
        yield Finding(Severity.INFO, f"chosen and rejected are {alike:.0%} the same: little to learn from DPO")


def _differ(chosen: Sequence[Turn], rejected: Sequence[Turn]) -> bool:
    """A quick look that tells nearly all pairs apart: other first letters, and lengths too far from each other."""
    if len(chosen) != 1 or len(rejected) != 1:
        return False
    one, other = chosen[0].content, rejected[0].content
    return (
        one[:1].lower() != other[:1].lower()
        and one[:1].isalnum()
        and other[:1].isalnum()
        and one.isascii()
        and other.isascii()
        and not NEAR * len(one) <= len(other) <= len(one) / NEAR
    )


def _text(turns: Sequence[Turn]) -> str:
    text = turns[0].content if len(turns) == 1 else "\n".join(turn.content for turn in turns)
    return text if text.isascii() else unicodedata.normalize("NFC", text).translate(_UNSEEN)


def _first_word(text: str) -> list[str]:
    """A quick look that tells most pairs apart."""
    return text.split(None, 1)[:1]


def _deeds(turns: Sequence[Turn]) -> list[str]:
    """The calls that an answer makes; nearly all make none."""
    return [found for turn in turns if turn.extra and (found := deeds(turn))]


def _may_be_alike(chosen: str, rejected: str) -> bool:
    """False for nearly all pairs that differ, at a small part of the cost: their first letters are not the same."""
    return _first_letter(chosen) == _first_letter(rejected)


def _first_letter(text: str) -> str:
    found = _PUNCTUATION.match(text)
    at = found.end() if found else 0
    return text[at : at + 1].casefold()[:1]


def _words(text: str) -> str:
    return _PUNCTUATION.sub(" ", text).strip().casefold()


def _likeness(chosen: str, rejected: str) -> float:
    one, other = len(chosen), len(rejected)
    shorter, longer = (one, other) if one < other else (other, one)
    if shorter < _FEWEST_CHARACTERS or shorter < NEAR * longer or longer > _LONGEST:
        return 0.0
    from rapidfuzz.distance import Levenshtein  # 20 ms

    return Levenshtein.normalized_similarity(chosen, rejected, score_cutoff=NEAR)


CHECK = RowCheck(
    "identical_pair",
    title="Identical pair",
    summary="chosen and rejected are the same, or the same but for case and punctuation, or nearly the same",
    look=look,
    fix=REJECT,
)
