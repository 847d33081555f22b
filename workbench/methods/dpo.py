"""Direct preference optimisation: the better answer of each pair becomes more likely than the worse one.

Source: Rafailov et al., "Direct Preference Optimization" (2023). The small SFT term on the better answers keeps their
own likelihood from falling together with that of the worse ones. TRL's discopop is left out: from where a run starts,
its slope leads to the worse answers at usual values of beta.
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Knob, KnobGroup, Method, Preset
from workbench.methods import _shared

METHOD = Method(
    name="dpo",
    title="Direct preference optimisation",
    summary="learn to prefer the better answer of each pair",
    kinds=(Kind.PREFERENCE,),
    trainer="trl:DPOTrainer",
    config="trl:DPOConfig",
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
            "loss_type",
            "sigmoid",
            "the form of the loss: sigmoid is DPO's own, sigmoid_norm divides by length, ipo stops at a margin, robust "
            "expects some labels to be wrong (label_smoothing), hinge lets go of pairs that are far enough apart",
            KnobGroup.METHOD,
            choices=(
                "sigmoid",
                "sigmoid_norm",
                "hinge",
                "ipo",
                "robust",
                "exo_pair",
                "nca_pair",
                "bco_pair",
                "sppo_hard",
                "aot",
                "aot_unpaired",
                "apo_zero",
                "apo_down",
            ),
        ),
        Knob(
            "label_smoothing",
            0.0,
            "share of pairs that are expected to be the wrong way round; for robust (0.1) and exo_pair (0.001)",
            KnobGroup.METHOD,
            minimum=0.0,
            maximum=0.49,
        ),
        Knob(
            "sft_weight",
            0.1,
            "weight of a plain likelihood term on the better answers; 0 switches it off",
            KnobGroup.METHOD,
            target="workbench",
            minimum=0.0,
            maximum=100.0,
        ),
        *_shared.ADAPTER,
        *_shared.optimiser(5e-5),
        *_shared.DATA,
        *_shared.SAVING,
    ),
    adapters=_shared.ADAPTERS,
    presets=(
        Preset(
            "auto",
            "chosen by the model's size; these are the values for 50 M parameters and more",
            {
                "num_train_epochs": 1.0,
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 8,
                "gradient_checkpointing": True,
            },
        ),
        Preset(
            "tiny",
            "for models under 50 M parameters: small matrices need a high rate to move at all",
            {
                "learning_rate": 3e-4,
                "num_train_epochs": 2.0,
                "warmup_steps": 10.0,
                "beta": 0.3,
                "sft_weight": 1.0,
                "max_length": 512,
            },
        ),
        Preset(
            "gentle",
            "one pass, held tightly to the start: style moves, facts stay",
            {"learning_rate": 1e-5, "num_train_epochs": 1.0, "beta": 0.3, "sft_weight": 0.2},
        ),
    ),
)
