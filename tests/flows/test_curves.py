"""Curves that are looked at again and again: the same as read anew, at the cost of what came since."""

from __future__ import annotations

import math
import random

import pytest

from tiny_llama import make_run
from workbench.domain.runs import Metric
from workbench.flows.bench import Bench
from workbench.flows.curves import NEWEST, Curves
from workbench.store.runs import Runs


@pytest.fixture
def run_id(bench: Bench) -> int:
    directory = make_run(bench.workspace.runs / "1-run", bench.workspace.root)
    return bench.store.runs.add(directory.spec(), str(directory.root)).id


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many points each reading of the store gave."""
    counts: list[int] = []
    metrics = Runs.metrics

    def counted(self: Runs, *args: object, **rest: object) -> list[Metric]:
        found = metrics(self, *args, **rest)  # type: ignore[arg-type]
        counts.append(len(found))
        return found

    monkeypatch.setattr(Runs, "metrics", counted)
    return counts


def told(bench: Bench, run_id: int, *points: tuple[int, float], after: int | None = None) -> None:
    offset = bench.store.runs.offset(run_id) + 1
    metrics = [Metric(step, "loss", value, f"{offset}") for step, value in points]
    bench.store.runs.record(run_id, metrics, offset=offset, after=after)


def test_a_long_curve_is_read_once_and_then_read_on(bench: Bench, run_id: int, read: list[int]) -> None:
    told(bench, run_id, *((step, 1 / step) for step in range(1, 1001)))
    assert len(bench.curves.of(run_id, "loss")) == 1000
    for step in (1001, 1002):
        told(bench, run_id, (step, 0.5))
        curve = bench.curves.of(run_id, "loss")
        assert curve.points[-1] == (step, 0.5) and len(curve) == step
        assert [m.step for m in curve.newest] == list(range(step - NEWEST + 1, step + 1))
    assert bench.curves.of(run_id, "loss") is curve
    assert read == [1000, 3, 3, 2]


def test_a_last_point_that_is_told_again_is_replaced(bench: Bench, run_id: int) -> None:
    told(bench, run_id, (1, 4.0), (2, 3.0), (3, math.nan))
    assert bench.curves.of(run_id, "loss").first_bad_step == 3
    told(bench, run_id, (3, 2.0))
    curve = bench.curves.of(run_id, "loss")
    assert curve.points == [(1, 4.0), (2, 3.0), (3, 2.0)] and curve.first_bad_step is None
    assert [m.value for m in curve.newest] == [4.0, 3.0, 2.0]


def test_whatever_is_told_repeated_or_undone_a_curve_is_as_the_store_has_it(bench: Bench, run_id: int) -> None:
    dice, step = random.Random(7), 0
    for _ in range(60):
        after = None
        if dice.random() < 0.2:
            after = step = dice.randint(0, step)
        step = max(1, step - (dice.random() < 0.2))
        points = []
        for _ in range(dice.randint(0, 4)):
            points.append((step, dice.random()))
            step += dice.randint(1, 3)
        told(bench, run_id, *points, after=after)
        if dice.random() < 0.7:
            kept = bench.store.runs.metrics(run_id, "loss")
            curve = bench.curves.of(run_id, "loss")
            assert curve.points == [(m.step, m.value) for m in kept]
            assert list(curve.newest) == kept[-NEWEST:]


def test_curves_of_many_runs_are_not_all_kept(bench: Bench, run_id: int) -> None:
    from workbench.flows.curves import MOST_KEPT

    curves = Curves(bench.store.runs)
    for number in range(MOST_KEPT + 5):
        curves.of(run_id, f"figure {number}")
    assert len(curves._kept) == MOST_KEPT
