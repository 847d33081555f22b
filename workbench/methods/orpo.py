"""Odds-ratio preference optimisation: learns the better answers and leaves the worse, without a reference.

For a base that was not taught to answer yet. Source: Hong et al., "ORPO: Monolithic Preference Optimization without
Reference Model" (2024), whose rate of 8e-6 is for whole weights; adapters take some ten times that.
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Measure, Method
from workbench.methods import _shared

METHOD = Method(
    name="orpo",
    title="Odds-ratio preference optimisation",
    summary="learn the better answer of each pair and leave the worse, without a reference model",
    kinds=(Kind.PREFERENCE,),
    trainer="trl.experimental.orpo:ORPOTrainer",
    config="trl.experimental.orpo:ORPOConfig",
    knobs=_shared.knobs(8e-5, _shared.beta(0.1, "weight of the odds ratio beside the likelihood of the better answer")),
    adapters=_shared.ADAPTERS,
    presets=_shared.pairwise(
        why_once="the likelihood term learns the answers by heart when they are seen often",
        tiny_rate=_shared.rate(3e-4, _shared.SLOW_TO_MOVE),
        tiny_more=(("beta", 0.3, "a short run needs the preference to weigh more"),),
        gentle_rate=_shared.rate(1e-5, "an eighth of the default: the likelihood term alone moves far"),
    ),
    measure=Measure.PAIRS,
    sizes=_shared.SIZES,
)
