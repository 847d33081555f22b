"""Labelling pairs blind: what a person is shown, what may be said about it, and the tags by which it is kept.

Owns the words of a verdict. Knows neither where pairs come from nor how they are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from workbench.domain.chats import Turn
from workbench.domain.comparisons import Strength, Verdict, draw_left_is_a
from workbench.errors import UsageError

REASONS = ("correct", "follows", "style", "length", "safe")
"""What may speak for an answer: true, does what was asked, reads well, has the right length, does no harm."""

FAST_MS = 2000
"""A verdict given sooner is marked: nobody reads two answers in that time."""

_STRENGTH_TAG, _REASON_TAG, _VERDICT_TAG = "strength:", "reason:", "verdict:"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pair that waits for a verdict: a stored example, or (``example_id`` 0) two answers in a chat."""

    example_id: int = 0
    answers: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class BlindPair:
    """All that a screen may show before the verdict: texts by side, and the seed by which sides were drawn.

    Whether the left text is the first of the pair (the stored chosen one, the older answer) follows from the seed.
    """

    waiting: Waiting
    prompt: tuple[Turn, ...]
    left_text: str
    right_text: str
    draw_seed: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person said about a blind pair. ``strength`` counts only when one side won.

    ``unread`` are the sides whose end was never in sight: such a verdict counts, and is marked. ``duration_ms`` 0 means
    that nobody took the time.
    """

    verdict: Verdict
    strength: Strength = Strength.CLEAR
    reasons: tuple[str, ...] = ()
    note: str = ""
    duration_ms: int = 0
    unread: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if unknown := [reason for reason in self.reasons if reason not in REASONS]:
            raise UsageError(f"{unknown[0]!r} is not a reason", hint=f"reasons: {', '.join(REASONS)}")

    @property
    def facts(self) -> dict[str, str | int]:
        """How it was said, for the history: also that it was early (before both were read) or fast."""
        facts: dict[str, str | int] = {"verdict": self.verdict.value, "duration_ms": self.duration_ms}
        facts |= {"strength": self.strength.value} if self.verdict.is_decided else {}
        facts |= {"early": " ".join(self.unread)} if self.unread else {}
        return facts | ({"fast": 1} if 0 < self.duration_ms < FAST_MS else {})

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that keep this judgement on its example; a skip leaves only that it was skipped."""
        if self.verdict is Verdict.SKIP:
            return (_VERDICT_TAG + self.verdict.value,)
        first = _STRENGTH_TAG + self.strength.value if self.verdict.is_decided else _VERDICT_TAG + self.verdict.value
        return (first, *(_REASON_TAG + reason for reason in self.reasons))


def blind_pair(waiting: Waiting, prompt: tuple[Turn, ...], first: str, second: str, *, draw_seed: int) -> BlindPair:
    """The pair with its sides drawn from the seed."""
    left, right = (first, second) if draw_left_is_a(draw_seed) else (second, first)
    return BlindPair(waiting, prompt, left, right, draw_seed)


def first_won(pair: BlindPair, verdict: Verdict) -> bool:
    """True when the verdict is for the first of the pair (see ``BlindPair``), False when for the second or none."""
    return verdict.is_decided and (verdict is Verdict.LEFT) == draw_left_is_a(pair.draw_seed)


def judgement_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Those tags that an earlier judgement left, which a new one replaces."""
    return tuple(tag for tag in tags if tag.startswith((_STRENGTH_TAG, _REASON_TAG, _VERDICT_TAG)))


@dataclass(frozen=True, slots=True)
class Tally:
    """A rater's verdicts so far."""

    left: int = 0
    right: int = 0
    tie: int = 0
    both_bad: int = 0

    @property
    def decided(self) -> int:
        """Verdicts in which one side won."""
        return self.left + self.right

    def plus(self, verdict: Verdict) -> Tally:
        """The tally with one verdict more; a skip is none."""
        name = verdict.value.replace("-", "_")
        return self if verdict is Verdict.SKIP else replace(self, **{name: getattr(self, name) + 1})

    @property
    def total(self) -> int:
        """All verdicts; skips are none."""
        return self.decided + self.tie + self.both_bad


def tally(counts: Mapping[str, int]) -> Tally:
    """The tally of counts by verdict."""
    return Tally(*(counts.get(v.value, 0) for v in (Verdict.LEFT, Verdict.RIGHT, Verdict.TIE, Verdict.BOTH_BAD)))
