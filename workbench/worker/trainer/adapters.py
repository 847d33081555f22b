"""From an adapter kind's description and a run's knobs to PEFT's config, to unfrozen weights, and to what is saved."""

from __future__ import annotations

import importlib
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import methods
from workbench.domain.methods import Adapter, KnobValue
from workbench.domain.runs import RunSpec
from workbench.errors import RefusedError
from workbench.methods.adapters import refuse_clashes

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel

_LISTS = {"target_modules", "modules_to_save"}
_SOME = 5
_NEW_HEADS = ("score.", "classifier.")


def import_class(reference: str) -> Any:
    """The class that ``"module:Class"`` names."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def adapter_of(spec: RunSpec) -> Adapter:
    """The adapter kind of a run."""
    return methods.get(spec.method).adapter(str(spec.knobs["adapter"]))


def settings(spec: RunSpec) -> dict[str, KnobValue]:
    """Every knob's value, also of those that there were not when the run was made."""
    defaults = {knob.name: knob.default for knob in methods.get(spec.method).knobs}
    return defaults | dict(adapter_of(spec).values) | dict(spec.knobs)


def refuse(spec: RunSpec) -> None:
    """Raise ``RefusedError`` when the run's settings cannot be combined."""
    refuse_clashes({**settings(spec), "method": spec.method, "start": "adapter" if spec.adapter_path else "base"})


def peft_config(spec: RunSpec) -> PeftConfig | None:
    """The adapter to make; None when weights of the model learn, and when an adapter is gone on from.

    PEFT itself adds the head that gives a score to what learns whole.
    """
    adapter = adapter_of(spec)
    if adapter.saves_model or spec.adapter_path:
        return None
    values = {field: _field(field, settings(spec)[knob]) for knob, field in adapter.fields.items()}
    task = methods.get(spec.method).task
    return import_class(adapter.config)(task_type=task.value, **(values | dict(adapter.fixed)))


def choose_weights(model: PreTrainedModel, spec: RunSpec) -> None:
    """Freeze all weights but those that the run names; a full fine-tuning leaves every one learning."""
    if not (chosen := _chosen(model, spec)):
        return
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in chosen or name.startswith(_NEW_HEADS))


def keep_start(model: Any, folder: Path) -> None:
    """Save the adapter as it stands before the first step, for kinds whose result is told by the difference to it."""
    if not _changes_base(model):
        return
    shutil.rmtree(folder, ignore_errors=True)
    config = model.peft_config["default"]
    start, config.init_lora_weights = config.init_lora_weights, True
    try:
        model.save_pretrained(folder)
    finally:
        config.init_lora_weights = start


def save_adapter(model: Any, target: Path, *, start: Path, weights: dict[str, Any] | None = None) -> None:
    """Save the adapter that was trained; as a plain LoRA over the untouched base when its start changed the base.

    ``weights`` are the model's where it does not hold them whole itself.
    """
    if not _changes_base(model):
        # The frozen copy that preference trainers keep as reference ("ref") is no part of the result.
        model.save_pretrained(target, selected_adapters=["default"], state_dict=weights)
        return
    model.save_pretrained(target, path_initial_model_for_weight_conversion=str(start))


def _changes_base(model: Any) -> bool:
    return getattr(model.peft_config["default"], "init_lora_weights", None) == "pissa"


def _field(name: str, value: KnobValue) -> Any:
    if name not in _LISTS:
        return value
    names = [part.strip() for part in str(value).split(",") if part.strip()]
    return value if names == ["all-linear"] else names or None


def _chosen(model: PreTrainedModel, spec: RunSpec) -> set[str]:
    names = [name for name, _ in model.named_parameters()]
    match spec.knobs["adapter"]:
        case "last-layers":
            return set(_in_last_layers(model, int(spec.knobs["last_layers"])))
        case "named":
            pattern = str(spec.knobs["unfreeze"])
            found = {name for name in names if re.search(pattern, name)}
            if not found:
                some = ", ".join(names[:_SOME])
                raise RefusedError(f"no weight has {pattern!r} in its name", hint=f"names are {some}, …")
            return found
        case _:
            return set()


def _in_last_layers(model: PreTrainedModel, count: int) -> list[str]:
    """The names of the weights in the last ``count`` of the model's layers."""
    import torch

    total = model.config.get_text_config().num_hidden_layers
    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.ModuleList)]
    stacks = [name for name, module in lists if len(module) == total]
    if not stacks:
        raise RefusedError("the layers of this model were not found", hint="adapter=named names weights by a pattern")
    if count >= total:
        raise RefusedError(f"the model has {total} layers in all", hint="fewer last_layers, or adapter=full")
    starts = tuple(f"{stacks[0]}.{number}." for number in range(total - count, total))
    return [name for name, _ in model.named_parameters() if name.startswith(starts)]
