"""What a run starts from: a base, or an adapter to go on from, and the settings that follow from that.

An adapter keeps the kind, rank and layers it was made with; what a person asks beside that is refused, not ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench import methods as training_methods
from workbench.domain.counting import an
from workbench.domain.methods import Adapter, KnobValue, Method, Task
from workbench.domain.models import Model, ModelKind
from workbench.domain.runs import RunSpec
from workbench.errors import NotFoundError, RefusedError, UsageError
from workbench.flows import registry
from workbench.methods import adapters

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

_SOME = 4


@dataclass(frozen=True, slots=True)
class Start:
    """The model that a run starts from, and its base (the same for a base).

    A model that another run will have made by then is only promised: ``config`` is what its ``adapter_config.json``
    will say, and ``like`` a model on this disk of the same shape, window and tokens.
    """

    model: Model
    base: Model
    config: Mapping[str, object] | None = None
    like: Model | None = None

    @property
    def is_adapter(self) -> bool:
        """True when an adapter is gone on from."""
        return self.model is not self.base

    @property
    def seen(self) -> Model:
        """The model that can be looked at now for what is true of the base: itself, or one like it."""
        return self.like or self.base


PROMISED = "@"
"""Begins the folder of a run that is planned and has none yet: ``@NAME/adapter``."""


def promised(bench: Bench, parent: RunSpec, like: str) -> Start:
    """The result of a planned run as the start of the next; ``like`` is a registered model of the same shape."""
    method = training_methods.get(parent.method)
    if method.task is Task.SCORE:
        raise RefusedError(f"{parent.name} makes a reward model: a run cannot go on from it")
    adapter = method.adapter(str(parent.knobs["adapter"]))
    seen = bench.store.models.get(like)
    if adapter.saves_model:
        whole = Model(0, parent.name, ModelKind.BASE, f"{PROMISED}{parent.name}/model")
        return Start(whole, whole, like=seen)
    base = Model(0, parent.base, ModelKind.BASE, parent.base_path)
    made = Model(0, parent.name, ModelKind.ADAPTER, f"{PROMISED}{parent.name}/adapter", base=base.name)
    told = adapters.find()["lora"].told_by if adapter.name == "qlora" else adapter.told_by
    fields = {field: parent.knobs[knob] for knob, field in adapter.fields.items()}
    return Start(made, base, config={**told, **fields}, like=seen)


def start_of(bench: Bench, name: str) -> Start:
    """The model called ``name``, or the workspace's default, as a start."""
    model = bench.store.models.get(name) if name else bench.store.models.default()
    if model.kind is ModelKind.REWARD:
        raise RefusedError(
            f"{model.name} is a reward model: a run cannot go on from it", hint=f"start from {model.base or 'a base'}"
        )
    model.check_is_here(to="train on")
    base = bench.store.models.get(model.base) if model.kind is ModelKind.ADAPTER else model
    return Start(model, base)


def knobs_from(start: Start, method: Method, preset: str, given: Mapping[str, str]) -> dict[str, KnobValue]:
    """Every knob's value for a run from ``start``; raises ``UsageError`` or ``RefusedError`` for what cannot be.

    A run that goes on from an adapter has that adapter's kind and settings, unless it trains whole weights.
    """
    if not start.is_adapter:
        knobs = method.values(preset, given)
    else:
        knobs = _going_on(start, method, preset, given)
    adapters.refuse_clashes({**knobs, "method": method.name, "start": "adapter" if start.is_adapter else "base"})
    if knobs["adapter"] == "named":
        _find_named(start.seen, str(knobs["unfreeze"]))
    return knobs


def _going_on(start: Start, method: Method, preset: str, given: Mapping[str, str]) -> dict[str, KnobValue]:
    model = start.model
    config = start.config or registry.adapter_config(model)
    if not config:
        raise NotFoundError(f"{model.name} has no adapter_config.json in {model.path}", where=model.path)
    kind = adapters.told_by(config)
    if kind is None:
        raise RefusedError(
            f"{model.name} is an adapter of a kind that no run here makes ({config.get('peft_type')})",
            hint="start from its base, or from an adapter made here",
        )
    wanted = method.adapter(given["adapter"]) if "adapter" in given else kind
    if wanted.saves_model:
        return method.values(preset, given)
    if wanted.name != kind.name and not (wanted.name == "qlora" and kind.name == "lora"):
        raise RefusedError(
            f"{model.name} is {an(kind.name)} adapter: a run that goes on from it cannot make {wanted.name} of it",
            hint=f"leave adapter={wanted.name} out, or adapter=full to train the weights with it merged in",
        )
    knobs = method.values(preset, {**given, "adapter": wanted.name})
    return knobs | _as_made(model, kind, config, method, {name: knobs[name] for name in given if name in knobs})


def _as_made(
    model: Model, kind: Adapter, config: Mapping[str, object], method: Method, given: Mapping[str, KnobValue]
) -> dict[str, KnobValue]:
    """The knobs as the adapter was made with them; raises ``RefusedError`` when a person wants one otherwise."""
    made: dict[str, KnobValue] = {}
    for name, field in kind.fields.items():
        knob = method.knob(name)
        value = config.get(field)
        text = ",".join(sorted(map(str, value))) if isinstance(value, list) else str(value)
        made[name] = knob.default if value is None else knob.parse(text)
        if name in given and given[name] != made[name]:
            raise RefusedError(
                f"{model.name} was made with {name}={made[name]}, and a run that goes on from it keeps that",
                hint=f"leave {name} out, or start from the base",
            )
    return made


def _find_named(base: Model, pattern: str) -> None:
    """Raise ``UsageError`` when the pattern is none, or finds no weight of a model that is on this disk."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"unfreeze = {pattern!r} is no regular expression: {error}", where="unfreeze") from None
    names = registry.weight_names(base)
    if names and not any(compiled.search(name) for name in names):
        raise UsageError(
            f"no weight of {base.name} has {pattern!r} in its name",
            hint=f"names are {', '.join(names[:_SOME])}, …",
            where="unfreeze",
        )
