"""How long the near-duplicate check takes on 100,000 rows, and how much memory. Run by hand.

The rows are made here: paragraphs of random common words, one in ten a copy of an earlier row with a few words changed.
The check runs as it does in the product, in a child process that gets the rows on its standard input.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import time
from collections.abc import Iterator

from workbench.domain.chats import Turn
from workbench.domain.checks import CheckedRow
from workbench.domain.examples import Content, Kind
from workbench.jobs.children import converse

CHANGED_WORDS = 2


def rows(count: int, *, seed: int) -> Iterator[tuple[CheckedRow, bool]]:
    """Rows of about 120 words and whether each is a near copy of an earlier one."""
    random_ = random.Random(seed)
    vocabulary = ["".join(random_.choices("abcdefghijklmnoprstuvwz", k=random_.randint(2, 9))) for _ in range(8000)]
    weights = [1 / (rank + 3) for rank in range(len(vocabulary))]
    recent: list[list[str]] = []
    for number in range(1, count + 1):
        is_copy = bool(recent) and random_.random() < 0.1
        words = list(random_.choice(recent)) if is_copy else random_.choices(vocabulary, weights, k=120)
        if is_copy:
            for _ in range(CHANGED_WORDS):
                words[random_.randrange(len(words))] = random_.choice(vocabulary)
        elif len(recent) < 5000:
            recent.append(words)
        question, answer = " ".join(words[:20]), " ".join(words[20:])
        content = Content(Kind.DEMONSTRATION, (Turn("user", question),), (Turn("assistant", answer),))
        yield CheckedRow(number, "bench", content), is_copy


def main() -> None:
    """Print seconds, the child's highest memory, and how many of the copies were found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    count = parser.parse_args().rows
    copies: set[int] = set()

    def lines() -> Iterator[str]:
        for row, is_copy in rows(count, seed=7):
            copies.update([row.id] if is_copy else [])
            yield json.dumps({"row": row.as_dict()})

    started = time.perf_counter()
    answers = [json.loads(line) for line in converse("workbench.worker.checks", ("near_duplicates",), lines())]
    seconds = time.perf_counter() - started
    found = {a["finding"]["example_id"] for a in answers if "finding" in a}
    megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"near_duplicates: {count:,} rows in {seconds:.0f} s, the child's memory at most {megabytes:.0f} MB")
    print(f"{len(found & copies):,} of {len(copies):,} copies found, {len(found - copies):,} others told of")


if __name__ == "__main__":
    main()
