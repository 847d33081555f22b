"""Group-relative policy optimisation: the model's own answers to a prompt are rewarded and compared within their group.

For rewards that a program can give (a right result, a form that is kept). Source: Shao et al., "DeepSeekMath: Pushing
the Limits of Mathematical Reasoning in Open Language Models" (2024).
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Measure, Method
from workbench.methods import _rewarded, _shared

METHOD = Method(
    name="grpo",
    title="Group-relative policy optimisation",
    summary="learn from the reward of the model's own answers, compared within each group",
    kinds=(Kind.PROMPT, Kind.DEMONSTRATION),
    trainer="trl:GRPOTrainer",
    config="trl:GRPOConfig",
    knobs=_shared.knobs(1e-5, *_rewarded.REWARD, _rewarded.beta(0.0), data=_rewarded.DATA),
    adapters=_shared.ADAPTERS,
    presets=_rewarded.PRESETS,
    measure=Measure.REWARDS,
    sizes=_rewarded.SIZES,
    lacks=_rewarded.LACKS,
)
