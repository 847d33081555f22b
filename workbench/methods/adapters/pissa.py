"""LoRA that starts from the weights' largest singular values and vectors, and leaves the rest frozen.

The result is saved as the plain LoRA of twice the rank that says the same over the untouched base.
Modules that learn whole would be lost in that.
Source: Meng et al., "PiSSA" (2024).
"""

from __future__ import annotations

from workbench.domain.methods import Adapter
from workbench.methods.adapters import _shared

ADAPTER = Adapter(
    name="pissa",
    summary="LoRA that starts from the weights' largest singular values; saved as a plain LoRA of twice the rank",
    config="peft:LoraConfig",
    knobs=tuple(knob for knob in _shared.LORA if knob is not _shared.MODULES_TO_SAVE),
    fields={knob: field for knob, field in _shared.LORA_FIELDS.items() if knob != _shared.MODULES_TO_SAVE.name},
    fixed={"init_lora_weights": "pissa"},
    told_by={"peft_type": "LORA", "use_dora": False, "use_rslora": False, "init_lora_weights": "pissa"},
)
