"""Votes as data: preference pairs, unpaired labels, an evaluation set.

Where several people voted on a comparison the majority decides; a draw between them makes no row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from workbench.domain.comparisons import Comparison
from workbench.domain.counting import counted as counted_of
from workbench.domain.examples import (
    Content,
    NewExample,
    Source,
    SourceKind,
    Split,
    Status,
    demonstration,
    judgement,
    preference,
)
from workbench.domain.results import counted, of_comparisons
from workbench.errors import DataError, NotFoundError, RefusedError
from workbench.flows import unseen
from workbench.flows.held_out import split_of

if TYPE_CHECKING:
    from workbench.flows.bench import Bench


class Shape(StrEnum):
    """What votes are made into."""

    PAIRS = "pairs"
    LABELS = "labels"
    EVALUATION = "evaluation"


DATASETS = {Shape.PAIRS: "votes", Shape.LABELS: "vote-labels", Shape.EVALUATION: "vote-evaluation"}


@dataclass(frozen=True, slots=True)
class Collected:
    """What came of votes: rows that are new in the dataset, and those that it had already; ``none`` made no row.

    ``waiting`` counts comparisons that are left out, because they wait for a vote of the rater who asks.
    """

    dataset: str
    made: int
    known: int
    none: int
    waiting: int = 0

    @property
    def said(self) -> str:
        """One sentence."""
        known = f", {self.known:,} {'was' if self.known == 1 else 'were'} there already" if self.known else ""
        none = f"; {counted_of(self.none, 'comparisons')} make{'s' * (self.none == 1)} none" if self.none else ""
        waiting = f"; {self.waiting:,} left out until you vote on them" if self.waiting else ""
        return f"{self.made:,} row{'s' * (self.made != 1)} in {self.dataset}{known}{none}{waiting}"


def collect(bench: Bench, shape: Shape, *, dataset: str = "") -> Collected:
    """Make rows of all votes. ``dataset`` empty takes the one that ``DATASETS`` names.

    ``pairs``: the winner over the loser. ``labels``: the winner good, the loser bad, two bad answers bad. An evaluation
    set holds the winners as references in the test split, where nothing is trained on. Ties make no row. One undo takes
    all of them back. What waits for a vote of this rater is left out: a row tells whose answers they are. Raises
    ``NotFoundError`` while there are no votes, ``RefusedError`` when all of them are left out.
    """
    by_all = majority(bench)
    if not by_all:
        raise NotFoundError("there are no votes yet", hint="workbench rate, or the Arena")
    hidden = bench.store.comparisons.unseen(bench.rater)
    decided = {key: outcome for key, outcome in by_all.items() if key not in hidden}
    if not decided:
        raise RefusedError("every pair that was voted on waits for your vote", hint=unseen.HINT)
    rows: list[NewExample] = []
    none = 0
    for comparison_id, outcome in decided.items():
        made = list(_rows(bench, bench.store.comparisons.get(comparison_id), outcome, shape))
        rows += made
        none += not made
    name = dataset or DATASETS[shape]
    made_count, known = bench.store.examples.add_many(name, rows, rater=bench.rater, status=Status.ACCEPTED)
    return Collected(name, made_count, known, none, len(by_all) - len(decided))


def majority(bench: Bench) -> dict[int, str]:
    """The outcome of each comparison that people voted on: what most of them said; ``tie`` when they are split."""
    by_people = [vote for vote in counted(bench.store.comparisons.votes()) if vote.rater]
    return {vote.comparison_id: vote.outcome for vote in of_comparisons(by_people)}


def _rows(bench: Bench, comparison: Comparison, outcome: str, shape: Shape) -> Iterator[NewExample]:
    split = Split.TEST if shape is Shape.EVALUATION else split_of(bench, comparison)
    for models, make in _contents(comparison, outcome, shape):
        source = Source(SourceKind.VOTE, comparison_id=comparison.id, models=models)
        with suppress(DataError):  # an empty answer can be voted on, but not trained on
            yield NewExample(make(), source, split=split, tags=comparison.tags)


def _contents(
    comparison: Comparison, outcome: str, shape: Shape
) -> Iterator[tuple[tuple[str, ...], Callable[[], Content]]]:
    """The models of each row that a vote makes, and its content."""
    prompt, a, b = comparison.prompt, comparison.a, comparison.b
    best, worst = (a, b) if outcome == "a" else (b, a)
    is_decided = outcome in {"a", "b"}
    if is_decided and shape is Shape.PAIRS:
        yield (best.model, worst.model), partial(preference, prompt, best.text, worst.text)
    elif is_decided and shape is Shape.EVALUATION:
        yield (best.model,), partial(demonstration, prompt, best.text)
    elif shape is Shape.LABELS and outcome != "tie":
        yield (best.model,), partial(judgement, prompt, best.text, is_decided)
        yield (worst.model,), partial(judgement, prompt, worst.text, False)
