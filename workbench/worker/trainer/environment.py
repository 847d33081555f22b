"""What must be in the environment before any ML library is imported: quiet, no telemetry, no needless network."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

from workbench import methods
from workbench.domain.runs import RunSpec
from workbench.errors import WorkbenchError
from workbench.worker.quantising import is_quantised
from workbench.worker.trainer.adapters import settings

_ALWAYS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
}
_QUIET = {
    # With GNU OpenMP's spinning left on, a busy neighbour made two-core runs ten times slower.
    "GOMP_SPINCOUNT": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "BITSANDBYTES_NOWELCOME": "1",
}

# transformers' names for optimisers of torch alone; "" is the trainers' own choice, which is one of them.
TORCH_OPTIMISERS = {"", "adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"}


def prepare(base_path: str) -> None:
    """Set the environment of this process; with a base model on disk the hub is switched off altogether."""
    os.environ.update(_ALWAYS)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if Path(base_path).is_dir():
        os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})
    if "WORLD_SIZE" not in os.environ:
        # One process uses one GPU; with several in sight the trainers would refuse.
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    warnings.simplefilter("ignore")
    for name in ("transformers", "trl", "peft", "datasets", "accelerate", "bitsandbytes", "torch"):
        logging.getLogger(name).setLevel(logging.ERROR)


def may_need_bitsandbytes(spec: RunSpec) -> bool:
    """False for a run of which nothing does: neither its weights, nor its optimiser, nor what it learns from.

    A user's reward file may load what it likes. What cannot be read is told where it is loaded, not here.
    """
    models = [spec.base_path, spec.teacher_base_path or spec.teacher_path, spec.reward_base_path or spec.reward_path]
    try:
        return (
            settings(spec)["quantization"] != "none"
            or methods.setting_text(spec.knobs, "optim") not in TORCH_OPTIMISERS
            or any(is_quantised(path) or not Path(path).is_dir() for path in models if path)
        )
    except (WorkbenchError, ValueError, OSError):
        return True
