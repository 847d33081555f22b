"""The queue in the run directories: order, GPUs, runs that wait for others, and what goes on after the machine fell."""

from __future__ import annotations

import json
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

from workbench import process_start
from workbench.domain.queues import DeviceUser, Gpu, RunnerNote, Ticket
from workbench.domain.runs import RunSpec, RunState, RunStatus
from workbench.jobs import launch
from workbench.jobs.processes import ProcessIdentity, child_environment, module_argv
from workbench.jobs.queue import move, queue
from workbench.jobs.run_directory import KILL, STOP, RunDirectory, mark_complete
from workbench.jobs.runner import Runner, serve
from workbench.jobs.settling import recover, settle

FAKE = Path(__file__).parent / "fake_trainer.py"
PATIENCE_SECONDS = 30.0
TWO = tuple(Gpu(index, f"GPU-{index}", "H200", 140, 100 - index) for index in range(2))


def trainer(mode: str) -> list[str]:
    return [sys.executable, str(FAKE), mode]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def make(runs: Path) -> Callable[..., RunDirectory]:
    def made(name: str, *, gpus: str = "auto", after: str = "") -> RunDirectory:
        spec = RunSpec(name, "sft", "pip", "/models/pip", "chats", {}, 1, 0, "")
        directory = RunDirectory.create(runs / name, spec, ["{}"], [])
        directory.write_ticket(Ticket(gpus=gpus, after=after))
        directory.enqueue()
        return directory

    return made


def status(directory: RunDirectory) -> RunStatus:
    found = directory.status()
    assert found is not None
    return found


def until(condition: Callable[[], bool]) -> None:
    patience = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < patience, "it never came to that"
        time.sleep(0.02)


def notes(directory: RunDirectory) -> list[str]:
    return [event["text"] for event in directory.events()[0] if event["event"] == "note"]


def work(runs: Path, mode: str, gpus: tuple[Gpu, ...], **given: object) -> threading.Thread:
    runner = Runner(runs, trainer=trainer(mode), poll_seconds=0.02, gpus=lambda: gpus, **given)  # type: ignore[arg-type]
    thread = threading.Thread(target=runner.work)
    thread.start()
    return thread


def test_a_queued_run_is_moved_and_starts_in_its_new_place(runs: Path, make: Callable[..., RunDirectory]) -> None:
    one, two, three = make("1"), make("2"), make("3")
    assert move(three, -1) == 2
    assert move(one, 9) == 3
    assert [d.root.name for d in queue(runs)] == ["3", "2", "1"]
    two.write_status(RunStatus(RunState.FINISHED))
    assert move(two, 1) is None
    Runner(runs, trainer=trainer("finish"), gpus=lambda: ()).work()
    assert (runs / "order.txt").read_text().split() == ["3", "1"]


def test_two_runs_train_at_once_on_two_gpus_each_seeing_its_own(runs: Path, make: Callable[..., RunDirectory]) -> None:
    first, second, third = make("a"), make("b", gpus="1"), make("c")
    thread = work(runs, "wait", TWO)
    until(lambda: status(first).state is status(second).state is RunState.RUNNING)
    assert status(third).state is RunState.QUEUED
    assert (first.root / "cuda.txt").read_text() == "GPU-0" and (second.root / "cuda.txt").read_text() == "GPU-1"
    (second.root / "go").touch()
    until(lambda: status(third).state is RunState.RUNNING)
    assert (third.root / "cuda.txt").read_text() == "GPU-1"
    assert third.runner_note().labels == ("1 (H200)",)
    for directory in (first, third):
        (directory.root / "go").touch()
    thread.join(PATIENCE_SECONDS)
    assert {status(d).state for d in (first, second, third)} == {RunState.FINISHED}


def test_a_runner_leaves_the_gpus_of_the_one_before_it_to_their_trainers(
    runs: Path, make: Callable[..., RunDirectory]
) -> None:
    stray = make("a-stray")
    process = subprocess.Popen(
        [*trainer("wait"), str(stray.root)], env=child_environment(), stdout=subprocess.DEVNULL, start_new_session=True
    )
    until(lambda: status(stray).state is RunState.RUNNING)
    stray.write_runner_note(RunnerNote(("GPU-0",), ("0 (H200)",)))
    next_one = make("b")
    thread = work(runs, "finish", TWO)
    until(lambda: status(next_one).state is RunState.FINISHED)
    assert next_one.runner_note().uuids == ("GPU-1",)
    assert status(stray).state is RunState.RUNNING
    (stray.root / "go").touch()
    process.wait()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


@pytest.mark.parametrize("place", ["cpu", "elsewhere"])
def test_a_run_on_the_cpu_or_on_another_machine_takes_no_gpu_from_the_next(
    place: str, runs: Path, make: Callable[..., RunDirectory]
) -> None:
    stray, next_one = make("a-stray"), make("b")
    own = ProcessIdentity.own()
    stray.write_status(RunStatus(RunState.RUNNING, pid=own.pid, process_started=own.started))
    if place == "cpu":
        stray.write_runner_note(RunnerNote(interrupted=True))
    else:
        (stray.root / "heartbeat").write_text("another-machine")
    thread = work(runs, "finish", TWO[:1])
    until(lambda: status(next_one).state is RunState.FINISHED)
    assert next_one.runner_note().uuids == ("GPU-0",)
    stray.write_status(RunStatus(RunState.FINISHED))
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_while_no_gpu_answers_nothing_goes_to_the_cpu_nor_fails(runs: Path, make: Callable[..., RunDirectory]) -> None:
    answers = iter([TWO, (), TWO[:1]])
    first, second, named = make("a", gpus="0,1"), make("b", gpus="1"), make("c", gpus="1")
    looks: list[tuple[Gpu, ...]] = []

    def gpus() -> tuple[Gpu, ...]:
        if threading.current_thread() is not threading.main_thread():
            return TWO  # a run's own look, for its note
        looks.append(next(answers, TWO))
        return looks[-1]

    Runner(runs, trainer=trainer("finish"), poll_seconds=0.02, gpus=gpus).work()
    assert () in looks and TWO[:1] in looks
    assert [status(d).state for d in (first, second, named)] == [RunState.FINISHED] * 3
    assert [d.runner_note().uuids for d in (second, named)] == [("GPU-1",), ("GPU-1",)]


def test_a_run_that_wants_what_the_machine_has_not_fails_at_once_and_says_so(
    runs: Path, make: Callable[..., RunDirectory]
) -> None:
    wrong, nonsense, good = make("a", gpus="7"), make("b", gpus="lots"), make("c")
    work(runs, "finish", TWO).join(PATIENCE_SECONDS)
    assert (status(wrong).state, status(wrong).error) == (RunState.FAILED, "there is no GPU 7 here, only 0, 1")
    assert status(nonsense).state is RunState.FAILED and "names no GPUs" in status(nonsense).error
    assert status(good).state is RunState.FINISHED


def test_other_processes_on_the_gpu_are_noted_in_the_run(runs: Path, make: Callable[..., RunDirectory]) -> None:
    directory = make("a")
    shared = replace(TWO[0], users=(DeviceUser(4242, "blender", 3 * 10**9),))
    work(runs, "finish", (shared,)).join(PATIENCE_SECONDS)
    assert notes(directory)[0] == "not alone there: blender (4242) holds 3.0 GB on GPU 0 (H200)"


def test_a_stage_starts_when_the_one_before_it_has_finished(runs: Path, make: Callable[..., RunDirectory]) -> None:
    child, parent = make("a-child", after="b-parent"), make("b-parent")
    assert [d.root.name for d in queue(runs)] == ["a-child", "b-parent"]
    Runner(runs, trainer=trainer("finish"), gpus=lambda: TWO).work()
    assert (runs / "order.txt").read_text().split() == ["b-parent", "a-child"]
    assert status(child).state is status(parent).state is RunState.FINISHED


def test_stages_behind_one_that_fails_are_cancelled_with_the_reason(
    runs: Path, make: Callable[..., RunDirectory]
) -> None:
    make("bad")
    child, grandchild, other = make("child", after="bad"), make("grandchild", after="child"), make("other")
    Runner(runs, trainer=trainer("crash-if-bad"), gpus=lambda: ()).work()
    assert status(child).state is status(grandchild).state is RunState.CANCELLED
    assert status(child).error == "it starts from the result of bad, which is failed"
    assert "resume bad" in status(child).hint
    assert status(grandchild).error == "it starts from the result of child, which is cancelled"
    assert status(other).state is RunState.FINISHED


def test_a_stage_whose_parent_is_gone_is_cancelled(runs: Path, make: Callable[..., RunDirectory]) -> None:
    child = make("child", after="nobody")
    Runner(runs, trainer=trainer("finish"), gpus=lambda: ()).work()
    assert status(child).state is RunState.CANCELLED and "nobody, which is gone" in status(child).error


# After the machine went down


def at_work_in_another_boot(directory: RunDirectory, step: int = 7) -> None:
    before = process_start.started(os.getpid()) + 2e9
    directory.write_status(RunStatus(RunState.RUNNING, step, 40, 4242, before))


def checkpoint(directory: RunDirectory, step: int) -> None:
    saved = directory.checkpoints / f"checkpoint-{step}"
    saved.mkdir()
    (saved / "weights").write_bytes(b"w")
    mark_complete(saved)


def test_a_run_that_ended_with_its_machine_goes_on_by_itself(runs: Path, make: Callable[..., RunDirectory]) -> None:
    directory, later = make("a"), make("b")
    place = directory.ticket().place
    at_work_in_another_boot(directory)
    checkpoint(directory, 5)
    settle(directory)
    assert status(directory).state is RunState.QUEUED and directory.ticket().place == place
    assert notes(directory) == ["the machine went down at step 7: queued again, to go on from step 5"]
    Runner(runs, trainer=trainer("finish"), gpus=lambda: ()).work()
    assert (runs / "order.txt").read_text().split() == ["a", "b"]
    assert status(directory).state is status(later).state is RunState.FINISHED


def test_a_run_that_takes_the_machine_down_twice_without_a_step_forward_is_lost(
    make: Callable[..., RunDirectory],
) -> None:
    directory = make("a")
    at_work_in_another_boot(directory)
    assert settle(directory).state is RunState.QUEUED  # type: ignore[union-attr]
    at_work_in_another_boot(directory)
    assert settle(directory).state is RunState.LOST  # type: ignore[union-attr]
    directory.enqueue()
    at_work_in_another_boot(directory, 12)
    checkpoint(directory, 10)
    assert settle(directory).state is RunState.QUEUED  # type: ignore[union-attr]


@pytest.mark.parametrize("asked", [STOP, KILL])
def test_a_run_that_a_person_was_ending_is_not_taken_up_again(make: Callable[..., RunDirectory], asked: str) -> None:
    directory = make("a")
    at_work_in_another_boot(directory)
    directory.request(asked)
    settle(directory)
    assert status(directory).state is not RunState.QUEUED


def test_a_trainer_that_died_alone_is_lost_and_stays_so(make: Callable[..., RunDirectory]) -> None:
    directory = make("a")
    own = ProcessIdentity.own()
    directory.write_status(RunStatus(RunState.RUNNING, 3, pid=2**22 + 1, process_started=own.started))
    assert not recover(directory)
    settle(directory)
    assert status(directory).state is RunState.LOST


def test_a_trainer_that_outlives_its_runner_gets_no_rival(make: Callable[..., RunDirectory]) -> None:
    directory = make("a")
    own = ProcessIdentity.own()
    for state in (RunState.STARTING, RunState.RUNNING):
        directory.write_status(RunStatus(state, 3, pid=own.pid, process_started=own.started))
        directory.write_runner_note(RunnerNote(interrupted=True))
        assert not recover(directory)
        assert status(directory).state is state
    directory.write_status(RunStatus(RunState.RUNNING, 3, pid=2**22 + 1, process_started=own.started))
    assert recover(directory) and status(directory).state is RunState.QUEUED


def test_what_was_stopped_with_its_runner_is_taken_up_by_the_next(
    runs: Path, make: Callable[..., RunDirectory]
) -> None:
    directory = make("a")
    first = subprocess.Popen(
        module_argv("workbench.jobs.runner", str(runs), "--", *trainer("wait")), env=child_environment()
    )
    until(lambda: status(directory).state is RunState.RUNNING)
    pid = status(directory).pid
    assert pid is not None
    # As systemd ends a session: the runner and its trainer are told at once.
    first.send_signal(signal.SIGTERM)
    os.kill(pid, signal.SIGTERM)
    assert first.wait(PATIENCE_SECONDS) == 0
    assert directory.runner_note().interrupted
    until(lambda: not ProcessIdentity(pid, status(directory).process_started or 0.0).is_alive())
    Runner(runs, trainer=trainer("finish"), gpus=lambda: ()).work()
    assert status(directory).state is RunState.FINISHED
    assert any("the runner was told to end" in text for text in notes(directory))


def test_a_held_queue_starts_nothing_until_it_is_let_go(runs: Path, make: Callable[..., RunDirectory]) -> None:
    directory = make("a")
    assert launch.hold(runs) is None and launch.is_held(runs)
    assert launch.ensure_runner(runs, trainer=trainer("finish")) is False
    launch.let_go(runs)
    assert launch.ensure_runner(runs, trainer=trainer("finish")) is True
    until(lambda: status(directory).state is RunState.FINISHED)


def test_a_runner_that_began_while_the_queue_was_being_held_leaves_it(
    runs: Path, make: Callable[..., RunDirectory]
) -> None:
    directory = make("a")
    assert launch.hold(runs) is None
    assert serve(runs, trainer=trainer("finish")) is False
    assert status(directory).state is RunState.QUEUED and not (runs / "order.txt").exists()


def test_holding_ends_the_runner_and_leaves_its_trainer_at_work(runs: Path, make: Callable[..., RunDirectory]) -> None:
    first, second = make("a"), make("b")
    launch.ensure_runner(runs, trainer=trainer("wait"))
    until(lambda: status(first).state is RunState.RUNNING)
    assert launch.hold(runs) is not None
    assert not launch.runner_is_running(runs), "another could not be started now"
    (first.root / "go").touch()
    until(lambda: status(first).state is RunState.FINISHED)
    assert status(second).state is RunState.QUEUED


def test_a_ticket_that_is_no_ticket_is_as_none(make: Callable[..., RunDirectory]) -> None:
    directory = make("a")
    (directory.root / "ticket.json").write_text(json.dumps({"place": 1, "colour": "red"}))
    assert directory.ticket() == Ticket()
    (directory.root / "ticket.json").unlink()
    assert directory.ticket().place == pytest.approx(time.time(), abs=60)
