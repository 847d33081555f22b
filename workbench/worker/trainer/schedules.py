"""The learning rate's schedules, where transformers needs more than a name to follow one.

What a schedule must be told beside its name gets a usual value, unless the run's ``lr_scheduler_kwargs`` say another.
A rate that falls when nothing improves any more goes by our own measurements on held-out rows: the trainer makes none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.domain.methods import PLATEAU
from workbench.domain.runs import judged
from workbench.worker.trainer import ranks

if TYPE_CHECKING:
    from transformers import Trainer

DECAY_SHARE = 0.2
RESTARTS = 3


def details(name: str, given: Mapping[str, Any] | None, *, steps: int) -> dict[str, Any]:
    """What the schedule of this name is told beside the warm-up, for a run of so many steps."""
    usual: dict[str, dict[str, Any]] = {
        "warmup_stable_decay": {"num_decay_steps": max(1, round(DECAY_SHARE * steps))},
        "cosine_with_restarts": {"num_cycles": RESTARTS},
        "cosine_with_min_lr": {} if "min_lr" in (given or {}) else {"min_lr_rate": 0.1},
        # A share of a figure below zero would be on its wrong side.
        PLATEAU: {"threshold_mode": "abs", "patience": 1, "factor": 0.5},
    }
    return {**usual.get(name, {}), **(given or {})}


def follow(config: Any, name: str) -> None:
    """Have the trainer follow a schedule that its config refuses without measurements of the trainer's own."""
    from transformers import SchedulerType

    config.lr_scheduler_type = SchedulerType(name)


def measured(trainer: Trainer, scores: Mapping[str, Any]) -> None:
    """Let a measurement decide on the rate, where the schedule goes by them. For every process; the first's counts."""
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    if not isinstance(trainer.lr_scheduler, ReduceLROnPlateau) or (found := judged(scores)) is None:
        return
    value, higher_is_better = found
    rank = ranks.told_by_first(-value if higher_is_better else value)
    trainer.lr_scheduler.step(rank if math.isfinite(rank) else math.inf)
