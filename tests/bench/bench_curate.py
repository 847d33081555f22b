"""Curate on a million rows, through a terminal: from a key to what it paints, and the memory of the program.

``python -m tests.bench.bench_curate [--rows N] [--workspace FOLDER] [--times N] [--out FILE]`` works on a copy of the
workspace of ``million.py`` and prints a table; run by hand. A time ends when the bytes have come that paint what was
asked for: the rows of the query, the sign of the decision. Budgets: 30 ms for a page or a label, 100 ms for a search
or a filter, 2 s until the list is ready, 100 MB of memory.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import workbench
from tests.bench.million import built
from tests.terminal import Terminal
from workbench.domain.queries import parse_query
from workbench.paths import Workspace
from workbench.store.store import Store

FILTERS = (
    "status:pending", "status:rejected", "kind:preference", "kind:judgement", "split:test", "source:chat", "tag:urgent",
    "tag:rare", "model:pip-sft-1", "rater:ann", "len>80", "len<20", "flag:too_long", "has:note", "dataset:thumbs",
    "-tag:urgent status:accepted", "status:pending split:train tag:urgent",
)  # fmt: skip
SEARCHES = ("the", "refund", "the order", '"the order"', "refund potatoes blue", "refund status:accepted",
            "refund tag:rare", "zzzznothing")  # fmt: skip
PAGE_DOWN, PAGE_UP = "\x1b[6~", "\x1b[5~"
LABELLER = """
import sys, time
from pathlib import Path
from workbench.domain.chats import Turn
from workbench.domain.decisions import Action
from workbench.domain.examples import Source, SourceKind, Status, demonstration
from workbench.paths import Workspace
from workbench.store.store import Store
store = Store.open(Workspace(Path(sys.argv[1])))
made, _ = store.examples.add("mine", demonstration([Turn("user", "q")], "a"), source=Source(SourceKind.IMPORT),
                             status=Status.PENDING, rater="bob")
while True:
    begun = time.perf_counter()
    store.examples.change([made.id], Action.ACCEPT, rater="bob", status=Status.ACCEPTED)
    print(f"{1000 * (time.perf_counter() - begun):.2f}", flush=True)
    time.sleep(0.02)
"""


@dataclass
class Measured:
    """The times of one gesture, in milliseconds."""

    name: str
    budget_ms: float | None
    times: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, took: tuple[float, float]) -> None:
        """One more: by the clock, and on a processor."""
        self.times.append(took[0])
        self.cpu.append(took[1])

    def told(self) -> Measured:
        """Itself, printed for who waits."""
        print(self.line(), file=sys.stderr, flush=True)
        return self

    def line(self) -> str:
        """A row of the table."""
        ordered = sorted(self.times)
        budget = f"{self.budget_ms:,.0f}" if self.budget_ms else ""
        p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
        cpu = f"{statistics.median(self.cpu):,.1f}" if self.cpu else ""
        return f"| {self.name} | {len(ordered)} | {statistics.median(ordered):,.1f} | {p95:,.1f} | {cpu} | {budget} |"


class Screen:
    """The TUI on a terminal, timed."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal

    def worked(self) -> float:
        """Milliseconds that all threads of the program have had a processor."""
        tasks = Path(f"/proc/{self.terminal.pid}/task").glob("*/schedstat")
        return sum(int(path.read_text().split()[0]) for path in tasks) / 1e6

    def press(self, keys: str, shown: Callable[[str], bool], *, seconds: float = 60) -> tuple[float, float]:
        """Type ``keys``; the milliseconds until the bytes had come that made ``shown`` true, and those of work."""
        begun, worked = time.perf_counter(), self.worked()
        self.terminal.send(keys)
        while time.perf_counter() - begun < seconds:
            self.terminal.read(0.5)
            at = self.terminal.last_read_at
            if shown(self.terminal.text):
                return 1000 * (at - begun), self.worked() - worked
        raise TimeoutError(f"{keys!r} was not answered; the screen was:\n{self.terminal.text}")

    @property
    def cursor(self) -> str:
        """The line of the row under the cursor, "" when there is none."""
        return next((line for line in self.terminal.text.split("\n") if line.lstrip().startswith("▶")), "")

    @property
    def listed(self) -> list[int]:
        """The ids in the list."""
        lines = self.terminal.text.split("\n")
        head = next((n for n, line in enumerate(lines) if " id " in line and " prompt " in line), None)
        if head is None:
            return []
        words = (line.replace("▶", " ").replace("*", " ").split() for line in lines[head + 1 :])
        return [int(w[0]) for w in words if len(w) > 3 and w[0].isdigit() and w[1] in {"·", "ok", "no"}]


def changed(look: Callable[[], object]) -> Callable[[str], bool]:
    """Whether what is looked at is another than now."""
    before = look()
    return lambda _: look() != before


def page(screen: Screen, times: int) -> Measured:
    """PageDown, then PageUp, through rows that were not read before."""
    found = Measured("PageDown, PageUp", 30)
    for number in range(times):
        key = PAGE_DOWN if number < times * 2 // 3 else PAGE_UP
        found.add(screen.press(key, changed(lambda: screen.listed[:1])))
        screen.terminal.settle(0.1)
    return found.told()


def jump(screen: Screen) -> Measured:
    """The last row and the first one."""
    found = Measured("G and g (last row, first row)", 30)
    for key in "Gg" * 4:
        found.add(screen.press(key, changed(lambda: screen.listed[:1])))
        screen.terminal.settle(0.2)
    return found.told()


def label(screen: Screen, times: int) -> list[Measured]:
    """One decision: the cursor is on the next row; and the decided row has its sign, which means it is on the disk."""
    moved, signed = Measured("label: the cursor is on the next row", 30), Measured("label: stored, and shown", 30)
    for number in range(times):
        row, sign = int(screen.cursor.replace("▶", "").split()[0]), "ok" if number % 2 else "no"
        begun, worked = time.perf_counter(), screen.worked()
        moved.add(screen.press("a" if number % 2 else "x", changed(lambda: screen.cursor)))
        while not any(line.split()[:2] == [str(row), sign] for line in screen.terminal.text.split("\n")):
            screen.terminal.read(0.5)
        signed.add((1000 * (screen.terminal.last_read_at - begun), screen.worked() - worked))
        screen.terminal.settle(0.12)
    return [moved.told(), signed.told()]


def undo(screen: Screen, times: int) -> Measured:
    """Undo, one by one."""
    found = Measured("undo", 30)
    for _ in range(times):
        found.add(screen.press("u", changed(lambda: screen.cursor.split()[:2])))
        screen.terminal.settle(0.12)
    return found.told()


def query(screen: Screen, store: Store, text: str, name: str, times: int) -> Measured:
    """From Enter behind the query to the first rows that it finds; the text is typed just before."""
    found = Measured(name, 100)
    wanted = set(store.examples.ids(parse_query(text)))
    for _ in range(times):
        screen.press("/", lambda shown: "▔" in shown or True)
        screen.terminal.send("\x15")
        screen.press(text, lambda shown: text in "\n".join(shown.split("\n")[:4]))

        def painted(shown: str) -> bool:
            rows = screen.listed
            right = rows and wanted.issuperset(rows) if wanted else "nothing matches" in shown
            return f"filter: {text}" in shown and bool(right)

        found.add(screen.press("\r", painted))
        screen.terminal.settle(0.3)
        ready = f"{len(wanted):,} rows"
        screen.terminal.wait_for(lambda shown, ready=ready: ready in shown, seconds=60)  # type: ignore[misc]
        screen.terminal.settle(1.0)
        screen.press("g", lambda _: True)
        screen.terminal.settle(0.2)
        screen.press("\x1b", lambda shown: "filter:" not in shown)
        screen.terminal.wait_for(lambda shown: "reading" not in shown and "rows" in shown, seconds=60)
        screen.terminal.settle(1.0)  # a person reads
    return found.told()


@contextmanager
def labelling(workspace: Path) -> Iterator[list[float]]:
    """Another process labels all the while; its times in milliseconds are there at the end."""
    waits: list[float] = []
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen([sys.executable, "-c", LABELLER, str(workspace)], stdout=out)
        time.sleep(2)
        skip = os.fstat(out.fileno()).st_size
        try:
            yield waits
        finally:
            child.kill()
            child.wait()
            out.seek(skip)
            waits += [float(line) for line in out.read().split("\n")[1:-1] if line]


def bulk(screen: Screen, store: Store, workspace: Path, text: str) -> list[Measured]:
    """All hits of a query accepted by one gesture, and taken back by one undo, while another process labels."""
    count = len(store.examples.ids(parse_query(text)))
    screen.terminal.send("/\x15" + text + "\r")
    screen.terminal.wait_for(f"{count:,} rows")
    screen.press("M", lambda shown: f"{count:,} marked" in shown)
    measured = [Measured(f"reject {count:,} rows, one gesture", None), Measured(f"undo {count:,} rows", None)]
    with labelling(workspace) as waits:
        screen.press("x", lambda shown: "y yes" in shown)
        measured[0].add(screen.press("y", lambda shown: f"rejected {count:,} examples" in shown, seconds=900))
        screen.terminal.settle(1)
        screen.press("u", lambda shown: "y yes" in shown)
        measured[1].add(screen.press("y", lambda shown: f"undone: rejecting {count:,}" in shown, seconds=900))
    measured.append(Measured("a label of another process meanwhile", 100, waits or [0.0]))
    measured.append(Measured("the longest such wait", None, [max(waits, default=0.0)]))
    screen.terminal.settle(1)
    screen.press("\x1b", lambda shown: "filter:" not in shown)
    screen.terminal.settle(1)
    return [one.told() for one in measured]


def memory(pid: int) -> str:
    """Resident memory now and at its highest, in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.split("\n") if line.startswith("VmHWM"))
    return f"{psutil.Process(pid).memory_info().rss / 1e6:.0f} MB (peak {peak * 1024 / 1e6:.0f} MB)"


def measure(workspace: Path, times: int, bulks: list[str]) -> list[str]:
    """The table's lines."""
    store = Store.open(Workspace(workspace))  # migrates, so that no measured start does
    total = store.examples.count(parse_query(""))
    argv = [sys.executable, "-m", "workbench", "--workspace", str(workspace)]
    lines, memories = [], []
    started = Measured("start of the program, F3, all rows counted", 2000)
    first = Measured("F3 to the first rows", 2000)
    with Terminal(argv, columns=120, rows=40, env={"XDG_STATE_HOME": str(workspace)}) as terminal:
        screen, begun = Screen(terminal), time.perf_counter()
        terminal.wait_for("[(C)HAT]")
        first.add(screen.press("\x1bOR", lambda _: bool(screen.listed)))
        terminal.wait_for(f"{total:,} rows")
        started.times.append(1000 * (terminal.last_read_at - begun))
        terminal.settle(1)
        memories.append(f"list open: {memory(terminal.pid)}")
        lines += [first, started, page(screen, times)]
        screen.press("g", lambda _: True)
        terminal.settle(0.5)
        lines += label(screen, times)
        lines += [undo(screen, times), jump(screen)]
        memories.append(f"after labels: {memory(terminal.pid)}")
        for queries, kind in ((FILTERS, "filter"), (SEARCHES, "search")):
            each = [query(screen, store, text, f"{kind} `{text}`", max(1, times // 10)) for text in queries]
            every = Measured(f"**every {kind}**", 100)
            for one in each:
                every.times += one.times
                every.cpu += one.cpu
            lines.append(every)
            lines += each
        memories.append(f"after filters and searches: {memory(terminal.pid)}")
        for text in bulks:
            lines += bulk(screen, store, workspace, text)
            memories.append(f"after the bulk on `{text}`: {memory(terminal.pid)}")
    store.close()
    return [*(one.line() for one in lines), "", *(f"- memory, {one}" for one in memories)]


def main() -> None:
    """Measure on a copy, print, and write the file that was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--bulk", nargs="*", default=["tag:urgent"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    compileall.compile_dir(Path(workbench.__file__).parent, quiet=1)  # as an installed package is
    original = args.workspace or built(args.rows)
    with tempfile.TemporaryDirectory(dir=original.parent) as folder:
        copy = Path(folder) / "workspace"
        shutil.copytree(original, copy)
        load = os.getloadavg()[0]
        lines = measure(copy, args.times, args.bulk)
    head = [
        f"# Curate on {args.rows:,} rows, through a pseudo-terminal of 120 by 40",
        "",
        f"Milliseconds from the key to its paint; {os.cpu_count()} cores shared with other jobs, load {load:.1f} "
        f"at the beginning and {os.getloadavg()[0]:.1f} at the end.",
        "",
        "| gesture | times | median | p95 | of it on a processor | budget |",
        "|---|---|---|---|---|---|",
    ]
    text = "\n".join([*head, *lines, ""])
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
