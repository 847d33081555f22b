"""Adapter kinds, one file each, found by folder: what part of a model a run trains.

Owns the finding, and the table of what cannot be combined (``_clashes``). Knows no method; a file whose name begins
with an underscore holds what kinds share.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from workbench.domain.methods import Adapter, Knob, KnobValue
from workbench.errors import RefusedError
from workbench.methods.adapters._clashes import CLASHES

_FIRST = "lora"


@cache
def find() -> dict[str, Adapter]:
    """Every adapter kind of this folder by name, the default first and then in the order of the file names."""
    modules = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    found = [_adapter(name) for name in sorted(modules, key=lambda name: name != _FIRST)]
    return {adapter.name: adapter for adapter in found}


def knobs() -> tuple[Knob, ...]:
    """Every knob that some adapter kind has, each once."""
    return tuple({knob.name: knob for adapter in find().values() for knob in adapter.knobs}.values())


def told_by(config: Mapping[str, object]) -> Adapter | None:
    """The kind of a saved adapter, by its ``adapter_config.json``; None for one that none of ours is."""
    fits = [
        adapter
        for adapter in find().values()
        if adapter.told_by and all((config.get(name) or False) == value for name, value in adapter.told_by.items())
    ]
    return max(fits, key=lambda adapter: len(adapter.told_by), default=None)


def refuse_clashes(settings: Mapping[str, KnobValue]) -> None:
    """Raise ``RefusedError`` with the reason when these settings of a run cannot be combined."""
    for clash in CLASHES:
        if clash.is_in(settings):
            named = ", ".join(f"{name}={_said(settings[name])}" for name in clash.settings)
            raise RefusedError(f"{named}: {clash.reason}", hint=clash.hint)


def _said(value: KnobValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _adapter(module: str) -> Adapter:
    adapter = importlib.import_module(f"{__name__}.{module}").ADAPTER
    if not isinstance(adapter, Adapter):
        raise TypeError(f"workbench/methods/adapters/{module}.py must define ADAPTER as an Adapter")
    return adapter
