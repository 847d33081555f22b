"""A ranking of many models from votes on pairs of them: Bradley-Terry strengths with bootstrap intervals.

choix and evalica fit the same model, but need numpy, which must not be loaded beside a screen; the iteration is a few
lines, and the tests check it against choix.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

from workbench.domain.comparisons import Vote

SCALE = 400 / log(10)
"""Elo's scale: 400 points are odds of ten to one."""

PRIOR = 0.1
"""Wins that each of two compared models is given over the other beforehand, so that no strength is infinite."""

RESAMPLES = 500
_TOLERANCE = 1e-7
_ROUGH = 2e-3
"""A third of a point on Elo's scale: near enough for one resample of many."""
_ALIKE = 1.0
"""Points on Elo's scale: resamples that differ by less differ by how roughly they were fitted."""

_MOST_ROUNDS = 2_000

Wins = Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Rank:
    """A model's place. ``rating`` is relative to the anchor of its group, which has 0; the interval holds 95 %.

    ``low`` and ``high`` are None where all resamples say the same, as those of votes that are all alike do: how far the
    rating may be off cannot be told then.

    Models of different ``group`` were never compared, not even by way of others, so that their ratings say nothing
    about each other.
    """

    model: str
    rating: float
    low: float | None
    high: float | None
    votes: int
    group: int = 0


def wins_of(votes: Iterable[Vote]) -> dict[tuple[str, str], float]:
    """How often the first beat the second; a tie and two bad answers are half a win for each."""
    wins: dict[tuple[str, str], float] = {}
    for vote in votes:
        for pair, points in _points(vote):
            wins[pair] = wins.get(pair, 0.0) + points
    return wins


def _points(vote: Vote) -> Sequence[tuple[tuple[str, str], float]]:
    match vote.outcome:
        case "a":
            return (((vote.a, vote.b), 1.0),)
        case "b":
            return (((vote.b, vote.a), 1.0),)
        case _:
            return (((vote.a, vote.b), 0.5), ((vote.b, vote.a), 0.5))


def bradley_terry(
    wins: Wins, *, prior: float = PRIOR, start: Mapping[str, float] | None = None, tolerance: float = _TOLERANCE
) -> dict[str, float]:
    """The log strengths that make these wins the most likely; only their differences mean anything.

    The iteration begins at ``start`` and ends when none moves by more than ``tolerance``.

    Minorisation-maximisation: D. R. Hunter, "MM algorithms for generalized Bradley-Terry models", Annals of Statistics
    32 (2004).
    """
    met, won = _tables(wins, prior)
    strength = {model: exp((start or {}).get(model, 0.0)) for model in met}
    for _ in range(_MOST_ROUNDS):
        moved = 0.0
        for model, others in met.items():
            total = sum(games / (strength[model] + strength[other]) for other, games in others.items())
            new = won[model] / total
            moved = max(moved, abs(log(new / strength[model]))) if new > 0 else moved
            strength[model] = max(new, 1e-300)
        if moved < tolerance:
            break
        middle = exp(sum(log(value) for value in strength.values()) / len(strength))
        strength = {model: value / middle for model, value in strength.items()}
    return {model: log(value) for model, value in strength.items()}


def _tables(wins: Wins, prior: float) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """How often each model met each other one, and how often it won."""
    met: dict[str, dict[str, float]] = {}
    won: dict[str, float] = {}
    for a, b in dict.fromkeys((min(pair), max(pair)) for pair in wins):
        for model, other in ((a, b), (b, a)):
            met.setdefault(model, {})[other] = wins.get((a, b), 0.0) + wins.get((b, a), 0.0) + 2 * prior
            won[model] = won.get(model, 0.0) + wins.get((model, other), 0.0) + prior
    return met, won


def ranking(votes: Sequence[Vote], *, anchor: str = "", seed: int = 0, resamples: int = RESAMPLES) -> list[Rank]:
    """Every model with its rating, best first within its group. Each vote counts: see ``results.of_comparisons``.

    Intervals are percentiles of fits to resampled prompts (votes on the same prompt stay together). ``anchor`` is the
    model at 0; in a group without it, it is the model with the most votes.
    """
    if not votes:
        return []
    counted = Counter(model for vote in votes for model in (vote.a, vote.b))
    groups = _groups(votes)
    anchors = {
        number: anchor if groups.get(anchor) == number else max(members, key=lambda m: (counted[m], m))
        for number, members in _members(groups).items()
    }
    fitted = _relative(bradley_terry(wins_of(votes)), groups, anchors)
    spread = _bootstrap(votes, groups, anchors, seed=seed, resamples=resamples)
    found = []
    for model, rating in fitted.items():
        low, high = (0.0, 0.0) if anchors[groups[model]] == model else _interval(spread.get(model, []))
        found.append(Rank(model, rating, low, high, counted[model], groups[model]))
    return sorted(found, key=lambda rank: (rank.group, -rank.rating, rank.model))


def _bootstrap(
    votes: Sequence[Vote], groups: Mapping[str, int], anchors: Mapping[int, str], *, seed: int, resamples: int
) -> dict[str, list[float]]:
    by_prompt: dict[str, list[tuple[tuple[str, str], float]]] = {}
    for vote in votes:
        by_prompt.setdefault(vote.prompt, []).extend(_points(vote))
    numbers: dict[tuple[tuple[tuple[str, str], float], ...], int] = {}  # most prompts have one vote: few are different
    drawn = [numbers.setdefault(tuple(found), len(numbers)) for found in by_prompt.values()]
    clusters = list(numbers)
    whole = bradley_terry(wins_of(votes))
    draw = random.Random(seed)
    spread: dict[str, list[float]] = {}
    for _ in range(resamples):
        wins: dict[tuple[str, str], float] = {}
        for number, times in Counter(draw.choices(drawn, k=len(drawn))).items():
            for pair, points in clusters[number]:
                wins[pair] = wins.get(pair, 0.0) + times * points
        fitted = bradley_terry(wins, start=whole, tolerance=_ROUGH)
        for model, rating in _relative(fitted, groups, anchors).items():
            spread.setdefault(model, []).append(rating)
    return spread


def _relative(
    strengths: Mapping[str, float], groups: Mapping[str, int], anchors: Mapping[int, str]
) -> dict[str, float]:
    """Strengths on Elo's scale; those whose anchor was not drawn are left out."""
    return {
        model: SCALE * (strength - strengths[anchors[groups[model]]])
        for model, strength in strengths.items()
        if anchors[groups[model]] in strengths
    }


def _interval(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    ordered = sorted(values)
    if not ordered or ordered[-1] - ordered[0] < _ALIKE:
        return None, None
    return ordered[int(0.025 * (len(ordered) - 1))], ordered[-1 - int(0.025 * (len(ordered) - 1))]


def _groups(votes: Iterable[Vote]) -> dict[str, int]:
    """A number for each model, the same for all that are compared with each other, directly or by way of others."""
    leader: dict[str, str] = {}

    def top(model: str) -> str:
        while leader.setdefault(model, model) != model:
            model = leader[model]
        return model

    for vote in votes:
        leader[top(vote.a)] = top(vote.b)
    tops = {model: top(model) for model in list(leader)}
    numbers = {found: number for number, found in enumerate(dict.fromkeys(tops.values()))}
    return {model: numbers[found] for model, found in tops.items()}


def _members(groups: Mapping[str, int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for model, number in groups.items():
        found.setdefault(number, []).append(model)
    return found
