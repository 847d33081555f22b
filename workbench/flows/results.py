"""The results: who is better, how sure that is, what could have led the votes, and how far raters agree.

Reads votes and changes nothing. Only votes of people are counted; judges have a place of their own (``judging``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

from workbench.domain.agreement import Agreement, is_shared, judged_by
from workbench.domain.comparisons import Differing, Score, Vote
from workbench.domain.models import ModelKind
from workbench.domain.rankings import RESAMPLES, Rank, ranking
from workbench.domain.results import (
    Checks,
    Marked,
    Share,
    VoteFilter,
    by_tag,
    checks,
    counted,
    length_matched,
    marks,
    of_comparisons,
    of_random_prompts,
    scores,
    seen_from,
    self_agreement,
    standing,
)
from workbench.domain.rounds import Choosing
from workbench.flows import unseen
from workbench.jobs.agreement import agreement

if TYPE_CHECKING:
    from workbench.flows.bench import Bench


FEWEST_WAITING, LEFT_OUT_GAP = 5, 0.1
"""So many pairs must wait, and differ so much less on average, before it is told that they were left out."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that the votes say. ``agreement`` is None while no two people voted on the same comparison.

    ``comparisons`` counts what the votes are about, each two answers once, ``equal`` those that are a tie without a
    vote, ``prompts`` the prompts they answer. ``on_chosen`` are the standings on prompts that were chosen because the
    models differ on them; only the checks of the votes count these too. ``left_out`` is set when the pairs that still
    wait differ less than those that were voted on, as after voting on the most different ones first: how many wait.
    ``unseen`` counts votes on pairs that wait for the person at the bench: ``checks`` of sides, length and time leave
    them out, because beside who won they would tell on which side, or as which length, a model's answer stands.
    ``by_tag`` and ``matched`` (the share on answers of equal length) are by pair of models; ``tags`` and ``raters`` are
    those that can be chosen, whatever ``which`` chose.
    """

    which: VoteFilter
    votes: int
    comparisons: int
    equal: int
    left_out: int
    unseen: int
    prompts: int
    scores: tuple[Score, ...]
    on_chosen: dict[tuple[str, str], Score]
    ranking: tuple[Rank, ...]
    checks: Checks
    agreement: Agreement | None
    marks: tuple[Marked, ...]
    by_tag: dict[tuple[str, str], dict[str, Score]]
    matched: dict[tuple[str, str], Share]
    tags: tuple[str, ...]
    raters: dict[str, int]

    def chosen_between(self, a: str, b: str) -> Score | None:
        """The standing on chosen prompts, from the side of ``a``; None when there is none."""
        found = self.on_chosen.get((a, b)) or self.on_chosen.get((b, a))
        return seen_from(a, found) if found else None

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        told = self.checks
        return {
            "pairs": [
                standing(score) | {"length_matched": self.matched[score.a, score.b].as_dict()} for score in self.scores
            ],
            "on_chosen_prompts": [standing(score) for score in self.on_chosen.values()],
            "ranking": [
                {"model": r.model, "rating": r.rating, "low": r.low, "high": r.high, "votes": r.votes, "group": r.group}
                for r in self.ranking
            ],
            "votes": self.votes,
            "comparisons": self.comparisons,
            "equal_answers": self.equal,
            "less_different_left_out": self.left_out,
            "waiting_for_you": self.unseen,
            "prompts": self.prompts,
            "checks": {
                "left_side": told.left.as_dict(),
                "longer_answer": told.longer.as_dict(),
                "self_agreement": told.repeats.as_dict(),
                "fast_votes": told.fast,
                "live_votes": told.live,
                "median_ms": {"left": told.left_ms, "right": told.right_ms},
                "timed_votes": {"left": told.left_timed, "right": told.right_timed},
            },
            "agreement": self.agreement.as_dict() if self.agreement else None,
            "marks": [
                {"model": m.model, "criterion": m.criterion, "mean": m.mean, "error": m.error, "counts": m.counts}
                for m in self.marks
            ],
            "by_tag": [
                {"tag": tag} | standing(score) for found in self.by_tag.values() for tag, score in found.items()
            ],
            "raters": self.raters,
        }


def report(
    bench: Bench,
    a: str = "",
    b: str = "",
    *,
    which: VoteFilter | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    with_agreement: bool = True,
) -> Report:
    """The results of every pair of models, or of those with ``a``, or of ``a`` against ``b``; for a thread.

    The ranking is always of all models, all else of what is asked for. ``seed`` draws the bootstrap.
    Starts a child process, which takes seconds, when two people voted on the same comparison, unless
    ``with_agreement`` is false.
    """
    which = which or VoteFilter()
    every = bench.store.comparisons.votes()
    votes = counted(every, which)
    every_trial = of_comparisons(votes)
    trials = of_random_prompts(every_trial)
    of_chosen = [vote for vote in every_trial if vote.chosen == Choosing.DIFFERING]
    found = _of(_with_all_pairs(scores(trials), of_chosen), a, b)
    looked_at = _among(votes, a, b)
    asked = _among(every_trial, a, b)
    seen, hidden = unseen.told(bench, looked_at)
    return Report(
        which=which,
        votes=len(looked_at),
        comparisons=len(asked),
        left_out=_left_out(bench.store.comparisons.differences(), a, b),
        unseen=len(hidden),
        equal=sum(not vote.rater for vote in _among(trials, a, b)),
        prompts=len({vote.prompt for vote in asked}),
        scores=tuple(found),
        on_chosen={(score.a, score.b): score for score in _of(scores(of_chosen), a, b)},
        ranking=tuple(ranking(trials, anchor=_anchor(bench, trials), seed=seed, resamples=resamples)),
        checks=checks(seen, self_agreement(filter(which.takes, _among(every, a, b))), every=looked_at),
        agreement=agreement_on(bench, which.tag, a, b) if with_agreement else None,
        marks=tuple(marks(of_random_prompts(looked_at))),
        by_tag={(score.a, score.b): by_tag(trials, score.a, score.b) for score in found},
        matched={(score.a, score.b): length_matched(trials, score.a, score.b) for score in found},
        tags=tuple(sorted({tag for vote in every for tag in vote.tags})),
        raters=dict(Counter(vote.rater for vote in _among(every, a, b) if vote.rater and vote.repeat_of is None)),
    )


def agreement_on(bench: Bench, tag: str = "", a: str = "", b: str = "") -> Agreement | None:
    """How far people agree on prompts with that tag ("": on all), and on these models; None while no two voted on the
    same comparison.
    """
    judged = judged_by(_among(counted(bench.store.comparisons.votes(), VoteFilter(tag=tag)), a, b))
    return agreement(judged) if is_shared(judged) else None


def votes_between(bench: Bench, a: str, b: str, which: VoteFilter | None = None) -> tuple[list[Vote], list[Vote]]:
    """The votes behind the standing of two models, oldest first; then those on pairs that wait for this rater.

    Nothing of the second ones may be told but who voted on which pair.
    """
    return unseen.told(bench, _among(counted(bench.store.comparisons.votes(), which), a, b))


def _of(found: Sequence[Score], a: str, b: str) -> list[Score]:
    wanted = {name for name in (a, b) if name}
    return [seen_from(a, score) if a else score for score in found if wanted <= {score.a, score.b}]


def _left_out(found: Sequence[Differing], a: str, b: str) -> int:
    """Of each two models by themselves: how much answers differ depends on whose they are."""
    wanted = {name for name in (a, b) if name}
    between: dict[frozenset[str], tuple[list[float], list[float]]] = {}
    for one in found:
        if wanted <= {one.a, one.b}:
            voted, waiting = between.setdefault(frozenset((one.a, one.b)), ([], []))
            (voted if one.is_voted else waiting).append(one.difference)
    return sum(len(waiting) for voted, waiting in between.values() if _differ_less(waiting, voted))


def _differ_less(waiting: Sequence[float], voted: Sequence[float]) -> bool:
    return min(len(waiting), len(voted)) >= FEWEST_WAITING and mean(voted) - mean(waiting) > LEFT_OUT_GAP


def _with_all_pairs(found: list[Score], of_chosen: Sequence[Vote]) -> list[Score]:
    """Also the pairs of models that only have votes on chosen prompts: with nothing that counts."""
    known = {frozenset((score.a, score.b)) for score in found}
    others = [score for score in scores(of_chosen) if frozenset((score.a, score.b)) not in known]
    return [*found, *(Score(score.a, score.b, 0, 0, 0, 0) for score in others)]


def _among(votes: Sequence[Vote], a: str, b: str) -> list[Vote]:
    wanted = {name for name in (a, b) if name}
    return [vote for vote in votes if wanted <= {vote.a, vote.b}]


def _anchor(bench: Bench, votes: Sequence[Vote]) -> str:
    """The base model with the most votes; "" when no base was compared."""
    bases = {model.name for model in bench.store.models.list() if model.kind is ModelKind.BASE}
    found = Counter(name for vote in votes for name in (vote.a, vote.b) if name in bases)
    return max(found, key=lambda name: (found[name], name), default="")
