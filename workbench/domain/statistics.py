"""The statistics a vote count is shown with.

scipy and statsmodels have these too, but load numpy and pandas into the TUI's process; the formulas are short, and the
tests check them against scipy.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, fsum, lgamma, log, sqrt
from statistics import NormalDist

from workbench.domain.comparisons import Score

DECIDED_E_VALUE = 20.0


@dataclass(frozen=True, slots=True)
class WinRate:
    """A share with its interval, all in 0 to 1; ``value`` is None when nothing was decided."""

    value: float | None
    low: float
    high: float
    decided: int


def wilson_interval(wins: float, total: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a binomial share; (0, 1) for no observations.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = wins / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def binomial_p(hits: int, total: int) -> float:
    """The exact two-sided p value of a fair coin showing ``hits`` heads in ``total``, or something less likely.

    For one look at a number fixed before; who looks after every vote reads ``e_value`` instead.
    """
    extreme = min(hits, total - hits)
    if 2 * extreme == total:
        return 1.0
    log_half = total * log(2)
    tail = fsum(exp(_log_choose(total, k) - log_half) for k in range(extreme + 1))
    return min(1.0, 2 * tail)


def _log_choose(total: int, hits: int) -> float:
    return lgamma(total + 1) - lgamma(hits + 1) - lgamma(total - hits + 1)


def win_rate(score: Score) -> WinRate:
    """The share of decided votes that ``score.a`` won, ties and both-bad left out, with Wilson's 95 % interval."""
    low, high = wilson_interval(score.a_wins, score.decided)
    value = score.a_wins / score.decided if score.decided else None
    return WinRate(value, low, high, score.decided)


def e_value(wins: int, losses: int) -> float:
    """Evidence against "both are equally good", valid however often one looks: decided at 20 or more.

    The likelihood ratio of a uniform mixture over the win probability against one half; a nonnegative martingale under
    the null, so it exceeds 20 with probability at most 1/20 (Ville's inequality).
    """
    total = wins + losses
    log_beta = lgamma(1 + wins) + lgamma(1 + losses) - lgamma(2 + total)
    return exp(min(700.0, log_beta + total * log(2)))


def verdict(score: Score) -> str:
    """A word for the score: ``a``, ``b`` or ``undecided``; safe to read after every vote."""
    if e_value(score.a_wins, score.b_wins) < DECIDED_E_VALUE:
        return "undecided"
    return "a" if score.a_wins > score.b_wins else "b"


def votes_to_decide(score: Score, *, limit: int = 100_000) -> int | None:
    """How many more decided votes settle it if the present share holds; None if the share is one half or never.

    A projection, not a promise: the share itself is uncertain.
    """
    if score.decided == 0 or score.a_wins == score.b_wins:
        return None
    share = max(score.a_wins, score.b_wins) / score.decided
    total = score.decided
    while total < limit:
        wins = round(share * total)
        if e_value(wins, total - wins) >= DECIDED_E_VALUE:
            return total - score.decided
        total += max(1, total // 50)
    return None
