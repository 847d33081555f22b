"""How far raters agree: what is counted, and the numbers that come back. The coefficients are computed by libraries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.domain.comparisons import Vote


@dataclass(frozen=True, slots=True)
class Judged:
    """One rater's word on one comparison, in terms of models and not of sides."""

    rater: str
    unit: int
    label: str


@dataclass(frozen=True, slots=True)
class RaterPair:
    """Two raters on the comparisons that both voted on. ``kappa`` is Cohen's; None when it cannot be computed."""

    a: str
    b: str
    units: int
    observed: float
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Krippendorff's alpha (nominal) over all raters, and Cohen's kappa of each two. None: there is too little."""

    alpha: float | None
    units: int
    pairs: tuple[RaterPair, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        pairs = [
            {"a": p.a, "b": p.b, "units": p.units, "observed": p.observed, "cohen_kappa": p.kappa} for p in self.pairs
        ]
        return {"krippendorff_alpha": self.alpha, "units": self.units, "pairs": pairs}


def agreement_from_dict(row: Mapping[str, Any]) -> Agreement:
    """The agreement that ``as_dict`` gave."""
    pairs = (RaterPair(p["a"], p["b"], p["units"], p["observed"], p["cohen_kappa"]) for p in row["pairs"])
    return Agreement(row["krippendorff_alpha"], row["units"], tuple(pairs))


def judged_by(votes: Iterable[Vote]) -> list[Judged]:
    """What each rater said, without equal answers (nobody's word) and hidden repeats."""
    return [Judged(v.rater, v.comparison_id, v.outcome) for v in votes if v.rater and v.repeat_of is None]


def is_shared(judged: Iterable[Judged]) -> bool:
    """Whether two raters said something about the same comparison."""
    seen: dict[int, str] = {}
    return any(seen.setdefault(one.unit, one.rater) != one.rater for one in judged)


def words(alpha: float | None) -> str:
    """A word for a coefficient, by the usual (and arbitrary) steps of Landis and Koch, Biometrics 33 (1977)."""
    if alpha is None:
        return "not known"
    steps = ((0.8, "almost perfect"), (0.6, "substantial"), (0.4, "moderate"), (0.2, "fair"), (0.0, "slight"))
    return next((word for least, word in steps if alpha > least), "none")
