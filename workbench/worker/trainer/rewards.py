"""What rewards the model's own answers: a reward model, or a function of the user's file.

What such a function raises is told as the user's, with the line in the user's file.
"""

from __future__ import annotations

import hashlib
import math
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from workbench.domain.runs import RunSpec
from workbench.errors import RefusedError
from workbench.jobs.run_directory import RunDirectory
from workbench.worker.speaking import tokenizer_of
from workbench.worker.trainer.failures import TrainingFailed
from workbench.worker.trainer.loading import precision

RewardFunction = Callable[..., list[float | None]]


def options(spec: RunSpec, directory: RunDirectory) -> dict[str, Any]:
    """The trainer's arguments that say what rewards."""
    if directory.reward_file.is_file():
        return {"reward_funcs": [from_file(directory.reward_file, spec)]}
    if not spec.reward_path:
        raise RefusedError("the run does not say what rewards its answers")
    return {
        "reward_funcs": [_model(spec)],
        "reward_processing_classes": [tokenizer_of(spec.reward_base_path or spec.reward_path, spec.reward_path)],
    }


def from_file(file: Path, spec: RunSpec) -> RewardFunction:
    """The user's function; what it raises comes back as one sentence with the line."""
    source = file.read_bytes()
    if spec.reward_sha256 and hashlib.sha256(source).hexdigest() != spec.reward_sha256:
        raise RefusedError("the reward file of this run was changed after it was made", hint="make a new run")
    name = Path(spec.reward_path or file).name
    module = ModuleType(file.stem)
    module.__file__ = str(file)
    _called(name, lambda: exec(compile(source, name, "exec"), vars(module)))
    function = getattr(module, spec.reward, None)
    if not callable(function):
        raise TrainingFailed(f"{name} has no function {spec.reward}")

    def reward(**handed: Any) -> list[float | None]:
        given = _called(name, lambda: function(**handed))
        return _checked(given, len(handed["completions"]), name)

    reward.__name__ = spec.reward
    return reward


def _called(name: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        message, hint = _told(name, error)
        raise TrainingFailed(message, hint=hint) from error


def _told(name: str, error: Exception) -> tuple[str, str]:
    """What the user's program raised, with the last of its own lines on the way there."""
    if isinstance(error, SyntaxError):
        return f"{name}:{error.lineno}: {error.msg}", "mend the reward file and make a new run"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    at = f"{name}:{own[-1].lineno}" if own else name
    return (
        f"the reward failed at {at}: {type(error).__name__}: {error}",
        "mend the file and make a new run, or resume when what it needs is there again",
    )


def _checked(given: Any, wanted: int, name: str) -> list[float | None]:
    try:
        rewards = [None if reward is None else float(reward) for reward in given]
    except (TypeError, ValueError):
        raise TrainingFailed(f"{name} gave no list of numbers: {str(given)[:80]}") from None
    if len(rewards) != wanted:
        raise TrainingFailed(f"{name} gave {len(rewards)} rewards for {wanted} completions")
    if wrong := next((r for r in rewards if r is not None and not math.isfinite(r)), None):
        raise TrainingFailed(f"{name} gave {wrong} as a reward", hint="give None for an answer that cannot be judged")
    return rewards


def _model(spec: RunSpec) -> Any:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(
        spec.reward_base_path or spec.reward_path,
        num_labels=1,
        dtype=precision(spec).weights,
        use_safetensors=True,
        trust_remote_code=False,
    )
    if spec.reward_base_path:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, spec.reward_path).merge_and_unload()
    return model.eval().requires_grad_(False)
