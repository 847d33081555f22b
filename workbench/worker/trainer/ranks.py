"""The several processes of one run, seen from one of them: which it is, what all agree on, what the others leave.

Only the first process speaks: it alone writes events, state and what marks a checkpoint as whole. What is decided on
the way (to stop, to measure) is agreed at the same place in all, else one would wait for ever in an exchange that the
others left. Knows nothing of models.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.jobs.run_directory import RunDirectory

_TORN_OFF = ("connection closed by peer", "connection reset by peer", "broken pipe", "distbackenderror")


@dataclass(frozen=True, slots=True)
class Word:
    """What a process that failed left for the first one to tell."""

    message: str
    hint: str
    out_of_memory: bool


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """True in the process that speaks for all, and in a process that is alone."""
    return int(os.environ.get("RANK", "0")) == 0


def local_rank() -> int:
    """Which of this machine's processes this is, and so which of its GPUs it uses."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def launcher(directory: RunDirectory) -> int | None:
    """The process that started this one of several; None for one that is alone, and -1 when it is gone already."""
    if world_size() == 1:
        return None
    parent = os.getppid()
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # started one by one, by a scheduler
        return parent
    import psutil

    try:
        is_ours = any(Path(word).name == directory.root.name for word in psutil.Process(parent).cmdline())
    except psutil.Error:
        return -1
    return parent if is_ours else -1


def agreed(wish: bool) -> bool:
    """True in all processes when one of them wishes it; all have to ask at the same place.

    False before the processes know each other: then nobody can tell the others.
    """
    if world_size() == 1:
        return wish
    import torch
    from accelerate import PartialState

    if not torch.distributed.is_initialized():
        return False
    flag = torch.tensor([int(wish)], device=PartialState().device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag.item())


def told_by_first(value: float) -> float:
    """The first process's value, in all; all have to ask at the same place."""
    if world_size() == 1:
        return value
    import torch
    from accelerate import PartialState

    told = torch.tensor([value if is_first() else 0.0], dtype=torch.float64, device=PartialState().device)
    torch.distributed.broadcast(told, src=0)
    return float(told.item())


def meet() -> None:
    """Wait until every process is here."""
    agreed(False)


def strategy() -> str:
    """What is shared out: ``ddp``, ``fsdp`` or ``zero``; "" in a process that is alone.

    Without a GPU it is always ``ddp``: accelerate leaves out what its launcher was told of the others.
    """
    if world_size() == 1:
        return ""
    import torch

    if not torch.cuda.is_available():
        return "ddp"
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        return "fsdp"
    return "zero" if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true" else "ddp"


def shares_model_out() -> bool:
    """True when no process holds the whole model, which is put where it trains only when training begins."""
    return strategy() in {"fsdp", "zero"}


def leave_word(directory: RunDirectory, word: Word) -> None:
    """Write down why this process failed, for the first one to tell."""
    text = json.dumps({"message": word.message, "hint": word.hint, "out_of_memory": word.out_of_memory})
    _word_file(directory, int(os.environ.get("RANK", "0"))).write_text(text, encoding="utf-8")


def word_of_others(directory: RunDirectory) -> Word | None:
    """What another process left since ``clear_words``; None when none said anything."""
    for rank in range(1, world_size()):
        try:
            values: dict[str, Any] = json.loads(_word_file(directory, rank).read_text(encoding="utf-8"))
            return Word(str(values["message"]), str(values["hint"]), bool(values["out_of_memory"]))
        except (OSError, ValueError, KeyError):
            continue
    return None


def clear_words(directory: RunDirectory) -> None:
    """Remove what processes of an earlier start left."""
    for file in directory.root.glob(".failed-*.json"):
        file.unlink(missing_ok=True)


def is_torn_off(error: BaseException) -> bool:
    """True when this looks like the end of another process rather than a fault of this one."""
    text = f"{type(error).__name__} {error}".lower()
    return world_size() > 1 and any(sign in text for sign in _TORN_OFF)


def _word_file(directory: RunDirectory, rank: int) -> Path:
    return directory.root / f".failed-{rank}.json"
