"""Kahneman-Tversky optimisation: answers with a thumb up become more likely, those with a thumb down less.

Source: Ethayarajh et al., "KTO: Model Alignment as Prospect Theoretic Optimization" (2024). Its estimate of the drift
from the reference pairs each answer with the prompt of its neighbour in the batch, so the order of rows is fixed when
the run is made and a batch needs at least two rows.
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Knob, KnobGroup, Method, Preset
from workbench.methods import _shared

METHOD = Method(
    name="kto",
    title="Kahneman-Tversky optimisation",
    summary="learn from single answers with a thumb up or down",
    kinds=(Kind.JUDGEMENT, Kind.PREFERENCE),
    trainer="trl:KTOTrainer",
    config="trl:KTOConfig",
    knobs=(
        Knob(
            "beta",
            0.1,
            "how tightly the model is held to where it started: higher moves less",
            KnobGroup.METHOD,
            minimum=0.0001,
            maximum=100.0,
        ),
        Knob(
            "desirable_weight",
            1.0,
            "weight of the thumbs up; raise it when they are few",
            KnobGroup.METHOD,
            minimum=0.0,
            maximum=100.0,
        ),
        Knob(
            "undesirable_weight",
            1.0,
            "weight of the thumbs down; raise it when they are few",
            KnobGroup.METHOD,
            minimum=0.0,
            maximum=100.0,
        ),
        *_shared.ADAPTER,
        *_shared.optimiser(5e-5, smallest_batch=2),
        *_shared.DATA,
        Knob(
            "include_pairs",
            False,
            "also train on preference pairs, each taken apart into a thumb up and a thumb down",
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
            {
                "num_train_epochs": 1.0,
                "per_device_train_batch_size": 4,
                "gradient_accumulation_steps": 4,
                "gradient_checkpointing": True,
            },
        ),
        Preset(
            "tiny",
            "for models under 50 M parameters: small matrices need a high rate to move at all",
            {"learning_rate": 3e-4, "warmup_steps": 10.0, "beta": 0.3, "max_length": 512},
        ),
        Preset(
            "gentle",
            "one pass, held tightly to the start: style moves, facts stay",
            {"learning_rate": 1e-5, "num_train_epochs": 1.0, "beta": 0.3},
        ),
    ),
    fixed={"train_sampling_strategy": "sequential"},
)
