"""Answers that are far shorter or longer, in words, than those beside them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from workbench.checks._likeness import count_words
from workbench.domain.checks import CheckedRow, Finding, SetCheck, Severity, Surroundings
from workbench.domain.examples import Content, Kind

FEWEST_ROWS = 50
TOO_FEW_WORDS = 2
"""An answer of so few words is told of where the usual one has at least twenty times as many."""

TIMES_TOO_LONG = 5.0
"""An answer is too long from so many times what 95 of 100 stay under."""

_ALWAYS_FINE = 400
_RARE = 0.005


@dataclass(slots=True)
class _Answers:
    ids: array[int] = field(default_factory=lambda: array("q"))
    words: array[int] = field(default_factory=lambda: array("q"))


def look(rows: Iterable[CheckedRow], surroundings: Surroundings) -> Iterator[Finding]:
    """Findings for outliers within a dataset and kind; two numbers are kept of each row."""
    groups: dict[tuple[str, Kind], _Answers] = {}
    for row in rows:
        if row.content.chosen:
            group = groups.setdefault((row.dataset, row.content.kind), _Answers())
            group.ids.append(row.id)
            group.words.append(words_of(row.content))
    for (_, kind), group in groups.items():
        if len(group.ids) >= FEWEST_ROWS:
            yield from _outliers(group, "a text" if kind is Kind.TEXT else "an answer")


def words_of(content: Content) -> int:
    """The words of the answer, with those of its calls."""
    return count_words("\n".join(turn.shown for turn in content.chosen))


def _outliers(group: _Answers, what: str) -> Iterator[Finding]:
    ordered = sorted(group.words)
    usual, high = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
    longest = max(_ALWAYS_FINE, TIMES_TOO_LONG * high)
    short_ones = sum(words <= TOO_FEW_WORDS for words in ordered)
    tells_of_short = usual >= 20 * TOO_FEW_WORDS and short_ones <= max(1, _RARE * len(ordered))
    for example_id, words in zip(group.ids, group.words, strict=True):
        if words > longest:
            reason = f"{what} of {words:,} words, where 95 of 100 have at most {high:,}"
            yield Finding(Severity.WARNING, reason, "chosen turn 1", example_id=example_id)
        elif tells_of_short and 0 < words <= TOO_FEW_WORDS:
            counted = "one word" if words == 1 else f"{words} words"
            reason = f"{what} of {counted}, where {usual} are usual"
            yield Finding(Severity.INFO, reason, "chosen turn 1", example_id=example_id)


CHECK = SetCheck(
    "length_words",
    title="Length in words",
    summary="answers far shorter or longer than those beside them",
    look=look,
)
