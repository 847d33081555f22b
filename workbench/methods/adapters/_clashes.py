"""What cannot be combined in a run, with the reason: plain data, read before a launch and again by the trainer.

Rows come from failures seen with the pinned libraries, and from what their code and papers say; the first that fits is
told.
"""

from __future__ import annotations

from workbench.domain.methods import Clash

_WHOLE = ("full", "last-layers", "named")
_PROMPTS = ("prefix", "prompt", "p-tuning")
_QUANTIZED = ("4bit", "8bit")
_SHARDED = ("fsdp", "zero3")
_ZERO = ("zero1", "zero2", "zero3")

CLASHES = (
    Clash(
        {"adapter": _WHOLE, "quantization": _QUANTIZED},
        "quantised weights cannot learn themselves, only an adapter beside them can",
        "adapter=qlora, or quantization=none",
    ),
    Clash(
        {"adapter": ("pissa",), "quantization": _QUANTIZED},
        "PiSSA starts from the singular values of the weights, which quantised weights do not give",
        "adapter=qlora, or quantization=none",
    ),
    Clash(
        {"adapter": ("dora",), "quantization": ("8bit",)},
        "DoRA needs the norms of the weights, which bitsandbytes' 8-bit layers do not give back once they have run",
        "quantization=4bit, or adapter=qlora",
    ),
    Clash(
        {"adapter": ("qlora",), "quantization": ("none",)},
        "without quantised weights this is plain LoRA",
        "adapter=lora, or quantization=4bit",
    ),
    Clash(
        {"adapter": ("prefix",), "gradient_checkpointing": (True,)},
        "the prefix travels in the key-value cache, which gradient checkpointing switches off",
        "gradient_checkpointing=false, or adapter=prompt",
    ),
    Clash(
        {"adapter": ("pissa",), "method": ("dpo", "kto", "rloo", "grpo")},
        "the reference is the model with its adapter off, and PiSSA has changed the weights beneath it",
        "adapter=lora, rslora or dora",
    ),
    Clash(
        {"adapter": ("pissa",), "method": ("reward",)},
        "PEFT loses the head that gives the score when it converts PiSSA to a plain LoRA",
        "adapter=lora, rslora or dora",
    ),
    Clash(
        {"adapter": _PROMPTS, "method": ("reward",)},
        "PEFT cannot put learnt prompts before a model that gives a score",
        "adapter=lora or ia3",
    ),
    Clash(
        {"adapter": _PROMPTS, "method": ("distillation",)},
        "TRL compares the two models beneath the adapter, where learnt prompts are not seen",
        "adapter=lora or ia3",
    ),
    Clash(
        {"adapter": ("prompt", "p-tuning"), "method": ("orpo", "simpo", "cpo")},
        "TRL's trainer for it compares every position with a label, and learnt positions have none",
        "adapter=lora or ia3, or method dpo",
    ),
    Clash(
        {"adapter": _WHOLE, "method": ("rloo", "grpo"), "start": ("adapter",)},
        "TRL takes the base as the reference, without the adapter that was gone on from",
        "leave the adapter an adapter (adapter=lora), or start from the base",
    ),
    Clash(
        {"adapter": ("pissa",), "start": ("adapter",)},
        "this adapter was saved over weights that it had changed, which are not here",
        "go on from one that was saved converted to a plain LoRA, as runs here save it",
    ),
    Clash(
        {"adapter": _PROMPTS, "start": ("adapter",)},
        "PEFT loads learnt prompts for use only, not to go on learning",
        "start from the base, or go on from a LoRA adapter",
    ),
    Clash(
        {"adapter": ("lora", "rslora", "dora", "pissa", "qlora"), "target_modules": ("lm_head",)},
        "the loss is computed from the weights of lm_head directly, so an adapter on it would never learn",
        "leave lm_head out of target_modules",
    ),
    Clash(
        {"modules_to_save": ("lm_head",)},
        "the loss is computed from the weights of lm_head directly, so a copy of it would never learn",
        "leave lm_head out of modules_to_save",
    ),
    Clash(
        {"strategy": _SHARDED, "quantization": _QUANTIZED},
        "bitsandbytes' packed weights cannot be shared out between processes",
        "strategy=ddp, where every process holds the quantised base, or quantization=none",
    ),
    Clash(
        {"strategy": _SHARDED, "method": ("rloo", "grpo", "distillation")},
        "answers are drawn from the whole model, which no process holds",
        "strategy=ddp",
    ),
    Clash(
        {"strategy": _SHARDED, "adapter": ("pissa",)},
        "what was changed in the weights is undone by comparing whole ones, which no process holds",
        "adapter=lora, or strategy=ddp",
    ),
    Clash(
        {"strategy": _SHARDED, "adapter": _PROMPTS},
        "learnt prompts stand outside the layers that are shared out",
        "adapter=lora, or strategy=ddp",
    ),
    Clash(
        {"strategy": ("fsdp", *_ZERO), "method": ("dpo", "kto"), "adapter": _WHOLE},
        "the second copy of the model that is compared with is measured outside training, where it is not shared out",
        "adapter=lora, which needs no second copy, or strategy=ddp",
    ),
    Clash(
        {"strategy": _SHARDED, "method": ("reward", "orpo", "simpo", "cpo")},
        "its held-out rows are measured on a whole model only, which no process holds",
        "strategy=ddp",
    ),
)
