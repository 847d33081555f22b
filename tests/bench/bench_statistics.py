"""What the sequential verdict promises, counted: false winners between equals, and votes until a true one is found.

Run by hand: ``python -m tests.bench.bench_statistics --write`` writes ``results/statistics.md``; a minute on one core.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from simulated_rater import Sessions, planned, sessions

RESULTS = Path(__file__).parent / "results" / "statistics.md"
TRUTHS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
COUNT, LIMIT, SEED = 2000, 1000, 20_261_121


def row(found: Sessions) -> str:
    """One line of the table."""
    wrong = found.a + found.b if found.truth == 0.5 else found.b
    plan = f"{planned(found.truth):,}" if found.truth != 0.5 else "-"
    median = f"{found.quartiles[1]:,.0f} ({found.quartiles[0]:,.0f} to {found.quartiles[2]:,.0f})"
    median = median if found.a + found.b > found.count / 2 else "undecided"
    decided = (found.a + found.b) / found.count
    return (
        f"| {found.truth:.0%} | {decided:.1%} | {wrong / found.count:.2%} | {median} | {plan} | "
        f"{found.naive / found.count:.1%} |"
    )


def report() -> str:
    """The page."""
    rows = [row(sessions(truth, count=COUNT, limit=LIMIT, seed=SEED + number)) for number, truth in enumerate(TRUTHS)]
    return "\n".join(
        [
            "# The verdict, looked at after every vote",
            "",
            f"{COUNT:,} simulated sessions for each truth, at most {LIMIT:,} decided votes each, seeds from {SEED}. A "
            "winner is called when the e-value (a uniform mixture against one half) reaches 20. Wrong is any winner "
            "between equals, else the worse model. The last column is what happens to somebody who looks at the plain "
            "95 % interval instead and stops as soon as it excludes one half (up to the verdict).",
            "",
            "| truth | a winner called | wrong | votes until then: median (quartiles) | fixed plan, 80 % power | "
            "the plain interval excluded one half |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> int:
    """Print the page; ``--write`` writes it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    text = report()
    print(text)
    if parser.parse_args().write:
        RESULTS.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
