"""A reward model: a score for a whole answer, higher for the better one of each pair. RLOO and GRPO can learn from it.

Source: Bradley and Terry (1952) by way of Ouyang et al., "Training language models to follow instructions with human
feedback" (2022). The result gives no text; it is registered as a reward model and named with ``--set reward=NAME``.
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Measure, Method, Task
from workbench.methods import _shared

METHOD = Method(
    name="reward",
    title="Reward model",
    summary="learn to score answers as people chose between them",
    kinds=(Kind.PREFERENCE,),
    trainer="trl:RewardTrainer",
    config="trl:RewardConfig",
    knobs=_shared.knobs(
        1e-4,
        _shared.number(
            "center_rewards_coefficient",
            0.01,
            "pull of the scores towards zero, which keeps scores of different prompts comparable",
            most=10.0,
        ),
    ),
    adapters=_shared.ADAPTERS,
    presets=(
        _shared.auto(_shared.epochs(1.0, "reward models overfit in the second pass"), *_shared.PAIRS),
        _shared.tiny(
            _shared.rate(5e-4, "the head that gives the score starts from nothing"),
            _shared.epochs(2.0, "few pairs make few steps"),
        ),
        _shared.gentle(
            "one pass at a low rate, for many pairs with labels that disagree",
            _shared.rate(2e-5, "wrong labels are learnt last"),
            _shared.epochs(1.0, "each pair once"),
        ),
    ),
    task=Task.SCORE,
    measure=Measure.SCORES,
    sizes=_shared.SIZES,
)
