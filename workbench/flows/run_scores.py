"""The loss of single examples before and after a run: taken over from its folder, and shown by example.

A run that was made in another workspace has other examples under its ids: nothing is taken over from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.domain.runs import ExampleScore, Run, example_scores
from workbench.errors import UsageError
from workbench.jobs.run_directory import RunDirectory
from workbench.store.queries import ORDERS, score_order

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

IMPORTED = "imported_from"
"""In ``origin.json`` of a run that was taken over from elsewhere."""


def take_over(bench: Bench, run: Run, directory: RunDirectory) -> int:
    """Copy the figures of single rows into the store; gives how many examples have some. Can be repeated."""
    if IMPORTED in directory.read_json(directory.origin_file):
        return 0
    scores = example_scores(run.id, directory.row_figures())
    return bench.store.scores.replace(run.id, scores) if scores else 0


def of_example(bench: Bench, example_id: int) -> list[ExampleScore]:
    """What runs measured of an example, the newest run first."""
    return bench.store.scores.of(example_id)


def newest(bench: Bench, ids: Sequence[int], *, order: str = "") -> dict[int, ExampleScore]:
    """What the newest run measured of each of these, or the run that ``order`` names."""
    found = score_order(order)
    return bench.store.scores.newest(ids, run_id=found.run_id if found else None)


def orders(bench: Bench) -> list[tuple[str, str]]:
    """By which scores a list can be ordered, and what each means, the newest runs first."""
    return [
        (f"{sign}{name}@{run_id}", f"{name} after {run}, the {which} first")
        for run_id, run, has_margins in bench.store.scores.runs()
        for name, sign, which in (("loss", "-", "highest"), ("loss", "", "lowest"), ("margin", "", "lowest"))
        if name == "loss" or has_margins
    ]


def ordered_by(order: str) -> str:
    """The score that an order goes by, ``loss`` or ``margin``; "" for another order."""
    name = order.removeprefix("-").partition("@")[0]
    return name if name in {"loss", "margin"} else ""


def values(bench: Bench, ids: Sequence[int], *, order: str) -> dict[int, float]:
    """The score that ``order`` goes by, for those of these examples that have one."""
    name = ordered_by(order)
    found = newest(bench, ids, order=order) if name else {}
    return {i: value for i, score in found.items() if (value := getattr(score, name)) is not None}


def named_order(bench: Bench, text: str) -> str:
    """An order as a person writes it, ``-loss@my-run``, as the store knows it.

    Raises ``UsageError`` for one that is not known, ``NotFoundError`` for a run.
    """
    name, at, run = text.partition("@")
    if at and name.removeprefix("-") in {"loss", "margin"}:
        return f"{name}@{bench.store.runs.get(run).id}"
    if text not in ORDERS:
        raise UsageError(f"there is no order {text!r}", hint=f"known: {', '.join(ORDERS)}, loss@RUN, margin@RUN")
    return text


def sentence(score: ExampleScore) -> str:
    """One score for a person: ``loss 1.20 → 0.31, margin 0.4 → 3.1 after my-run (held out)``."""
    parts = [_change("loss", score.base_loss, score.loss), _change("margin", score.base_margin, score.margin)]
    where = "held out" if score.held_out else "trained on"
    return f"{', '.join(filter(None, parts)) or 'nothing to measure'} · {score.run} ({where}, {score.tokens} tokens)"


def _change(name: str, before: float | None, after: float | None) -> str:
    if after is None:
        return ""
    return f"{name} {after:.3g}" if before is None else f"{name} {before:.3g} → {after:.3g}"
