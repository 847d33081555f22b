"""Blind comparisons: two answers to one prompt on shuffled sides, and what a vote on them means.

Owns blinding (nothing here names a model until there is a vote) and the rule of which votes can become pairs.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from workbench.domain.chats import Generation, Turn
from workbench.domain.examples import Content, preference
from workbench.errors import RefusedError


class Verdict(StrEnum):
    """What a rater may say. ``LEFT`` and ``RIGHT`` are sides as shown, never models."""

    LEFT = "left"
    RIGHT = "right"
    TIE = "tie"
    BOTH_BAD = "both-bad"
    SKIP = "skip"

    @property
    def is_decided(self) -> bool:
        """True when one side won."""
        return self in {Verdict.LEFT, Verdict.RIGHT}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer in a comparison, with the model that gave it."""

    model: str
    text: str
    generation: Generation


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to one prompt, ``a`` and ``b`` in the order of asking; ``left_is_a`` was drawn with ``draw_seed``."""

    id: int
    prompt: tuple[Turn, ...]
    a: Candidate
    b: Candidate
    left_is_a: bool
    draw_seed: int
    created_utc: str = ""

    @property
    def left(self) -> Candidate:
        """The candidate on the left."""
        return self.a if self.left_is_a else self.b

    @property
    def right(self) -> Candidate:
        """The candidate on the right."""
        return self.b if self.left_is_a else self.a

    @property
    def identical(self) -> bool:
        """True when both answers are the same text: a tie without a vote."""
        return self.a.text.strip() == self.b.text.strip()


@dataclass(frozen=True, slots=True)
class BlindView:
    """All that a screen may show before the vote: texts by side, no model, no timing."""

    comparison_id: int
    prompt: tuple[Turn, ...]
    left_text: str
    right_text: str


@dataclass(frozen=True, slots=True)
class Rating:
    """One vote, kept for ever; an undo sets ``undone``.

    ``blind`` is false for one given after an earlier vote had told this rater the names: it counts for nothing.
    ``replaces`` is the vote that stood before and stands again when this one is taken back.
    """

    id: int
    comparison_id: int
    verdict: Verdict
    rater: str
    comment: str = ""
    duration_ms: int = 0
    created_utc: str = ""
    undone: bool = False
    blind: bool = True
    replaces: int | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """The counted votes between two models, from the side of ``a``."""

    a: str
    b: str
    a_wins: int
    b_wins: int
    ties: int
    both_bad: int

    @property
    def decided(self) -> int:
        """Votes in which one side won."""
        return self.a_wins + self.b_wins


def draw_left_is_a(draw_seed: int) -> bool:
    """Which candidate goes left, from a recorded seed: the draw can be repeated and audited."""
    return random.Random(draw_seed).random() < 0.5


def blind(comparison: Comparison) -> BlindView:
    """The comparison without anything that tells the models apart."""
    return BlindView(comparison.id, comparison.prompt, comparison.left.text, comparison.right.text)


def winner(comparison: Comparison, verdict: Verdict) -> Candidate | None:
    """The candidate that won, None when no side did."""
    match verdict:
        case Verdict.LEFT:
            return comparison.left
        case Verdict.RIGHT:
            return comparison.right
        case _:
            return None


def pair_from_vote(comparison: Comparison, verdict: Verdict) -> Content:
    """A decided vote as a preference pair; raises ``RefusedError`` for a tie, both bad or a skip."""
    if (best := winner(comparison, verdict)) is None:
        raise RefusedError(f"a vote of {verdict.value!r} has no winner", hint="only left or right makes a pair")
    worst = comparison.b if best is comparison.a else comparison.a
    return preference(comparison.prompt, best.text, worst.text)
