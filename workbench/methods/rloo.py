"""REINFORCE leave-one-out: each of the model's own answers is rewarded against the mean of the others to its prompt.

In the place of PPO, which TRL no longer has: it needs no value model. Source: Ahmadian et al., "Back to Basics:
Revisiting REINFORCE Style Optimization for Learning from Human Feedback in LLMs" (2024).
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Measure, Method
from workbench.methods import _rewarded, _shared

METHOD = Method(
    name="rloo",
    title="REINFORCE leave-one-out",
    summary="learn from the reward of the model's own answers, each against the others to its prompt",
    kinds=(Kind.PROMPT, Kind.DEMONSTRATION),
    trainer="trl:RLOOTrainer",
    config="trl:RLOOConfig",
    knobs=_shared.knobs(1e-5, *_rewarded.REWARD, _rewarded.beta(0.05), data=_rewarded.DATA),
    adapters=_shared.ADAPTERS,
    presets=_rewarded.PRESETS,
    measure=Measure.REWARDS,
    sizes=_rewarded.SIZES,
    lacks=_rewarded.LACKS,
)
