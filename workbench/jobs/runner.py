"""The runner: takes queued runs one after another, starts a trainer for each, and settles how each one ended.

``python -m workbench.jobs.runner RUNS_FOLDER [-- TRAINER COMMAND]``. Works on run directories alone: no store, no
model, no torch. Asks the workspace's engine for the GPU's memory before each trainer. Trainers live in sessions of
their own, so a dead runner takes none with it, and the next runner waits for the one that still lives before it starts
another.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from workbench.domain.runs import RunState, RunStatus
from workbench.errors import EngineError
from workbench.jobs.engine import EngineClient, free_the_gpu
from workbench.jobs.launch import LOCK_NAME
from workbench.jobs.processes import ProcessIdentity, child_environment, log_tail, module_argv
from workbench.jobs.run_directory import KILL, RunDirectory, all_runs, now_utc, step_of
from workbench.paths import Workspace

LAST_LINES = 5
SILENCE_SECONDS = 60.0
LOCK_PATIENCE_SECONDS = 1.0
DISK_SECONDS = 5.0

MakeRoom = Callable[[], None]


class Runner:
    """Works through the queue of one folder of runs. The caller holds the folder's lock.

    ``make_room`` is called before each trainer, for the memory that it will need.
    """

    def __init__(
        self,
        runs: Path,
        *,
        trainer: Sequence[str] = (),
        poll_seconds: float = 0.2,
        make_room: MakeRoom = lambda: None,
    ) -> None:
        self._runs = runs
        self._make_room = make_room
        self._trainer = list(trainer) or module_argv("workbench.worker.trainer")
        self._poll_seconds = poll_seconds

    def work(self) -> None:
        """Wait for trainers left by an earlier runner, then run the queue until it is empty."""
        self._wait_for_strays()
        while queued := queue(self._runs):
            self._run(queued[0])
            if queue(self._runs)[:1] == queued[:1]:
                time.sleep(DISK_SECONDS)  # how it ended could not be written down: a full disk

    def _wait_for_strays(self) -> None:
        for directory in all_runs(self._runs):
            self._wait_while_at_work(directory)
            settle(directory)

    def _run(self, directory: RunDirectory) -> None:
        if not directory.requested():
            self._make_room()  # may take minutes: a stop can come meanwhile
        if directory.requested():
            _end(directory, RunState.CANCELLED)
            return
        try:
            process = self._start(directory)
        except OSError as error:
            _end(directory, RunState.FAILED, error=f"the trainer could not be started: {error.strerror}")
            return
        self._note_start(directory, process.pid)
        returncode = process.wait()
        self._wait_while_at_work(directory)
        settle(directory, returncode=returncode)

    def _note_start(self, directory: RunDirectory, pid: int) -> None:
        """Name the process in the state, until the trainer has come far enough to do so itself."""
        # The state is read last: the trainer may write its own meanwhile, which must not be written over.
        process = ProcessIdentity.of(pid)
        status = directory.status()
        if status is None or status.state is not RunState.QUEUED:
            return
        # Also for a process that is gone again already: a run that stays queued would be started for ever.
        started = process.started if process else None
        starting = replace(status, state=RunState.STARTING, pid=pid, process_started=started)
        with suppress(OSError):  # a full disk: the trainer says it where it can
            directory.write_status(replace(starting, started_utc=status.started_utc or now_utc()))

    def _wait_while_at_work(self, directory: RunDirectory) -> None:
        while is_at_work(directory):
            time.sleep(self._poll_seconds)

    def _start(self, directory: RunDirectory) -> subprocess.Popen[bytes]:
        with directory.log_file.open("ab") as log:
            return subprocess.Popen(
                [*self._trainer, str(directory.root)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child_environment(),
                start_new_session=True,
            )


def queue(runs: Path) -> list[RunDirectory]:
    """The queued runs, first come first."""
    waiting = [(d.status(), d) for d in all_runs(runs)]
    queued = [(s.updated_utc, d.root.name, d) for s, d in waiting if s and s.state is RunState.QUEUED]
    return [directory for _, _, directory in sorted(queued, key=lambda entry: entry[:2])]


def is_at_work(directory: RunDirectory) -> bool:
    """True while the process that the run's state names is alive; of one on another machine, its heart tells."""
    status = directory.status()
    if status is None or not status.state.is_active or status.pid is None:
        return False
    if directory.heartbeat_elsewhere():
        age = directory.heartbeat_age()
        return age is not None and age < SILENCE_SECONDS
    return ProcessIdentity(status.pid, status.process_started or 0.0).is_alive()


def settle(directory: RunDirectory, *, returncode: int | None = None) -> RunStatus | None:
    """Write how a run ended when its trainer is gone and did not say so itself; gives back the status.

    ``returncode`` is None when nobody waited for the process. Safe to call from runner and bench at once: both come
    to the same answer.
    """
    status = directory.status()
    if status is None or not status.state.is_active:
        return status
    if directory.requested() == KILL:
        return _end(directory, RunState.CANCELLED, error="killed before it ended", hint=_how_to_go_on(directory))
    state = RunState.FAILED if returncode is not None and returncode >= 0 else RunState.LOST
    tail = [line for line in log_tail(directory.log_file, lines=LAST_LINES * 2) if line.strip()][-LAST_LINES:]
    error = "\n".join([_cause(returncode), *(["last lines of its log:", *tail] if tail else [])])
    return _end(directory, state, error=error, hint=_how_to_go_on(directory))


def _cause(returncode: int | None) -> str:
    if returncode is None:
        return "the trainer is gone and said nothing"
    if returncode >= 0:
        return f"the trainer ended with exit code {returncode} and said nothing"
    name = signal.Signals(-returncode).name if -returncode in set(signal.Signals) else str(-returncode)
    memory = "; the kernel does that when memory runs out" if name == "SIGKILL" else ""
    return f"the trainer was ended by {name}{memory}"


def _how_to_go_on(directory: RunDirectory) -> str:
    if checkpoints := directory.complete_checkpoints():
        return f"resume goes on from step {step_of(checkpoints[-1])}"
    return "no checkpoint was saved: resume starts again from the beginning"


def _end(directory: RunDirectory, state: RunState, *, error: str = "", hint: str = "") -> RunStatus:
    status = directory.status() or RunStatus(state)
    ended = replace(status, state=state, pid=None, process_started=None, ended_utc=now_utc(), error=error, hint=hint)
    with suppress(OSError):  # a full disk: whoever looks next comes to the same answer
        return directory.write_status(ended)
    return ended


def serve(
    runs: Path, *, trainer: Sequence[str] = (), poll_seconds: float = 0.2, make_room: MakeRoom = lambda: None
) -> bool:
    """Work through the queue under the folder's lock; False when another runner is at it.

    The queue is looked at once more after the lock is given back: a run that was queued while the lock was still
    held, and for which the bench therefore started no runner, is not left behind.
    """
    from filelock import FileLock, Timeout  # 20 ms

    worked = False
    while not worked or queue(runs):
        try:
            with FileLock(runs / LOCK_NAME, timeout=LOCK_PATIENCE_SECONDS):
                Runner(runs, trainer=trainer, poll_seconds=poll_seconds, make_room=make_room).work()
        except Timeout:
            return worked
        worked = True
    return worked


def engine_makes_room(workspace: Workspace) -> None:
    """Have the workspace's engine give its GPU memory back; a trainer starts also when it does not."""
    try:
        free_the_gpu(EngineClient(workspace))
    except EngineError as error:
        print(f"the engine keeps its memory: {error.message}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of the runner."""
    parser = argparse.ArgumentParser(prog="workbench.jobs.runner")
    parser.add_argument("runs", type=Path)
    parser.add_argument("trainer", nargs="*", help="the command that a run's directory is handed to")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    workspace = Workspace(arguments.runs.absolute().parent)
    serve(arguments.runs, trainer=arguments.trainer, make_room=lambda: engine_makes_room(workspace))
    return 0


if __name__ == "__main__":
    sys.exit(main())
