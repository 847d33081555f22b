"""LoRA over a base held in 4 bits: nf4 with double quantisation. Source: Dettmers et al., "QLoRA" (2023)."""

from __future__ import annotations

from workbench.domain.methods import Adapter
from workbench.methods.adapters import _shared

ADAPTER = Adapter(
    name="qlora",
    summary="LoRA over a base held in 4 bits (nf4, double quantisation), or with quantization=8bit in 8",
    config="peft:LoraConfig",
    knobs=_shared.LORA,
    fields=_shared.LORA_FIELDS,
    values={"quantization": "4bit"},
)
