"""Blind comparison: ask two models the same, show the answers without names, count the votes, make pairs of them.

Owns what is shown before a vote and what a vote reveals. How models are asked is in ``rounds``, where prompts come
from in ``prompts``; the rules of blinding and of the score are in the domain.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.chats import Sampling
from workbench.domain.comparisons import (
    BlindView,
    Comparison,
    Rating,
    Score,
    Strength,
    Verdict,
    VoteDetails,
    blind,
    draw_left_is_a,
    pair_from_vote,
    winner,
)
from workbench.domain.examples import Example, Source, SourceKind, Status
from workbench.domain.results import counted, of_comparisons, of_random_prompts, scores, seen_from
from workbench.domain.rounds import PromptRow
from workbench.domain.rubrics import Criterion, check_marks, rubric_in
from workbench.domain.statistics import WinRate, verdict, votes_to_decide, win_rate
from workbench.errors import DataError, RefusedError
from workbench.flows import rounds
from workbench.flows.chat import Gesture
from workbench.flows.held_out import split_of
from workbench.flows.prompts import Prompt, prompt_rows
from workbench.paths import config_file

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

DATASET = "votes"
REPEAT_GAP = 20
"""A pair is shown again after so many other votes at the earliest, when its text is no longer in mind."""


@dataclass(frozen=True, slots=True)
class Reveal:
    """What is told after a vote: who stood where, what came of it, and why it does not count, if it does not."""

    rating: Rating
    left_model: str
    right_model: str
    outcome: str
    remark: str = ""

    @property
    def said(self) -> str:
        """All of it."""
        return f"{self.outcome} (left {self.left_model}, right {self.right_model}){self.remark}"


@dataclass(frozen=True, slots=True)
class Result:
    """The standing between two models. ``verdict`` is ``a``, ``b`` or ``undecided``.

    ``more_votes`` is how many more votes would decide it if the share holds; None when that cannot be said.
    """

    score: Score
    win_rate: WinRate
    verdict: str
    more_votes: int | None


# Preparing pairs


def prompts_from(bench: Bench, source: Path | str | None) -> list[Prompt]:
    """The prompts of ``prompt_rows`` alone, without where they came from."""
    return [row.turns for row in prompt_rows(bench, source)]


def prepare(
    bench: Bench,
    a: str,
    b: str,
    prompts: Sequence[Prompt],
    *,
    sampling: Sampling,
    seed: int,
    on_progress: rounds.OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> Iterator[Comparison]:
    """A round between two models, begun and run; see ``flows.rounds``."""
    rows = [PromptRow(prompt) for prompt in prompts]
    begun = rounds.begin(bench, [a, b], rows, sampling=sampling, seed=seed)
    yield from rounds.run(bench, begun, on_progress=on_progress, cancelled=cancelled)


# Voting


def next_blind(bench: Bench, *, a: str = "", b: str = "", order: str = "made") -> BlindView | None:
    """The next pair this rater has not seen, without names; only between ``a`` and ``b`` when given. None: all done.

    ``order`` is ``made`` or ``differing``: the answers first that share the fewest words (see ``rounds.difference``).
    Now and then, as often as ``labelling.repeats`` says, it is a pair that this rater voted on before, sides swapped.
    """
    store = bench.store.comparisons
    found = store.next_unrated(bench.rater, a=a or None, b=b or None, order=order)
    if found is not None and found.repeat_of is None and _is_time_for_a_repeat(bench):
        found = repeat(bench) or found
    return blind(found) if found else None


def _is_time_for_a_repeat(bench: Bench) -> bool:
    return secrets.SystemRandom().random() < bench.settings.labelling.repeats


def repeat(bench: Bench, *, gap: int = REPEAT_GAP) -> Comparison | None:
    """A pair that this rater voted on at least ``gap`` votes ago, to be shown again with its sides swapped.

    None when there is none, or when one is waiting already. Its vote counts for no model: it tells how often the rater
    says the same again.
    """
    store = bench.store.comparisons
    candidates = store.repeatable(bench.rater, gap=gap)
    if not candidates or store.repeat_waits(bench.rater):
        return None
    seen = store.get(secrets.choice(candidates))
    swapped = secrets.randbits(63)
    while draw_left_is_a(swapped) == seen.left_is_a:
        swapped = secrets.randbits(63)
    return store.add(
        seen.prompt,
        seen.a,
        seen.b,
        draw_seed=swapped,
        example_id=seen.example_id,
        tags=seen.tags,
        chosen=seen.chosen,
        difference=seen.difference,
        repeat_of=seen.id,
        repeat_for=bench.rater,
    )


def view(bench: Bench, comparison_id: int) -> BlindView:
    """That pair without names; raises ``NotFoundError``."""
    return blind(bench.store.comparisons.get(comparison_id))


def names_known(bench: Bench, comparison_id: int) -> bool:
    """Whether this rater voted on this pair before, or on the same two answers: a vote on it does not count then.

    Of a hidden repeat nothing is told.
    """
    store = bench.store.comparisons
    if any(rating.rater == bench.rater for rating in store.ratings(comparison_id)):
        return True
    return store.get(comparison_id).repeat_of is None and bool(store.on_same_answers(comparison_id, bench.rater))


def rubric(bench: Bench) -> tuple[Criterion, ...]:
    """The criteria for marks: from ``rubric.toml`` in the workspace, else beside ``config.toml``, else the standard."""
    return rubric_in(bench.workspace.root, config_file().parent)


def waiting(bench: Bench) -> int:
    """How many pairs wait for this rater."""
    return bench.store.comparisons.waiting(bench.rater)


def rate(
    bench: Bench,
    comparison_id: int,
    vote: Verdict,
    *,
    comment: str = "",
    duration_ms: int = 0,
    details: VoteDetails | None = None,
) -> Reveal:
    """Store a vote, and only then tell who stood where; ``details`` instead of comment and duration tell more.

    Raises ``RefusedError`` when both answers are the same.
    """
    comparison = bench.store.comparisons.get(comparison_id)
    if comparison.identical:
        raise RefusedError("both answers are the same", hint="that counts as a tie without a vote")
    told = details or VoteDetails(comment, duration_ms)
    if told.rubric:
        check_marks(told.rubric, rubric(bench))
    rating = bench.store.comparisons.rate(comparison_id, vote, rater=bench.rater, details=told)
    left, right = comparison.left.model, comparison.right.model
    remark = "" if rating.blind else "; it does not count, because the names were known"
    if comparison.repeat_of is not None:
        remark += "; a repeat with sides swapped, which counts for neither"
    elif rating.blind and any(bench.store.comparisons.on_same_answers(comparison_id, bench.rater)):
        remark = "; counted already: you voted on these answers before"
    return Reveal(rating, left, right, _outcome(comparison, vote), remark)


def standing_vote(bench: Bench, comparison_id: int) -> Rating | None:
    """This rater's vote on a comparison, None when there is none or it was taken back."""
    votes = bench.store.comparisons.ratings(comparison_id)
    return next((vote for vote in votes if vote.rater == bench.rater and not vote.undone), None)


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A vote that was taken back: its pair, and what had been said beside the verdict.

    ``kept`` is the preference pair that had been made of it, which stays; None when there is none.
    """

    view: BlindView
    details: VoteDetails
    kept: Example | None = None


def undo_vote(bench: Bench) -> TakenBack | None:
    """Take back this rater's last vote and give its pair again; None when there is no vote.

    A vote that it had changed stands again. A new vote on this pair is kept, but counts for nothing: the names are out.
    A preference pair made of the vote is an example like any other, and stays.
    """
    rating = bench.store.comparisons.undo_rating(bench.rater)
    if rating is None:
        return None
    said = VoteDetails(rating.comment, strength=rating.strength or Strength.CLEAR, rubric=rating.rubric)
    comparison = bench.store.comparisons.get(rating.comparison_id)
    return TakenBack(blind(comparison), said, _kept(bench, comparison, rating.verdict))


def _kept(bench: Bench, comparison: Comparison, vote: Verdict) -> Example | None:
    if not vote.is_decided:
        return None
    with suppress(DataError):  # an empty answer makes no pair
        found = bench.store.examples.find(DATASET, pair_from_vote(comparison, vote))
        if found is not None and found.status is not Status.REJECTED:
            return found
    return None


def promote(bench: Bench, comparison_id: int, *, dataset: str = DATASET) -> Gesture:
    """This rater's decided vote as a preference pair. Raises ``RefusedError`` without one, or for a tie."""
    comparison = bench.store.comparisons.get(comparison_id)
    if (vote := standing_vote(bench, comparison_id)) is None:
        raise RefusedError(f"there is no vote of {bench.rater} on comparison {comparison_id}", hint="vote first")
    if comparison.repeat_of is not None:
        raise RefusedError(
            "that was a hidden repeat, whose vote counts for nothing",
            hint=f"the first vote on this pair is on comparison {comparison.repeat_of}",
        )
    content = pair_from_vote(comparison, vote.verdict)
    best = winner(comparison, vote.verdict)
    models = (comparison.a.model, comparison.b.model)
    ordered = models if best is comparison.a else models[::-1]
    source = Source(SourceKind.VOTE, comparison_id=comparison_id, models=ordered)
    example, is_new = bench.store.examples.add(
        dataset,
        content,
        source=source,
        status=Status.ACCEPTED,
        rater=bench.rater,
        split=split_of(bench, comparison),
    )
    known = "" if is_new else "already "
    return Gesture((example,), None, f"the vote is {known}example {example.id} in {dataset}")


def results(bench: Bench, a: str = "", b: str = "") -> list[Result]:
    """The standing of every pair of models, of those with ``a``, or of ``a`` against ``b``."""
    wanted = {name for name in (a, b) if name}
    found = scores(of_random_prompts(of_comparisons(counted(bench.store.comparisons.votes()))))
    among = [seen_from(a, s) if a in {s.a, s.b} else s for s in found if wanted <= {s.a, s.b}]
    return [Result(score, win_rate(score), verdict(score), votes_to_decide(score)) for score in among]


def compared_model(bench: Bench, address: str) -> str:
    """The name that is meant: of a registered model, or one that only comparisons know. Empty stays empty.

    Raises ``NotFoundError``, or ``UsageError`` for a start of several names.
    """
    removed = {name for score in bench.store.comparisons.scores() for name in (score.a, score.b)}
    return address if not address or address in removed else bench.store.models.get(address).name


def _outcome(comparison: Comparison, vote: Verdict) -> str:
    best = winner(comparison, vote)
    if best is not None:
        return f"{best.model} won"
    return {Verdict.TIE: "a tie", Verdict.BOTH_BAD: "both bad", Verdict.SKIP: "skipped"}[vote]
