from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from fakes import FakeEngine
from workbench.domain.runs import RunSpec, RunState, RunStatus
from workbench.domain.serving import EngineStatus
from workbench.errors import EngineError
from workbench.jobs import runner
from workbench.jobs.launch import LOCK_NAME, ensure_runner, runner_is_running
from workbench.jobs.processes import ProcessIdentity, child_environment, module_argv
from workbench.jobs.queue import queue
from workbench.jobs.run_directory import KILL, STOP, RunDirectory, all_runs, mark_complete
from workbench.jobs.runner import Runner, serve
from workbench.jobs.settling import is_at_work, settle
from workbench.paths import Workspace

FAKE = Path(__file__).parent / "fake_trainer.py"
PATIENCE_SECONDS = 30.0


def trainer(mode: str) -> list[str]:
    return [sys.executable, str(FAKE), mode]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def make(runs: Path) -> Callable[[str], RunDirectory]:
    def made(name: str) -> RunDirectory:
        spec = RunSpec(name, "sft", "pip", "/models/pip", "chats", {}, 1, 0, "")
        directory = RunDirectory.create(runs / name, spec, ["{}"], [])
        directory.enqueue()
        return directory

    return made


def state(directory: RunDirectory) -> RunState:
    status = directory.status()
    assert status is not None
    return status.state


def until(condition: Callable[[], bool]) -> None:
    patience = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < patience, "it never came to that"
        time.sleep(0.02)


def test_queued_runs_are_taken_in_the_order_of_queueing(runs: Path, make: Callable[[str], RunDirectory]) -> None:
    second, first = make("a-second"), make("z-first")
    second.enqueue()
    assert [d.root.name for d in queue(runs)] == ["z-first", "a-second"]
    Runner(runs, trainer=trainer("finish")).work()
    assert (runs / "order.txt").read_text().split() == ["z-first", "a-second"]
    assert state(first) is state(second) is RunState.FINISHED


def test_a_trainer_s_output_goes_to_the_run_s_log(runs: Path, make: Callable[[str], RunDirectory]) -> None:
    directory = make("a")
    Runner(runs, trainer=trainer("finish")).work()
    assert "hello from the trainer" in directory.log_file.read_text()


def test_a_trainer_that_crashes_is_failed_with_its_last_words(runs: Path, make: Callable[[str], RunDirectory]) -> None:
    directory = make("a")
    Runner(runs, trainer=trainer("crash")).work()
    status = directory.status()
    assert status is not None and status.state is RunState.FAILED
    assert "exit code 3" in status.error and "a word before the end" in status.error
    assert "from the beginning" in status.hint


def test_a_killed_trainer_is_lost_and_says_from_where_it_can_go_on(
    runs: Path, make: Callable[[str], RunDirectory]
) -> None:
    directory = make("a")
    saved = directory.checkpoints / "checkpoint-12"
    saved.mkdir()
    (saved / "weights").write_bytes(b"w")
    mark_complete(saved)
    Runner(runs, trainer=trainer("die")).work()
    status = directory.status()
    assert status is not None and status.state is RunState.LOST and status.state.can_resume
    assert "SIGKILL" in status.error and "memory" in status.error
    assert "step 12" in status.hint
    assert status.pid is None


def test_one_bad_run_does_not_keep_the_next_from_running(runs: Path, make: Callable[[str], RunDirectory]) -> None:
    bad, good = make("bad"), make("good")
    Runner(runs, trainer=trainer("crash-if-bad")).work()
    assert (state(bad), state(good)) == (RunState.FAILED, RunState.FINISHED)


def test_a_trainer_that_cannot_be_started_is_failed(runs: Path, make: Callable[[str], RunDirectory]) -> None:
    directory = make("a")
    Runner(runs, trainer=["/nowhere/python"]).work()
    status = directory.status()
    assert status is not None and status.state is RunState.FAILED
    assert "could not be started" in status.error


def test_a_run_stopped_before_its_turn_is_cancelled_unstarted(runs: Path, make: Callable[[str], RunDirectory]) -> None:
    directory = make("a")
    directory.request(STOP)
    Runner(runs, trainer=trainer("finish")).work()
    assert state(directory) is RunState.CANCELLED
    assert not (runs / "order.txt").exists()


def test_a_run_killed_by_a_person_is_cancelled_and_not_lost(make: Callable[[str], RunDirectory]) -> None:
    directory = make("a")
    directory.write_status(RunStatus(RunState.RUNNING, pid=None))
    directory.request(KILL)
    settle(directory)
    assert state(directory) is RunState.CANCELLED


def test_settling_leaves_a_run_that_said_how_it_ended(make: Callable[[str], RunDirectory]) -> None:
    directory = make("a")
    directory.write_status(RunStatus(RunState.STOPPED, step=4))
    settle(directory, returncode=-9)
    status = directory.status()
    assert status is not None and (status.state, status.step, status.error) == (RunState.STOPPED, 4, "")


def test_a_new_runner_waits_for_the_trainer_of_a_dead_one(runs: Path, make: Callable[[str], RunDirectory]) -> None:
    stray = make("a-stray")
    process = subprocess.Popen(
        [*trainer("wait"), str(stray.root)], env=child_environment(), stdout=subprocess.DEVNULL, start_new_session=True
    )
    until(lambda: state(stray) is RunState.RUNNING)
    waiting = make("b-next")
    worker = threading.Thread(target=Runner(runs, trainer=trainer("finish"), poll_seconds=0.02).work)
    worker.start()
    time.sleep(0.3)
    assert state(waiting) is RunState.QUEUED
    (stray.root / "go").touch()
    process.wait()
    worker.join(PATIENCE_SECONDS)
    assert state(stray) is state(waiting) is RunState.FINISHED


def test_another_process_under_the_same_pid_is_not_taken_for_the_trainer(
    runs: Path, make: Callable[[str], RunDirectory]
) -> None:
    directory = make("a")
    own = ProcessIdentity.own()
    directory.write_status(RunStatus(RunState.RUNNING, pid=own.pid, process_started=own.started - 3600))
    Runner(runs, trainer=trainer("finish")).work()
    assert state(directory) is RunState.LOST


def test_a_full_disk_ends_no_runner_and_the_run_is_settled_when_there_is_room(
    runs: Path, make: Callable[[str], RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    make("a")
    write, tries = RunDirectory.write_status, iter(range(3))

    def full(self: RunDirectory, status: RunStatus) -> RunStatus:
        if next(tries, None) is not None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, status)

    monkeypatch.setattr(RunDirectory, "write_status", full)
    monkeypatch.setattr(runner, "DISK_SECONDS", 0.01)
    Runner(runs, trainer=trainer("crash")).work()
    assert state(RunDirectory(runs / "a")) is RunState.FAILED


def test_a_trainer_on_another_machine_lives_as_long_as_its_heart_beats(make: Callable[[str], RunDirectory]) -> None:
    directory = make("a")
    own = ProcessIdentity.own()
    directory.write_status(RunStatus(RunState.RUNNING, pid=own.pid, process_started=own.started - 3600))
    heartbeat = directory.root / "heartbeat"
    heartbeat.write_text("another-machine")
    assert directory.heartbeat_elsewhere() == "another-machine"
    assert is_at_work(directory)
    long_ago = time.time() - 3600
    os.utime(heartbeat, (long_ago, long_ago))
    assert not is_at_work(directory)
    directory.beat()
    assert directory.heartbeat_elsewhere() == "" and not is_at_work(directory)


def test_a_second_runner_leaves_the_queue_to_the_first(runs: Path, make: Callable[[str], RunDirectory]) -> None:
    directory = make("a")
    with FileLock(runs / LOCK_NAME):
        assert runner_is_running(runs)
        assert ensure_runner(runs) is False
        assert serve(runs, trainer=trainer("finish")) is False
    assert state(directory) is RunState.QUEUED


def test_a_run_queued_while_the_runner_ends_is_not_left_behind(
    runs: Path, make: Callable[[str], RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    make("a")
    late: list[RunDirectory] = []
    work = Runner.work

    def work_and_queue_one_more(self: Runner) -> None:
        work(self)
        if not late:
            late.append(make("b"))
            assert runner_is_running(runs), "the bench would start no runner now"

    monkeypatch.setattr(Runner, "work", work_and_queue_one_more)
    serve(runs, trainer=trainer("finish"))
    assert state(late[0]) is RunState.FINISHED


def test_the_detached_runner_does_the_queue_and_ends(runs: Path, make: Callable[[str], RunDirectory]) -> None:
    directory = make("a")
    assert ensure_runner(runs, trainer=trainer("finish")) is True
    until(lambda: state(directory) is RunState.FINISHED)
    until(lambda: not runner_is_running(runs))


def test_a_trainer_outlives_its_runner_and_a_new_runner_takes_over(
    runs: Path, make: Callable[[str], RunDirectory]
) -> None:
    directory = make("a")
    first = subprocess.Popen(
        module_argv("workbench.jobs.runner", str(runs), "--", *trainer("wait")),
        env=child_environment(),
        start_new_session=True,
    )
    until(lambda: state(directory) is RunState.RUNNING)
    first.kill()
    first.wait()
    until(lambda: not runner_is_running(runs))
    status = directory.status()
    assert status is not None and status.pid is not None
    assert ProcessIdentity(status.pid, status.process_started or 0.0).is_alive()
    assert os.getsid(status.pid) == status.pid
    assert ensure_runner(runs, trainer=trainer("wait")) is True
    directory.request(STOP)
    until(lambda: state(directory) is RunState.STOPPED)


def test_the_runner_survives_the_hangup_of_its_terminal(runs: Path, make: Callable[[str], RunDirectory]) -> None:
    directory = make("a")
    runner = subprocess.Popen(
        module_argv("workbench.jobs.runner", str(runs), "--", *trainer("wait")), env=child_environment()
    )
    until(lambda: state(directory) is RunState.RUNNING)
    runner.send_signal(signal.SIGHUP)
    (directory.root / "go").touch()
    assert runner.wait(PATIENCE_SECONDS) == 0
    assert state(directory) is RunState.FINISHED


def test_the_runner_loads_no_ml_library() -> None:
    code = "import sys, workbench.jobs.runner; print({'torch', 'transformers', 'datasets', 'numpy'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


class EngineOnGpu(FakeEngine):
    """An engine whose model lies on a device; it notes how far the runs are when it is asked for the memory."""

    def __init__(self, runs: Path, device: str, *, refuses: bool = False) -> None:
        super().__init__()
        self._runs, self._device, self._refuses = runs, device, refuses
        self.workspace: Workspace | None = None
        self.seen: list[list[RunState]] = []

    def status(self) -> EngineStatus:
        return replace(super().status(), device=self._device)

    def unload(self) -> None:
        self.seen.append([state(directory) for directory in all_runs(self._runs)])
        if self._refuses:
            raise EngineError("the engine stopped answering")

    def __call__(self, workspace: Workspace) -> EngineOnGpu:
        self.workspace = workspace
        return self


@pytest.mark.parametrize("refuses", [False, True])
def test_the_engine_gives_the_gpu_back_before_each_trainer(
    runs: Path, make: Callable[[str], RunDirectory], monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    first, second = make("a"), make("b")
    engine = EngineOnGpu(runs, "cuda:0", refuses=refuses)
    monkeypatch.setattr(runner, "EngineClient", engine)
    assert runner.main([str(runs), "--", *trainer("finish")]) == 0
    assert engine.workspace is not None and engine.workspace.runs == runs
    assert engine.seen == [[RunState.QUEUED, RunState.QUEUED], [RunState.FINISHED, RunState.QUEUED]]
    assert state(first) is state(second) is RunState.FINISHED


def test_an_engine_without_a_gpu_keeps_its_model(
    runs: Path, make: Callable[[str], RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    make("a")
    engine = EngineOnGpu(runs, "cpu")
    monkeypatch.setattr(runner, "EngineClient", engine)
    runner.main([str(runs), "--", *trainer("finish")])
    assert engine.seen == []


def test_a_run_that_is_stopped_while_the_gpu_is_freed_is_not_started(
    runs: Path, make: Callable[[str], RunDirectory]
) -> None:
    directory = make("a")
    Runner(runs, trainer=trainer("finish"), make_room=lambda gpus: directory.request(STOP)).work()
    assert state(directory) is RunState.CANCELLED
    assert not (runs / "order.txt").exists()


def test_a_run_that_is_sent_elsewhere_while_room_is_made_is_not_started_here(
    runs: Path, make: Callable[[str], RunDirectory]
) -> None:
    directory = make("a")
    elsewhere = RunStatus(RunState.CANCELLED, hint="sent elsewhere")
    Runner(runs, trainer=trainer("finish"), make_room=lambda gpus: void(directory.write_status(elsewhere))).work()
    assert state(directory) is RunState.CANCELLED
    assert not (runs / "order.txt").exists()


def void(_: object) -> None:
    """For calls that give something back where nothing is wanted."""
