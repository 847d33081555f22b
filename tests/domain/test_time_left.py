"""How long a run still needs."""

from __future__ import annotations

import pytest

from workbench.domain.runs import TimeLeft, time_left


def steps(*seconds: float) -> list[tuple[int, float]]:
    """Marks of steps 1, 2, ... that took so long each, the first done at moment 100."""
    moment, marks = 100.0, [(1, 100.0)]
    for number, taken in enumerate(seconds, start=2):
        moment += taken
        marks.append((number, moment))
    return marks


def test_nothing_is_said_before_a_step_was_timed_or_without_an_end() -> None:
    assert time_left([], 100) is None
    assert time_left(steps(), 100) is None
    assert time_left(steps(1.0, 1.0), 0) is None


def test_the_median_step_is_multiplied_by_the_steps_left() -> None:
    assert time_left(steps(2.0, 2.0, 2.0), 10) == TimeLeft(6 * 2.0, rough=True)


def test_a_pause_for_a_checkpoint_does_not_move_it() -> None:
    left = time_left(steps(*[1.0] * 10, 300.0, *[1.0] * 10), 122)
    assert left == TimeLeft(pytest.approx(100.0), rough=False)


def test_only_the_last_steps_count() -> None:
    left = time_left(steps(*[9.0] * 100, *[1.0] * 50), 161)
    assert left == TimeLeft(pytest.approx(10.0), rough=False)


def test_it_is_rough_until_twenty_steps_were_timed() -> None:
    for timed, rough in ((19, True), (20, False)):
        left = time_left(steps(*[1.0] * timed), 100)
        assert left is not None
        assert left.rough is rough


def test_points_that_are_several_steps_apart_count_per_step() -> None:
    assert time_left([(10, 0.0), (20, 5.0), (30, 10.0)], 40) == TimeLeft(5.0, rough=True)


def test_a_run_past_its_end_needs_nothing() -> None:
    assert time_left(steps(1.0, 1.0), 2) == TimeLeft(0.0, rough=True)


def test_a_clock_that_went_back_is_not_counted() -> None:
    assert time_left([(1, 50.0), (2, 10.0), (3, 12.0)], 4) == TimeLeft(2.0, rough=True)
