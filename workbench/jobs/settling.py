"""How a run ended whose trainer did not say so: settled from what is left, or queued again when no person ended it.

Safe to do from runner and bench at once: both come to the same answer. Starts no process.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from workbench import process_start
from workbench.domain.runs import RunState, RunStatus
from workbench.jobs import ranks
from workbench.jobs.processes import ProcessIdentity, is_locked, log_tail
from workbench.jobs.run_directory import KILL, RunDirectory, now_utc, step_of

LAST_LINES = 5
SILENCE_SECONDS = 60.0


def is_at_work(directory: RunDirectory) -> bool:
    """True while the process that the run's state names is alive; of one on another machine, its heart tells."""
    status = directory.status()
    if status is None or not status.state.is_active or status.pid is None:
        return False
    if directory.heartbeat_elsewhere():
        age = directory.heartbeat_age()
        return age is not None and age < SILENCE_SECONDS
    if ProcessIdentity(status.pid, status.process_started or 0.0).is_alive():
        return True
    # Several processes outlive a killed launcher by a second.
    return ranks.processes_of(directory) > 1 and is_locked(directory.lock_file)


def settle(directory: RunDirectory, *, returncode: int | None = None) -> RunStatus | None:
    """Write how a run ended when its trainer is gone and did not say so itself; gives back the status, which is queued
    for a run that ended with its machine.

    ``returncode`` is None when nobody waited for the process. Safe to call from runner and bench at once: both come
    to the same answer.
    """
    status = directory.status()
    if status is None or not status.state.is_active or recover(directory):
        return directory.status()
    if directory.requested() == KILL:
        return end(directory, RunState.CANCELLED, error="killed before it ended", hint=_how_to_go_on(directory))
    state = RunState.FAILED if returncode is not None and returncode >= 0 else RunState.LOST
    return end(directory, state, error=_with_log(directory.log_file, _cause(returncode)), hint=_how_to_go_on(directory))


def settle_sent(directory: RunDirectory, *, returncode: int, log: Path) -> RunStatus | None:
    """As ``settle``, called on a machine where a sent run was to train: its trainer may have failed before it had
    begun, which nobody else would hear of. ``log`` is what it printed there.
    """
    status = directory.status()
    never_began = status is not None and status.state is RunState.CANCELLED
    if not returncode or not never_began or directory.requested():
        return settle(directory)
    said = f"on {os.uname().nodename} the trainer ended with exit code {returncode} before it had begun"
    error = _with_log(log, said)
    taken = "communication on port" in error
    hint = "another program has the port: runs send --port N takes another" if taken else _how_to_go_on(directory)
    return end(directory, RunState.FAILED, error=error, hint=hint)


def _with_log(log: Path, cause: str) -> str:
    tail = [line for line in log_tail(log, lines=LAST_LINES * 2) if line.strip()][-LAST_LINES:]
    return "\n".join([cause, *(["last lines of its log:", *tail] if tail else [])])


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


def end(directory: RunDirectory, state: RunState, *, error: str = "", hint: str = "") -> RunStatus:
    """Write that the run is over and no process works on it; gives back the status."""
    status = directory.status() or RunStatus(state)
    ended = replace(status, state=state, pid=None, process_started=None, ended_utc=now_utc(), error=error, hint=hint)
    with suppress(OSError):  # a full disk: whoever looks next comes to the same answer
        return directory.write_status(ended)
    return ended


# Going on by itself


def recover(directory: RunDirectory) -> bool:
    """Queue a run again that ended with its machine, or with a runner that was told to end; True when that was done.

    Not one that a person asked to stop, nor one that went down twice at the same checkpoint: that would go on for ever.
    Nor one whose trainer is at work, which outlives its runner: it would get a rival.
    """
    status, note = directory.status(), directory.runner_note()
    if status is None or directory.requested() or directory.heartbeat_elsewhere() or is_at_work(directory):
        return False
    rebooted = status.state.is_active and process_start.is_of_another_boot(status.process_started or 0.0)
    stopped = note.interrupted and status.state in {RunState.STOPPED, RunState.LOST}
    if not (rebooted or stopped or (note.interrupted and status.state.is_active)):
        return False
    checkpoints = directory.complete_checkpoints()
    step = step_of(checkpoints[-1]) if checkpoints else 0
    if note.recovered_step == step:
        return False
    why = "the machine went down" if rebooted else "the runner was told to end"
    try:
        directory.write_runner_note(replace(note, interrupted=False, recovered_step=step))
        # In its old place, which was before all that still wait.
        directory.write_status(
            replace(status, state=RunState.QUEUED, pid=None, process_started=None, ended_utc="", error="", hint="")
        )
    except OSError:  # a full disk: whoever looks next comes to the same answer
        return False
    directory.add_note(f"{why} at step {status.step}: queued again, to go on from step {step}")
    return True


if __name__ == "__main__":
    settle_sent(RunDirectory(Path(sys.argv[1])), returncode=int(sys.argv[3]), log=Path(sys.argv[2]))
