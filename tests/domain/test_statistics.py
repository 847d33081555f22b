from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binomtest

from simulated_rater import planned, sessions
from workbench.domain.comparisons import Score
from workbench.domain.statistics import DECIDED_E_VALUE, e_value, verdict, votes_to_decide, wilson_interval, win_rate


def score(a: int, b: int, ties: int = 0, both_bad: int = 0) -> Score:
    return Score("a", "b", a, b, ties, both_bad)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(counts: tuple[int, int]) -> None:
    wins, total = counts
    for confidence in (0.8, 0.95, 0.99):
        expected = binomtest(wins, total).proportion_ci(confidence, method="wilson")
        low, high = wilson_interval(wins, total, confidence=confidence)
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_nothing_observed_could_be_anything() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert win_rate(score(0, 0, ties=5)).value is None


def test_ties_and_both_bad_are_left_out_of_the_share() -> None:
    rate = win_rate(score(6, 2, ties=10, both_bad=3))
    assert (rate.value, rate.decided) == (0.75, 8)
    assert (rate.low, rate.high) == wilson_interval(6, 8)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 5), (8, 2), (0, 12), (30, 11), (60, 40)])
def test_the_e_value_is_the_mixture_against_one_half(wins: int, losses: int) -> None:
    mixture, _ = quad(lambda p: p**wins * (1 - p) ** losses, 0, 1, epsabs=0, epsrel=1e-11)
    assert e_value(wins, losses) == pytest.approx(mixture / 0.5 ** (wins + losses), rel=1e-8)


def test_the_e_value_is_a_martingale_under_no_difference() -> None:
    for wins in range(12):
        for losses in range(12):
            after = (e_value(wins + 1, losses) + e_value(wins, losses + 1)) / 2
            assert after == pytest.approx(e_value(wins, losses))


def test_a_huge_score_is_no_overflow() -> None:
    assert math.isfinite(e_value(10_000, 0)) and e_value(10_000, 0) > 1e300


def test_looking_after_every_vote_is_seldom_wrong_when_both_are_equal() -> None:
    """Ville's inequality promises at most 1 in 20; the plain interval, looked at as often, is wrong far oftener."""
    found = sessions(0.5, count=1000, limit=150, seed=5)
    assert (found.a + found.b) / found.count < 0.05
    assert found.naive / found.count > 0.2


def test_a_truth_of_65_percent_is_found_in_about_as_many_votes_as_a_fixed_plan_needs() -> None:
    found = sessions(0.65, count=300, limit=600, seed=6)
    assert found.a / found.count > 0.99 and found.b / found.count < 0.01
    assert planned(0.65) == 85
    assert 0.7 * planned(0.65) < found.quartiles[1] < 1.3 * planned(0.65)


def test_the_verdict_names_the_better_side_once_it_is_decided() -> None:
    assert verdict(score(20, 2)) == "a"
    assert verdict(score(2, 20)) == "b"
    assert verdict(score(3, 2, ties=1000)) == "undecided"
    assert verdict(score(0, 0)) == "undecided"


def test_the_projection_says_when_the_present_share_would_decide() -> None:
    more = votes_to_decide(score(7, 3))
    assert more is not None and more > 0
    total = 10 + more
    wins = round(0.7 * total)
    assert e_value(wins, total - wins) >= DECIDED_E_VALUE
    assert votes_to_decide(score(7, 3)) == votes_to_decide(score(3, 7))
    assert votes_to_decide(score(50, 0)) == 0
    assert votes_to_decide(score(5, 5)) is None
    assert votes_to_decide(score(0, 0, ties=9)) is None


def test_a_smaller_difference_needs_more_votes() -> None:
    needed = [votes_to_decide(score(*pair)) for pair in ((9, 1), (8, 2), (7, 3), (6, 4))]
    assert None not in needed and needed == sorted(needed, key=lambda n: n or 0)
    assert len(set(needed)) == 4
