"""First paint: CPU seconds that the bench has used when its home screen is on the terminal. Prints, never fails.

``python -m tests.bench.bench_start [RUNS]``; the budget is 0.5 s of CPU time (user and system) at the first paint.
"""

from __future__ import annotations

import compileall
import statistics
import sys
import tempfile
from pathlib import Path

import psutil

import workbench
from tests.terminal import Terminal

BUDGET_S = 0.5


def measure() -> tuple[float, float]:
    """CPU seconds at the first paint, and once the store is open and the screen is at rest."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "workbench", "--workspace", folder]
        with Terminal(argv, env={"XDG_CONFIG_HOME": folder, "XDG_STATE_HOME": folder}) as terminal:
            terminal.wait_for("[(C)HAT]", seconds=30)
            times = psutil.Process(terminal.pid).cpu_times()
            first = times.user + times.system
            terminal.settle(0.7)
            times = psutil.Process(terminal.pid).cpu_times()
            return first, times.user + times.system


def main() -> None:
    """Print median, best and worst of the runs (the first, which fills the disk's cache, is not counted)."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    compileall.compile_dir(Path(workbench.__file__).parent, quiet=1)  # as an installed package is
    measure()
    measured = [measure() for _ in range(runs)]
    for name, column in (("first paint", 0), ("store open, at rest", 1)):
        values = sorted(m[column] for m in measured)
        print(f"{name}: median {statistics.median(values):.2f} s CPU (min {values[0]:.2f}, max {values[-1]:.2f})")
    print(f"budget at first paint: {BUDGET_S} s CPU")


if __name__ == "__main__":
    main()
