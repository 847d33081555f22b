"""Flows in a process of their own: the same answer, progress, errors and an end as from here."""

from __future__ import annotations

import os
import threading
import time

import psutil
import pytest

from workbench.domain.chats import Turn
from workbench.domain.datasets import Shares
from workbench.domain.examples import NewExample, Source, SourceKind, Status, demonstration
from workbench.errors import NotFoundError, WorkbenchError
from workbench.flows import apart, curate, datasets
from workbench.flows.bench import Bench

ROWS = 30


@pytest.fixture
def filled(bench: Bench) -> Bench:
    """Some rows in a dataset."""
    source = Source(SourceKind.IMPORT)
    rows = [NewExample(demonstration([Turn("user", f"q {n}")], f"an answer {n % 7}"), source) for n in range(ROWS)]
    bench.store.examples.add_many("d", rows, rater="importer", status=Status.ACCEPTED)
    return bench


def test_the_figures_are_those_that_are_counted_here_and_progress_is_heard(filled: Bench) -> None:
    heard: list[tuple[str, int, int]] = []
    found = apart.call(
        datasets.statistics, filled, "d", rows=10**6, query="", on_progress=lambda *told: heard.append(told)
    )
    assert found == datasets.statistics(filled, "d") and found.rows == ROWS
    assert heard == [("words", 0, ROWS)]


def test_few_rows_start_no_process(filled: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "converse", None)
    assert apart.call(datasets.statistics, filled, "d", rows=ROWS).rows == ROWS


def test_what_it_writes_is_the_raters_and_one_undo_takes_it_back(filled: Bench) -> None:
    done = apart.call(datasets.deal_splits, filled, "d", rows=10**6, seed=7, shares=Shares(0.8, 0.2, 0.0))
    assert done.dealt == ROWS and datasets.count(filled, "d", "split:none") == 0
    curate.undo(filled)
    assert datasets.count(filled, "d", "split:none") == ROWS


def test_an_error_comes_as_it_was_raised(filled: Bench) -> None:
    with pytest.raises(NotFoundError, match="nothing-of-this-name") as caught:
        apart.call(datasets.statistics, filled, "nothing-of-this-name", rows=10**6)
    with pytest.raises(NotFoundError) as here:
        datasets.statistics(filled, "nothing-of-this-name")
    assert caught.value.as_dict() == here.value.as_dict()


def niceness(_bench: Bench) -> int:
    """How much a process lets others go first."""
    return os.nice(0)


def test_what_nobody_asked_for_lets_everything_else_go_first(filled: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", __file__.rpartition("/")[0], prepend=":")
    asked, unasked = (apart.call(niceness, filled, rows=10**6, is_asked=is_asked) for is_asked in (True, False))
    assert os.nice(0) < asked < unasked or asked == 19


def endless(bench: Bench, *, on_progress: apart.OnProgress) -> None:
    """Works, in a process of its own too, until it is killed."""
    import subprocess
    import sys

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    while True:
        time.sleep(0.02)
        on_progress("working", child.pid, 0)


def test_cancelling_ends_it_and_what_it_started(filled: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", __file__.rpartition("/")[0], prepend=":")
    cancelled, started = threading.Event(), list[int]()

    def heard(_what: str, pid: int, _total: int) -> None:
        started.append(pid)
        cancelled.set()

    with pytest.raises(WorkbenchError):
        apart.call(endless, filled, rows=10**6, on_progress=heard, cancelled=cancelled)
    for _ in range(500):
        if not psutil.pid_exists(started[0]) or psutil.Process(started[0]).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.01)
    else:
        pytest.fail("what the child had started works on")
