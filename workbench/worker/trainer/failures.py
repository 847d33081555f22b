"""Exceptions of the training libraries in plain words: what happened, and what to change."""

from __future__ import annotations

from workbench.errors import WorkbenchError, chain, is_disk_full, says

_MEMORY_HINT = (
    "halve per_device_train_batch_size and double gradient_accumulation_steps; then gradient_checkpointing=true, "
    "a smaller max_length, or adapter=qlora"
)
_TEMPLATE_HINT = (
    "leave out the rows that it has no words for (such as tool calls), or train a model whose template has them; "
    "`workbench tokens EXAMPLE` shows a row"
)
_DISK_HINT = "free some space and resume: the last complete checkpoint was kept"
_MEMORY_SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "std::bad_alloc")


class Stopped(Exception):
    """The run was asked to stop, at a moment when nothing needs to be saved."""


class FolderGone(Exception):
    """The run's folder was taken away: there is nowhere to say anything any more."""


class TrainingFailed(WorkbenchError):
    """The run cannot go on, for a reason that we found ourselves."""

    kind = "run"


def is_out_of_memory(error: BaseException) -> bool:
    """True when this error, or what caused it, is a lack of memory, on a GPU or in main memory."""
    return any(isinstance(e, MemoryError) or says(e, _MEMORY_SIGNS) for e in chain(error))


def explain(error: BaseException, *, step: int) -> tuple[str, str]:
    """One plain sentence on what went wrong, and what to do about it."""
    at = f" at step {step}" if step else ""
    if isinstance(error, WorkbenchError):
        return error.message, error.hint
    if is_disk_full(error):
        return f"the disk is full{at}", _DISK_HINT
    if is_out_of_memory(error):
        return f"out of memory{at}", _MEMORY_HINT
    lines = str(error).strip().splitlines() or ["no message"]
    if type(error).__module__.partition(".")[0] == "jinja2":
        return f"the model's chat template cannot say a row: {lines[0]}", _TEMPLATE_HINT
    return f"{type(error).__name__}{at}: {lines[0]}", "log.txt in the run's folder has the whole story"
