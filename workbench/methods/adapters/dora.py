"""Weight-decomposed LoRA: length and direction of each weight column learn apart; slower, often better at low ranks.

Source: Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation" (2024).
"""

from __future__ import annotations

from workbench.domain.methods import Adapter
from workbench.methods.adapters import _shared

ADAPTER = Adapter(
    name="dora",
    summary="LoRA that learns length and direction of the weights apart: slower, better at low ranks",
    config="peft:LoraConfig",
    knobs=_shared.LORA,
    fields=_shared.LORA_FIELDS,
    fixed={"use_dora": True},
    told_by={"peft_type": "LORA", "use_dora": True},
)
