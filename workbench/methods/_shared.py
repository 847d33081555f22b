"""Knobs that every method has: the adapter, the optimiser, the memory, the saving. Names are TRL's, PEFT's and
transformers' own; what a knob does not say here, their documentation says.
"""

from __future__ import annotations

from workbench.domain.methods import Knob, KnobGroup, KnobValue, Preset
from workbench.methods import adapters

STRATEGIES = ("ddp", "fsdp", "zero1", "zero2", "zero3")
ADAPTERS = tuple(adapters.find().values())

ADAPTER = (
    Knob(
        "adapter",
        ADAPTERS[0].name,
        "what learns: lora, small matrices beside the weights; qlora, the same over 4-bit weights; full, all weights; "
        "last-layers or named, some of them; dora, rslora, pissa, ia3, prefix, prompt, p-tuning",
        KnobGroup.ADAPTER,
        target="workbench",
        choices=tuple(adapter.name for adapter in ADAPTERS),
    ),
    Knob(
        "quantization",
        "none",
        "hold the base's frozen weights in 8 bits, or in 4 (nf4, double quantisation): a quarter of the memory",
        KnobGroup.ADAPTER,
        target="workbench",
        choices=("none", "4bit", "8bit"),
    ),
    *adapters.knobs(),
)


def optimiser(learning_rate: float, *, smallest_batch: int = 1) -> tuple[Knob, ...]:
    """The optimiser's knobs, with the method's own default rate and the smallest batch it can work with."""
    group = KnobGroup.OPTIMISER
    return (
        Knob("learning_rate", learning_rate, "highest learning rate of the schedule", group, minimum=0.0, maximum=1.0),
        Knob("num_train_epochs", 3.0, "how often every row is seen", group, minimum=0.0, maximum=1000.0),
        Knob("max_steps", -1, "stop after this many optimiser steps; -1 leaves it to the epochs", group, minimum=-1),
        Knob(
            "per_device_train_batch_size",
            8,
            "rows in one forward pass",
            group,
            minimum=smallest_batch,
            maximum=4096,
        ),
        Knob(
            "gradient_accumulation_steps",
            1,
            "forward passes per optimiser step: a bigger batch in the same memory",
            group,
            minimum=1,
            maximum=4096,
        ),
        Knob("warmup_steps", 0.05, "steps of rising rate; below 1 a share of all steps", group, minimum=0.0),
        Knob(
            "lr_scheduler_type",
            "cosine",
            "how the learning rate falls",
            group,
            choices=("cosine", "linear", "constant", "constant_with_warmup"),
        ),
        Knob("weight_decay", 0.0, "pull of the weights towards zero", group, minimum=0.0, maximum=1.0),
        Knob("max_grad_norm", 1.0, "longest gradient; longer ones are cut; 0 switches it off", group, minimum=0.0),
        Knob(
            "gradient_checkpointing",
            False,
            "recompute activations: far less memory, about a fifth slower",
            group,
        ),
        Knob(
            "precision",
            "auto",
            "auto is bf16 on a GPU that has it, fp32 otherwise",
            group,
            target="workbench",
            choices=("auto", "fp32", "bf16"),
        ),
        Knob(
            "seed", 7, "seed of adapter, order, dropout and of the held-out share", group, minimum=0, maximum=2**32 - 1
        ),
    )


DATA = (
    Knob(
        "max_length", 1024, "tokens per row; longer rows are cut at the end", KnobGroup.DATA, minimum=8, maximum=2**20
    ),
    Knob(
        "eval_share",
        0.1,
        "share of conversations held out when no row is marked as validation",
        KnobGroup.DATA,
        target="workbench",
        minimum=0.0,
        maximum=0.5,
    ),
    Knob(
        "replay_dataset",
        "",
        "a dataset of what the model could do before, of which some rows are mixed in against forgetting",
        KnobGroup.DATA,
        target="workbench",
    ),
    Knob(
        "replay_share",
        0.1,
        "share of the training rows that comes from replay_dataset, when one is named",
        KnobGroup.DATA,
        target="workbench",
        minimum=0.0,
        maximum=0.9,
    ),
)

SAVING = (
    Knob("logging_steps", 1, "optimiser steps between two points of the curve", KnobGroup.SAVING, minimum=1),
    Knob("save_steps", 100, "optimiser steps between two checkpoints", KnobGroup.SAVING, minimum=1),
    Knob(
        "eval_steps",
        0,
        "optimiser steps between two measurements of the held-out loss; 0 measures before and after only",
        KnobGroup.SAVING,
        target="workbench",
        minimum=0,
    ),
    Knob(
        "processes",
        1,
        "processes that train together, one per GPU; a step sees the same rows whatever their number",
        KnobGroup.MACHINES,
        target="workbench",
        minimum=1,
        maximum=4096,
    ),
    Knob(
        "strategy",
        "ddp",
        "what several processes share: ddp, rows; fsdp, also weights; zero1 to zero3 (DeepSpeed), also the optimiser's "
        "state, gradients, weights",
        KnobGroup.MACHINES,
        target="workbench",
        choices=STRATEGIES,
    ),
    Knob(
        "sample_prompts",
        2,
        "held-out prompts that are answered at every measurement, to read what was learnt; 0 answers none",
        KnobGroup.SAVING,
        target="workbench",
        minimum=0,
        maximum=16,
    ),
    Knob(
        "arguments",
        "",
        "any other argument of the trainer's config in TRL and transformers: name=value, with spaces between",
        KnobGroup.SAVING,
        target="workbench",
    ),
)

MORE = Preset(
    "auto",
    "chosen by the model's size; these are the values for 50 M parameters and more",
    {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "gradient_checkpointing": True},
    {
        "per_device_train_batch_size": "what a GPU of 16 GB holds of a model of a few billion weights",
        "gradient_accumulation_steps": "sixteen rows a step, as the methods' papers have at the least",
        "gradient_checkpointing": "activations fill the memory first, and a fifth of the time buys most of it back",
    },
)


def preset(name: str, summary: str, *values: tuple[str, KnobValue, str], base: Preset | None = None) -> Preset:
    """A preset of (knob, value, reason), on top of ``base``."""
    start, why = (base.values, base.reasons) if base else ({}, {})
    return Preset(
        name,
        summary,
        {**start, **{knob: value for knob, value, _ in values}},
        {**why, **{knob: reason for knob, _, reason in values}},
    )


AUTO_SUMMARY = "chosen by the model's size; these are the values for 50 M parameters and more"
TINY_SUMMARY = "for models under 50 M parameters: small matrices need a high rate to move at all"
WINDOW = ("max_length", 512, "tiny models were made for short windows")
WARM = ("warmup_steps", 10.0, "a few steps at a low rate while the optimiser learns the size of the gradients")
