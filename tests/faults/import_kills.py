"""kill -9 of an import at random moments: of the command that writes, and of the child that reads for it.

The rows are seen all or not at all, no process stays behind, and the same file comes in afterwards.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import psutil
from kills import Kill, check_database, workbench

from workbench.domain.queries import parse_query
from workbench.flows import exchange, imports
from workbench.flows.bench import Bench
from workbench.paths import Workspace

ROWS = 6000


def kill_import(workspace: Workspace, rng: random.Random, *, victim: str) -> Kill:
    """Kill the command, or its child, when so many rows are written, or before any is."""
    file = _rows(workspace.root.parent / "pairs.jsonl", rng)
    when, begun = rng.choice([0, rng.randrange(ROWS)]), time.monotonic()
    command = workbench("-w", str(workspace.root), "import", str(file), "--dataset", "pairs")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children = _children_when(process, workspace, when)
    after = time.monotonic() - begun
    for found in [process.pid] if victim == "import" else [child.pid for child in children]:
        with suppress(ProcessLookupError):
            os.kill(found, signal.SIGKILL)
    process.wait(60)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive, f"the process that read is still there: {alive}"
    check_database(workspace)
    written = _written(workspace)
    bench = Bench.open(workspace)
    try:
        seen = bench.store.examples.count(parse_query("dataset:pairs"))
        assert seen in (0, ROWS), f"{seen} of {ROWS} rows are seen"
        assert bench.store.imports.sweep()
        assert _written(workspace) == seen, "rows were left behind"
        assert bool(seen) == any(dataset.name == "pairs" for dataset in bench.store.datasets.list())
        again = exchange.import_file(bench, file, dataset="pairs")
        assert (again.imported, again.duplicates) == (ROWS - seen, seen)
        assert not [path.name for path in file.parent.glob(".*.tmp")]
    finally:
        bench.close()
    check_database(workspace)
    doing = "before a row" if not when else "between the rows"
    return Kill(
        victim, after, f"{written:,} rows written, {seen:,} seen", f"{again.imported:,} came in afterwards", doing
    )


def _rows(file: Path, rng: random.Random) -> Path:
    words = [f"word{number}" for number in range(2000)]
    with file.open("w") as out:
        for number in range(ROWS):
            texts = [" ".join(rng.choices(words, k=40)) for _ in range(3)]
            row = dict(zip(("prompt", "chosen", "rejected"), (f"{number} {texts[0]}", *texts[1:]), strict=True))
            out.write(json.dumps(row) + "\n")
    assert file.stat().st_size >= imports.LARGE_BYTES, "no child would read it"
    return file


def _children_when(process: subprocess.Popen[bytes], workspace: Workspace, rows: int) -> list[psutil.Process]:
    """The children that the command has when it has written so many rows, or is at its end."""
    children: list[psutil.Process] = []
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children() or children
        if children and _written(workspace) >= rows:
            break
        time.sleep(0.02)
    return children


def _written(workspace: Workspace) -> int:
    try:
        with closing(sqlite3.connect(f"file:{workspace.database}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM examples").fetchone()[0])
    except sqlite3.OperationalError:  # it is not there yet
        return 0


IMPORTS: dict[str, Callable[[Workspace, random.Random], Kill]] = {
    "import": partial(kill_import, victim="import"),
    "import's reader": partial(kill_import, victim="import's reader"),
}
