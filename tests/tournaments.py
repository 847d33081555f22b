"""Tournaments of models whose strengths are known, and a second program that ranks them.

The second program shares no code with ours: numpy draws the prompts, choix fits the strengths.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, log

import choix
import numpy as np
import numpy.typing as npt

from workbench.domain.comparisons import Vote
from workbench.domain.rankings import PRIOR, ranking

STRENGTHS = (0.0, 0.3, 0.6, 1.2)
"""Log strengths: on Elo's scale 0, 52, 104 and 208 points."""

NAMES = "abcd"
ELO = 400 / log(10)

Wins = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked: ``pairs`` comparisons on each of ``prompts`` prompts, and which share of the votes are ties.

    ``taste`` is the standard deviation (log strength) of how much better or worse a model is on one prompt than on all:
    with it, votes on the same prompt are alike.
    """

    prompts: int
    pairs: int = 1
    ties: float = 0.0
    taste: float = 0.0


def played(plan: Plan, seed: int) -> list[Vote]:
    """One tournament's votes."""
    draw = random.Random(seed)
    votes: list[Vote] = []
    for prompt in range(plan.prompts):
        here = [strength + draw.gauss(0, plan.taste) for strength in STRENGTHS]
        for a, b in draw.sample(list(combinations(range(len(here)), 2)), plan.pairs):
            wins = draw.random() < 1 / (1 + exp(here[b] - here[a]))
            outcome = "tie" if draw.random() < plan.ties else "a" if wins else "b"
            votes.append(Vote(len(votes), f"p{prompt}", NAMES[a], NAMES[b], outcome, True, 10, 10, rater="r"))
    return votes


def truth(plan: Plan) -> dict[str, float]:
    """The ratings that endlessly many votes would give, against ``a``: a tie is half a win, and draws models together.

    The shares of wins over all prompts are integrated by Gauss and Hermite's rule.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    wins = np.zeros((len(NAMES), len(NAMES)))
    for a, b in combinations(range(len(NAMES)), 2):
        gaps = STRENGTHS[a] - STRENGTHS[b] + nodes * plan.taste * np.sqrt(2)
        share = float((weights / (1 + np.exp(-gaps))).sum() / weights.sum())
        wins[a, b] = (1 - plan.ties) * share + plan.ties / 2
        wins[b, a] = 1 - wins[a, b]
    return _against_a(wins)


def second_intervals(votes: Sequence[Vote], *, resamples: int, seed: int) -> dict[str, tuple[float, float]]:
    """The 2.5 and 97.5 % quantiles of each rating against ``a`` over resampled prompts, by numpy and choix."""
    prompts = sorted({vote.prompt for vote in votes})
    by_prompt = np.zeros((len(prompts), len(NAMES), len(NAMES)))
    for vote in votes:
        a, b, at = NAMES.index(vote.a), NAMES.index(vote.b), prompts.index(vote.prompt)
        points = {"a": 1.0, "b": 0.0}.get(vote.outcome, 0.5)
        by_prompt[at, a, b] += points
        by_prompt[at, b, a] += 1 - points
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        wins = by_prompt[draw.integers(len(prompts), size=len(prompts))].sum(axis=0)
        met = (wins + wins.T) > 0
        found.append(_against_a(wins + PRIOR * met))
    return {
        name: (
            float(np.quantile([one[name] for one in found], 0.025)),
            float(np.quantile([one[name] for one in found], 0.975)),
        )
        for name in NAMES
    }


def _against_a(wins: Wins) -> dict[str, float]:
    fitted = choix.ilsr_pairwise_dense(wins)
    return {name: ELO * float(value - fitted[0]) for name, value in zip(NAMES, fitted, strict=True)}


@dataclass(frozen=True, slots=True)
class Covered:
    """Of so many intervals that were told, how many held the truth, and how many could not be told."""

    held: int
    told: int
    untold: int
    width: float
    """The median width in points."""


def covered(plan: Plan, *, count: int, seed: int, resamples: int) -> Covered:
    """Rank ``count`` tournaments with our own program and look whether the intervals hold the truth."""
    true, held, untold = truth(plan), 0, 0
    widths: list[float] = []
    for number in range(count):
        found = ranking(played(plan, seed + number), anchor="a", seed=number, resamples=resamples)
        for rank in found:
            if rank.model == "a":
                continue
            if rank.low is None or rank.high is None:
                untold += 1
                continue
            held += rank.low <= true[rank.model] <= rank.high
            widths.append(rank.high - rank.low)
    return Covered(held, len(widths), untold, float(np.median(widths)))
