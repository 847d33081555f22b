"""What a run takes by itself when nobody says otherwise: the preset for the model's size, and its window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workbench import methods as training_methods
from workbench.domain.methods import KnobValue
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


def default_window(bench: Bench, base: Model, *, method: str = "sft") -> int:
    """The tokens per row that a run on ``base`` takes when nobody says otherwise."""
    facts = registry.describe(bench, base)
    knobs = training_methods.get(method).values(taken_preset(AUTO, facts), {})
    return int(fitted(knobs, facts, {})["max_length"])
