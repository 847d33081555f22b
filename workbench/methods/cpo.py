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
    knobs=_shared.knobs(
        5e-5,
        Knob(
            "loss_type",
            "sigmoid",
            "the form of the loss; hinge lets go of pairs that are far enough apart, ipo stops at a margin",
            KnobGroup.METHOD,
            choices=("sigmoid", "hinge", "ipo"),
        ),
        _shared.beta(0.1, "scale of the difference in likelihood: higher pulls the pair apart harder"),
        _shared.number("cpo_alpha", 1.0, "weight of the better answers' own likelihood"),
    ),
    adapters=_shared.ADAPTERS,
    presets=_shared.pairwise(
        why_once="the likelihood term learns the answers by heart when they are seen often",
        tiny_rate=_shared.rate(3e-4, _shared.SLOW_TO_MOVE),
        gentle_rate=_shared.rate(1e-5, "nothing holds the model to where it started, so the rate has to"),
    ),
    measure=Measure.PAIRS,
    sizes=_shared.SIZES,
)
