"""The curves of runs for somebody who looks again and again: each look reads only what came since the last one.

Kept small: a step and a value of 16 bytes in all, and of the newest points also when they were told.
"""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING

from workbench.domain.runs import Metric

if TYPE_CHECKING:
    from workbench.store.runs import Runs

NEWEST = 200
"""The points whose moment is known: from them the time that is left is told."""
MOST_KEPT = 40


@dataclass(slots=True)
class Curve:
    """One figure of one run by step."""

    name: str
    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))
    newest: tuple[Metric, ...] = ()

    @property
    def points(self) -> list[tuple[float, float]]:
        """Step and value, a value that was no number as NaN."""
        return list(zip(self.steps, self.values, strict=True))

    @property
    def first_bad_step(self) -> int | None:
        """The first step whose value is not a number."""
        return next((step for step, value in zip(self.steps, self.values, strict=True) if not isfinite(value)), None)

    def __len__(self) -> int:
        return len(self.steps)

    def with_points(self, found: Sequence[Metric], *, behind: int) -> Curve:
        """The curve with these points behind its first ``behind``."""
        steps, values = self.steps[:behind], self.values[:behind]
        steps.extend(point.step for point in found)
        values.extend(point.value for point in found)
        before = self.newest[: len(self.newest) - (len(self) - behind)]
        return Curve(self.name, steps, values, (*before, *found)[-NEWEST:])


class Curves:
    """Reads curves from the store, and reads on where it can. May be asked from several threads."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._kept: OrderedDict[tuple[int, str], Curve] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, run_id: int, name: str) -> Curve:
        """The curve as the store has it now; the caller must not change it."""
        key = run_id, name
        with self._lock:
            curve = self._read_on(run_id, self._kept.pop(key, Curve(name)))
            self._kept[key] = curve
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return curve

    def _read_on(self, run_id: int, curve: Curve) -> Curve:
        # The last point may be told again, with another value. Where the one before it is not what it was, the run was
        # resumed from an earlier step.
        if len(curve) >= 2:
            anchor = curve.newest[-2]
            found = self._runs.metrics(run_id, curve.name, since=anchor.step)
            if found and _is_same(found[0], anchor):
                is_news = len(found) != 2 or not _is_same(found[1], curve.newest[-1])
                return curve.with_points(found[1:], behind=len(curve) - 1) if is_news else curve
        return Curve(curve.name).with_points(self._runs.metrics(run_id, curve.name), behind=0)


def _is_same(one: Metric, other: Metric) -> bool:
    return (one.step, one.at_utc) == (other.step, other.at_utc) and repr(one.value) == repr(other.value)
