"""Knobs that every method has: the adapter, the optimiser, the memory, the saving. Names are TRL's, PEFT's and
transformers' own; what a knob does not say here, their documentation says.
"""

from __future__ import annotations

from workbench.domain.methods import PLATEAU, SCHEDULE, Knob, KnobGroup, KnobValue, Preset, Sized
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
            SCHEDULE,
            "cosine",
            "how the learning rate falls: warmup_stable_decay over the last fifth, reduce_lr_on_plateau when held-out "
            "measurements get no better; lr_scheduler_kwargs has their numbers",
            group,
            choices=(
                "cosine",
                "cosine_with_restarts",
                "cosine_with_min_lr",
                "linear",
                "polynomial",
                "inverse_sqrt",
                "constant",
                "constant_with_warmup",
                "warmup_stable_decay",
                PLATEAU,
            ),
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
        "early_stopping_patience",
        0,
        "end after so many held-out measurements in a row that are no better than one before; 0 goes to the last step",
        KnobGroup.SAVING,
        target="workbench",
        minimum=0,
    ),
    Knob(
        "load_best_model_at_end",
        True,
        "with eval_steps: the result is the weights of the best held-out measurement, not those of the last step",
        KnobGroup.SAVING,
        target="workbench",
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


def knobs(rate: float, *own: Knob, data: tuple[Knob, ...] = DATA, smallest_batch: int = 1) -> tuple[Knob, ...]:
    """A method's own knobs, and those that all have."""
    return (*own, *ADAPTER, *optimiser(rate, smallest_batch=smallest_batch), *data, *SAVING)


def number(name: str, default: float, text: str, *, least: float = 0.0, most: float = 100.0) -> Knob:
    """A knob of the method itself that is a number."""
    return Knob(name, default, text, KnobGroup.METHOD, minimum=least, maximum=most)


def beta(default: float, text: str) -> Knob:
    """The knob that every preference method calls by this name; never 0."""
    return number("beta", default, text, least=0.0001)


HELD = "how tightly the model is held to where it started: higher moves less"

Value = tuple[str, KnobValue, str]
"""A knob, its value in a preset, and why."""

AUTO_SUMMARY = "chosen by the model's size; these are the values for 50 M parameters and more"
TINY_SUMMARY = "for models under 50 M parameters: small matrices need a high rate to move at all"
_BASE: tuple[Value, ...] = (
    ("per_device_train_batch_size", 4, "what a GPU of 16 GB holds of a model of a few billion weights"),
    ("gradient_accumulation_steps", 4, "sixteen rows a step, as the methods' papers have at the least"),
    (
        "gradient_checkpointing",
        True,
        "activations fill the memory first, and a fifth of the time buys most of it back",
    ),
)
_WINDOW: Value = ("max_length", 512, "tiny models were made for short windows")
_WARM: Value = ("warmup_steps", 10.0, "a few steps at a low rate while the optimiser learns the size of the gradients")
SLOW_TO_MOVE = "small matrices over small weights hardly move below it"
# A pair goes through the model as two sequences.
PAIRS: tuple[Value, ...] = (
    ("per_device_train_batch_size", 2, "each row is two sequences"),
    ("gradient_accumulation_steps", 8, "sixteen pairs a step"),
)


def auto(*values: Value) -> Preset:
    """The preset for models of 50 M parameters and more, with these values beside or in the place of the usual ones."""
    return _preset("auto", AUTO_SUMMARY, (*_BASE, *values))


def tiny(*values: Value) -> Preset:
    """The preset for smaller models."""
    return _preset("tiny", TINY_SUMMARY, (_WARM, _WINDOW, *values))


def gentle(summary: str, *values: Value) -> Preset:
    """The preset that changes least."""
    return _preset("gentle", summary, values)


def epochs(count: float, why: str) -> Value:
    """How often every row is seen, and why."""
    return ("num_train_epochs", count, why)


def rate(value: float, why: str) -> Value:
    """The highest learning rate, and why."""
    return ("learning_rate", value, why)


def pairwise(
    *, why_once: str, tiny_rate: Value, gentle_rate: Value, tiny_more: tuple[Value, ...] = ()
) -> tuple[Preset, ...]:
    """The presets of a method that learns from pairs without a reference model."""
    return (
        auto(epochs(1.0, why_once), *PAIRS),
        tiny(tiny_rate, epochs(2.0, "few pairs make few steps"), *tiny_more),
        gentle("one pass at a low rate: style moves, facts stay", gentle_rate, epochs(1.0, "each pair once")),
    )


def _preset(name: str, summary: str, values: tuple[Value, ...]) -> Preset:
    return Preset(
        name,
        summary,
        {knob: value for knob, value, _ in values},
        {knob: reason for knob, _, reason in values},
    )


SIZES = (
    Sized(
        "few rows",
        below=200,
        values={"gradient_accumulation_steps": 1},
        reasons={"gradient_accumulation_steps": "so few rows make few steps: many at once would leave next to none"},
    ),
    Sized(
        "many rows",
        least=20_000,
        values={"num_train_epochs": 1.0},
        reasons={"num_train_epochs": "so many rows say enough in one pass; a second is learnt by heart"},
    ),
)
"""What the number of rows asks for, on top of the presets ``auto`` and ``tiny``."""
