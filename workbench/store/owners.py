"""Whose work something is: a process by its number and the time it began, because numbers are given again."""

from __future__ import annotations

from workbench.process_start import started

# An operating system reports a process's start to a hundredth of a second, and the boot to a second.
_SAME_START_SECONDS = 2.0


def process_started(pid: int, *, near: float | None = None) -> float:
    """When a process began (no date: see ``process_start``); 0.0 when there is none, or none that began ``near``."""
    found = started(pid)
    return found if near is None or abs(found - near) < _SAME_START_SECONDS else 0.0
