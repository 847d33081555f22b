"""Simple preference optimisation: the likelihood per token is the reward, so no reference model and no love of length.

Source: Meng et al., "SimPO: Simple Preference Optimization with a Reference-Free Reward" (2024). Nothing holds the
model to where it started, so the rate has to.
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Knob, KnobGroup, Measure, Method
from workbench.methods import _shared

METHOD = Method(
    name="simpo",
    title="Simple preference optimisation",
    summary="learn to prefer the better answer by its likelihood per token, without a reference model",
    kinds=(Kind.PREFERENCE,),
    trainer="trl.experimental.cpo:CPOTrainer",
    config="trl.experimental.cpo:CPOConfig",
    knobs=(
        Knob(
            "beta",
            2.0,
            "scale of the reward: higher pulls the pair apart harder",
            KnobGroup.METHOD,
            minimum=0.0001,
            maximum=100.0,
        ),
        Knob(
            "simpo_gamma",
            0.5,
            "margin by which the better answer must be ahead; the paper takes a quarter to a half of beta",
            KnobGroup.METHOD,
            minimum=0.0,
            maximum=100.0,
        ),
        *_shared.ADAPTER,
        *_shared.optimiser(1e-5),
        *_shared.DATA,
        *_shared.SAVING,
    ),
    adapters=_shared.ADAPTERS,
    presets=(
        _shared.preset(
            "auto",
            _shared.AUTO_SUMMARY,
            ("num_train_epochs", 1.0, "the second pass is where models without a reference come apart"),
            ("per_device_train_batch_size", 2, "each row is two sequences"),
            ("gradient_accumulation_steps", 8, "sixteen pairs a step"),
            base=_shared.MORE,
        ),
        _shared.preset(
            "tiny",
            _shared.TINY_SUMMARY,
            ("learning_rate", 2e-4, "small matrices over small weights hardly move below it"),
            ("num_train_epochs", 2.0, "few pairs make few steps"),
            _shared.WARM,
            _shared.WINDOW,
        ),
        _shared.preset(
            "gentle",
            "one pass at a low rate: style moves, facts stay",
            ("learning_rate", 3e-6, "the paper warns of rates at which the model stops making sense"),
            ("num_train_epochs", 1.0, "each pair once"),
        ),
    ),
    fixed={"loss_type": "simpo", "cpo_alpha": 0.0},
    measure=Measure.PAIRS,
)
