"""DoRA at the price of LoRA: what it computes of its fixed weights at every token, computed once per adapter.

DoRA scales each output of a layer by its learnt magnitude over the norm of the base's and the adapter's weights
together (Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation", 2024, section 4.3). PEFT computes that norm at each
call, and its ``DoraCaching`` keeps the product of the adapter's matrices beside it, as large as the base's own weights.
The norm alone is one number per output.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import align_module_device
from peft.tuners.lora.dora import DoraLinearLayer
from peft.tuners.lora.layer import Linear, LoraLayer
from peft.utils.integrations import dequantize_module_weight


class SettledDora(torch.nn.Module):
    """Takes the place of PEFT's ``DoraLinearLayer`` of one adapter in one layer; ``scale`` is ``(outputs,)``."""

    def __init__(self, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale, persistent=False)

    def forward(
        self, x: torch.Tensor, *, lora_A: Any, lora_B: Any, scaling: float, base_layer: Any, base_result: Any, **_: Any
    ) -> torch.Tensor:
        """What is to be added to the base's output, as PEFT's own layer gives it."""
        unbiased = base_result if base_layer.bias is None else base_result - base_layer.bias
        return (self.scale - 1) * unbiased + self.scale * lora_B(lora_A(x)) * scaling


@torch.inference_mode()
def settle(model: torch.nn.Module, adapter: str) -> bool:
    """Settle every layer of a DoRA adapter; True when it may then share mixed batches.

    PEFT runs the variants of LoRA in mixed batches of plain linear layers, and refuses DoRA's there only for what it
    costs. In its quantised layers, and for embeddings, it leaves them out.
    """
    is_mixable = True
    for module in model.modules():
        if not isinstance(module, LoraLayer) or adapter not in module.lora_magnitude_vector:
            continue
        magnitude = module.lora_magnitude_vector[adapter]
        if type(magnitude) is DoraLinearLayer:
            module.lora_magnitude_vector[adapter] = SettledDora(_scale(module, magnitude, adapter))
        if type(module) is Linear and type(magnitude) is DoraLinearLayer:
            module.use_dora[adapter] = False  # read by that refusal, and by merging, which never happens here
        else:
            is_mixable = False
    return is_mixable


def _scale(module: Any, magnitude: Any, adapter: str) -> torch.Tensor:
    lora_a, lora_b = module.lora_A[adapter], module.lora_B[adapter]
    product = magnitude.get_lora_weight(lora_A=lora_a, lora_B=lora_b)
    with align_module_device(module.get_base_layer()):  # else a base that does not fit the GPU has none here
        weight = dequantize_module_weight(module.get_base_layer()).to(product.dtype)
    norm = magnitude.get_weight_norm(weight=weight, lora_weight=product, scaling=module.scaling[adapter])
    return magnitude.weight / norm
