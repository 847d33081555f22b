"""Rounds: which two models answer which prompt. Knows neither models in memory nor storage."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations

from workbench.domain.chats import Generation, Sampling, Turn
from workbench.errors import UsageError

RANDOM_SHARE = 0.5
"""Of the prompts of a round that asks where models differ, so many are drawn at random: the rate rests on these."""

CANDIDATES = 4
"""Drafts are written for at most so many prompts for each one that is chosen by them."""


class Choosing(StrEnum):
    """Which prompts are asked when more are there than wanted."""

    FIRST = "first"
    RANDOM = "random"
    DIFFERING = "differing"


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt to be answered, with the row of a dataset that it came from and its tags.

    ``chosen`` says why it is asked: ``random`` was drawn, ``differing`` because short drafts of the models differ most,
    "" because all were asked, or the first ones.
    """

    turns: tuple[Turn, ...]
    example_id: int | None = None
    tags: tuple[str, ...] = ()
    chosen: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """One side's answer that waits for the other side's."""

    text: str
    generation: Generation


@dataclass(frozen=True, slots=True)
class RoundPair:
    """One prompt of a round and the two models that answer it, both with ``seed``; ``draw_seed`` draws their sides."""

    number: int
    prompt: PromptRow
    a: str
    b: str
    seed: int
    draw_seed: int = 0
    a_answer: Answered | None = None
    b_answer: Answered | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """Prompts that models are being asked; what is done and what is not survives the process that asks.

    ``total`` counts its prompts, ``done`` those that both models answered or one of them failed on.
    """

    id: int
    sampling: Sampling
    total: int
    done: int
    created_utc: str = ""


def drawn(rows: Sequence[PromptRow], limit: int, *, seed: int) -> list[PromptRow]:
    """So many of the prompts at random, in random order."""
    shuffled = random.Random(seed).sample(rows, len(rows))
    return [replace(row, chosen=Choosing.RANDOM.value) for row in shuffled[:limit]]


def candidates(rows: Sequence[PromptRow], limit: int, *, seed: int) -> tuple[list[PromptRow], list[PromptRow]]:
    """The prompts drawn at random for the rate, and those among which drafts choose the rest: others, also drawn."""
    by_chance = min(limit, max(1, round(RANDOM_SHARE * limit)))
    every = drawn(rows, by_chance + CANDIDATES * (limit - by_chance), seed=seed)
    return every[:by_chance], every[by_chance:]


def most_differing(
    by_chance: Sequence[PromptRow], among: Sequence[PromptRow], differences: Sequence[float], limit: int, *, seed: int
) -> list[PromptRow]:
    """The prompts drawn at random with those of the greatest differences, mixed, so that no vote tells which is which.

    Of equal differences the prompt that was drawn earlier is taken.
    """
    order = sorted(range(len(among)), key=lambda at: -differences[at])[: limit - len(by_chance)]
    chosen = [replace(among[at], chosen=Choosing.DIFFERING.value) for at in order]
    every = [*by_chance, *chosen]
    return random.Random(seed + 1).sample(every, len(every))


def pairings(models: Sequence[str], prompts: Sequence[PromptRow], *, seed: int) -> list[RoundPair]:
    """Every prompt with two of the models: each pair of models gets as many prompts as any other, give or take one.

    A prompt is answered by one pair only. Were it answered by all, the names that a vote on one pair tells would be
    known in the next pair of the same prompt. Which pair gets which prompt is drawn from ``seed``, which is also what
    the answers are drawn with (plus the prompt's position). Raises ``UsageError`` for fewer than two models.
    """
    if len(set(models)) < 2 or len(set(models)) < len(models):
        raise UsageError("a comparison needs two different models", hint="name each model once")
    every = list(combinations(models, 2))
    draw = random.Random(seed)
    chosen: list[tuple[str, str]] = []
    while len(chosen) < len(prompts):
        chosen += draw.sample(every, len(every))
    return [
        RoundPair(number, prompt, a, b, (seed + number) % 2**31)
        for number, (prompt, (a, b)) in enumerate(zip(prompts, chosen, strict=False))
    ]
