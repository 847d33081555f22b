"""The faults that are no plain kill: signals, a kill inside a checkpoint's writing, a full disk, a folder taken away,
a clock that is set. Each gives a row of the table that ``python -m tests.faults.kills`` prints, or raises.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import psutil
import warm
import where
from kills import (
    KNOBS,
    Kill,
    _runner_pid,
    _settled,
    _trainer_pid,
    _wait,
    check_database,
    import_rows,
    start_runner,
    workbench,
)

from small_disk import NoSmallDisk, fill, small_disk
from workbench.domain.examples import Status
from workbench.domain.queries import parse_query
from workbench.domain.runs import Run, RunState
from workbench.flows import train
from workbench.flows.bench import Bench
from workbench.jobs.run_directory import RunDirectory
from workbench.paths import Workspace

START_SECONDS = 240.0

Fault = Callable[[Workspace, random.Random], Kill]


@contextmanager
def running(workspace: Workspace, **knobs: str) -> Iterator[tuple[Bench, Run, RunDirectory]]:
    """A run whose trainer has started, and at the end the proof that rows and database are whole."""
    bench = Bench.open(workspace)
    try:
        rows = import_rows(bench, Status.ACCEPTED)
        planned = train.plan(bench, method="sft", dataset="kill", overrides=KNOBS | knobs)
        run = train.launch(bench, planned, start_runner=start_runner)
        directory = RunDirectory(Path(run.directory))
        _wait(lambda: _trainer_pid(directory) is not None, START_SECONDS, "the trainer to start")
        yield bench, run, directory
        assert bench.store.examples.count(parse_query("source:import")) == rows
        check_database(workspace)
    finally:
        bench.close()


def until_step(directory: RunDirectory, step: int) -> None:
    """Wait until the trainer has made so many steps, or is over."""

    def there() -> bool:
        status = directory.status()
        return status is not None and (status.step >= step or status.state.is_over)

    _wait(there, START_SECONDS, f"step {step}")


def finish(bench: Bench, run: Run) -> tuple[RunState, RunState]:
    """How the run ended, and how it ended after it was resumed where that was needed."""
    first = state = _settled(bench, run.id)
    if state is not RunState.FINISHED:
        train.resume(bench, bench.store.runs.get(str(run.id)), start_runner=start_runner)
        state = _settled(bench, run.id)
    assert state is RunState.FINISHED, bench.store.runs.get(str(run.id))
    return first, state


def signal_process(workspace: Workspace, rng: random.Random, *, victim: str, number: signal.Signals) -> Kill:
    """A signal to the trainer or the runner while a run is under way."""
    with running(workspace) as (bench, run, directory):
        until_step(directory, rng.randrange(-3, 12))
        after = rng.uniform(0.0, 1.0)
        time.sleep(after)
        doing = where.trainer(_trainer_pid(directory))
        pid = _trainer_pid(directory) if victim == "trainer" else _runner_pid(workspace)
        if pid is not None and psutil.pid_exists(pid):
            os.kill(pid, number)
        first, _ = finish(bench, run)
        asked = victim == "trainer" and number is not signal.SIGHUP
        assert first in ({RunState.STOPPED, RunState.FINISHED, RunState.LOST} if asked else {RunState.FINISHED}), first
        went_on = "finished by itself" if first is RunState.FINISHED else "resumed and finished"
        return Kill(f"{victim} {number.name}", after, first.value, went_on, doing)


def kill_inside_a_checkpoint(workspace: Workspace, rng: random.Random) -> Kill:
    """Kill the trainer between a checkpoint's first byte and its marker: it is never taken, and its space is freed."""
    with running(workspace) as (bench, run, directory):
        until_step(directory, rng.randrange(1, 9))
        wait = rng.uniform(0.0, 0.05)
        torn = _torn(directory)
        time.sleep(wait)
        doing = where.trainer(_trainer_pid(directory))
        if (pid := _trainer_pid(directory)) is not None:
            os.kill(pid, signal.SIGKILL)
        is_torn = torn in directory.checkpoint_folders() and torn not in directory.complete_checkpoints()
        found = f"{torn.name} {'torn' if is_torn else 'just complete'}"
        finish(bench, run)
        assert directory.checkpoint_folders() == directory.complete_checkpoints()
        return Kill("trainer, in a checkpoint", wait, found, "resumed from the one before and finished", doing)


def _torn(directory: RunDirectory) -> Path:
    """The next checkpoint that is being written."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if torn := [p for p in directory.checkpoints.glob("checkpoint-*") if not (p / "complete.json").exists()]:
            return torn[0]
        time.sleep(0.001)
    raise AssertionError("no checkpoint was written")


def full_disk(workspace: Workspace, rng: random.Random) -> Kill:
    """Fill the disk under workspace and run to the last byte: the run pauses, says so to commands that look for it,
    keeps its last checkpoint, and goes on when there is room.
    """
    try:
        with small_disk(workspace.root, "48m"), running(workspace, max_steps="24") as (bench, run, directory):
            until_step(directory, 3 + rng.randrange(3))
            started, ballast = time.monotonic(), fill(workspace.root)
            _wait(lambda: _filled(bench, run), START_SECONDS, "the pause")
            after, kept = time.monotonic() - started, [folder.name for folder in directory.complete_checkpoints()]
            said = bench.store.runs.get(str(run.id))
            assert said.state is RunState.PAUSED and "the disk is full" in said.error and kept, (said, kept)
            argv = workbench("--workspace", str(workspace.root), "runs", "list")
            listed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
            assert "paused: the disk is full at step" in listed, listed
            time.sleep(rng.uniform(0.0, 1.0))
            ballast.unlink()
            first, _ = finish(bench, run)
            assert first is RunState.FINISHED
            return Kill("full disk", after, f"paused, {kept[-1]} kept", "went on by itself and finished")
    except NoSmallDisk:
        return Kill("full disk", 0.0, "no small disk may be mounted here", "not tried")


def _filled(bench: Bench, run: Run) -> bool:
    """True once the run is paused or over; what an older checkpoint gives back meanwhile is filled again."""
    fill(bench.workspace.root)
    state = _state(bench, run)
    return state is RunState.PAUSED or state.is_over


def _state(bench: Bench, run: Run) -> RunState:
    train.sync(bench, start_runner=start_runner)
    return bench.store.runs.get(str(run.id)).state


def kill_one_of_two(workspace: Workspace, rng: random.Random) -> Kill:
    """Kill one of the two processes of a run, or their launcher: none is left, and the run resumes."""
    # Several processes are started by accelerate, each with libraries of its own.
    with mock.patch.dict(os.environ, {warm.SOCKET: ""}), running(workspace, processes="2") as (bench, run, directory):
        until_step(directory, rng.randrange(2, 10))
        after = rng.uniform(0.0, 0.5)
        time.sleep(after)
        ours = [p for p in psutil.process_iter(["cmdline"]) if str(directory.root) in (p.info["cmdline"] or [])]
        doing = next((said for p in ours if "step" in (said := where.trainer(p.pid))), "")
        if ours:
            rng.choice(ours).kill()
        _wait(lambda: not any(p.is_running() and _alive(p.pid) for p in ours), START_SECONDS, "all processes to end")
        first, _ = finish(bench, run)
        went_on = "finished by itself" if first is RunState.FINISHED else "resumed and finished"
        return Kill("one of two processes", after, f"{first.value}, {len(ours)} processes ended", went_on, doing)


def folder_taken_away(workspace: Workspace, rng: random.Random) -> Kill:
    """Take the run's folder away while it trains: the trainer ends, the run is lost; with it back the run resumes."""
    with running(workspace) as (bench, run, directory):
        until_step(directory, rng.randrange(10))
        after = rng.uniform(0.0, 0.5)
        time.sleep(after)
        pid = _trainer_pid(directory)
        doing = where.trainer(pid)
        aside = directory.root.with_name(".taken-away")
        directory.root.rename(aside)
        _wait(lambda: pid is None or not _alive(pid), START_SECONDS, "the trainer to end")
        state = _state(bench, run)
        assert state in {RunState.LOST, RunState.FINISHED}, state
        assert not directory.root.exists(), "the trainer made another folder in its place"
        aside.rename(directory.root)
        finish(bench, run)
        found = f"{state.value}; its trainer had ended"
        return Kill("folder taken away", after, found, "back again: resumed, finished", doing)


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def clock_jump(workspace: Workspace, rng: random.Random) -> Kill:
    """Set the clock, as this process and the runner's successors see it, while a run is under way."""
    with running(workspace) as (bench, run, directory):
        until_step(directory, 2)
        seconds = rng.choice([-1, 1]) * rng.uniform(5.0, 86_400.0)
        boot = psutil.boot_time()
        with mock.patch("psutil._pslinux.boot_time", lambda: boot + seconds):
            state = _state(bench, run)
        assert state in {RunState.RUNNING, RunState.FINISHED}, state
        first, _ = finish(bench, run)
        assert first is RunState.FINISHED
        return Kill(f"clock set {seconds:+.0f} s", 0.0, f"still {state.value}", "finished by itself")


def _signals() -> Iterator[tuple[str, Fault]]:
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        for victim in ("trainer", "runner"):
            yield f"{victim} {number.name}", partial(signal_process, victim=victim, number=number)


FAULTS: dict[str, Fault] = {
    **dict(_signals()),
    "checkpoint": kill_inside_a_checkpoint,
    "disk": full_disk,
    "rank": kill_one_of_two,
    "folder": folder_taken_away,
    "clock": clock_jump,
}
