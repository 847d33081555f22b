"""What a dataset is like, in figures, and what each figure means for training.

Owns the measures and their words. Rows come one at a time and few are kept: counts are of all rows, while diversity is
measured on a sample that the row ids draw, so that the same dataset always gives the same figures.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby, pairwise
from typing import Any

from workbench.domain.chats import Turn
from workbench.domain.checks import TokenCount
from workbench.domain.counting import counted
from workbench.domain.examples import Example, Kind, Split, Status
from workbench.domain.methods import KnobValue

SAMPLE = 5000
COMPARED = 300
_WORD = re.compile(r"\w+")
_MOST_NAMES = 20


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many values lie from ``low`` to ``high``, both included."""

    low: int
    high: int
    count: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long things are: all whole numbers but the mean. ``p95`` is what 95 of 100 do not exceed."""

    count: int
    minimum: int
    median: int
    mean: float
    p95: int
    maximum: int
    histogram: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training on the dataset comes to, before rows are looked at one by one."""

    method: str
    preset: str
    train_rows: int
    held_out_rows: int
    batch: int
    epochs: float
    steps: int


@dataclass(frozen=True, slots=True)
class TokenFigures:
    """Lengths in a model's tokens, and how many sequences its window cuts or leaves nothing to learn of."""

    model: str
    max_length: int
    lengths: Lengths | None
    truncated: int
    nothing_learnt: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """The figures of a dataset or query. Counts are of all rows; everything else leaves rejected rows out.

    ``distinct_1`` and ``distinct_2`` are the share of different words and word pairs among those of ``sampled``
    answers, ``self_similarity`` is how like its nearest neighbour an answer is, on average, among ``compared`` of them:
    the share of word pairs that the two have in common (Jaccard). None where there is nothing to measure.
    """

    rows: int
    kinds: dict[str, int]
    statuses: dict[str, int]
    splits: dict[str, int]
    sources: dict[str, int]
    tags: dict[str, int]
    prompt_words: Lengths | None
    answer_words: Lengths | None
    turns: dict[int, int]
    vocabulary: int
    distinct_1: float | None
    distinct_2: float | None
    self_similarity: float | None
    sampled: int
    compared: int
    labels: dict[str, int]
    chosen_longer: float | None
    duplicates: int
    repeated_prompts: int
    estimate: Estimate | None = None
    tokens: TokenFigures | None = None

    def as_dict(self) -> dict[str, Any]:
        """The figures as ``--json`` prints them, with ``meanings``."""
        return asdict(self) | {"meanings": meanings(self)}


@dataclass(slots=True)
class Measuring:
    """Reads rows once and gives their statistics."""

    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    tags: Counter[str] = field(default_factory=Counter)
    turns: Counter[int] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    trainable: Counter[tuple[Kind, Split]] = field(default_factory=Counter)
    _prompt_words: array[int] = field(default_factory=lambda: array("q"))
    _answer_words: array[int] = field(default_factory=lambda: array("q"))
    _sample: list[tuple[int, int, str]] = field(default_factory=list)
    _seen: array[int] = field(default_factory=lambda: array("q"))  # hashes: 8 bytes a row, a set has 60
    _prompts: array[int] = field(default_factory=lambda: array("q"))
    _measured: int = 0
    _longer: int = 0
    _pairs: int = 0

    def add(self, example: Example) -> None:
        """One more row."""
        self.kinds[example.content.kind.value] += 1
        self.statuses[example.status.value] += 1
        self.splits[example.split.value] += 1
        self.sources[example.source.kind.value] += 1
        self.tags.update(example.tags)
        if example.status is Status.ACCEPTED:
            self.trainable[example.content.kind, example.split] += 1
        if example.status is not Status.REJECTED:
            self._measure(example)

    def _measure(self, example: Example) -> None:
        content = example.content
        prompt, prompt_words = _plain(content.prompt)
        chosen, chosen_words = _plain(content.chosen)
        rejected, rejected_words = _plain(content.rejected)
        self._measured += 1
        self._prompt_words.append(prompt_words)
        self._answer_words.append(chosen_words)
        self.turns[len(content.prompt) + len(content.chosen)] += 1
        if content.label is not None:
            self.labels["up" if content.label else "down"] += 1
        if content.kind is Kind.PREFERENCE:
            self._pairs += 1
            self._longer += chosen_words > rejected_words
        asked = hash(prompt)
        self._seen.append(hash((content.kind, content.label, asked, chosen, rejected)))
        if content.prompt:
            self._prompts.append(asked)
        self._draw(example)

    def _draw(self, example: Example) -> None:
        """Into the sample, when its id is drawn before one that is there."""
        key = -_drawn(example.id)
        if len(self._sample) == SAMPLE and key < self._sample[0][0]:
            return
        if answer := example.answer_text.strip():
            entry = (key, example.id, answer)
            (heapq.heappush if len(self._sample) < SAMPLE else heapq.heappushpop)(self._sample, entry)

    def statistics(self, *, estimate: Estimate | None = None, tokens: TokenFigures | None = None) -> Statistics:
        """The figures of the rows so far."""
        answers = [answer for _, _, answer in sorted(self._sample, reverse=True)]
        words = [_WORD.findall(answer.casefold()) for answer in answers]
        compared = [set(pairwise(one)) or set(one) for one in words[:COMPARED]]
        return Statistics(
            rows=self.statuses.total(),
            kinds=dict(self.kinds.most_common()),
            statuses=dict(self.statuses.most_common()),
            splits=dict(self.splits.most_common()),
            sources=dict(self.sources.most_common()),
            tags=dict(self.tags.most_common(_MOST_NAMES)),
            prompt_words=lengths(self._prompt_words),
            answer_words=lengths(self._answer_words),
            turns=dict(sorted(self.turns.items())),
            vocabulary=len({word for one in words for word in one}),
            distinct_1=_distinct([list(one) for one in words]),
            distinct_2=_distinct([list(pairwise(one)) for one in words]),
            self_similarity=_self_similarity(compared),
            sampled=len(answers),
            compared=len(compared),
            labels={name: self.labels[name] for name in ("up", "down")} if self.labels else {},
            chosen_longer=self._longer / self._pairs if self._pairs else None,
            duplicates=self._measured - _different(self._seen),
            repeated_prompts=len(self._prompts) - _different(self._prompts),
            estimate=estimate,
            tokens=tokens,
        )


def lengths(values: Sequence[int]) -> Lengths | None:
    """The lengths in figures, with a histogram in doubling buckets; None for no values."""
    if not values:
        return None
    order = sorted(values)
    at = [order[max(0, math.ceil(share * len(order)) - 1)] for share in (0.5, 0.95)]
    return Lengths(len(order), order[0], at[0], sum(order) / len(order), at[1], order[-1], histogram(order))


def histogram(values: Iterable[int]) -> tuple[Bucket, ...]:
    """Counts in buckets that double: 0, 1, 2-3, 4-7 and so on; from the first that is not empty to the last."""
    counts = Counter(value.bit_length() for value in values)
    return tuple(
        Bucket(1 << power - 1 if power else 0, (1 << power) - 1, counts[power])
        for power in range(min(counts, default=0), max(counts, default=-1) + 1)
    )


def token_figures(counts: Iterable[TokenCount], *, model: str, max_length: int) -> TokenFigures:
    """What the sequences of a dataset come to in tokens."""
    totals, truncated, nothing = array("q"), 0, 0
    for count in counts:
        totals.append(count.total)
        truncated += count.total > count.kept
        nothing += count.learnt == 0
    return TokenFigures(model, max_length, lengths(totals), truncated, nothing)


def estimated(method: str, preset: str, knobs: Mapping[str, KnobValue], trainable: Counter[Split]) -> Estimate | None:
    """Epochs and steps for accepted rows of the method's kind, by their split; None when there are none.

    Counts as transformers' Trainer does: the last batch of an epoch may be smaller, and every epoch ends with a step.
    """
    free, held = trainable[Split.NONE], trainable[Split.VALIDATION]
    dealt = 0 if held else round(free * float(knobs["eval_share"]))
    rows = trainable[Split.TRAIN] + free - dealt
    if rows <= 0:
        return None
    size, accumulated = int(knobs["per_device_train_batch_size"]), int(knobs["gradient_accumulation_steps"])
    per_epoch = max(1, math.ceil(math.ceil(rows / size) / accumulated))
    steps, epochs = int(knobs["max_steps"]), float(knobs["num_train_epochs"])
    if steps > 0:
        epochs = steps / per_epoch
    else:
        steps = math.ceil(epochs * per_epoch)
    return Estimate(method, preset, rows, held + dealt, size * accumulated, epochs, steps)


def meanings(found: Statistics) -> dict[str, str]:
    """For each figure that there is, one sentence on what it means for training."""
    told = {
        "rows": f"Only the {found.statuses.get('accepted', 0):,} accepted of {found.rows:,} rows are trained on.",
        "kinds": "A method takes one kind; rows of the others are left out unless they are converted.",
        "splits": "Rows of the test split are never trained on; the held-out loss is measured on the validation rows.",
        "sources": "What one source says most often, the model will say too.",
        "turns": "Rows of one question and one answer teach little about longer conversations.",
        "duplicates": f"{found.duplicates:,} rows are twins of others but for case and spaces: they weigh twice.",
        "repeated_prompts": f"{found.repeated_prompts:,} rows ask what another asks: a split keeps them together.",
    }
    if found.tags:
        told["tags"] = "Tags can be dealt evenly (datasets split --by tag), and mixed by weight."
    if found.prompt_words is not None:
        told["prompt_words"] = "Prompts much unlike these in length are new to the tuned model."
    if found.answer_words is not None:
        middle = found.answer_words.median
        told["answer_words"] = (
            f"The tuned model will answer about as long as these: {counted(middle, 'words')} in the middle."
        )
    told |= _diversity_meanings(found) | _balance_meanings(found)
    if found.estimate is not None:
        told["estimate"] = (
            f"About {found.estimate.steps:,} optimiser steps; under some dozens little is learnt, whatever the rows."
        )
    if found.tokens is not None:
        told["tokens"] = (
            f"{found.tokens.truncated:,} sequences are cut at {found.tokens.max_length:,} tokens, and of"
            f" {found.tokens.nothing_learnt:,} nothing is left to learn."
        )
    return told


def _diversity_meanings(found: Statistics) -> dict[str, str]:
    told: dict[str, str] = {}
    if found.distinct_1 is not None:
        told["vocabulary"] = "Words that never occur here are not taught; a small vocabulary makes a narrow style."
        told["distinct_1"] = "The lower, the more the answers use the same words; it falls by itself as rows are added."
    if found.distinct_2 is not None:
        told["distinct_2"] = "The lower, the more phrases recur, and a recurring phrase is what a model learns first."
    if found.self_similarity is not None:
        told["self_similarity"] = (
            "Near 0 every answer is its own; near 1 most have a twin, and more such rows add little."
        )
    return told


def _balance_meanings(found: Statistics) -> dict[str, str]:
    told: dict[str, str] = {}
    if found.labels:
        up, down = found.labels["up"], found.labels["down"]
        told["labels"] = (
            f"{up:,} thumbs up to {down:,} down: KTO learns best near 1:1 to 4:3, weights make up for the rest."
        )
    if found.chosen_longer is not None:
        told["chosen_longer"] = (
            f"In {found.chosen_longer:.0%} of the pairs the chosen answer is the longer one: far from half, length is"
            " what is learnt."
        )
    return told


def _plain(turns: Sequence[Turn]) -> tuple[tuple[str, ...], int]:
    """What is said, the same for twins whatever their case and spaces, and how many words that is."""
    said: list[str] = []
    count = 0
    for turn in turns:
        words = turn.shown.casefold().split()  # no letter becomes a space by it, nor a space a letter
        said += (turn.role, " ".join(words))
        count += len(words)
    return tuple(said), count


def _different(hashes: Iterable[int]) -> int:
    return sum(1 for _ in groupby(sorted(hashes)))


def _drawn(example_id: int) -> int:
    return int.from_bytes(hashlib.blake2b(str(example_id).encode(), digest_size=8).digest(), "big")


def _distinct(found: Sequence[Sequence[object]]) -> float | None:
    total = sum(map(len, found))
    return len({one for many in found for one in many}) / total if total else None


def _self_similarity(found: Sequence[set[Any]]) -> float | None:
    if len(found) < 2:
        return None
    best = [0.0] * len(found)
    for i, one in enumerate(found):
        for j in range(i):
            common = len(one & found[j])
            alike = common / (len(one) + len(found[j]) - common) if common else 0.0
            best[i], best[j] = max(best[i], alike), max(best[j], alike)
    return sum(best) / len(best)
