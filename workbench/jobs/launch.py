"""Seeing to it that a runner works on the queue, without two of them and without a run left behind.

A run is queued first and the runner's lock looked at after that. A runner gives its lock back before it looks at the
queue for the last time. So either the bench finds the lock free and starts a runner, or the runner finds the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workbench.jobs.processes import child_environment, module_argv, spawn_detached

LOCK_NAME = ".runner.lock"
LOG_NAME = "runner.log"


def runner_is_running(runs: Path) -> bool:
    """True while a runner holds the lock of this folder of runs."""
    from filelock import FileLock, Timeout  # 20 ms

    if not (runs / LOCK_NAME).exists():
        return False
    try:
        with FileLock(runs / LOCK_NAME, timeout=0):
            return False
    except Timeout:
        return True


def ensure_runner(runs: Path, *, trainer: Sequence[str] = ()) -> bool:
    """Start a detached runner unless one is at work; True when one was started.

    ``trainer`` replaces the command that a run's directory is handed to (for tests and other trainers). Raises
    ``OSError`` when no process can be started.
    """
    if runner_is_running(runs):
        return False
    runs.mkdir(parents=True, exist_ok=True)
    command = module_argv("workbench.jobs.runner", str(runs), *(["--", *trainer] if trainer else []))
    spawn_detached(command, runs / LOG_NAME, child_environment())
    return True
