"""Batches: a set of prompts that one or two models answer in the background. Knows neither processes nor storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from workbench.domain.chats import Role, Sampling, Turn
from workbench.errors import UsageError

MOST_MODELS = 2


class BatchState(StrEnum):
    """Where a batch stands. An ``OPEN`` one whose process is gone waits to be gone on with."""

    OPEN = "open"
    STOPPED = "stopped"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts from ``source`` for ``models``. With one model the answers are in chats, with two in a round of pairs.

    ``is_running`` is True while a process works on it. ``error`` is the last failure.
    """

    id: int
    source: str
    models: tuple[str, ...]
    sampling: Sampling
    state: BatchState
    total: int
    done: int
    failed: int
    round_id: int | None
    is_running: bool
    error: str
    created_utc: str

    @property
    def said(self) -> str:
        """How far it is, in a few words."""
        failed = f", {self.failed:,} failed" if self.failed else ""
        words = {BatchState.STOPPED: " (stopped)", BatchState.DONE: " (done)"}
        left_behind = " (waits to be gone on with)" if not self.is_running else ""
        return f"{self.done:,} of {self.total:,} answered{failed}{words.get(self.state, left_behind)}"


@dataclass(frozen=True, slots=True)
class BatchPrompt:
    """One prompt of a batch; ``question_id`` is its question's message, once it stands in a chat."""

    number: int
    turns: tuple[Turn, ...]
    question_id: int | None = None


def check_models(models: Sequence[str]) -> None:
    """Raise ``UsageError`` unless it is one model or two different ones."""
    if not 1 <= len(models) <= MOST_MODELS or len(set(models)) < len(models):
        raise UsageError("a batch takes one model, or two different ones", hint="more: workbench compare A B C")


def system_of(turns: Sequence[Turn]) -> str:
    """The system prompt among the turns."""
    return next((turn.content for turn in turns if turn.role == Role.SYSTEM.value), "")
