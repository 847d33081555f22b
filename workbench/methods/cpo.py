"""Contrastive preference optimisation: DPO with a flat reference, and the likelihood of the better answers beside it.

Source: Xu et al., "Contrastive Preference Optimization" (2024).
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Knob, KnobGroup, Measure, Method
from workbench.methods import _shared

METHOD = Method(
    name="cpo",
    title="Contrastive preference optimisation",
    summary="learn to prefer the better answer and to give it, without a reference model",
    kinds=(Kind.PREFERENCE,),
    trainer="trl.experimental.cpo:CPOTrainer",
    config="trl.experimental.cpo:CPOConfig",
    knobs=(
        Knob(
            "loss_type",
            "sigmoid",
            "the form of the loss; hinge lets go of pairs that are far enough apart, ipo stops at a margin",
            KnobGroup.METHOD,
            choices=("sigmoid", "hinge", "ipo"),
        ),
        Knob(
            "beta",
            0.1,
            "scale of the difference in likelihood: higher pulls the pair apart harder",
            KnobGroup.METHOD,
            minimum=0.0001,
            maximum=100.0,
        ),
        Knob(
            "cpo_alpha",
            1.0,
            "weight of the better answers' own likelihood",
            KnobGroup.METHOD,
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
        _shared.preset(
            "auto",
            _shared.AUTO_SUMMARY,
            ("num_train_epochs", 1.0, "the likelihood term learns the answers by heart when they are seen often"),
            ("per_device_train_batch_size", 2, "each row is two sequences"),
            ("gradient_accumulation_steps", 8, "sixteen pairs a step"),
            base=_shared.MORE,
        ),
        _shared.preset(
            "tiny",
            _shared.TINY_SUMMARY,
            ("learning_rate", 3e-4, "small matrices over small weights hardly move below it"),
            ("num_train_epochs", 2.0, "few pairs make few steps"),
            _shared.WARM,
            _shared.WINDOW,
        ),
        _shared.preset(
            "gentle",
            "one pass at a low rate: style moves, facts stay",
            ("learning_rate", 1e-5, "nothing holds the model to where it started, so the rate has to"),
            ("num_train_epochs", 1.0, "each pair once"),
        ),
    ),
    measure=Measure.PAIRS,
)
