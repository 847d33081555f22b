"""Comparisons and votes for tests: pairs by two models, and the vote that lets one of them win."""

from __future__ import annotations

from samples import candidate, user
from workbench.domain.comparisons import Comparison, RaterKind, Rating, Verdict, VoteDetails
from workbench.flows.bench import Bench


def pair(
    bench: Bench,
    number: int,
    *,
    a: str = "pip",
    b: str = "tuned",
    tags: tuple[str, ...] = (),
    example_id: int | None = None,
    chosen: str = "",
) -> Comparison:
    """A comparison whose answers name neither model."""
    answers = candidate(a, f"plain answer {number}"), candidate(b, f"fancy answer {number}")
    return bench.store.comparisons.add(
        user(f"question {number}"), *answers, draw_seed=number, tags=tags, example_id=example_id, chosen=chosen
    )


def side_of(comparison: Comparison, model: str) -> Verdict:
    """The verdict that lets ``model`` win."""
    return Verdict.LEFT if comparison.left.model == model else Verdict.RIGHT


def vote(
    bench: Bench,
    comparison: Comparison,
    winner: str,
    *,
    rater: str = "rater",
    kind: RaterKind = RaterKind.HUMAN,
    details: VoteDetails | None = None,
) -> Rating:
    """A vote for a model, or for ``tie`` or ``both-bad``."""
    verdict = Verdict(winner) if winner in {"tie", "both-bad", "skip"} else side_of(comparison, winner)
    return bench.store.comparisons.rate(comparison.id, verdict, rater=rater, kind=kind, details=details)
