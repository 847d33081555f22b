"""Prompts that are held out from training stay held out in what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.domain.comparisons import Comparison
from workbench.domain.examples import Split

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

HELD_OUT = (Split.VALIDATION, Split.TEST)


def split_of(bench: Bench, comparison: Comparison) -> Split:
    """The split for a row made of a vote: that of the row its prompt came from when it is held out, else none."""
    came_from = [] if comparison.example_id is None else bench.store.examples.many([comparison.example_id])
    return came_from[0].split if came_from and came_from[0].split in HELD_OUT else Split.NONE
