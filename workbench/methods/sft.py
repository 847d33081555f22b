"""Supervised fine-tuning: the model learns to give the kept answers. Loss on the answers' tokens only."""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Knob, KnobGroup, Method, Preset
from workbench.methods import _shared

METHOD = Method(
    name="sft",
    title="Supervised fine-tuning",
    summary="learn to answer as the kept and edited answers do",
    kinds=(Kind.DEMONSTRATION, Kind.PREFERENCE),
    trainer="trl:SFTTrainer",
    config="trl:SFTConfig",
    knobs=(
        *_shared.ADAPTER,
        *_shared.optimiser(2e-4),
        *_shared.DATA,
        Knob(
            "train_sampling_strategy",
            "group_by_length",
            "order of the rows: rows of like length together waste least on padding",
            KnobGroup.DATA,
            choices=("group_by_length", "random", "sequential"),
        ),
        Knob(
            "include_chosen",
            False,
            "also train on the better answer of every preference pair",
            KnobGroup.DATA,
            target="workbench",
        ),
        *_shared.SAVING,
    ),
    adapters=_shared.ADAPTERS,
    presets=(
        Preset(
            "auto",
            "chosen by the model's size; these are the values for 50 M parameters and more",
            {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "gradient_checkpointing": True},
        ),
        Preset(
            "tiny",
            "for models under 50 M parameters: small matrices need a high rate to move at all",
            {"learning_rate": 4e-4, "num_train_epochs": 7.0, "warmup_steps": 10.0, "max_length": 512},
        ),
        Preset(
            "gentle",
            "one pass at a low rate: keeps most of what the model could do before",
            {"learning_rate": 5e-5, "num_train_epochs": 1.0, "lora_r": 8, "lora_alpha": 16},
        ),
    ),
    fixed={"completion_only_loss": True},
)
