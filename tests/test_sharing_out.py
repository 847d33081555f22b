"""Every test is run once, also when a worker crashes: at whatever moment, nothing is lost and nobody waits for ever."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sharing_out import SharedScheduling

SHARED = [f"test_shared.py::test_{number}" for number in range(3)]
ALONE = [f"test_alone.py::test_{number}" for number in range(7)]
TESTS = [*ALONE[:2], *SHARED, *ALONE[2:]]


class Worker:
    """As xdist's: a test begins only when the next is known, or that there is none."""

    def __init__(self) -> None:
        self.gateway = SimpleNamespace(id="worker")
        self.shutting_down = False
        self.given: deque[int] = deque()
        self.ran: list[str] = []

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def may_begin(self) -> bool:
        return len(self.given) > 1 or (self.shutting_down and bool(self.given))


@pytest.fixture
def scheduling(tmp_path: Path) -> Any:
    (tmp_path / "test_alone.py").write_text("def test_0(): pass")
    (tmp_path / "test_shared.py").write_text('@pytest.fixture(scope="module")')
    config: Any = SimpleNamespace(
        getvalue=lambda name: ["2*popen"], rootpath=tmp_path, option=SimpleNamespace(loadscopereorder=True)
    )
    return SharedScheduling(config)


def join(scheduling: Any, *workers: Worker) -> None:
    for worker in workers:
        scheduling.add_node(worker)
    for worker in workers:
        scheduling.add_node_collection(worker, TESTS)
    scheduling.schedule()


def work(scheduling: Any, workers: Sequence[Worker], *, most: int = 1000) -> None:
    """Until ``most`` tests were run, or nobody can go on."""
    for _ in range(most):
        if scheduling.tests_finished:  # xdist looks after everything that happens
            for worker in workers:
                worker.shutdown()
        if not (free := [worker for worker in workers if worker.may_begin]):
            return
        worker = min(free, key=lambda one: len(one.ran))
        index = worker.given.popleft()
        worker.ran.append(TESTS[index])
        scheduling.mark_test_complete(worker, index)


def test_a_file_with_a_shared_fixture_stays_with_one_worker(scheduling: Any) -> None:
    workers = [Worker(), Worker()]
    join(scheduling, *workers)
    work(scheduling, workers)
    assert Counter(test for worker in workers for test in worker.ran) == Counter(TESTS)
    assert [set(SHARED) & set(worker.ran) for worker in workers].count(set()) == 1
    assert all(set(ALONE) & set(worker.ran) for worker in workers)


@pytest.mark.parametrize("done", range(len(TESTS)))
@pytest.mark.parametrize("which", [0, 1])
def test_after_a_crash_every_other_test_is_run_once(scheduling: Any, done: int, which: int) -> None:
    workers = [Worker(), Worker()]
    join(scheduling, *workers)
    work(scheduling, workers, most=done)
    crashed = scheduling.remove_node(workers[which])
    new, running = Worker(), workers[1 - which]
    join(scheduling, new)
    work(scheduling, [running, new])
    ran = Counter(test for worker in (*workers, new) for test in worker.ran)
    assert ran + Counter([crashed] if crashed else []) == Counter(TESTS)
    assert not scheduling.has_pending
