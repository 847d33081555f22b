"""Low-rank adaptation: small matrices beside the frozen weights. Source: Hu et al., "LoRA" (2021)."""

from __future__ import annotations

from workbench.domain.methods import Adapter
from workbench.methods.adapters import _shared

ADAPTER = Adapter(
    name="lora",
    summary="small matrices beside the frozen weights",
    config="peft:LoraConfig",
    knobs=_shared.LORA,
    fields=_shared.LORA_FIELDS,
    told_by={"peft_type": "LORA", "use_dora": False, "use_rslora": False},
)
