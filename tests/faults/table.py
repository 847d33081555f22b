"""The fault table: one line per moment while it happens, and a page that is written from what happened.

Every moment has its own seed, made of the table's seed, the fault's name and a number. Several happen at once, each in
a workspace of its own; a file keeps what happened, so that a table is made in parts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import re
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import warm
import where

from workbench.paths import Workspace

if TYPE_CHECKING:
    from kills import Kill

Fault = Callable[[Workspace, random.Random], "Kill"]

RESULTS = Path(__file__).resolve().parents[1] / "bench" / "results" / "faults.md"


@dataclass(frozen=True, slots=True)
class Moment:
    """One fault at one moment: what was seen, or how it failed."""

    name: str
    seen: Kill | None
    failure: str = ""
    load: float = 0.0
    seed: str = ""


def every() -> dict[str, Fault]:
    """All faults there are, by name."""
    from import_kills import IMPORTS
    from kills import VICTIMS
    from tui_kills import TUI

    from faults import FAULTS

    return VICTIMS | IMPORTS | TUI | FAULTS


def main() -> int:
    """Let each fault happen at that many moments and print the table; names choose some of the faults."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills")
    parser.add_argument("moments", type=int, nargs="?", default=10, help="random moments of each fault")
    parser.add_argument("names", nargs="*", metavar="NAME[=MOMENTS]", help=", ".join(every()))
    parser.add_argument("--seed", type=int, default=1, help="what the moments are drawn from (default %(default)s)")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="keep the moments in FILE, and do only what it lacks"
    )
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} from all of them")
    parser.add_argument("--at-once", type=int, default=2, help="moments that happen at once (default %(default)s)")
    parser.add_argument("--cold", action="store_true", help="every trainer loads its libraries itself")
    parser.add_argument("--pause", type=Path, metavar="FILE", help="begin no moment while there is such a file")
    arguments = parser.parse_args()
    wanted = _wanted(arguments.names or list(every()), arguments.moments)
    done = recorded(arguments.record) if arguments.record else []
    known = {one.seed for one in done}
    to_do = [(name, seed) for name, seed in _rounds(wanted, arguments.seed) if seed not in known]
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        where.prepare(Path(folder) / "where")
        forking = None if arguments.cold or not to_do else warm.start(Path(folder) / "warm")
        try:
            new = _happen(to_do, arguments)
        finally:
            if forking is not None:
                forking.kill()
    if arguments.write:
        write([*done, *new])
    failed = sum(bool(one.failure) for one in new)
    print(f"{len(new)} faults, {failed} failed" + ("" if failed else ": no committed row lost, nothing stuck"))
    return 1 if failed else 0


def _wanted(names: Iterable[str], moments: int) -> dict[str, int]:
    pairs = [name.partition("=") for name in names]
    if unknown := [name for name, _, _ in pairs if name not in every()]:
        raise SystemExit(f"no such fault: {', '.join(unknown)}; there are {', '.join(every())}")
    return {name: int(count or moments) for name, _, count in pairs}


def _rounds(wanted: dict[str, int], seed: int) -> list[tuple[str, str]]:
    """Every moment's name and seed, the faults mixed so that a table that is cut short has its share of each."""
    places = [((i + 0.5) / count, name, i) for name, count in wanted.items() for i in range(count)]
    return [(name, f"{seed}/{name}/{i + 1}") for _, name, i in sorted(places)]


def _happen(to_do: Sequence[tuple[str, str]], arguments: argparse.Namespace) -> list[Moment]:
    moments = []
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.at_once, mp_context=spawning) as pool:
        going: list[Future[Moment]] = [pool.submit(moment, name, seed, arguments.pause) for name, seed in to_do]
        for future in as_completed(going):
            moments.append(future.result())
            if arguments.record is not None:
                record(moments[-1], arguments.record)
    return moments


def moment(name: str, seed: str, pause: Path | None = None) -> Moment:
    """Let a fault happen once, in a workspace of its own, and say a line about it."""
    while pause is not None and pause.exists():
        time.sleep(1)
    load, rng, fault = os.getloadavg()[0], random.Random(seed), every()[name]
    from fakes import quarter_counts

    # A plan's tokens are not counted, by a child that takes seconds.
    counted = mock.patch("workbench.flows.row_lengths.token_counts", quarter_counts)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, counted:
        try:
            row = fault(Workspace(Path(folder) / "workspace"), rng)
        except Exception as error:  # noqa: BLE001 - one row of the table, told there
            traceback.print_exc()
            print(f"{name:24} FAILED: {error}", flush=True)
            return Moment(name, None, str(error).splitlines()[0] if str(error) else type(error).__name__, load, seed)
    print(f"{row.victim:20} {row.doing:24} after {row.after_s:5.2f} s  {row.found:50} {row.went_on}", flush=True)
    return Moment(name, row, load=load, seed=seed)


def record(moment: Moment, file: Path) -> None:
    """Add a moment to the file, so that nothing is lost of a table that is made in parts."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(moment)) + "\n")


def recorded(file: Path) -> list[Moment]:
    """Every moment in the file; none where it is not there yet."""
    from kills import Kill

    values = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    return [Moment(**{**one, "seen": Kill(**one["seen"]) if one["seen"] else None}) for one in values]


def write(moments: Sequence[Moment]) -> None:
    """Write the page."""
    RESULTS.write_text("\n".join(_page(moments)) + "\n", encoding="utf-8")


def _page(moments: Sequence[Moment]) -> list[str]:
    loads = [one.load for one in moments]
    failed = [one for one in moments if one.failure]
    order = list(every())
    moments = sorted(moments, key=lambda one: (order.index(one.name), one.seed))
    lines = [
        "# Faults at random moments",
        "",
        "Written by `python -m tests.faults.kills MOMENTS --record FILE --write`, which says what each does. After "
        "each fault the database is checked (`quick_check`, foreign keys), every committed row is counted again, "
        "and the run, chat or import is brought to its end. A moment in which anything committed is missing or a state "
        "is stuck counts as failed.",
        "",
        "What a process was doing is its own stack at that moment, of a runner's its trainer's. Several happened "
        "at once. A run is 64 rows, 12 steps, a checkpoint every 2 and a measurement every 3; its trainer is a fork of "
        "a process that had the libraries, but for those of `rank`.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, load "
        f"{min(loads):.1f} to {max(loads):.1f} meanwhile. {len(moments)} moments, {len(failed)} failed.",
        "",
        "| fault | moments | hit while | what was found | what went on | failed |",
        "|---|---:|---|---|---|---:|",
    ]
    for name in dict.fromkeys(one.name for one in moments):
        own = [one for one in moments if one.name == name]
        seen = [one.seen for one in own if one.seen]
        cells = [_counted(row.doing for row in seen), _counted(_kind(row.found) for row in seen)]
        cells.append(_counted(row.went_on for row in seen))
        lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} | {sum(bool(one.failure) for one in own)} |")
    lines += ["", "## Every moment", "", "| seed | hit while | after (s) | found | went on |", "|---|---|---:|---|---|"]
    for one in moments:
        if one.seen:
            row = one.seen
            lines.append(f"| {one.seed} | {row.doing} | {row.after_s:.2f} | {row.found} | {row.went_on} |")
        else:
            lines.append(f"| {one.seed} | | | FAILED: {one.failure} | |")
    return lines


def _kind(found: str) -> str:
    """What was found without the numbers that differ from moment to moment."""
    return re.sub(r"\d[\d,]*", "N", found)


def _counted(texts: Iterable[str]) -> str:
    counts = Counter(filter(None, texts)).most_common()
    return "; ".join(f"{text} × {count}" if count > 1 else text for text, count in counts)
