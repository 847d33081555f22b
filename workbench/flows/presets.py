"""What a run takes by itself when nobody says otherwise: the preset for the model's size, and its window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench import methods as training_methods
from workbench.domain.methods import KnobValue, Method
from workbench.domain.models import Model
from workbench.flows import registry

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

AUTO, TINY = "auto", "tiny"
TINY_PARAMETERS = 50_000_000


def taken_preset(preset: str, facts: Mapping[str, object]) -> str:
    """The preset that ``preset`` means for a model of these facts."""
    parameters = facts.get("parameters")
    is_tiny = isinstance(parameters, int) and 0 < parameters < TINY_PARAMETERS
    return TINY if preset == AUTO and is_tiny else preset


def fitted(knobs: dict[str, KnobValue], facts: Mapping[str, object], given: Mapping[str, str]) -> dict[str, KnobValue]:
    """The knobs with ``max_length`` no longer than the model's context, unless a person set it."""
    context = facts.get("context")
    if isinstance(context, int) and "max_length" not in given and int(knobs["max_length"]) > context:
        return knobs | {"max_length": context}
    return knobs


@dataclass(frozen=True, slots=True)
class Taken:
    """A run's knobs, and why each value that nobody asked for is what it is."""

    knobs: dict[str, KnobValue]
    reasons: dict[str, str]


def for_rows(
    method: Method, preset: str, knobs: Mapping[str, KnobValue], *, rows: int, given: Mapping[str, str]
) -> Taken:
    """The knobs for so many rows: what their number asks for stands between the preset and what was asked for.

    A preset that is named for what it does (``gentle``) does that whatever the number.
    """
    chosen = method.preset(preset)
    values, reasons = dict(knobs), {n: why for n, why in chosen.reasons.items() if knobs.get(n) == chosen.values[n]}
    for size in method.sizes if preset in {AUTO, TINY} else ():
        for name, value in size.values.items() if size.fits(rows) else ():
            if name not in given and values[name] != value:
                values[name], reasons[name] = value, f"{size.name}: {size.reasons[name]}"
    return Taken(values, {n: why for n, why in reasons.items() if n not in given})


def default_window(bench: Bench, base: Model, *, method: str = "sft") -> int:
    """The tokens per row that a run on ``base`` takes when nobody says otherwise."""
    facts = registry.describe(bench, base)
    knobs = training_methods.get(method).values(taken_preset(AUTO, facts), {})
    return int(fitted(knobs, facts, {})["max_length"])
