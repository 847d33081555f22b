"""How fast preference rows come in, against plain ``sqlite-utils insert`` of the same file, and how long others wait.

``python tests/bench/bench_import.py [ROWS]`` prints a line for each. The import is a command of its own, as a person
runs it; it checks, hashes and indexes every row. Meanwhile another process labels, and times each label.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
import sys, time
from pathlib import Path
from workbench.flows import exchange
from workbench.flows.bench import Bench
from workbench.paths import Workspace
from workbench.store import store as module

spans, held = [], module._held
import contextlib
@contextlib.contextmanager
def timed(lock, workspace):
    with held(lock, workspace):
        begun = time.perf_counter()
        try:
            yield
        finally:
            spans.append(1000 * (time.perf_counter() - begun))
module._held = timed
bench = Bench.open(Workspace(Path(sys.argv[1])))
spans.clear()
begun = time.perf_counter()
report = exchange.import_file(bench, Path(sys.argv[2]))
seconds = time.perf_counter() - begun
spans.sort()
import resource
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(report.imported, seconds, spans[len(spans) // 2], spans[-1], len(spans), peak)
"""


def write_rows(path: Path, count: int) -> None:
    """Preference rows of some 900 bytes, drawn from a fixed seed."""
    draw = random.Random(7)
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


def timed(*command: str) -> float:
    """Seconds that a command takes."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def main(count: int) -> None:
    """Run all measurements and print them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = folder / "rows.jsonl"
        write_rows(rows, count)
        python = sys.executable
        plain = timed(python, "-m", "sqlite_utils", "insert", str(folder / "plain.db"), "rows", str(rows), "--nl")
        ours = timed(python, "-m", "workbench", "-w", str(folder / "w"), "import", str(rows), "--json")
        again = timed(python, "-m", "workbench", "-w", str(folder / "w"), "import", str(rows), "--json")
        print(f"sqlite-utils insert  {plain:6.2f} s  {count / plain:9,.0f} rows/s")
        print(f"workbench import     {ours:6.2f} s  {count / ours:9,.0f} rows/s  {plain / ours:.2f} of it")
        print(f"the same file again  {again:6.2f} s  {count / again:9,.0f} rows/s")
        while_labelling(folder, rows)


def while_labelling(folder: Path, rows: Path) -> None:
    """An import into another workspace while somebody labels in it."""
    labeller = subprocess.Popen(
        [sys.executable, "-c", LABELLER, str(folder / "v")], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert labeller.stdout is not None
    labeller.stdout.readline()
    command = [sys.executable, "-c", HELD, str(folder / "v"), str(rows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    labeller.terminate()
    waits = sorted(float(line) for line in labeller.stdout if line.strip())
    imported, seconds, middle, longest, spans, peak = done.stdout.split()
    print(f"while labelling      {float(seconds):6.2f} s  {float(imported) / float(seconds):9,.0f} rows/s")
    print(f"lock held            median {float(middle):.1f} ms, longest {float(longest):.1f} ms, {spans} times")
    middle_wait = statistics.median(waits)
    print(f"a label took         median {middle_wait:.1f} ms, longest {waits[-1]:.1f} ms, {len(waits)} labels")
    print(f"memory at most       {peak} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
