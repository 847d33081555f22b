"""Odds-ratio preference optimisation: learns the better answers and leaves the worse, without a reference.

For a base that was not taught to answer yet. Source: Hong et al., "ORPO: Monolithic Preference Optimization without
Reference Model" (2024), whose rate of 8e-6 is for whole weights; adapters take some ten times that.
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Knob, KnobGroup, Measure, Method
from workbench.methods import _shared

METHOD = Method(
    name="orpo",
    title="Odds-ratio preference optimisation",
    summary="learn the better answer of each pair and leave the worse, without a reference model",
    kinds=(Kind.PREFERENCE,),
    trainer="trl.experimental.orpo:ORPOTrainer",
    config="trl.experimental.orpo:ORPOConfig",
    knobs=(
        Knob(
            "beta",
            0.1,
            "weight of the odds ratio beside the likelihood of the better answer",
            KnobGroup.METHOD,
            minimum=0.0001,
            maximum=100.0,
        ),
        *_shared.ADAPTER,
        *_shared.optimiser(8e-5),
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
            ("beta", 0.3, "a short run needs the preference to weigh more"),
            _shared.WARM,
            _shared.WINDOW,
        ),
        _shared.preset(
            "gentle",
            "one pass at a low rate: style moves, facts stay",
            ("learning_rate", 1e-5, "an eighth of the default: the likelihood term alone moves far"),
            ("num_train_epochs", 1.0, "each pair once"),
        ),
    ),
    measure=Measure.PAIRS,
)
