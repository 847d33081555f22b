"""Rank-stabilised LoRA: the scale falls with the root of the rank, so that high ranks learn as fast as low ones.

Source: Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA" (2023).
"""

from __future__ import annotations

from workbench.domain.methods import Adapter
from workbench.methods.adapters import _shared

ADAPTER = Adapter(
    name="rslora",
    summary="LoRA whose scale falls with the root of the rank: for ranks of 64 and more",
    config="peft:LoraConfig",
    knobs=_shared.LORA,
    fields=_shared.LORA_FIELDS,
    fixed={"use_rslora": True},
    told_by={"peft_type": "LORA", "use_dora": False, "use_rslora": True},
)
