"""Distillation on the model's own answers: at every token it learns how likely a teacher finds each next one.

For a small model that shall answer as a larger one does, or a plain one as one that was trained for the task. Source:
Agarwal et al., "On-Policy Distillation of Language Models: Learning from Self-Generated Mistakes" (2023). The teacher
must have the same vocabulary; one that has another, or that is on a server, can only give answers to train on.
"""

from __future__ import annotations

from workbench.domain.examples import Kind
from workbench.domain.methods import Knob, KnobGroup, Measure, Method
from workbench.methods import _rewarded, _shared

_GROUP = KnobGroup.METHOD
_TEACHER_DECIDES = (
    "the teacher has the say on every prompt, so rows of another dataset would not hold on to what was known before",
    "import those prompts into the dataset itself, with a teacher that answers them well",
)

METHOD = Method(
    name="distillation",
    title="Distillation",
    summary="learn from a teacher model how likely each next token is, along the model's own answers",
    kinds=(Kind.PROMPT, Kind.DEMONSTRATION),
    trainer="trl:DistillationTrainer",
    config="trl:DistillationConfig",
    knobs=_shared.knobs(
        1e-4,
        Knob(
            "teacher",
            "",
            "a model of this workspace with the same vocabulary, which is held in memory beside the one that learns",
            _GROUP,
            target="workbench",
        ),
        _shared.number(
            "beta",
            0.0,
            "which way the two are compared: 0 learns all that the teacher might say, also what the model never says "
            "yet; 1 makes it surer of what it says already and the teacher too; between them a mixture",
            most=1.0,
        ),
        *(knob for knob in _rewarded.REWARD if knob.name == "max_completion_length"),
        Knob(
            "temperature",
            1.0,
            "spread of the drawn answers, and of what both models find likely",
            _GROUP,
            minimum=0.01,
            maximum=10.0,
        ),
        data=(
            *(knob for knob in _rewarded.DATA if knob.name != "include_demonstrations"),
            Knob(
                "include_demonstrations",
                False,
                "also ask the prompts of kept answers; the answers themselves are not learnt",
                KnobGroup.DATA,
                target="workbench",
            ),
        ),
    ),
    adapters=_shared.ADAPTERS,
    presets=(
        _shared.auto(
            _shared.epochs(1.0, "the model's answers to a prompt change as it learns, but the prompt stays the same"),
            ("gradient_accumulation_steps", 8, "thirty-two answers a step: single ones say little of what is likely"),
        ),
        _shared.tiny(
            _shared.rate(5e-4, _shared.SLOW_TO_MOVE),
            _shared.epochs(3.0, "few prompts make few steps"),
            ("max_completion_length", 48, "tiny models say short things, and drawing is what takes the time"),
        ),
        _shared.gentle(
            "one pass at a low rate: of what it says already, more of what the teacher says too",
            _shared.rate(1e-5, "a tenth of the default"),
            _shared.epochs(1.0, "each prompt once"),
            ("beta", 1.0, "nothing is learnt that the model would never have said"),
        ),
    ),
    measure=Measure.TEACHER,
    sizes=_shared.SIZES,
    lacks=dict.fromkeys(("replay_dataset", "replay_share"), _TEACHER_DECIDES),
)
