"""Every method with every adapter kind, plain and over a base in 4 and 8 bits: what ten steps of each came to.

Runs ``tests/worker/test_every_adapter.py`` whole (an hour of two cores) and writes ``tests/bench/results/matrix.md``.
Run by hand: ``python tests/bench/bench_matrix.py``; with ``--read FILE...`` it writes what files of pytest's
``--junitxml`` say, of which a later one counts before an earlier one.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from workbench import methods
from workbench.errors import RefusedError
from workbench.methods.adapters import find, refuse_clashes

RESULTS = Path(__file__).parent / "results" / "matrix.md"
TEST = Path(__file__).parents[1] / "worker" / "test_every_adapter.py"
PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate")


@dataclass(frozen=True, slots=True)
class Cell:
    """What became of one method with one adapter kind: passed, failed or skipped, and its seconds."""

    outcome: str
    seconds: float


def cells(files: Sequence[Path]) -> dict[tuple[str, str, str], Cell]:
    """The cells by method, adapter and bits."""
    found: dict[tuple[str, str, str], Cell] = {}
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            told = re.fullmatch(r".*\[([^-]+)-(.+)-(none|4bit|8bit)\]", case.get("name", ""))
            if told is not None:
                outcome = "failed" if {child.tag for child in case} & {"failure", "error"} else "passed"
                outcome = "skipped" if case.find("skipped") is not None else outcome
                found[(told[1], told[2], told[3])] = Cell(outcome, float(case.get("time", 0)))
    return found


def refusal(method: str, adapter: str, bits: str) -> str:
    """Why this cell is refused before a launch; "" for one that is not."""
    knobs = methods.get(method).values("tiny", {"adapter": adapter, "quantization": bits})
    try:
        refuse_clashes({**knobs, "method": method, "start": "base"})
    except RefusedError as refused:
        return refused.message.partition(": ")[2]
    return ""


def page(found: dict[tuple[str, str, str], Cell]) -> str:
    """The page in Markdown."""
    names = sorted({method for method, _, _ in found})
    order = [(name, bits) for bits in ("none", "4bit", "8bit") for name in find()]
    rows, reasons = [], dict[str, int]()
    counts = dict.fromkeys(("trained", "refused", "failed", "skipped"), 0)
    for adapter, bits in order:
        if not any((method, adapter, bits) in found for method in names):
            continue
        shown = []
        for method in names:
            cell = found.get((method, adapter, bits))
            if cell is None:
                shown.append("-")
            elif cell.outcome != "passed":
                counts[cell.outcome] += 1
                shown.append(f"**{cell.outcome}**")
            elif why := refusal(method, adapter, bits):
                counts["refused"] += 1
                shown.append(f"no ({reasons.setdefault(why, len(reasons) + 1)})")
            else:
                counts["trained"] += 1
                shown.append(f"{cell.seconds:.0f} s")
        rows.append(f"| {adapter}{'' if bits == 'none' else ', ' + bits} | {' | '.join(shown)} |")
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return "\n".join(
        [
            "# Every method with every adapter kind",
            "",
            f"Written by `python tests/bench/bench_matrix.py`, {datetime.datetime.now(datetime.UTC).date()}, on a CPU",
            f"({os.cpu_count()} cores shared with other work); {packages}.",
            "",
            "Seconds of a whole test: ten steps on the embedded model, held-out rows measured before and after (which",
            "must get better, but for learnt prompts), the result loaded by bare transformers and PEFT with the same",
            "greedy answer (a score within 1e-4 for `reward`), and by the engine. The seconds hold the first import of",
            "the libraries where a method comes first, and what else the machine did: compare none of them.",
            "“no” is refused before the launch, and by the trainer too, for the reason below.",
            "",
            f"**{said}.**",
            "",
            f"| adapter | {' | '.join(names)} |",
            "|---" * (len(names) + 1) + "|",
            *rows,
            "",
            *(f"{number}. {why}" for why, number in reasons.items()),
            "",
        ]
    )


def main() -> None:
    """Run the matrix, or read what was run, and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--read", nargs="+", type=Path, default=[])
    files = parser.parse_args().read
    with tempfile.TemporaryDirectory() as folder:
        if not files:
            files = [Path(folder) / "matrix.xml"]
            command = ["pytest", "-q", "-p", "no:cacheprovider", "-m", "slow or not slow", f"--junitxml={files[0]}"]
            subprocess.run([sys.executable, "-m", *command, str(TEST)], check=False)
        RESULTS.write_text(page(cells(files)), encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
