"""Blind comparisons: two answers to one prompt on shuffled sides, and what a vote on them means.

Owns blinding (nothing here names a model until there is a vote) and the rule of which votes can become pairs.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from workbench.domain.chats import Generation, Turn
from workbench.domain.examples import Content, preference
from workbench.errors import RefusedError

Marks = Mapping[str, tuple[int, int]]
"""Marks from 1 to 5 by criterion: of the left answer, then of the right one."""


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


class Strength(StrEnum):
    """How much better the winner is."""

    SLIGHT = "slight"
    CLEAR = "clear"
    MUCH = "much"

    def moved(self, steps: int) -> Strength:
        """The strength some steps up or down; the ends hold."""
        every = list(Strength)
        return every[min(max(every.index(self) + steps, 0), len(every) - 1)]


class RaterKind(StrEnum):
    """Who voted. What a model says as a judge is never counted among the votes of people."""

    HUMAN = "human"
    JUDGE = "judge"


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which weights answered: the id in the registry and the hash of the weight files, for an adapter its base's too.

    None and "" where nobody wrote it down, or where there are no files (a hub id, an endpoint).
    """

    model_id: int | None = None
    sha256: str = ""
    base: str = ""
    base_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer in a comparison, with the model that gave it."""

    model: str
    text: str
    generation: Generation
    identity: ModelIdentity = ModelIdentity()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to one prompt, ``a`` and ``b`` in the order of asking; ``left_is_a`` was drawn with ``draw_seed``.

    ``example_id`` is the row of a dataset that the prompt came from, with its ``tags``; ``chosen`` says why it was
    asked (see ``rounds.PromptRow``). ``difference`` is 0 for equal
    answers and 1 for answers without a word in common, None when nobody measured it. ``repeat_of`` is set for a pair
    that one rater is shown again with its sides swapped: it tells how far a rater agrees with himself, and counts for
    no model.
    """

    id: int
    prompt: tuple[Turn, ...]
    a: Candidate
    b: Candidate
    left_is_a: bool
    draw_seed: int
    created_utc: str = ""
    example_id: int | None = None
    tags: tuple[str, ...] = ()
    chosen: str = ""
    difference: float | None = None
    repeat_of: int | None = None

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
    ``replaces`` is the vote that stood before and stands again when this one is taken back. ``strength`` is None where
    no side won. ``rubric`` has marks from 1 to 5 by criterion: of the left answer, then of the right one. ``live`` says
    that the answers were watched while they were written, so that their speed was seen.
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
    kind: RaterKind = RaterKind.HUMAN
    strength: Strength | None = None
    rubric: Marks = field(default_factory=lambda: MappingProxyType({}))
    live: bool = False


@dataclass(frozen=True, slots=True)
class VoteDetails:
    """What is kept beside a verdict; see ``Rating``."""

    comment: str = ""
    duration_ms: int = 0
    strength: Strength | None = None
    rubric: Marks = field(default_factory=lambda: MappingProxyType({}))
    live: bool = False

    def about(self, verdict: Verdict) -> VoteDetails:
        """These details with this verdict: without a winner there is no strength."""
        return self if verdict.is_decided else replace(self, strength=None)


@dataclass(frozen=True, slots=True)
class Vote:
    """One standing blind vote as the statistics read it, or (``rater`` "") two equal answers, a tie without a vote.

    ``outcome`` is ``a``, ``b``, ``tie`` or ``both-bad``; ``prompt`` is the same for votes on the same prompt,
    ``answers`` for votes on the same two answers to it by the same two models, also when they were asked again and
    said the same ("": nobody looked). Lengths are characters. ``repeat_of`` is set for a hidden repeat.
    """

    comparison_id: int
    prompt: str
    a: str
    b: str
    outcome: str
    left_is_a: bool
    a_length: int
    b_length: int
    rater: str = ""
    kind: RaterKind = RaterKind.HUMAN
    strength: Strength | None = None
    rubric: Marks = field(default_factory=lambda: MappingProxyType({}))
    duration_ms: int = 0
    live: bool = False
    tags: tuple[str, ...] = ()
    repeat_of: int | None = None
    answers: str = ""
    chosen: str = ""

    @property
    def side(self) -> str:
        """``left`` or ``right`` when that side won, else ""."""
        if self.outcome not in {"a", "b"}:
            return ""
        return "left" if (self.outcome == "a") == self.left_is_a else "right"


@dataclass(frozen=True, slots=True)
class Differing:
    """How different two models' answers to one prompt are, 0 to 1, and whether a person voted on them."""

    a: str
    b: str
    difference: float
    is_voted: bool


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
