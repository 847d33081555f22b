"""How fast preference rows come in, against plain ``sqlite-utils insert`` of the same file, and how long others wait.

``python tests/bench/bench_import.py [ROWS] [--rounds N] [--into ROWS]`` prints a line for each measurement. The import
is a command of its own, as a person runs it; it checks, hashes and indexes every row. The two take turns, because other
work on the machine slows both. Then it imports into a workspace that has rows already, while another process labels in
it and times each label.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import workbench

LABELLER = """
import sys, time
from pathlib import Path
from workbench.domain.decisions import Action
from workbench.domain.examples import Source, SourceKind, Status, demonstration
from workbench.domain.chats import Turn
from workbench.paths import Workspace
from workbench.store.store import Store

store = Store.open(Workspace(Path(sys.argv[1])))
made, _ = store.examples.add("mine", demonstration([Turn("user", "q")], "a"), source=Source(SourceKind.IMPORT),
                             status=Status.PENDING, rater="ann")
print("ready", flush=True)
while True:
    begun = time.perf_counter()
    store.examples.change([made.id], Action.ACCEPT, rater="ann", status=Status.ACCEPTED)
    print(f"{1000 * (time.perf_counter() - begun):.2f}", flush=True)
    time.sleep(0.05)
"""
HELD = """
import contextlib, json, resource, sys, time
from pathlib import Path
from workbench.flows import exchange
from workbench.flows.bench import Bench
from workbench.paths import Workspace
from workbench.store.write_lock import WriteLock

spans, held = [], WriteLock.held
@contextlib.contextmanager
def timed(lock):
    with held(lock):
        begun, used = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            spans.append((1000 * (time.perf_counter() - begun), 1000 * (time.thread_time() - used)))
WriteLock.held = timed
bench = Bench.open(Workspace(Path(sys.argv[1])))
spans.clear()
begun = time.perf_counter()
report = exchange.import_file(bench, Path(sys.argv[2]))
seconds = time.perf_counter() - begun
peaks = [resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"imported": report.imported, "seconds": seconds, "peaks": peaks,
                  "held": [wall for wall, _ in spans], "worked": [used for _, used in spans]}))
"""


@dataclass(frozen=True, slots=True)
class Took:
    """What a command took: seconds by the clock, and of processor time."""

    wall_s: float
    cpu_s: float


def write_rows(path: Path, count: int, *, seed: int = 7) -> None:
    """Preference rows of some 900 bytes, drawn from a fixed seed."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(8000)]

    def text(low: int, high: int) -> str:
        return " ".join(draw.choices(words, k=draw.randint(low, high)))

    with path.open("w", encoding="utf-8") as file:
        for _ in range(count):
            row = {
                "prompt": [{"role": "user", "content": text(8, 40)}],
                "chosen": [{"role": "assistant", "content": text(20, 80)}],
                "rejected": [{"role": "assistant", "content": text(20, 80)}],
            }
            file.write(json.dumps(row) + "\n")


def timed(*command: str) -> Took:
    """What a command takes, with all its child processes."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def load() -> str:
    """How many processes want to run, on average of the last minute."""
    return f"load {os.getloadavg()[0]:.1f}"


def against_sqlite_utils(folder: Path, rows: Path, count: int, rounds: int) -> None:
    """Both in turn; the ratio of each turn, and of the best of each."""
    python, plains, ours = sys.executable, [], []
    for number in range(1, rounds + 1):
        plain_db, workspace = folder / f"plain{number}.db", folder / f"w{number}"
        plains.append(timed(python, "-m", "sqlite_utils", "insert", str(plain_db), "rows", str(rows), "--nl"))
        ours.append(timed(python, "-m", "workbench", "-w", str(workspace), "import", str(rows), "--json"))
        ratio = plains[-1].wall_s / ours[-1].wall_s
        said = f"sqlite-utils {plains[-1].wall_s:6.2f} s ({plains[-1].cpu_s:5.2f} s of processor)"
        said += f", import {ours[-1].wall_s:6.2f} s ({ours[-1].cpu_s:5.2f} s): {ratio:.2f} of its rate"
        print(f"round {number}              {said}; {load()}", flush=True)
    ratios = [a.wall_s / b.wall_s for a, b in zip(plains, ours, strict=True)]
    print(f"rate                 {statistics.median(ratios):.2f} of sqlite-utils (median), {count:,} rows", flush=True)
    again = timed(python, "-m", "workbench", "-w", str(folder / "w1"), "import", str(rows), "--json")
    print(f"the same file again  {again.wall_s:6.2f} s  {count / again.wall_s:9,.0f} rows/s", flush=True)


def while_labelling(folder: Path, rows: Path, into: int) -> None:
    """An import into another workspace, which has rows already, while somebody labels in it."""
    workspace = folder / "v"
    for part, seed in enumerate(range(100, 100 + -(-into // 100_000))):
        old = folder / "old.jsonl"
        write_rows(old, min(100_000, into - part * 100_000), seed=seed)
        timed(sys.executable, "-m", "workbench", "-w", str(workspace), "import", str(old), "--json", "--dataset", "old")
    labeller = subprocess.Popen(
        [sys.executable, "-c", LABELLER, str(workspace)], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert labeller.stdout is not None
    labeller.stdout.readline()
    command = [sys.executable, "-c", HELD, str(workspace), str(rows)]
    done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    labeller.terminate()
    waits = [float(line) for line in labeller.stdout if line.strip()]
    rate = done["imported"] / done["seconds"]
    print(f"while labelling      {done['seconds']:6.2f} s  {rate:9,.0f} rows/s, into {into:,} rows; {load()}")
    print(f"lock held            {spread(done['held'])}, {len(done['held'])} times")
    print(f"  of which working   {spread(done['worked'])}")
    print(f"a label took         {spread(waits)}, {len(waits)} labels")
    print(
        f"memory at most       {done['peaks'][0]} MB, and {done['peaks'][1]} MB in the process that reads", flush=True
    )


def spread(times_ms: list[float]) -> str:
    """The middle, the 99th of a hundred, and the longest."""
    ordered = sorted(times_ms)
    at_99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return f"median {statistics.median(ordered):.1f} ms, 99 % within {at_99:.1f} ms, longest {ordered[-1]:.1f} ms"


def main() -> None:
    """Run all measurements and print them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="?", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--into", type=int, default=100_000)
    args = parser.parse_args()
    compileall.compile_dir(Path(workbench.__file__).parent, quiet=1)  # as an installed package is
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "rows.jsonl"
        write_rows(rows, args.rows)
        if args.rounds:
            against_sqlite_utils(folder, rows, args.rows, args.rounds)
        while_labelling(folder, rows, args.into)


if __name__ == "__main__":
    main()
