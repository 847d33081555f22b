"""Whose work something is: a process by its number and the time it began, because numbers are given again."""

from __future__ import annotations

# An operating system reports a process's start to a hundredth of a second, and shifts it when the clock is set.
_SAME_START_SECONDS = 2.0


def process_started(pid: int, *, near: float | None = None) -> float:
    """When a process began, in seconds since the epoch; 0.0 when there is none, or none that began ``near`` then."""
    import psutil  # 20 ms

    try:
        started: float = psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0
    return started if near is None or abs(started - near) < _SAME_START_SECONDS else 0.0
