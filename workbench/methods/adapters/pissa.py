"""LoRA that starts from the weights' largest singular values and vectors, and leaves the rest frozen.

The result is saved as the plain LoRA of twice the rank that says the same over the untouched base.
Source: Meng et al., "PiSSA" (2024).
"""

from __future__ import annotations

from workbench.domain.methods import Adapter
from workbench.methods.adapters import _shared

ADAPTER = Adapter(
    name="pissa",
    summary="LoRA that starts from the weights' largest singular values; saved as a plain LoRA of twice the rank",
    config="peft:LoraConfig",
    knobs=_shared.LORA,
    fields=_shared.LORA_FIELDS,
    fixed={"init_lora_weights": "pissa"},
    told_by={"peft_type": "LORA", "use_dora": False, "use_rslora": False, "init_lora_weights": "pissa"},
)
