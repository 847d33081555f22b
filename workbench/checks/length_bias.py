"""Pairs in which the better answer is nearly always the longer, or the shorter, one: that is what DPO learns first.

Source: Park et al., "Disentangling length from quality in direct preference optimization" (2024). The share is judged
by the near end of Wilson's interval, so that few pairs do not raise an alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median

from workbench.domain.checks import CheckedRow, Finding, SetCheck, Severity, Surroundings
from workbench.domain.examples import Content, Kind
from workbench.domain.statistics import wilson_interval

FEWEST_PAIRS = 30
BIASED = 0.65
"""From this share of all pairs on, for certain, length tells which answer is better."""

ALIKE = 0.05
"""Lengths that differ by no more than this share are the same to a model."""

_KEPT_RATIOS = 100_000


@dataclass(slots=True)
class _Lengths:
    pairs: int = 0
    longer: int = 0
    shorter: int = 0
    ratios: list[float] = field(default_factory=list)

    def add(self, content: Content) -> None:
        chosen, rejected = (sum(len(t.shown) for t in turns) for turns in (content.chosen, content.rejected))
        self.pairs += 1
        if abs(chosen - rejected) > ALIKE * max(chosen, rejected):
            self.longer += chosen > rejected
            self.shorter += chosen < rejected
        if rejected and chosen and len(self.ratios) < _KEPT_RATIOS:
            self.ratios.append(chosen / rejected)


def look(rows: Iterable[CheckedRow], surroundings: Surroundings) -> Iterator[Finding]:
    """At most one finding for each dataset; it concerns no single row."""
    datasets: dict[str, _Lengths] = {}
    for row in rows:
        if row.content.kind is Kind.PREFERENCE:
            datasets.setdefault(row.dataset, _Lengths()).add(row.content)
    for dataset, lengths in datasets.items():
        yield from _finding(dataset, lengths)


def _finding(dataset: str, lengths: _Lengths) -> Iterator[Finding]:
    total = lengths.pairs
    word, many = ("longer", lengths.longer) if lengths.longer >= lengths.shorter else ("shorter", lengths.shorter)
    sure, _ = wilson_interval(many, total)
    if total >= FEWEST_PAIRS and sure > BIASED:
        usual = median(lengths.ratios) if lengths.ratios else 1.0
        reason = (
            f"{dataset}: the better answer is the {word} one in {many / total:.0%} of {total:,} pairs (usually "
            f"{usual:.2g} times as long): the model will learn length first; add pairs in which it is the other way"
        )
        yield Finding(Severity.WARNING, reason)


CHECK = SetCheck(
    "length_bias",
    title="Length bias",
    summary="the better answer of pairs is nearly always the longer, or the shorter, one",
    look=look,
)
