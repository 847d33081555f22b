"""Knobs that several adapter kinds have. Names are PEFT's own, with a prefix where PEFT's says too little alone."""

from __future__ import annotations

from workbench.domain.methods import Knob, KnobGroup

MODULES_TO_SAVE = Knob(
    "modules_to_save",
    "",
    "modules that learn whole and are saved beside the adapter, separated by commas (embed_tokens)",
    KnobGroup.ADAPTER,
    target="adapter",
)

LORA = (
    Knob(
        "lora_r",
        16,
        "rank of the LoRA matrices: more learns more and weighs more",
        KnobGroup.ADAPTER,
        target="adapter",
        minimum=1,
        maximum=1024,
    ),
    Knob(
        "lora_alpha",
        32,
        "scale of the LoRA matrices; twice the rank is usual",
        KnobGroup.ADAPTER,
        target="adapter",
        minimum=1,
        maximum=4096,
    ),
    Knob(
        "lora_dropout",
        0.0,
        "share of LoRA inputs dropped in training",
        KnobGroup.ADAPTER,
        target="adapter",
        minimum=0.0,
        maximum=0.9,
    ),
    Knob(
        "target_modules",
        "all-linear",
        "layers that get the matrices: all-linear, or names separated by commas (q_proj,v_proj)",
        KnobGroup.ADAPTER,
        target="adapter",
    ),
    MODULES_TO_SAVE,
)

LORA_FIELDS = {
    "lora_r": "r",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "target_modules": "target_modules",
    "modules_to_save": "modules_to_save",
}

VIRTUAL_TOKENS = Knob(
    "num_virtual_tokens",
    20,
    "learnt positions before every prompt; each takes one of the window's",
    KnobGroup.ADAPTER,
    target="adapter",
    minimum=1,
    maximum=4096,
)
