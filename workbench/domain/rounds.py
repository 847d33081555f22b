"""Rounds: which two models answer which prompt. Knows neither models in memory nor storage."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from workbench.domain.chats import Generation, Sampling, Turn
from workbench.errors import UsageError


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt to be answered, with the row of a dataset that it came from and its tags."""

    turns: tuple[Turn, ...]
    example_id: int | None = None
    tags: tuple[str, ...] = ()


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
