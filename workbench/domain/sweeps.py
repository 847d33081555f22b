"""Sweeps: the same run with other settings, and which of them did best on the same held-out rows.

Owns the space of settings, the ways through it that need no library, and what may be said of the winner.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from workbench.domain.examples import Kind
from workbench.domain.methods import Knob, Measure, Method, nearest
from workbench.domain.runs import MORE_IS_BETTER, figure_name
from workbench.errors import UsageError

GRID, RANDOM, OPTUNA = "grid", "random", "optuna"
SEARCHES = (GRID, RANDOM, OPTUNA)
MOST_RUNS = 200
FORGOT = "forgot"
"""The name of the finding that a run lost what its model could do before."""
_DATA = {
    "seed": "runs with other seeds differ by chance, not by a setting",
    "data_seed": "runs with other seeds differ by chance, not by a setting",
    "eval_share": "runs that hold out other rows cannot be compared",
}
_WIDE = 10.0
_SCALED, _SCALE = {"margin", "pair_loss"}, "beta"
"""What grows with a setting by itself: rewards are log-probabilities times beta."""
_MEASURES = {
    Measure.COMPLETIONS: ("loss", "perplexity"),
    Measure.PAIRS: ("pair_loss", "accuracy", "margin", "loss", "perplexity"),
    Measure.SCORES: ("loss", "accuracy", "margin"),
    Measure.REWARDS: ("reward",),
    Measure.TEACHER: ("divergence", "agreement", "loss", "perplexity"),
}

KnobOf = Callable[[str], Knob]


def measures_of(method: Method) -> tuple[str, ...]:
    """What a method's runs can be compared by, all measured on held-out rows; the first is its own.

    That one also tells the best weights of a run: the loss of pairs where there are pairs, not that of single answers.
    """
    compares = method.measure is Measure.COMPLETIONS and method.kinds[0] in {Kind.PREFERENCE, Kind.JUDGEMENT}
    return _MEASURES[Measure.PAIRS if compares else method.measure]


def measure_for(method: Method, wanted: str, varied: Sequence[str]) -> str:
    """What the runs of a sweep are compared by: ``wanted``, or the method's own when that is "".

    Where the own one is scaled by a setting that varies, it is the accuracy. Raises ``UsageError`` for one that the
    method does not have.
    """
    known = measures_of(method)
    if wanted and wanted not in known:
        raise UsageError(f"{method.name} measures no {wanted!r} on held-out rows", hint=nearest(wanted, known))
    is_scaled = known[0] in _SCALED and _SCALE in varied
    return wanted or ("accuracy" if is_scaled else known[0])


def is_more_better(measure: str) -> bool:
    """True for a measure of which the highest value is the best."""
    return measure in MORE_IS_BETTER


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


def dimensions(knob_of: KnobOf, words: Sequence[str]) -> tuple[Dimension, ...]:
    """The space in words ``knob=v1,v2`` or ``knob=low..high``; raises ``UsageError`` for what cannot be varied.

    ``knob_of`` gives the setting of a name, and raises ``UsageError`` when there is none.
    """
    found = tuple(_dimension(knob_of, word) for word in words)
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
    """What became of one run of a sweep: ``value`` is its measure on the held-out rows, None while there is none.

    ``others`` are the other figures on the same rows, in the order in which they decide between equal values.
    """

    run_id: int
    name: str
    settings: Mapping[str, str]
    state: str
    value: float | None
    is_finished: bool
    others: Mapping[str, float | None] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    """What its numbers warn of, by name: ``forgot``, ``overfitting`` and so on."""


@dataclass(frozen=True, slots=True)
class SweepTable:
    """The runs of a sweep, best first, those without a result behind. ``measure`` is what they are compared by."""

    name: str
    varied: tuple[str, ...]
    measure: str
    outcomes: tuple[Outcome, ...]
    same_rows: bool = True

    @property
    def heading(self) -> str:
        """The measure as a column's name."""
        return f"held-out {figure_name(self.measure)}"

    @property
    def others(self) -> tuple[str, ...]:
        """The other figures that any of the runs has."""
        names = dict.fromkeys(name for one in self.outcomes for name, value in one.others.items() if value is not None)
        return tuple(names)

    @property
    def best(self) -> Outcome | None:
        """The finished run with the best measure; one that was stopped early does not compete."""
        first = self.outcomes[0] if self.outcomes else None
        return first if first is not None and first.is_finished and first.value is not None else None

    @property
    def order(self) -> str:
        """By what the runs stand in their order, and where that misleads."""
        way = "the highest" if is_more_better(self.measure) else "the lowest"
        said = f"ranked by {self.heading}, {way} first"
        if self.measure in _SCALED and _SCALE in self.varied:
            return f"{said}; it is scaled by {_SCALE}, which varies here: --rank-by accuracy compares"
        return said

    @property
    def advice(self) -> str:
        """What the best number is worth."""
        done = sum(one.is_finished for one in self.outcomes)
        if self.best is None:
            return "no run of it has finished yet"
        if done < 2:
            return "one run has finished: there is nothing to compare it with yet"
        rows = "" if self.same_rows else "; the runs were not trained on the same rows"
        if FORGOT in self.best.warnings:
            rows += f"; and {self.best.name} forgot what it could do before, beyond the limit: see its page"
        return (
            f"picked as the best of {done} on the held-out rows, its {self.heading} there is too good to be true: "
            f"measure it on rows that chose nothing, a test split or a blind comparison{rows}"
        )


def ranked(outcomes: Sequence[Outcome], measure: str) -> tuple[Outcome, ...]:
    """Finished ones first, the best of them at the head; a measure that is no number is the worst.

    Between equal values the other figures decide, then the order in which the runs were made.
    """

    def rank(one: Outcome) -> tuple[bool, list[tuple[bool, float]], int]:
        figures = [(measure, one.value), *one.others.items()]
        return (not one.is_finished, [_place(name, value) for name, value in figures], one.run_id)

    return tuple(sorted(outcomes, key=rank))


def _place(measure: str, value: float | None) -> tuple[bool, float]:
    if value is None or not math.isfinite(value):
        return True, 0.0
    return False, -value if is_more_better(measure) else value


def _dimension(knob_of: KnobOf, word: str) -> Dimension:
    name, equals, text = word.partition("=")
    name = name.strip()
    if not equals or not text.strip():
        raise UsageError(f"--sweep {word!r} is not K=V1,V2 or K=LOW..HIGH", hint="--sweep learning_rate=1e-4,2e-4")
    knob = knob_of(name)
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
