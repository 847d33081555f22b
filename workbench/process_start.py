"""When a process began, as a number that no setting of the clock changes and no other boot repeats.

Together with its pid it names a process for good: numbers of processes are given again. Knows nothing of what the
process does.
"""

from __future__ import annotations

from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Longer than any machine stays up: starts of different boots never meet.
_SECONDS_PER_BOOT = 1e9


def started(pid: int) -> float:
    """Seconds from the boot to the start of the process, plus a share of the boot's own; 0.0 when there is none.

    A start told in seconds since the epoch would move with the clock, and a living process would look like another.
    """
    import psutil  # 15 ms

    try:
        # Both are the kernel's seconds since boot plus the same moment of boot, which moves when the clock is set.
        since_boot: float = psutil.Process(pid).create_time() - psutil.boot_time()
    except psutil.Error:
        return 0.0
    return since_boot + _boot() * _SECONDS_PER_BOOT


def is_of_another_boot(start: float) -> bool:
    """True for a number that ``started`` gave before the machine was last booted; False when it tells no boot."""
    boot = round(start / _SECONDS_PER_BOOT)
    return boot > 0 and boot != _boot()


def _boot() -> int:
    """A number of this boot's, from 1 to 65536."""
    try:
        return 1 + int(_BOOT_ID.read_text(encoding="ascii")[:4], 16)
    except (OSError, ValueError):
        return 1
