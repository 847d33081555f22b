"""Simple preference optimisation: the likelihood per token is the reward, so no reference model and no love of length.

Source: Meng et al., "SimPO: Simple Preference Optimization with a Reference-Free Reward" (2024). Nothing holds the
model to where it started, so the rate has to.
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Measure, Method
from workbench.methods import _shared

METHOD = Method(
    name="simpo",
    title="Simple preference optimisation",
    summary="learn to prefer the better answer by its likelihood per token, without a reference model",
    kinds=(Kind.PREFERENCE,),
    trainer="trl.experimental.cpo:CPOTrainer",
    config="trl.experimental.cpo:CPOConfig",
    knobs=_shared.knobs(
        1e-5,
        _shared.beta(2.0, "scale of the reward: higher pulls the pair apart harder"),
        _shared.number(
            "simpo_gamma",
            0.5,
            "margin by which the better answer must be ahead; the paper takes a quarter to a half of beta",
        ),
    ),
    adapters=_shared.ADAPTERS,
    presets=_shared.pairwise(
        why_once="the second pass is where models without a reference come apart",
        tiny_rate=_shared.rate(2e-4, _shared.SLOW_TO_MOVE),
        gentle_rate=_shared.rate(3e-6, "the paper warns of rates at which the model stops making sense"),
    ),
    fixed={"loss_type": "simpo", "cpo_alpha": 0.0},
    measure=Measure.PAIRS,
    sizes=_shared.SIZES,
)
