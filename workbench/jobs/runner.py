"""The runner: takes queued runs in their order, starts a trainer for each, and settles how each one ended.

``python -m workbench.jobs.runner RUNS_FOLDER [-- TRAINER COMMAND]``. Works on run directories alone: no store, no
model, no torch. One run to a GPU, so several at once where there are several; on the CPU one after another. Asks the
workspace's engine for the GPU's memory before each trainer. Trainers live in sessions of their own, so a dead runner
takes none with it, and the next runner finds those that still live and leaves them their GPUs.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from workbench.domain.queues import CPU, Gpu, Ticket, Wish, impossible, others_on, startable, wish
from workbench.domain.runs import RunState
from workbench.errors import EngineError, UsageError, WorkbenchError
from workbench.jobs import devices, ranks
from workbench.jobs.engine import EngineClient, free_the_gpu
from workbench.jobs.launch import LOCK_NAME, PID_NAME, is_held
from workbench.jobs.processes import ProcessIdentity, child_environment
from workbench.jobs.queue import queue, ready
from workbench.jobs.run_directory import RunDirectory, all_runs, now_utc
from workbench.jobs.settling import end, is_at_work, recover, settle
from workbench.paths import Workspace

LOCK_PATIENCE_SECONDS = 1.0
DISK_SECONDS = 5.0
QUEUE_POLLS = 5
"""The queue is looked at this much more rarely than a process; what ends is heard of at once."""

MakeRoom = Callable[[Sequence[Gpu]], None]


class Runner:
    """Works through the queue of one folder of runs. The caller holds the folder's lock.

    ``make_room`` is called before each trainer, with the GPUs that it will be on, for the memory that it will need;
    ``gpus`` tells which there are. Setting ``ended`` makes it leave: its trainers go on.
    """

    def __init__(
        self,
        runs: Path,
        *,
        trainer: Sequence[str] = (),
        poll_seconds: float = 0.2,
        make_room: MakeRoom = lambda gpus: None,
        gpus: Callable[[], Sequence[Gpu]] = devices.gpus,
        ended: threading.Event | None = None,
    ) -> None:
        self._runs = runs
        self._make_room = make_room
        self._gpus = gpus
        self._trainer = list(trainer)
        self._poll_seconds = poll_seconds
        self._ended = ended or threading.Event()
        self._news = threading.Event()
        self._at_work: dict[str, tuple[threading.Thread, tuple[str, ...]]] = {}
        self._known: dict[str, Gpu] = {}

    def work(self) -> None:
        """Take over trainers left by an earlier runner, and run the queue until it is empty or the runner is ended."""
        for directory in all_runs(self._runs):
            if is_at_work(directory):
                self._begin(directory, self._adopt, self._taken_by(directory))
            elif not recover(directory):
                settle(directory)
        while not self._ended.is_set():
            self._at_work = {name: one for name, one in self._at_work.items() if one[0].is_alive()}
            waiting = queue(self._runs)
            if not waiting and not self._at_work:
                return
            self._start_some(ready([d for d in waiting if d.root.name not in self._at_work]))
            self._news.wait(QUEUE_POLLS * self._poll_seconds)
            self._news.clear()
        self._leave()

    def _taken_by(self, directory: RunDirectory) -> tuple[str, ...]:
        """What a run that an earlier runner started has of this machine."""
        if directory.heartbeat_elsewhere():
            return ()
        if directory.has_runner_note():
            return directory.runner_note().uuids or (CPU,)
        # One without a note is of an older program, which let a run have the whole machine.
        return tuple(gpu.uuid for gpu in self._gpus()) or (CPU,)

    def _start_some(self, waiting: Sequence[RunDirectory]) -> None:
        if not waiting:
            return
        gpus = self._gpus()
        # One that is silent for a moment is still there: what wants it waits, and nothing goes to the CPU instead.
        self._known |= {gpu.uuid: gpu for gpu in gpus}
        if self._known and not gpus:
            return
        taken = {uuid for _, uuids in self._at_work.values() for uuid in uuids}
        wishes = []
        for directory in waiting:
            try:
                wanted = _wanted(directory)
                problem = impossible(wanted, list(self._known.values()))
            except UsageError as error:
                problem = error.message
            if problem:
                end(directory, RunState.FAILED, error=problem, hint="workbench runs gpus changes that; then resume it")
            else:
                wishes.append((directory, wanted))
        for directory, chosen in startable(wishes, gpus, taken):
            work = partial(self._run, gpus=chosen)
            self._begin(directory, work, tuple(gpu.uuid for gpu in chosen) or (CPU,))

    def _begin(self, directory: RunDirectory, work: Callable[[RunDirectory], None], taken: tuple[str, ...]) -> None:
        def worked() -> None:
            try:
                work(directory)
            finally:
                self._news.set()

        thread = threading.Thread(target=worked, name=directory.root.name, daemon=True)
        self._at_work[directory.root.name] = (thread, taken)
        thread.start()

    def _leave(self) -> None:
        """Note what is at work, so that the next runner goes on with it however it ends now."""
        for directory in all_runs(self._runs):
            if directory.root.name in self._at_work:
                with suppress(OSError):
                    directory.write_runner_note(replace(directory.runner_note(), interrupted=True))

    def _adopt(self, directory: RunDirectory) -> None:
        note = directory.runner_note()
        if note.interrupted:
            with suppress(OSError):  # a full disk ends no watch
                directory.write_runner_note(replace(note, interrupted=False))
        self._wait_while_at_work(directory)
        settle(directory)

    def _run(self, directory: RunDirectory, *, gpus: Sequence[Gpu] = ()) -> None:
        self._run_once(directory, gpus)
        status = directory.status()
        if status is not None and status.state is RunState.QUEUED:
            time.sleep(DISK_SECONDS)  # how it ended could not be written down: a full disk

    def _run_once(self, directory: RunDirectory, gpus: Sequence[Gpu]) -> None:
        if not directory.requested():
            self._make_room(gpus)  # may take minutes: a stop can come meanwhile
        if directory.requested():
            end(directory, RunState.CANCELLED)
            return
        status = directory.status()
        if status is None or status.state is not RunState.QUEUED:
            return  # sent elsewhere, or taken from the queue, meanwhile
        self._note_place(directory, gpus)
        try:
            process = self._start(directory, gpus)
        except OSError as error:
            end(directory, RunState.FAILED, error=f"the trainer could not be started: {error.strerror}")
            return
        except WorkbenchError as error:
            end(directory, RunState.FAILED, error=error.message, hint=error.hint)
            return
        self._note_start(directory, process.pid)
        returncode = process.wait()
        self._wait_while_at_work(directory)
        # The exit code of several processes' launcher only tells that one of them fell.
        settle(directory, returncode=returncode if ranks.processes_of(directory) == 1 else None)

    def _note_place(self, directory: RunDirectory, gpus: Sequence[Gpu]) -> None:
        """Write down where the run trains, and who else is there."""
        labels = tuple(gpu.label for gpu in gpus)
        note = replace(directory.runner_note(), uuids=tuple(gpu.uuid for gpu in gpus), labels=labels, interrupted=False)
        with suppress(OSError):
            directory.write_runner_note(note)
        # Asked again: the engine may just have left.
        now = [gpu for gpu in self._gpus() if gpu.uuid in note.uuids]
        if said := others_on(now, ()):
            directory.add_note(f"not alone there: {said}")

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

    def _start(self, directory: RunDirectory, gpus: Sequence[Gpu]) -> subprocess.Popen[bytes]:
        command = [*self._trainer, str(directory.root)] if self._trainer else ranks.command(directory)
        with directory.log_file.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child_environment(_sees(directory.ticket(), gpus) | ranks.environment(directory)),
                start_new_session=True,
            )


def _wanted(directory: RunDirectory) -> Wish:
    """The GPUs that the run wants: one for each of its processes, unless a person named them."""
    wanted = wish(directory.ticket().gpus)
    if wanted.is_cpu or wanted.indices:
        return wanted
    return Wish(max(wanted.count, ranks.processes_of(directory)))


def _sees(ticket: Ticket, gpus: Sequence[Gpu]) -> dict[str, str]:
    """The part of a trainer's environment that says which GPUs there are for it."""
    if gpus:
        return {devices.VISIBLE: ",".join(gpu.uuid for gpu in gpus)}
    return {devices.VISIBLE: ""} if wish(ticket.gpus).is_cpu else {}


def serve(
    runs: Path,
    *,
    trainer: Sequence[str] = (),
    poll_seconds: float = 0.2,
    make_room: MakeRoom = lambda gpus: None,
    ended: threading.Event | None = None,
) -> bool:
    """Work through the queue under the folder's lock; False when another runner is at it.

    The queue is looked at once more after the lock is given back: a run that was queued while the lock was still
    held, and for which the bench therefore started no runner, is not left behind.
    """
    from filelock import FileLock, Timeout  # 20 ms

    worked, over = False, ended or threading.Event()
    while not worked or (queue(runs) and not over.is_set()):
        try:
            with FileLock(runs / LOCK_NAME, timeout=LOCK_PATIENCE_SECONDS):
                with suppress(OSError):  # a full disk: the queue goes on, and its runs say what they wait for
                    (runs / PID_NAME).write_text(json.dumps(asdict(ProcessIdentity.own())), encoding="utf-8")
                if is_held(runs):  # since before there was a process to ask
                    return worked
                Runner(runs, trainer=trainer, poll_seconds=poll_seconds, make_room=make_room, ended=over).work()
        except Timeout:
            return worked
        worked = True
    return worked


def engine_makes_room(workspace: Workspace, gpus: Sequence[Gpu] = ()) -> None:
    """Have the workspace's engine give its GPU memory back where a trainer comes; that starts also when it does not.

    An engine that is known to be on another GPU keeps what it has. One that comes back meanwhile, for a chat, takes
    what the trainer has left.
    """
    engine = EngineClient(workspace)
    pid = engine.status().pid
    everywhere = {user.pid for gpu in devices.gpus() for user in gpu.users}
    if gpus and pid in everywhere and pid not in {user.pid for gpu in gpus for user in gpu.users}:
        return
    try:
        free_the_gpu(engine)
    except EngineError as error:
        print(f"the engine keeps its memory: {error.message}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of the runner."""
    parser = argparse.ArgumentParser(prog="workbench.jobs.runner")
    parser.add_argument("runs", type=Path)
    parser.add_argument("trainer", nargs="*", help="the command that a run's directory is handed to")
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    workspace = Workspace(arguments.runs.absolute().parent)
    arguments.runs.mkdir(parents=True, exist_ok=True)
    serve(arguments.runs, trainer=arguments.trainer, make_room=partial(engine_makes_room, workspace), ended=ended)
    return 0


if __name__ == "__main__":
    sys.exit(main())
