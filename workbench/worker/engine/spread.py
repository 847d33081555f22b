"""A base that accelerate has spread over devices, or partly left in main memory or on the disk.

Of what is left there a module has no weights (they are "meta") until it computes, and a hook that knows where that is.
Owns where a module computes, and giving an adapter's tensors a place there: PEFT would put them where the weights are,
which is nowhere, and would have accelerate spread the base a second time. Source: accelerate's ``AlignDevicesHook``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora.layer import Embedding
from peft.tuners.tuners_utils import BaseTunerLayer

_META = torch.device("meta")


def device_of(module: torch.nn.Module) -> torch.device:
    """Where a module computes; the device of its first weight where nothing was left elsewhere."""
    weight = next(module.parameters(), None)
    if weight is not None and weight.device != _META:
        return weight.device
    hook = getattr(module, "_hf_hook", None)
    hooks = getattr(hook, "hooks", (hook,))
    place = next((p for each in hooks if (p := getattr(each, "execution_device", None)) is not None), "cpu")
    return torch.device(place)


def find_room(model: torch.nn.Module, adapter: str) -> None:
    """Give an adapter's tensors that are nowhere a place where their layer computes; what they hold is yet to come."""
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            for name in (*module.adapter_layer_names, *module.other_param_names):
                _place(getattr(module, name, None), adapter, device_of(module.get_base_layer()))


def can_answer(model: torch.nn.Module, adapter: str) -> bool:
    """False when a tensor of the adapter still has no place, or when it asks for weights at a time when none are there:
    PEFT's DoRA reads those of embeddings past the hook.
    """
    if any(weight.device == _META and f".{adapter}" in name for name, weight in model.named_parameters()):
        return False
    layers = [module for module in model.modules() if isinstance(module, Embedding)]
    return not any(adapter in each.lora_magnitude_vector and each.weight.device == _META for each in layers)


@contextmanager
def kept_as_it_is(model: Any) -> Iterator[None]:
    """Keep PEFT from spreading the base again with its first adapter, for which it goes by this mark."""
    told = vars(model).pop("hf_device_map", None)
    try:
        yield
    finally:
        if told is not None:
            model.hf_device_map = told


def _place(tensors: Any, adapter: str, device: torch.device) -> None:
    if not isinstance(tensors, torch.nn.ModuleDict | torch.nn.ParameterDict) or adapter not in tensors:
        return
    found = tensors[adapter]
    if isinstance(found, torch.nn.Module):
        if any(weight.device == _META for weight in found.parameters()):
            found.to_empty(device=device)
    elif found.device == _META:
        tensors[adapter] = torch.nn.Parameter(torch.empty_like(found, device=device), requires_grad=False)
