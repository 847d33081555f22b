"""A rater who votes for the first of two models with a fixed chance, looked at after every vote."""

from __future__ import annotations

import random
from dataclasses import dataclass
from statistics import NormalDist, quantiles

from workbench.domain.comparisons import Score
from workbench.domain.statistics import verdict, wilson_interval


@dataclass(frozen=True, slots=True)
class Session:
    """How one session went: the verdict it ended with, and after how many decided votes (the limit if undecided).

    ``naive`` says whether, at some look, the plain 95 % interval excluded one half: what somebody sees who stops then.
    """

    verdict: str
    votes: int
    naive: bool


def session(truth: float, limit: int, draw: random.Random) -> Session:
    """Votes until the sequential verdict is there, at most ``limit``."""
    wins = losses = 0
    naive = False
    for votes in range(1, limit + 1):
        wins, losses = (wins + 1, losses) if draw.random() < truth else (wins, losses + 1)
        low, high = wilson_interval(wins, votes)
        naive = naive or not low <= 0.5 <= high
        if (found := verdict(Score("a", "b", wins, losses, 0, 0))) != "undecided":
            return Session(found, votes, naive)
    return Session("undecided", limit, naive)


@dataclass(frozen=True, slots=True)
class Sessions:
    """What many sessions with one truth came to. Quartiles are of the votes until a verdict, None below a half."""

    truth: float
    count: int
    limit: int
    a: int
    b: int
    naive: int
    quartiles: tuple[float, ...]


def sessions(truth: float, *, count: int, limit: int, seed: int) -> Sessions:
    """So many sessions; undecided ones count as taking ``limit`` votes."""
    draw = random.Random(seed)
    every = [session(truth, limit, draw) for _ in range(count)]
    return Sessions(
        truth,
        count,
        limit,
        sum(one.verdict == "a" for one in every),
        sum(one.verdict == "b" for one in every),
        sum(one.naive for one in every),
        tuple(quantiles((one.votes for one in every), n=4)),
    )


def planned(truth: float, *, power: float = 0.8, error: float = 0.05) -> int:
    """Votes that a fixed plan needs: looked at once, two-sided, by the normal approximation."""
    normal = NormalDist()
    z, half = normal.inv_cdf(1 - error / 2), 0.5
    spread = z * half + normal.inv_cdf(power) * (truth * (1 - truth)) ** 0.5
    return round((spread / (truth - half)) ** 2)
