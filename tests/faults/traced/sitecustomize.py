"""Found first by every Python of a fault moment: SIGUSR1 has it write where it is, and go on."""

from __future__ import annotations

import faulthandler
import os
import signal


def register() -> None:
    """Take SIGUSR1; of a process that forked, its child calls this again."""
    if folder := os.environ.get("WORKBENCH_FAULT_TRACES"):
        trace = open(f"{folder}/{os.getpid()}", "a")  # noqa: SIM115 - as long as the process lives
        faulthandler.register(signal.SIGUSR1, file=trace, all_threads=True)


register()
