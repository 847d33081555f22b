"""Votes as data: preference pairs, unpaired labels, an evaluation set; and battles for FastChat's scripts.

Where several people voted on a comparison the majority decides; a draw between them makes no row.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.chats import Role
from workbench.domain.comparisons import Candidate, Comparison, RaterKind, Rating, Vote
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
from workbench.domain.results import counted, first_votes, of_comparisons, of_random_prompts
from workbench.errors import DataError, NotFoundError, RefusedError, WorkbenchError
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


_WINNERS = {"left": "model_a", "right": "model_b", "tie": "tie", "both-bad": "tie (bothbad)"}


def battles(bench: Bench) -> Iterator[dict[str, object]]:
    """Every vote of a person that a rate may rest on as one of FastChat's cleaned battles; its side a is the left one.

    What is made of them is a ranking: votes on prompts that were asked because the models differ there stay out, and a
    person's further votes on the same two answers. Votes on pairs that wait for this rater are left out.
    """
    raters: dict[int, set[str]] = {}
    for vote in unseen.told(bench, _resting(bench))[0]:
        raters.setdefault(vote.comparison_id, set()).add(vote.rater)
    for comparison_id in sorted(raters):
        comparison = bench.store.comparisons.get(comparison_id)
        for rating in bench.store.comparisons.ratings(comparison_id):
            is_counted = not rating.undone and rating.blind and rating.kind is RaterKind.HUMAN
            if is_counted and rating.rater in raters[comparison_id] and rating.verdict.value in _WINNERS:
                yield _battle(comparison, rating)


def _resting(bench: Bench) -> list[Vote]:
    """People's votes that a rate may rest on."""
    resting = of_random_prompts(first_votes(counted(bench.store.comparisons.votes())))
    return [vote for vote in resting if vote.rater]


def _battle(comparison: Comparison, rating: Rating) -> dict[str, object]:
    left, right = comparison.left, comparison.right
    return {
        "question_id": str(comparison.id),
        "model_a": left.model,
        "model_b": right.model,
        "winner": _WINNERS[rating.verdict.value],
        "judge": rating.rater,
        "conversation_a": _said(comparison, left),
        "conversation_b": _said(comparison, right),
        "turn": sum(turn.role == Role.USER for turn in comparison.prompt),
        "anony": True,
        "language": "unknown",
        "tstamp": datetime.fromisoformat(rating.created_utc).timestamp(),
    }


def _said(comparison: Comparison, candidate: Candidate) -> list[dict[str, object]]:
    return [*(turn.as_dict() for turn in comparison.prompt), {"role": "assistant", "content": candidate.text}]


@dataclass(frozen=True, slots=True)
class Written:
    """Battles in a file. ``waiting`` counts votes that are left out: their pairs wait for a vote of who exports.

    ``differing`` counts those on prompts that were asked because the models differ there.
    """

    file: Path
    battles: int
    waiting: int
    differing: int

    @property
    def said(self) -> str:
        """One sentence."""
        said = [f"{counted_of(self.battles, 'battles')} {'is' if self.battles == 1 else 'are'} in {self.file}"]
        said += [unseen.left_out(self.waiting)] if self.waiting else []
        said += [f"{counted_of(self.differing, 'votes')} where models differ most left out"] if self.differing else []
        return "; ".join(said)


def export_battles(bench: Bench, to: Path, *, replace: bool | Callable[[Path], bool] = False) -> Written:
    """Write all battles as the JSON array that FastChat's ``elo_analysis.py --clean-battle-file`` reads.

    A file that is there is replaced when ``replace`` says so. Raises ``NotFoundError`` without votes, ``RefusedError``
    when all of them are left out or the file stays, ``WorkbenchError`` when it cannot be written.
    Source: https://github.com/lm-sys/FastChat/blob/main/fastchat/serve/monitor/elo_analysis.py
    """
    rows, waiting = list(battles(bench)), len(unseen.told(bench, _resting(bench))[1])
    if not rows and waiting:
        raise RefusedError("every pair that was voted on waits for your vote", hint=unseen.HINT)
    every = [vote for vote in first_votes(counted(bench.store.comparisons.votes())) if vote.rater]
    differing = len(every) - len(of_random_prompts(every))
    if not rows:
        why = "all votes are on prompts that were asked because the models differ there" if differing else ""
        raise NotFoundError("there are no votes to write", hint=why or "workbench rate, or the Arena")
    if os.path.lexists(to) and not (replace(to) if callable(replace) else replace):
        raise RefusedError(f"{to.name} exists already", hint="--yes replaces it; or give another name", where=str(to))
    part = to.with_name(f".{to.name}.{secrets.token_hex(4)}.tmp")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
        part.replace(to)
    except OSError as error:
        raise WorkbenchError(f"the file cannot be written: {error.strerror}", where=str(to)) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return Written(to, len(rows), waiting, differing)
