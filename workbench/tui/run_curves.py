"""The curves of runs for the plot: which figure, of which runs, how smooth. Pure but for reading the store."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

from workbench.domain.runs import Metric, Run
from workbench.flows import train as flow
from workbench.tui.widgets.plot import MOST, Series

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

LOSS, HELD_OUT = "loss", "held-out loss"
FIGURES = (
    (LOSS, "loss"),
    (HELD_OUT, "eval_loss"),
    ("margin", "rewards/margins"),
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
        if figure == LOSS and (held_out := flow_held_out(bench, run)):
            found.append(Series("held-out", _points(held_out), dots=True))
        return found
    return [_series(bench, one, one.name, metric, weight) for one in (run, *others)[:MOST]]


def figures_of(bench: Bench, run: Run) -> list[str]:
    """The figures that this run has points of."""
    return [name for name, metric in FIGURES if flow.metrics(bench, run, metric)] or [LOSS]


def flow_held_out(bench: Bench, run: Run) -> tuple[Metric, ...]:
    """The held-out loss, from before the first step on."""
    before = flow.metrics(bench, run, "base_eval_loss")
    during = flow.metrics(bench, run, "eval_loss")
    return (*before, *(m for m in during if not before or m.step > before[-1].step))


def _series(bench: Bench, run: Run, name: str, metric: str, weight: float) -> Series:
    is_sparse = metric == "eval_loss"
    found = flow_held_out(bench, run) if is_sparse else flow.metrics(bench, run, metric)
    shown = f"{name} ~{weight:g}" if weight and not is_sparse else name
    return Series(shown, smoothed(_points(found), 0.0 if is_sparse else weight), dots=is_sparse)


def _points(found: Sequence[Metric]) -> list[tuple[float, float]]:
    return [(m.step, m.value) for m in found]
