"""What the statistics promise, counted: false winners of the sequential verdict and votes until a true one is found;
how often the ranking's intervals hold the truth, and how far they are from a second program's.

Run by hand: ``python -m tests.bench.bench_statistics --write`` writes ``results/statistics.md``; eight minutes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from simulated_rater import Sessions, planned, sessions
from tournaments import NAMES, STRENGTHS, Plan, covered, played, second_intervals, truth
from workbench.domain.rankings import RESAMPLES, SCALE, ranking

RESULTS = Path(__file__).parent / "results" / "statistics.md"
TRUTHS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
COUNT, LIMIT, SEED = 2000, 1000, 20_261_121
TOURNAMENTS, MANY = 400, 5000
PLANS = (
    Plan(30),
    Plan(60),
    Plan(120),
    Plan(300),
    Plan(120, ties=0.3),
    Plan(120, ties=0.6),
    Plan(20, pairs=6),
    Plan(50, pairs=6, taste=1.0),
)


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


def coverage_row(plan: Plan) -> str:
    """One line of the table of intervals."""
    found = covered(plan, count=TOURNAMENTS, seed=SEED, resamples=RESAMPLES)
    true = ", ".join(f"{truth(plan)[name]:.0f}" for name in NAMES)
    alike = f"yes ({plan.taste:g})" if plan.taste else "no"
    return (
        f"| {plan.prompts} | {plan.prompts * plan.pairs} | {plan.ties:.0%} | {alike} | {true} | {found.width:.0f} | "
        f"{found.held / found.told:.1%} of {found.told:,} | {found.untold} |"
    )


def apart(plan: Plan) -> float:
    """The largest distance between an end of our interval and the second program's, in standard deviations."""
    votes = played(plan, SEED)
    second = second_intervals(votes, resamples=MANY, seed=SEED)
    ours = {rank.model: rank for rank in ranking(votes, anchor="a", resamples=MANY)}
    distances = []
    for name in NAMES[1:]:
        deviation = (second[name][1] - second[name][0]) / (2 * 1.96)
        ends = zip((ours[name].low, ours[name].high), second[name], strict=True)
        distances += [abs((one or 0.0) - other) / deviation for one, other in ends]
    return max(distances)


def intervals() -> str:
    """The part on the ranking."""
    elo = ", ".join(f"{SCALE * strength:.0f}" for strength in STRENGTHS)
    return "\n".join(
        [
            "# The ranking's intervals",
            "",
            f"{TOURNAMENTS} simulated tournaments of four models for each line, {elo} points strong without ties, "
            f"seeds from {SEED}; {RESAMPLES} resamples of the prompts each, three intervals against the first model. "
            "The truth is the rating that endlessly many votes would give: a tie is half a win for each, so ties draw "
            "ratings together. Votes on a prompt are alike where every model is better or worse on it by chance "
            "(standard deviation in log strength in brackets). The share has a standard error of about one point.",
            "",
            "| prompts | votes | ties | alike on a prompt | truth | median width | intervals that hold it | not told |",
            "|---|---|---|---|---|---|---|---|",
            *map(coverage_row, PLANS),
            "",
            f"Against a second program (numpy draws the prompts, choix fits; {MANY:,} resamples each) the ends of the "
            f"intervals of one tournament of each line differ by at most {max(map(apart, PLANS)):.2f} standard "
            "deviations of the rating; by chance alone such a difference has a standard error of 0.05.",
            "",
        ]
    )


def main() -> int:
    """Print the page; ``--write`` writes it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    text = f"{report()}\n{intervals()}"
    print(text)
    if parser.parse_args().write:
        RESULTS.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
