"""Supervised fine-tuning: the model learns to give the kept answers. Loss on the answers' tokens only."""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Knob, KnobGroup, Method
from workbench.methods import _shared

METHOD = Method(
    name="sft",
    title="Supervised fine-tuning",
    summary="learn to answer as the kept and edited answers do",
    kinds=(Kind.DEMONSTRATION, Kind.PREFERENCE),
    trainer="trl:SFTTrainer",
    config="trl:SFTConfig",
    knobs=_shared.knobs(
        2e-4,
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
    ),
    adapters=_shared.ADAPTERS,
    presets=(
        _shared.auto(),
        _shared.tiny(
            _shared.rate(4e-4, _shared.SLOW_TO_MOVE),
            _shared.epochs(7.0, "few rows make few steps, and a tiny model takes long to learn a form by heart"),
        ),
        _shared.gentle(
            "one pass at a low rate: keeps most of what the model could do before",
            _shared.rate(5e-5, "a quarter of the default: what it could do before moves least"),
            _shared.epochs(1.0, "each row once"),
            ("lora_r", 8, "fewer directions in which the model can move"),
            ("lora_alpha", 16, "twice the rank, as in the default"),
        ),
    ),
    sizes=_shared.SIZES,
    fixed={"completion_only_loss": True},
)
