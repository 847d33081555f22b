"""The callback between the training loop and the reporter: figures out, stop requests in, held-out loss on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from workbench.domain.runs import RunState
from workbench.worker.trainer import ranks
from workbench.worker.trainer.failures import Stopped
from workbench.worker.trainer.reporting import Reporter, next_at, say

SHORTEST_INTERVAL_SECONDS = 0.25
SAY_SECONDS = 10.0
_MEASURED = {"epoch", "num_tokens", "total_flos"}


class NothingLeft(Exception):
    """Raised where training would begin, of a run that has made all its steps: the model is in place, and loaded."""


class Progress(TrainerCallback):
    """Reports a run's steps. ``measure_held_out`` is called every ``eval_steps`` optimiser steps (0: never), and
    ``is_over`` after it: the run ends early when it says so. ``measure_start`` is called where training begins, and
    with ``has_all_steps`` no step is made.
    """

    def __init__(
        self,
        reporter: Reporter,
        *,
        eval_steps: int,
        measure_held_out: Callable[[int], None],
        is_over: Callable[[int], bool] = lambda step: False,
    ) -> None:
        self._reporter = reporter
        self._eval_steps = eval_steps
        self._measure_held_out = measure_held_out
        self._is_over = is_over
        self.measure_start: Callable[[], None] | None = None
        self.has_all_steps = False
        self._pending: list[dict[str, float]] = []
        self._losses: list[tuple[int, float]] = []
        self._next_at = 0.0
        self._step_began = 0.0
        self._seconds = 0.0
        self._steps = 0
        self._tokens = 0.0
        self._total_steps = 0
        self._said_at = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The run is running."""
        self._total_steps = state.max_steps
        self._reporter.progress(state.global_step, state.max_steps)
        self._reporter.state(RunState.RUNNING)
        if self.has_all_steps:
            raise NothingLeft
        if self.measure_start is not None:
            self.measure_start()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the step's clock: saving and measuring do not count as training time."""
        self._step_began = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Note the progress, measure when it is time, and save and end when somebody asked for it."""
        self._seconds += time.monotonic() - self._step_began
        self._steps += 1
        self._reporter.progress(state.global_step, state.max_steps)
        is_asked = ranks.agreed(self._reporter.stop_requested)
        if self._is_time_to_measure(state) and not is_asked:
            with suppress(Stopped):  # in the middle of a measurement: what was learnt so far is saved below
                self._measure_held_out(state.global_step)
                if self._is_over(state.global_step):
                    control.should_save = True
                    control.should_training_stop = True
            is_asked = ranks.agreed(self._reporter.stop_requested)
        if is_asked:
            control.should_save = True
            control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Pass the figures on, several steps in one line when they come fast."""
        if not logs or "loss" not in logs:
            return
        self._pending.append(logs)
        self._losses.append((state.global_step, float(logs["loss"])))
        if time.monotonic() >= self._next_at:
            self._flush(state.global_step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Say which checkpoint there is now, and before that what was held back: a resume begins behind it."""
        self.flush()
        self._reporter.event("checkpoint", step=state.global_step, path=f"checkpoints/checkpoint-{state.global_step}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write what was still held back."""
        self.flush()

    def flush(self) -> None:
        """Write what was still held back."""
        if self._losses:
            self._flush(self._losses[-1][0])

    def _is_time_to_measure(self, state: TrainerState) -> bool:
        due = self._eval_steps > 0 and state.global_step % self._eval_steps == 0
        return due and state.global_step < state.max_steps

    def _flush(self, step: int) -> None:
        if not self._pending:
            return
        began, latest = time.monotonic(), self._pending[-1]
        values = {name: float(value) for name, value in latest.items() if name not in _MEASURED}
        values["loss"] = sum(logs["loss"] for logs in self._pending) / len(self._pending)
        values["epoch"] = float(latest.get("epoch", 0.0))
        tokens = float(latest.get("num_tokens", 0.0))
        if self._seconds > 0 and self._steps:
            values["tokens_per_second"] = (tokens - self._tokens) / self._seconds
            values["seconds_per_step"] = self._seconds / self._steps
        self._reporter.progress(step, self._total_steps, write=True)
        each = {"losses": self._losses} if len(self._losses) > 1 else {}
        self._reporter.event("metrics", step=step, values=values, **each)
        if time.monotonic() - self._said_at >= SAY_SECONDS:
            say(f"step {step}/{self._total_steps}, loss {values['loss']:.4g}")
            self._said_at = time.monotonic()
        self._tokens, self._seconds, self._steps, self._pending = tokens, 0.0, 0, []
        self._losses = []
        self._next_at = next_at(began, least=SHORTEST_INTERVAL_SECONDS)
