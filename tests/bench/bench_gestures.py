"""Gestures on whole datasets while another process labels: how long each takes, and how long a label waits for it.

``python -m tests.bench.bench_gestures [--rows N] [--workspace FOLDER] [GESTURE ...]`` works on a copy of the workspace
of ``million.py`` and prints a table; run by hand. Budget: no label waits much longer than 100 ms.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.bench_curate import labelling
from tests.bench.million import built
from workbench.config import Settings
from workbench.domain.datasets import Shares
from workbench.flows import check, curate, datasets
from workbench.flows.bench import Bench
from workbench.paths import Workspace

GESTURES: dict[str, Callable[[Bench], object]] = {
    "deal": lambda bench: datasets.deal_splits(bench, "tickets", seed=7, shares=Shares(0.8, 0.1, 0.1)),
    "undo the deal": curate.undo,
    "one label after it": lambda bench: curate.accept(bench, [1]),
    "delete": lambda bench: datasets.delete(bench, "pairs"),
    "undo the delete": curate.undo,
    "delete again": curate.redo,
    "undo that": curate.undo,
    "check --fix": lambda bench: check.run(bench, "", dataset="thumbs", only=["personal_data", "empty"], fix=True),
    "undo the fixes": curate.undo,
}


def main() -> None:
    """Measure on a copy and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("gestures", nargs="*", default=[*GESTURES])
    args = parser.parse_args()
    original = args.workspace or built(args.rows)
    with tempfile.TemporaryDirectory(dir=original.parent) as folder:
        copy = Path(folder) / "workspace"
        shutil.copytree(original, copy)
        bench = Bench.open(Workspace(copy), rater="ann", settings=Settings())
        with bench.store.write() as db:  # so that there is something to deal
            db.execute("UPDATE examples SET split = 'none' WHERE split <> 'test'")
        print(f"load {os.getloadavg()[0]:.1f}\n\n| gesture | seconds | labels meanwhile | longest wait, ms | peak MB |")
        print("|---|---|---|---|---|")
        for name in args.gestures:
            with labelling(copy) as waits:
                begun = time.monotonic()
                GESTURES[name](bench)
                seconds = time.monotonic() - begun
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"| {name} | {seconds:.1f} | {len(waits)} | {max(waits, default=0):.0f} | {peak:.0f} |", flush=True)
        bench.close()


if __name__ == "__main__":
    main()
