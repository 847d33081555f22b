"""How often a trainer writes: a slow disk is asked less often, and nothing of a curve is left out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tiny_llama import make_run
from workbench.jobs.run_directory import RunDirectory

pytestmark = pytest.mark.ml
STEPS = 1200


class Clock:
    """Seconds that pass only when something takes them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("disk_seconds", [0.0005, 0.01, 0.03])
def test_what_writing_takes_of_a_runs_time_is_bounded_whatever_the_disk_takes(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, disk_seconds: float
) -> None:
    from workbench.worker.trainer import progress, reporting

    clock, spent = Clock(), 0.0
    monkeypatch.setattr(reporting, "time", clock)
    monkeypatch.setattr(progress, "time", clock)
    write = RunDirectory.write_status

    def slow(self: RunDirectory, *given: Any) -> Any:
        nonlocal spent
        spent += disk_seconds
        clock.now += disk_seconds
        return write(self, *given)

    directory = make_run(tmp_path / "run", tiny_llama)
    reporter = reporting.Reporter(directory)
    told = progress.Progress(reporter, eval_steps=0, measure_held_out=lambda step: None)
    monkeypatch.setattr(RunDirectory, "write_status", slow)
    arguments, control = SimpleNamespace(), SimpleNamespace()
    state = SimpleNamespace(global_step=0, max_steps=STEPS)
    for step in range(1, STEPS + 1):
        state.global_step = step
        told.on_step_begin(arguments, state, control)  # type: ignore[arg-type]
        clock.now += 0.05
        told.on_step_end(arguments, state, control)  # type: ignore[arg-type]
        told.on_log(arguments, state, control, {"loss": float(step)})  # type: ignore[arg-type]
    told.on_train_end(arguments, state, control)  # type: ignore[arg-type]
    reporter.close()
    assert spent / (STEPS * 0.05) < 0.005
    events = [event for event in directory.events()[0] if event["event"] == "metrics"]
    losses = [
        tuple(pair) for event in events for pair in event.get("losses", [(event["step"], event["values"]["loss"])])
    ]
    assert losses == [(step, float(step)) for step in range(1, STEPS + 1)]


def test_what_is_held_back_of_a_curve_is_written_with_a_checkpoint(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.trainer import progress, reporting

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    directory = make_run(tmp_path / "run", tiny_llama)
    reporter = reporting.Reporter(directory)
    told = progress.Progress(reporter, eval_steps=0, measure_held_out=lambda step: None)
    arguments, control, state = SimpleNamespace(), SimpleNamespace(), SimpleNamespace(global_step=0, max_steps=9)
    for step in range(1, 4):
        state.global_step = step
        told.on_log(arguments, state, control, {"loss": float(step)})  # type: ignore[arg-type]
    told.on_save(arguments, state, control)  # type: ignore[arg-type]
    reporter.close()
    kinds = [(event["event"], event["step"]) for event in directory.events()[0]]
    assert kinds == [("metrics", 1), ("metrics", 3), ("checkpoint", 3)]
