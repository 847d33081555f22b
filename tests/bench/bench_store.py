"""How long the store takes on a large dataset. Run by hand: ``python tests/bench/bench_store.py [ROWS]``."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from workbench.domain.chats import Turn
from workbench.domain.decisions import Action
from workbench.domain.examples import NewExample, Source, SourceKind, Status, demonstration
from workbench.domain.queries import parse_query
from workbench.paths import Workspace
from workbench.store.store import Store

WORDS = ("how", "long", "do", "potatoes", "take", "in", "the", "oven", "please", "order", "refund", "colour", "blue")
Result = TypeVar("Result")


def text(number: int, length: int) -> str:
    """Words that depend on the number; one row in a thousand says ``rare``."""
    words = [WORDS[(number * 7 + k * k + number // (k + 1)) % len(WORDS)] for k in range(length)]
    return " ".join(["rare" if number % 1000 == 0 else "often", str(number), *words])


def rows(count: int) -> Iterator[NewExample]:
    """Demonstrations of about 600 bytes, every second one accepted, every third tagged."""
    for number in range(count):
        content = demonstration((Turn("user", text(number, 25)),), text(number + 1, 60))
        status = Status.ACCEPTED if number % 2 else Status.PENDING
        source = Source(SourceKind.IMPORT, file="rows.jsonl", line=number)
        yield NewExample(content, source, status, tags=("third",) if number % 3 == 0 else ())


def timed(name: str, work: Callable[[], Result], times: int = 1) -> Result:
    """Print the medians of some runs in milliseconds: by the clock, and of CPU time, which other jobs do not change."""
    walls, cpus = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        walls.append((time.perf_counter() - wall) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
    print(f"{name:<44}{sorted(walls)[times // 2]:>12,.2f} ms {sorted(cpus)[times // 2]:>12,.2f} ms CPU")
    return result


def measure(store: Store, count: int) -> None:
    """Fill the store and print what the gestures of a person cost."""
    examples = store.examples
    timed(
        f"add {count:,} rows, with the text index",
        lambda: examples.add_many("d", rows(count), rater="r", status=Status.PENDING),
    )
    print(f"{'database':<44}{store.workspace.database.stat().st_size / 1e6:>12,.1f} MB")
    ids = timed("ids, all", lambda: examples.ids(parse_query("")), 5)
    for query in (
        "status:pending",
        "status:pending tag:third",
        "rare",
        "often",
        "often potatoes",
        '"do potatoes"',
        "len>70",
    ):
        found = timed(f"ids, {query}", lambda query=query: examples.ids(parse_query(query)), 3)  # type: ignore[misc]
        print(f"{'':<4}{len(found):,} found")
    timed("ids, all, by prompt", lambda: examples.ids(parse_query(""), order="prompt"), 3)
    timed("page of 128 in the middle", lambda: examples.page(ids[count // 2 : count // 2 + 128]), 20)
    timed("get one", lambda: examples.get(ids[count // 3]), 20)
    timed("count, status:accepted", lambda: examples.count(parse_query("status:accepted")), 5)
    timed("counts by status", lambda: examples.counts(), 5)
    timed("datasets with their counts", lambda: store.datasets.list(), 5)
    accept = Status.ACCEPTED
    timed("accept one (a commit)", lambda: examples.change([ids[0]], Action.ACCEPT, rater="r", status=accept), 20)
    timed("accept 1,000", lambda: examples.change(ids[:1000], Action.ACCEPT, rater="r", status=accept))
    timed("undo 1,000", lambda: examples.undo("r"))
    timed("note on one (text index)", lambda: examples.change([ids[5]], Action.NOTE, rater="r", note="a note"), 20)
    print(f"{'peak memory':<58}{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:>12,.1f} MiB")


def undo_all(store: Store) -> None:
    """Take every gesture back."""
    while store.examples.undo("r"):
        pass


def main() -> None:
    """Measure on a store in a temporary folder."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Workspace(Path(folder)))
        measure(store, count)
        timed("undo everything, the import last", lambda: undo_all(store))
        store.close()


if __name__ == "__main__":
    main()
