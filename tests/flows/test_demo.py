"""The demo's waiting: it goes on as long as a run makes steps, however slow the machine is."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from finished_run import add_rows, finish, launched
from workbench.domain.runs import RunState, RunStatus
from workbench.errors import RunError
from workbench.flows import demo, train
from workbench.flows.bench import Bench


class Clock:
    """Each wait takes ten minutes, and then ``happens`` does what the run did meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.waits, self.happens = 0.0, 0, lambda waits: None
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += 600
        self.waits += 1
        self.happens(self.waits)


def test_a_slow_run_is_waited_for_and_told_of_and_one_that_stands_still_is_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rows(bench, 20)
    run = launched(bench, name="slow")
    clock = Clock(monkeypatch)
    monkeypatch.setattr(train, "sync", lambda bench: None)

    def steps(waits: int) -> None:
        if waits < 6:
            bench.store.runs.update(run.id, RunStatus(RunState.RUNNING, waits, 6))
        else:
            finish(bench, run)
            train.take_over(bench, run)

    clock.happens = steps
    said: list[str] = []
    assert demo._wait(bench, run, said.append).state is RunState.FINISHED
    assert said[-1].strip() == "running, step 5 of 6"
    still = launched(bench, name="still")
    clock.happens = lambda waits: None
    with pytest.raises(RunError, match="no step for 1200 s") as failed:
        demo._wait(bench, still, said.append)
    assert "runs watch still" in failed.value.hint


@pytest.mark.parametrize(
    ("found", "started", "typed"),
    [
        ("/usr/bin/workbench", ".venv/bin/workbench", "workbench"),
        (None, ".venv/bin/workbench", ".venv/bin/workbench"),
        (None, "/somewhere/__main__.py", f"{sys.executable} -m workbench"),
    ],
)
def test_the_summary_ends_with_a_command_that_works_where_it_is_read(
    monkeypatch: pytest.MonkeyPatch, found: str | None, started: str, typed: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: found)
    monkeypatch.setattr(sys, "argv", [started])
    assert demo.DemoSummary(Path("/demo")).table().endswith(f"\n  {typed} --workspace /demo")
