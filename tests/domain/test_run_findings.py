"""What is said of synthetic curves whose truth is known."""

from __future__ import annotations

import math
import random

import pytest

from workbench.domain.run_findings import (
    LIMITS,
    Canary,
    Level,
    Retention,
    RunNumbers,
    canary_findings,
    findings,
    forgetting,
    held_out_result,
    is_looping,
    length_drift,
    overfitting,
    plateau,
)


def decaying(steps: int, *, until: int, noise: float = 0.0, seed: int = 1) -> list[tuple[int, float]]:
    """A loss that falls in a straight line from 3 to 1 by the step ``until``, and stays there."""
    draw = random.Random(seed)
    return [(s, max(1.0, 3.0 - 2.0 * s / until) + draw.gauss(0, noise)) for s in range(1, steps + 1)]


def names(found: object) -> list[str]:
    return [one.name for one in found]  # type: ignore[attr-defined]


def test_a_held_out_loss_that_rises_after_its_lowest_point_is_overfitting_and_the_step_is_named() -> None:
    found = list(overfitting([(0, 2.0), (100, 1.2), (200, 1.0), (300, 1.1), (400, 1.4)]))
    assert names(found) == ["overfitting"]
    assert "lowest at step 200" in found[0].said and "+40 %" in found[0].said


@pytest.mark.parametrize(
    "held_out",
    [
        [(0, 2.0), (100, 1.2), (200, 1.0)],
        [(0, 2.0), (100, 1.0), (200, 1.0 * (1 + LIMITS["overfit_rise"].value))],
        [(0, 1.0), (100, 1.2), (200, 1.4)],
        [(0, 2.0), (200, 1.0)],
        [],
    ],
    ids=["still falling", "rose no more than the limit", "worse from the start", "no point between", "not measured"],
)
def test_no_overfitting_is_told_of_other_curves(held_out: list[tuple[int, float]]) -> None:
    assert list(overfitting(held_out)) == []


def test_a_loss_that_is_the_same_to_the_last_digit_is_a_warning_that_nothing_was_learnt() -> None:
    (found,) = held_out_result([(0, 2.0), (10, 2.0)])
    assert (found.name, found.level) == ("unchanged", Level.WARNING) and "learning_rate" in found.said
    assert names(held_out_result([(0, 2.0), (10, 2.5)], kept_step=0)) == ["same"], "the start itself was kept"
    assert names(held_out_result([(0, 0.5), (10, 0.5)], measure="reward")) == ["same"], "a mean of few numbers"


def test_better_and_worse_are_told_by_the_held_out_loss_before_and_after() -> None:
    assert names(held_out_result([(0, 2.0), (10, 1.5)])) == ["better"]
    assert names(held_out_result([(0, 2.0), (10, 2.1)])) == ["worse"]
    assert names(held_out_result([(0, 2.0), (10, 2.0 + 1e-9)])) == ["same"]
    # What rounds to no change is neither: a learning rate that is far too low looks so.
    assert names(held_out_result([(0, 1.1713), (10, 1.17118)])) == ["same"]
    assert names(held_out_result([(0, 1.17), (10, 1.17 * 1.006)])) == ["worse"]
    assert names(held_out_result([(0, 2.0)])) == []


def test_of_a_reward_more_is_better_also_below_zero() -> None:
    (found,) = held_out_result([(0, -2.0), (10, -1.5)], measure="reward")
    assert found.name == "better" and "held-out reward -2 → -1.5 (+25 %)" in found.said
    assert names(held_out_result([(0, 0.5), (10, 0.4)], measure="reward")) == ["worse"]
    assert list(overfitting([(0, 0.1), (5, 0.9), (10, 0.2)], measure="reward")) == []


def test_pairs_are_judged_by_the_loss_of_the_pairs_and_fading_answers_are_told_beside_it() -> None:
    gains = {"loss": (0.28, 0.35), "accuracy": (0.5, 0.97), "margin": (0.0, 0.448), "pair_loss": (0.693, 0.5)}
    run = RunNumbers(held_out=[(0, 0.693), (20, 0.5)], measure="pair_loss", gains=gains)
    told = {one.name: one for one in findings(run)}
    assert list(told) == ["fading", "better", "preference"]
    assert "held-out loss of the pairs 0.693 → 0.5 (-28 %)" in told["better"].said
    assert "97% of the held-out rows (50% before); reward margin 0 → 0.448" in told["preference"].said
    assert told["preference"].level is Level.GOOD and told["fading"].level is Level.WARNING
    assert "their held-out loss 0.28 → 0.35 (+25 %)" in told["fading"].said
    within = RunNumbers(measure="pair_loss", gains=gains | {"loss": (0.28, 0.28 * (1 + LIMITS["fading"].value))})
    assert names(findings(within)) == ["preference"]
    assert "fading" not in names(findings(RunNumbers(measure="loss", gains=gains)))
    worse = RunNumbers(gains={"accuracy": (0.5, 0.4)})
    assert [one.level for one in findings(worse)] == [Level.WARNING]


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2])
def test_a_loss_that_stands_still_for_the_last_half_is_a_plateau(noise: float) -> None:
    found = list(plateau(decaying(400, until=200, noise=noise)))
    assert names(found) == ["plateau"]
    assert found[0].level is Level.NOTE


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_loss_that_falls_to_the_end_is_no_plateau(noise: float) -> None:
    assert list(plateau(decaying(400, until=400, noise=noise))) == []


def test_a_loss_that_never_moved_is_flat() -> None:
    assert names(plateau([(s, 2.0 + 0.01 * math.sin(s)) for s in range(100)])) == ["flat"]


def test_a_loss_near_zero_that_still_halves_is_a_plateau_by_the_whole_fall() -> None:
    assert names(plateau([(s, math.exp(-s / 20) + 0.01 - s / 80_000) for s in range(1, 401)])) == ["plateau"]


def test_a_noisy_loss_that_still_loses_a_quarter_of_itself_is_none() -> None:
    draw = random.Random(4)
    curve = [(s, 0.2 + 0.8 * math.exp(-s / 14) + draw.gauss(0, 0.08)) for s in range(1, 61)]
    assert names(plateau(curve)) == []


def test_a_rising_loss_is_no_plateau() -> None:
    assert list(plateau([(s, 1.0 + s / 100) for s in range(100)])) == []


def test_a_short_curve_is_not_judged() -> None:
    assert list(plateau(decaying(int(LIMITS["plateau_points"].value) - 1, until=5))) == []


def test_answers_that_become_twice_as_long_are_told_and_small_changes_are_not() -> None:
    drifted = [(s, 20.0 + 20.0 * s / 100) for s in range(101)]
    found = list(length_drift(drifted))
    assert names(found) == ["length"] and "longer" in found[0].said
    assert list(length_drift([(s, 20.0 + 5.0 * s / 100) for s in range(101)])) == []
    assert list(length_drift([(0, 2.0), (1, 4.0)])) == []
    assert "shorter" in next(length_drift([(0, 60.0), (1, 12.0)])).said


def test_forgetting_is_told_beyond_the_limit_and_keeping_within() -> None:
    forgot = next(forgetting(Retention(1.0, 1.2, limit=0.1)))
    assert (forgot.name, forgot.level) == ("forgot", Level.WARNING)
    assert "+20 %" in forgot.said and "10 %" in forgot.said
    assert names(forgetting(Retention(1.0, 1.2, limit=0.25))) == ["kept"]
    assert names(forgetting(Retention(1.0, 0.9))) == ["kept"]
    assert names(forgetting(Retention())) == []


def test_canaries_tell_silence_circles_and_how_many_changed() -> None:
    circle = "the tea is the tea is the tea is the tea is the tea"
    canaries = [Canary("hello", "Hello.", ""), Canary("tea?", "Tea is fine.", circle), Canary("sea?", "Blue.", "Blue.")]
    found = {one.name: one.said for one in canary_findings(canaries)}
    assert set(found) == {"silent", "loops", "canaries"}
    assert "1 of 3" in found["silent"] and "2 of 3" in found["canaries"]


def test_an_ordinary_text_does_not_run_in_circles() -> None:
    assert not is_looping("Boil the potatoes for twenty minutes, then mash them with butter, milk and a pinch of salt.")
    assert is_looping("a b c " * 10)


def test_the_loudest_comes_first() -> None:
    numbers = RunNumbers(held_out=[(0, 2.0), (10, 1.0)], retention=Retention(1.0, 2.0))
    assert [one.level for one in findings(numbers)] == [Level.WARNING, Level.GOOD]


def test_overfitting_that_was_undone_is_a_note_and_the_kept_weights_are_what_is_told() -> None:
    held_out = [(0, 2.0), (100, 1.2), (200, 1.0), (300, 1.4)]
    found = {one.name: one for one in findings(RunNumbers(held_out=held_out, kept_step=200))}
    assert found["overfitting"].level is Level.NOTE and "kept the weights of step 200" in found["overfitting"].said
    assert "2 → 1 (-50 %)" in found["better"].said


def test_figures_over_a_base_in_few_bits_say_so_with_the_setting_that_answers_alike() -> None:
    run = RunNumbers(held_out=[(0, 2.0), (10, 1.0)], quantization="4bit")
    told = {one.name: one for one in findings(run)}["quantised"]
    assert told.level is Level.NOTE and "over a base in 4 bits" in told.said
    assert "engine.precision = 4bit" in told.said
    assert "quantised" not in names(findings(RunNumbers(held_out=run.held_out)))
    assert "quantised" not in names(findings(RunNumbers(quantization="4bit")))
