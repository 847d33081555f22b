"""Sweeps: the same run with other settings, and which of them did best on the same held-out rows.

Owns the space of settings, the ways through it that need no library, and what may be said of the winner.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from workbench.domain.methods import Knob, Method
from workbench.errors import UsageError

GRID, RANDOM, OPTUNA = "grid", "random", "optuna"
SEARCHES = (GRID, RANDOM, OPTUNA)
MOST_RUNS = 200
_DATA = {
    "seed": "runs with other seeds differ by chance, not by a setting",
    "eval_share": "runs that hold out other rows cannot be compared",
}
_WIDE = 10.0


@dataclass(frozen=True, slots=True)
class Dimension:
    """One setting that varies: these ``values``, or any number from ``low`` to ``high`` (even on a log scale)."""

    knob: Knob
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0

    @property
    def name(self) -> str:
        """The knob's name."""
        return self.knob.name

    @property
    def is_log(self) -> bool:
        """True for a range that spans orders of magnitude."""
        return not self.values and self.low > 0 and self.high / self.low >= _WIDE

    @property
    def is_whole(self) -> bool:
        """True when only whole numbers are meant."""
        return isinstance(self.knob.default, int)

    def text(self, value: float) -> str:
        """A number of the range as a knob takes it."""
        return str(round(value)) if self.is_whole else f"{value:.4g}"

    def draw(self, chance: random.Random) -> str:
        """One setting of it, every one as likely."""
        if self.values:
            return chance.choice(self.values)
        if self.is_log:
            return self.text(math.exp(chance.uniform(math.log(self.low), math.log(self.high))))
        return self.text(chance.uniform(self.low, self.high))


def dimensions(method: Method, words: Sequence[str]) -> tuple[Dimension, ...]:
    """The space in words ``knob=v1,v2`` or ``knob=low..high``; raises ``UsageError`` for what cannot be varied."""
    found = tuple(_dimension(method, word) for word in words)
    names = [one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{twice[0]} is swept twice", hint="give all its values at once")
    return found


def grid(space: Sequence[Dimension]) -> list[dict[str, str]]:
    """Every combination, the last setting changing fastest; raises ``UsageError`` for a range, or too many."""
    if ranges := [one.name for one in space if not one.values]:
        raise UsageError(f"{ranges[0]} is a range, which has no grid", hint="list values, or --search random")
    count = math.prod(len(one.values) for one in space)
    if count > MOST_RUNS:
        raise UsageError(f"the grid has {count:,} runs", hint=f"at most {MOST_RUNS}; --search random draws some")
    return [dict(zip((d.name for d in space), values, strict=True)) for values in product(*(d.values for d in space))]


def drawn(space: Sequence[Dimension], trials: int, *, seed: int) -> list[dict[str, str]]:
    """``trials`` different settings drawn by chance; fewer when there are no more."""
    chance = random.Random(seed)
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for _ in range(50 * trials):
        if len(found) == trials:
            break
        settings = {one.name: one.draw(chance) for one in space}
        found.setdefault(tuple(settings.values()), settings)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run of a sweep: ``value`` is its measure on the held-out rows, None while there is none."""

    run_id: int
    name: str
    settings: Mapping[str, str]
    state: str
    value: float | None
    is_finished: bool


@dataclass(frozen=True, slots=True)
class SweepTable:
    """The runs of a sweep, best first, those without a result behind. ``measure`` is what they are compared by."""

    name: str
    varied: tuple[str, ...]
    measure: str
    outcomes: tuple[Outcome, ...]
    same_rows: bool = True

    @property
    def best(self) -> Outcome | None:
        """The finished run with the best measure; one that was stopped early does not compete."""
        first = self.outcomes[0] if self.outcomes else None
        return first if first is not None and first.is_finished and first.value is not None else None

    @property
    def advice(self) -> str:
        """What the best number is worth."""
        done = sum(one.is_finished for one in self.outcomes)
        if self.best is None:
            return "no run of it has finished yet"
        if done < 2:
            return "one run has finished: there is nothing to compare it with yet"
        rows = "" if self.same_rows else "; the runs were not trained on the same rows"
        return (
            f"picked as the best of {done} on the held-out rows, its {self.measure} there is too good to be true: "
            f"measure it on rows that chose nothing, a test split or a blind comparison{rows}"
        )


def ranked(outcomes: Sequence[Outcome], *, higher_is_better: bool = False) -> tuple[Outcome, ...]:
    """Finished ones first, the best of them at the head; a measure that is no number is the worst."""

    def rank(one: Outcome) -> tuple[bool, bool, float, int]:
        bad = one.value is None or not math.isfinite(one.value)
        value = 0.0 if one.value is None or bad else one.value
        return (not one.is_finished, bad, -value if higher_is_better else value, one.run_id)

    return tuple(sorted(outcomes, key=rank))


def _dimension(method: Method, word: str) -> Dimension:
    name, equals, text = word.partition("=")
    name = name.strip()
    if not equals or not text.strip():
        raise UsageError(f"--sweep {word!r} is not K=V1,V2 or K=LOW..HIGH", hint="--sweep learning_rate=1e-4,2e-4")
    knob = method.knob(name)
    if name in _DATA:
        raise UsageError(f"{name} cannot be swept: {_DATA[name]}", where=name)
    if ".." in text:
        return _range(knob, text)
    values = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for value in values:
        knob.parse(value)
    return Dimension(knob, values)


def _range(knob: Knob, text: str) -> Dimension:
    if isinstance(knob.default, bool | str):
        raise UsageError(f"{knob.name} is no number: it has no range", hint=f"--sweep {knob.name}=one,another")
    low, _, high = text.partition("..")
    ends = [float(knob.parse(end)) for end in (low, high)]
    if not ends[0] < ends[1]:
        raise UsageError(f"{text!r} is no range: the first number must be the smaller", where=knob.name)
    return Dimension(knob, low=ends[0], high=ends[1])
