"""The fault table: one line per moment while it happens, and a page that is written from what happened."""

from __future__ import annotations

import json
import os
import platform
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.paths import Workspace

if TYPE_CHECKING:
    from kills import Kill

RESULTS = Path(__file__).resolve().parents[1] / "bench" / "results" / "faults.md"


@dataclass(frozen=True, slots=True)
class Moment:
    """One fault at one moment: what was seen, or how it failed."""

    name: str
    seen: Kill | None
    failure: str = ""
    load: float = 0.0
    seed: int = 0


def moment(name: str, fault: Callable[[Workspace, random.Random], Kill], seed: int) -> Moment:
    """Let a fault happen once, in a workspace of its own, and say a line about it."""
    load, rng = os.getloadavg()[0], random.Random(seed)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            row = fault(Workspace(Path(folder) / "workspace"), rng)
        except Exception as error:  # noqa: BLE001 - one row of the table, told there
            traceback.print_exc()
            print(f"{name:24} FAILED: {error}", flush=True)
            return Moment(name, None, str(error).splitlines()[0] if str(error) else type(error).__name__, load, seed)
    print(f"{row.victim:24} after {row.after_s:5.2f} s  {row.found:60} {row.went_on}", flush=True)
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
    lines = [
        "# Faults at random moments",
        "",
        "Written by `python -m tests.faults.kills MOMENTS --write`. After each fault the database is checked "
        "(`quick_check`, foreign keys), every row that was committed is counted again, and the run, chat or import is "
        "brought to its end. A moment in which anything committed is missing or a state is stuck counts as failed.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, load "
        f"{min(loads):.1f} to {max(loads):.1f} meanwhile. {len(moments)} moments, {len(failed)} failed.",
        "",
        "| fault | moments | what was found | what went on | failed |",
        "|---|---:|---|---|---:|",
    ]
    for name in dict.fromkeys(one.name for one in moments):
        own = [one for one in moments if one.name == name]
        seen = [one.seen for one in own if one.seen]
        found = _counted(_kind(row.found) for row in seen)
        lines.append(
            f"| {name} | {len(own)} | {found} | {_counted(row.went_on for row in seen)} | "
            f"{sum(bool(one.failure) for one in own)} |"
        )
    lines += ["", "## Every moment", "", "| fault | after (s) | found | went on | seed |", "|---|---:|---|---|---:|"]
    for one in moments:
        if one.seen:
            lines.append(
                f"| {one.seen.victim} | {one.seen.after_s:.2f} | {one.seen.found} | {one.seen.went_on} | {one.seed} |"
            )
        else:
            lines.append(f"| {one.name} | | FAILED: {one.failure} | | {one.seed} |")
    return lines


def _kind(found: str) -> str:
    """What was found without the numbers that differ from moment to moment."""
    return "".join("N" if letter.isdigit() else letter for letter in found).replace("NN", "N").replace("NN", "N")


def _counted(texts: object) -> str:
    counts = Counter(texts)  # type: ignore[call-overload]
    return "; ".join(f"{text} × {count}" if count > 1 else str(text) for text, count in counts.items())
