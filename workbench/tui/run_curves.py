"""The curves of runs for the plot: which figure, of which runs, how smooth. Pure but for reading the store."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

from workbench.domain.runs import Run
from workbench.tui.widgets.plot import MOST, Series

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

LOSS, HELD_OUT = "loss", "held-out loss"
FIGURES = (
    (LOSS, "loss"),
    (HELD_OUT, "eval_loss"),
    ("reward margin", "rewards/margins"),
    ("accuracy", "rewards/accuracies"),
    ("reward", "reward"),
    ("learning rate", "learning_rate"),
    ("gradient norm", "grad_norm"),
    ("tokens/s", "tokens_per_second"),
    ("memory", "memory_bytes"),
    ("GPU memory", "gpu_memory_bytes"),
    ("GPU load", "gpu_percent"),
)
"""What can be plotted, by the name a person sees; the first that has points comes first."""
SMOOTHINGS = (0.0, 0.6, 0.9, 0.97)


def smoothed(points: Sequence[tuple[float, float]], weight: float) -> list[tuple[float, float]]:
    """The running mean that forgets: each value weighs ``weight`` times what came before, rightly from the start on.

    A value that is no number stays where it is, and is not averaged.
    """
    if not weight:
        return list(points)
    total, mass, smooth = 0.0, 0.0, []
    for step, value in points:
        if isfinite(value):
            total, mass = weight * total + value, weight * mass + 1.0
            smooth.append((step, total / mass))
        else:
            smooth.append((step, value))
    return smooth


def curves(bench: Bench, run: Run, others: Sequence[Run], figure: str, weight: float) -> list[Series]:
    """The figure of a run, and of those it is laid over; alone, its loss comes with the held-out loss."""
    metric = dict(FIGURES)[figure]
    if not others:
        found = [_series(bench, run, "train" if figure == LOSS else figure, metric, weight)]
        if figure == LOSS and (held_out := held_out_points(bench, run)):
            found.append(Series("held-out", held_out, dots=True))
        return found
    return [_series(bench, one, one.name, metric, weight) for one in (run, *others)[:MOST]]


def figures_of(bench: Bench, run: Run) -> list[str]:
    """The figures that this run has points of."""
    return [name for name, metric in FIGURES if bench.store.runs.newest_metric(run.id, metric)] or [LOSS]


def held_out_points(bench: Bench, run: Run) -> list[tuple[float, float]]:
    """The held-out loss by step, from before the first one on."""
    before = bench.curves.of(run.id, "base_eval_loss").points
    during = bench.curves.of(run.id, "eval_loss").points
    return [*before, *((step, value) for step, value in during if not before or step > before[-1][0])]


def _series(bench: Bench, run: Run, name: str, metric: str, weight: float) -> Series:
    if metric == "eval_loss":
        return Series(name, held_out_points(bench, run), dots=True)
    points = bench.curves.of(run.id, metric).points
    return Series(f"{name} ~{weight:g}" if weight else name, smoothed(points, weight))
