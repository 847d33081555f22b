"""Seeing to it that a runner works on the queue, without two of them and without a run left behind.

A run is queued first and the runner's lock looked at after that. A runner gives its lock back before it looks at the
queue for the last time. So either the bench finds the lock free and starts a runner, or the runner finds the run.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from workbench.jobs.processes import ProcessIdentity, child_environment, is_locked, module_argv, spawn_detached

LOCK_NAME = ".runner.lock"
PID_NAME = ".runner.pid"
HOLD_NAME = ".hold"
LOG_NAME = "runner.log"
_LEAVING_SECONDS = 10.0


def runner_is_running(runs: Path) -> bool:
    """True while a runner holds the lock of this folder of runs."""
    return is_locked(runs / LOCK_NAME)


def hold(runs: Path) -> ProcessIdentity | None:
    """Let no runner start before ``let_go``, and end the one at work (given back); its trainers go on.

    Comes back when that one has left the queue, mostly within a second, so that another can be started at once.
    """
    runs.mkdir(parents=True, exist_ok=True)
    (runs / HOLD_NAME).touch()
    runner = runner_process(runs)
    if runner is not None:
        with suppress(ProcessLookupError):
            os.kill(runner.pid, signal.SIGTERM)
        patience = time.monotonic() + _LEAVING_SECONDS
        while runner.is_alive() and runner_is_running(runs) and time.monotonic() < patience:
            time.sleep(0.05)
    return runner


def is_held(runs: Path) -> bool:
    """True while somebody holds the queue."""
    return (runs / HOLD_NAME).exists()


def let_go(runs: Path) -> None:
    """Take back ``hold``."""
    (runs / HOLD_NAME).unlink(missing_ok=True)


def runner_process(runs: Path) -> ProcessIdentity | None:
    """The process of the runner at work, None when there is none."""
    if not runner_is_running(runs):
        return None
    try:
        process = ProcessIdentity(**json.loads((runs / PID_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return process if process.is_alive() else None


def ensure_runner(runs: Path, *, trainer: Sequence[str] = ()) -> bool:
    """Start a detached runner unless one is at work or the queue is held; True when one was started.

    ``trainer`` replaces the command that a run's directory is handed to (for tests and other trainers). Raises
    ``OSError`` when no process can be started.
    """
    if is_held(runs) or runner_is_running(runs):
        return False
    runs.mkdir(parents=True, exist_ok=True)
    command = module_argv("workbench.jobs.runner", str(runs), *(["--", *trainer] if trainer else []))
    spawn_detached(command, runs / LOG_NAME, child_environment())
    return True


def be_runner(runs: Path) -> bool:
    """Be the runner in this very process until the queue is empty; False when another is at work."""
    from workbench.jobs.runner import main

    if runner_is_running(runs):
        return False
    main([str(runs)])
    return True
