"""What the methods share that learn from the reward of the model's own answers: their knobs and the reasons for values.

A step draws ``num_generations`` answers to each prompt, rewards them, and makes the better ones of each likelier.
"""

from __future__ import annotations

from workbench.domain.methods import Knob, KnobGroup
from workbench.methods import _shared

_GROUP = KnobGroup.METHOD

REWARD = (
    Knob(
        "reward",
        "",
        "a reward model by name, or a Python file with def reward(completions, **rest) (file.py, or file.py:function)",
        _GROUP,
        target="workbench",
    ),
    Knob("num_generations", 4, "answers drawn to each prompt; they are compared", _GROUP, minimum=2, maximum=1024),
    Knob("max_completion_length", 128, "longest answer in tokens", _GROUP, minimum=1, maximum=2**20),
    Knob(
        "temperature", 1.0, "spread of the drawn answers; alike ones teach nothing", _GROUP, minimum=0.01, maximum=10.0
    ),
)

DATA = (
    Knob(
        "max_length",
        1024,
        "tokens of a prompt and its longest answer together; longer prompts are left out",
        KnobGroup.DATA,
        target="workbench",
        minimum=8,
        maximum=2**20,
    ),
    next(knob for knob in _shared.DATA if knob.name == "eval_share"),
    Knob(
        "include_demonstrations",
        False,
        "also ask the prompts of kept answers, which the reward function gets as answer",
        KnobGroup.DATA,
        target="workbench",
    ),
)

_OWN_ANSWERS = (
    "it learns from its own answers, so rows of what it could do before have nothing to teach it",
    "a higher beta holds it to where it started; or replay them in an sft run after it",
)
LACKS = {"replay_dataset": _OWN_ANSWERS, "replay_share": _OWN_ANSWERS}


def beta(default: float) -> Knob:
    """The knob that holds the model to its start."""
    text = "how tightly the model is held to where it started: higher moves less, 0 not at all"
    return Knob("beta", default, text, _GROUP, minimum=0.0, maximum=100.0)


PRESETS = (
    _shared.auto(
        _shared.epochs(1.0, "each prompt is answered several times as it is"),
        ("per_device_train_batch_size", 8, "answers in one pass"),
        ("gradient_accumulation_steps", 4, "thirty-two answers a step: rewards are noisy"),
        ("num_generations", 8, "the mean of seven others is a steady measure for each answer"),
    ),
    _shared.tiny(
        _shared.rate(2e-4, _shared.SLOW_TO_MOVE),
        _shared.epochs(2.0, "few prompts make few steps"),
        ("per_device_train_batch_size", 16, "four prompts with four answers each"),
        ("max_completion_length", 48, "tiny models say short things, and drawing is what takes the time"),
    ),
    _shared.gentle(
        "one pass at a low rate, held tightly to the start",
        _shared.rate(2e-6, "what is rewarded is exploited soon: stop before that"),
        _shared.epochs(1.0, "each prompt once"),
        ("beta", 0.2, "answers stay near what the model would have said"),
    ),
)

# A step's answers must be a multiple of those to a prompt, so that the number of rows changes the passes only.
SIZES = tuple(size for size in _shared.SIZES if "gradient_accumulation_steps" not in size.values)
