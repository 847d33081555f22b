"""Which moment of its life a process was hit in: its own stack, asked for just before the fault.

Every Python of a moment starts with ``traced/sitecustomize.py``, which writes the stack when SIGUSR1 comes, inside the
signal's handler: no code of the product is changed, and the process is stopped for a millisecond.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

TRACES = "WORKBENCH_FAULT_TRACES"
SECONDS = 1.0
_QUIET_SECONDS = 0.005
_TRAINER = (
    (("building.py:_save_checkpoint",), "writing a checkpoint"),
    (("training.py:_save",), "saving the adapter"),
    (("examining.py",), "measuring single rows"),
    (("rehearsal.py",), "trying the longest batch"),
    (("training.py:_measure", "training.py:_train"), "measuring on the way"),
    (("training.py:_measure",), "measuring start or end"),
    (("building.py:training_step",), "inside a step"),
    (("training.py:_train",), "between two steps"),
    (("importlib",), "loading libraries"),
    (("training.py:_build",), "loading model and rows"),
    (("training.py:train",), "beginning or ending"),
)
_BENCH = (
    (("workbench/store/",), "in the database"),
    (("importlib",), "loading"),
    (("selectors.py:select",), "waiting"),
    (("textual/",), "drawing"),
)


def prepare(folder: Path) -> None:
    """Have every Python that this process starts write its stacks into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[TRACES] = str(folder)
    ours = str(Path(__file__).with_name("traced"))
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, [ours, *paths])))


def trainer(pid: int | None) -> str:
    """What a trainer is doing, in a few words."""
    return _words(pid, _TRAINER, "starting Python")


def bench(pid: int | None) -> str:
    """What a TUI is doing, in a few words."""
    return _words(pid, _BENCH, "at work")


def _words(pid: int | None, places: tuple[tuple[tuple[str, ...], str], ...], other: str) -> str:
    if pid is None:
        return "over"
    frames = _stack(pid)
    if not frames:
        return "starting Python" if _exists(pid) else "over"
    return next((said for marks, said in places if all(any(m in f for f in frames) for m in marks)), other)


def _stack(pid: int) -> list[str]:
    """The main thread's frames, innermost first, each ``path:function``; none from a process that does not listen."""
    trace = Path(os.environ.get(TRACES, "/nowhere")) / str(pid)
    if not _catches(pid):
        return []
    before = trace.stat().st_size if trace.exists() else 0
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR1)
    deadline, size = time.monotonic() + SECONDS, before
    while time.monotonic() < deadline:
        time.sleep(_QUIET_SECONDS)
        now = trace.stat().st_size if trace.exists() else 0
        if now == size > before:
            break
        size = now
    text = trace.read_bytes()[before:].decode() if trace.exists() else ""
    # The main thread is the oldest, and so the last that is told.
    last = text.rpartition("(most recent call first):\n")[2]
    return [_frame(line) for line in last.splitlines() if line.startswith("  File ")]


def _frame(line: str) -> str:
    _, path, rest = line.split('"', 2)
    return f"{path}:{rest.rpartition(' in ')[2]}"


def _catches(pid: int) -> bool:
    """True when the process has a handler for SIGUSR1: any other would be ended by it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    caught = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:")), 0)
    return bool(caught >> (signal.SIGUSR1 - 1) & 1)


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
