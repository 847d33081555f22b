"""A large workspace for measurements, made once through the store's own import and kept for the next time.

``python -m tests.bench.million [ROWS]`` makes it. Its rows look like imported data: three datasets, every kind, words
with the frequencies of a language, and every field that the query language knows, so that each filter finds some.
"""

from __future__ import annotations

import random
import shutil
import sys
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from platformdirs import user_cache_path

from workbench.domain.chats import Turn
from workbench.domain.examples import (
    Content,
    NewExample,
    Source,
    SourceKind,
    Split,
    Status,
    demonstration,
    judgement,
    preference,
)
from workbench.paths import Workspace
from workbench.store.store import Store

EDITION = 1  # of what is in it: another number makes a new one
SHARES = {"tickets": 0.7, "pairs": 0.25, "thumbs": 0.05}
KNOWN_WORDS = ("the", "order", "please", "refund", "potatoes", "oven", "colour", "blue", "pan", "late")
SENTENCES, WORDS = 6000, 20_000
TAGS = {"urgent": 0.1, "checked": 0.02, "rare": 0.001}
MODELS = ("pip", "pip-sft-1", "pip-dpo-2")


def sentences() -> list[str]:
    """Sentences of 6 to 14 words; the n-th word of the vocabulary is n times rarer than the first."""
    draw = random.Random(11)
    letters = "abcdefghijklmnopqrstuvwxyz"
    made = ("".join(draw.choices(letters, k=draw.randint(3, 9))) for _ in range(WORDS))
    words = [*KNOWN_WORDS, *made]
    weights = [*accumulate(1 / (place + 3) for place in range(len(words)))]
    return [" ".join(draw.choices(words, cum_weights=weights, k=draw.randint(6, 14))) for _ in range(SENTENCES)]


def rows(dataset: str, count: int) -> Iterator[NewExample]:
    """The rows of one dataset, the same ones each time."""
    draw, pool = random.Random(dataset), sentences()

    def text(low: int, high: int) -> str:
        return " ".join(draw.choices(pool, k=draw.randint(low, high)))

    for number in range(count):
        prompt = (Turn("user", f"{text(1, 3)} {dataset} {number}?"),)
        yield NewExample(
            _content(dataset, prompt, text(2, 7), text(1, 5), number),
            _source(dataset, number),
            _status(draw.random()),
            draw.choices([*Split], [60, 30, 5, 5])[0],
            tags=tuple(
                tag for tag, share in (("urgent", 0.1), ("checked", 0.02), ("rare", 0.001)) if draw.random() < share
            ),
            note="look at this again" if draw.random() < 0.01 else "",
            rating=draw.randint(1, 5) if draw.random() < 0.05 else None,
            rater=draw.choices(["ann", "bob", ""], [5, 3, 92])[0],
            flags=("too_long",) if draw.random() < 0.03 else (),
        )


def _content(dataset: str, prompt: tuple[Turn, ...], answer: str, other: str, number: int) -> Content:
    if dataset == "pairs":
        return preference(prompt, answer, f"{other} {number}")
    if dataset == "thumbs":
        return judgement(prompt, answer, number % 3 > 0)
    return demonstration(prompt, answer)


def _source(dataset: str, number: int) -> Source:
    if number % 20 == 0:
        return Source(SourceKind.CHAT_KEEP, chat_id=number, message_id=number, models=(MODELS[number // 20 % 3],))
    return Source(SourceKind.IMPORT, file=f"{dataset}.jsonl", line=number + 1)


def _status(drawn: float) -> Status:
    return Status.PENDING if drawn < 0.7 else Status.ACCEPTED if drawn < 0.93 else Status.REJECTED


def built(count: int, folder: Path | None = None) -> Path:
    """The folder of a workspace with ``count`` rows, made now if there is none."""
    root = folder or user_cache_path("workbench-bench") / f"rows-{count}-{EDITION}"
    done = root / "built"
    if done.exists():
        Store.open(Workspace(root)).close()  # brings it up to date, once for all copies
        for old in root.glob("*.before-*"):
            old.unlink()
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    store = Store.open(Workspace(root))
    for dataset, share in SHARES.items():
        begun, rows_here = time.monotonic(), round(count * share)
        with store.imports.stage(dataset, status=Status.PENDING, rater="importer") as staging:
            for new in rows(dataset, rows_here):
                staging.put(new)
            staged = time.monotonic() - begun
            published = staging.publish(file=f"{dataset}.jsonl", format="bench")
        print(
            f"{dataset}: {published.imported:,} rows in {time.monotonic() - begun:.0f} s ({staged:.0f} s to make them)"
        )
    store.close()
    done.touch()
    return root


if __name__ == "__main__":
    print(built(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
