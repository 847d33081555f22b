"""Loading a base in 4 or 8 bits: one way for the trainer and for the engine, so that both mean the same weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def quantised(bits: str, compute: torch.dtype) -> dict[str, Any]:
    """What ``from_pretrained`` is to be given for ``4bit`` (double-quantised nf4) or ``8bit`` weights."""
    from transformers import BitsAndBytesConfig

    four = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": compute,
    }
    return {"quantization_config": BitsAndBytesConfig(**(four if bits == "4bit" else {"load_in_8bit": True}))}


def keep_four_bit_layers_as_they_are(model: Any) -> None:
    """Switch off bitsandbytes' repacking for inference on CPUs with AVX-512 BF16.

    It changes the weights in place at the first forward pass outside training, as a measurement of the held-out loss
    is, and fails on layers whose width is no multiple of its block of 64.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
