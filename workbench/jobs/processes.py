"""Child processes seen from outside: started so that they outlive the terminal.

A process is named by its pid together with the moment it started, as the operating system tells both, so that a
reused pid fools nobody. Knows nothing of what the children do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workbench import process_start

START_TOLERANCE_SECONDS = 1.5

QUIET_ENVIRONMENT = {
    # With GNU OpenMP's spinning left on, a busy neighbour made generation ten times slower on two cores.
    "GOMP_SPINCOUNT": "0",
    "OMP_WAIT_POLICY": "passive",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process by pid and start (no date: a number from ``process_start`` that no setting of the clock changes)."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """The identity of a process that runs now; None when there is none, or only a zombie."""
        import psutil  # 15 ms

        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(pid, process_start.started(pid))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None

    @classmethod
    def own(cls) -> ProcessIdentity:
        """The identity of this very process."""
        identity = cls.of(os.getpid())
        return identity if identity is not None else cls(os.getpid(), 0.0)

    def is_alive(self) -> bool:
        """True while this very process runs; a zombie, or another process under the same pid, is not it."""
        now = ProcessIdentity.of(self.pid)
        return now is not None and abs(now.started - self.started) <= START_TOLERANCE_SECONDS

    def kill_all(self) -> None:
        """Kill the process and everything that it started, also what has a session of its own; nothing when it is gone.

        The process has to lead a group, as everything does that is started detached.
        """
        import psutil  # 15 ms

        if not self.is_alive():
            return
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            children = psutil.Process(self.pid).children(recursive=True)
            os.killpg(self.pid, signal.SIGKILL)
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()


def is_locked(path: Path) -> bool:
    """True while a process holds this lock file; asking makes none."""
    from filelock import FileLock, Timeout  # 20 ms

    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def module_argv(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules with this very Python, whatever the current folder holds."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment made fit for a worker: quiet, no telemetry, our package found.

    What the user set already wins over the quiet defaults; ``extra`` wins over both.
    """
    package_parent = str(Path(__file__).resolve().parents[2])
    search = [package_parent, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    found_first = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(search))}
    return {**QUIET_ENVIRONMENT, **os.environ, **found_first, **(extra or {})}


def spawn_detached(argv: Sequence[str], log: Path, env: Mapping[str, str]) -> ProcessIdentity:
    """Start ``argv`` in a session of its own, with stdin empty and all output appended to ``log``.

    The child survives the terminal and us. A thread waits for it, so that it never stays behind as our zombie.
    Raises ``OSError`` when the program cannot be started at all.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            start_new_session=True,
            close_fds=True,
        )
    identity = ProcessIdentity.of(process.pid) or ProcessIdentity(process.pid, 0.0)
    threading.Thread(target=process.wait, name=f"reap-{process.pid}", daemon=True).start()
    return identity


def log_tail(log: Path, *, lines: int = 20, limit_bytes: int = 65536) -> list[str]:
    """The last lines of a log, decoded leniently; empty when there is none. Reads at most ``limit_bytes``."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - limit_bytes))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return text.splitlines()[-lines:]
