"""A reward model: a score for a whole answer, higher for the better one of each pair. RLOO and GRPO can learn from it.

Source: Bradley and Terry (1952) by way of Ouyang et al., "Training language models to follow instructions with human
feedback" (2022). The result gives no text; it is registered as a reward model and named with ``--set reward=NAME``.
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Knob, KnobGroup, Measure, Method, Task
from workbench.methods import _shared

METHOD = Method(
    name="reward",
    title="Reward model",
    summary="learn to score answers as people chose between them",
    kinds=(Kind.PREFERENCE,),
    trainer="trl:RewardTrainer",
    config="trl:RewardConfig",
    knobs=(
        Knob(
            "center_rewards_coefficient",
            0.01,
            "pull of the scores towards zero, which keeps scores of different prompts comparable",
            KnobGroup.METHOD,
            minimum=0.0,
            maximum=10.0,
        ),
        *_shared.ADAPTER,
        *_shared.optimiser(1e-4),
        *_shared.DATA,
        *_shared.SAVING,
    ),
    adapters=_shared.ADAPTERS,
    presets=(
        _shared.preset(
            "auto",
            _shared.AUTO_SUMMARY,
            ("num_train_epochs", 1.0, "reward models overfit in the second pass"),
            ("per_device_train_batch_size", 2, "each row is two sequences"),
            ("gradient_accumulation_steps", 8, "sixteen pairs a step"),
            base=_shared.MORE,
        ),
        _shared.preset(
            "tiny",
            _shared.TINY_SUMMARY,
            ("learning_rate", 5e-4, "the head that gives the score starts from nothing"),
            ("num_train_epochs", 2.0, "few pairs make few steps"),
            _shared.WARM,
            _shared.WINDOW,
        ),
        _shared.preset(
            "gentle",
            "one pass at a low rate, for many pairs with labels that disagree",
            ("learning_rate", 2e-5, "wrong labels are learnt last"),
            ("num_train_epochs", 1.0, "each pair once"),
        ),
    ),
    task=Task.SCORE,
    measure=Measure.SCORES,
)
