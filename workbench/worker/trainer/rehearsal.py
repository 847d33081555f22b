"""One real forward and backward pass on the longest batch, before the first step: the true peak of memory, and a speed.

It happens where training begins, with everything in place: the weights, the prepared model, room for gradients and for
the optimiser's state. It leaves no trace in the weights, in the random numbers or in the figures that are logged.
"""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from workbench.worker.trainer.reporting import Reporter, say

_LOGGED = (
    "_metrics",
    "_total_train_tokens",
    "_logs",
    "_stored_metrics",
    "_pending_extra_logs",
    "_pending_metrics",
    "_entropy_window_stats",
    "_last_world_entropy",
    "_buffered_inputs",
)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What the longest batch took: its padded size, the peak of memory in bytes, and the seconds of one pass.

    ``drawing_seconds`` are those in which the model drew the answers of a step, each as long as it may be.
    """

    rows: int
    tokens: int
    peak_bytes: int
    seconds: float
    drawing_seconds: float = 0.0


class Rehearsal(TrainerCallback):
    """Rehearses once where training begins, and tells the run's time from it. Several processes do not rehearse."""

    def __init__(self, trainer: Trainer, reporter: Reporter) -> None:
        self._trainer = trainer
        self._reporter = reporter

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Rehearse; running out of memory here is the same as later, only hours earlier."""
        if args.world_size > 1 or not (batch := longest_batch(self._trainer)):
            return
        found = rehearse(self._trainer, batch)
        left = (state.max_steps - state.global_step) * args.gradient_accumulation_steps
        share = 1.0 if is_drawing(self._trainer) else _mean_length(self._trainer) / (found.tokens / found.rows)
        draws = left / _passes_of_a_draw(args)
        seconds = left * found.seconds * min(1.0, share) + draws * found.drawing_seconds
        self._reporter.event(
            "rehearsal",
            step=state.global_step,
            rows=found.rows,
            tokens=found.tokens,
            peak_bytes=found.peak_bytes,
            seconds=found.seconds,
            left_seconds=seconds,
        )
        say(
            f"longest batch: {found.rows} rows of {found.tokens // found.rows} tokens, {found.peak_bytes / 1e9:.2f} GB "
            f"at the peak, {found.seconds:.2f} s a pass; training takes {_told_of(found)}about {_duration(seconds)}"
        )


def longest_batch(trainer: Trainer) -> list[dict[str, Any]]:
    """The rows that would make the largest batch; empty when another program draws the answers to them."""
    if is_drawing(trainer):
        return _longest_prompts(trainer)
    lengths = _lengths(trainer)
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])[: trainer.args.per_device_train_batch_size]
    return [trainer.train_dataset[i] for i in order]


def rehearse(trainer: Trainer, batch: Sequence[dict[str, Any]]) -> Rehearsed:
    """Take one batch forward and back with everything in memory that a step has there, then take it all back."""
    model = trainer.model_wrapped
    was_training = model.training
    with _unlogged(trainer), same_random_numbers():
        try:
            inputs = trainer.data_collator(list(batch))
            drawing = 0.0
            with _room_for_optimiser(trainer), _Peak(trainer.args.device) as peak:
                model.train()
                started = time.perf_counter()
                with _longest_answers(trainer):
                    inputs = trainer._prepare_inputs(inputs)
                if is_drawing(trainer):
                    peak.wait()
                    drawing, started = time.perf_counter() - started, time.perf_counter()
                rows, width = _size(inputs)
                with trainer.compute_loss_context_manager():
                    loss = trainer.compute_loss(model, inputs)
                trainer.accelerator.backward(loss)
                del inputs, loss
                peak.wait()
                seconds = time.perf_counter() - started
        finally:
            model.zero_grad(set_to_none=True)
            model.train(was_training)
    return Rehearsed(rows, rows * width, peak.bytes, seconds, drawing)


def is_drawing(trainer: Any) -> bool:
    """True for a trainer that learns from answers which the model draws on the way."""
    return hasattr(trainer, "_generate_and_score_completions")


def _longest_prompts(trainer: Any) -> list[dict[str, Any]]:
    """As many of the longest prompts as answers are drawn to at once, each as often as it is answered."""
    if getattr(trainer, "use_vllm", False):
        return []
    args, times = trainer.args, getattr(trainer, "num_generations", 1)
    wanted = args.per_device_train_batch_size * _passes_of_a_draw(args)
    rows = trainer.train_dataset
    order = sorted(range(len(rows)), key=lambda i: -len(json.dumps(rows[i]["prompt"])))[: max(1, wanted // times)]
    chosen = [rows[i] for i in order for _ in range(times)]
    return [chosen[i % len(chosen)] for i in range(wanted)]


def _passes_of_a_draw(args: Any) -> int:
    return int(getattr(args, "steps_per_generation", None) or args.gradient_accumulation_steps)


@contextmanager
def _longest_answers(trainer: Any) -> Iterator[None]:
    """Every answer drawn is as long as it may be, and nobody is asked what it is worth."""
    if not is_drawing(trainer):
        yield
        return
    # The training loop sets it before each step, and GRPO's loss reads it.
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    config, seen = trainer.generation_config, trainer.state.num_input_tokens_seen
    before, config.min_new_tokens = config.min_new_tokens, trainer.max_completion_length
    if hasattr(trainer, "_calculate_rewards"):
        functions, device = len(trainer.reward_funcs), trainer.args.device
        trainer._calculate_rewards = lambda rows, *rest: torch.zeros(len(rows), functions, device=device)
    try:
        yield
    finally:
        config.min_new_tokens = before
        trainer.state.num_input_tokens_seen = seen
        vars(trainer).pop("_calculate_rewards", None)


def _size(inputs: dict[str, Any]) -> tuple[int, int]:
    """The sequences of a batch that go through the model, and their padded length."""
    if "completion_ids" in inputs and "prompt_ids" in inputs:
        return len(inputs["prompt_ids"]), inputs["prompt_ids"].shape[1] + inputs["completion_ids"].shape[1]
    pair = [inputs[f"{name}_input_ids"].shape for name in ("chosen", "rejected") if f"{name}_input_ids" in inputs]
    if pair:
        return sum(rows for rows, _ in pair), max(width for _, width in pair)
    sizes = [value.shape for name, value in inputs.items() if name.endswith("input_ids")]
    rows, width = max(sizes, key=lambda size: size[0] * size[1])
    return int(rows), int(width)


class _Peak:
    """The most memory in use meanwhile: the allocator's on a GPU, the process's resident memory elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.bytes = 0

    def __enter__(self) -> _Peak:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            with suppress(OSError):  # the kernel need not allow it: then the peak since the start is told
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self._device)
            return
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        self.bytes = next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)

    def wait(self) -> None:
        """Until what was asked of the device is done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


@contextmanager
def _room_for_optimiser(trainer: Trainer) -> Iterator[None]:
    """Gradients and the state that the optimiser makes at its first step, unless it has one already (a resumed run).

    An optimiser of the same kind makes it, with zero gradients at rate zero, and is gone afterwards.
    """
    real = trainer.optimizer
    trainer.optimizer = None
    try:
        stand_in = trainer.create_optimizer()
        learning = [weight for group in stand_in.param_groups for weight in group["params"]]
        for weight in learning:
            weight.grad = torch.zeros_like(weight)
        for group in stand_in.param_groups:
            group["lr"] = 0.0
        if not getattr(real, "state", None):
            stand_in.step()
        if trainer.args.gradient_accumulation_steps == 1:
            for weight in learning:
                weight.grad = None
        yield
    finally:
        trainer.optimizer = real


@contextmanager
def _unlogged(trainer: Trainer) -> Iterator[None]:
    """What the trainer counts for its log stays as it is."""
    before = {name: copy.deepcopy(vars(trainer)[name]) for name in _LOGGED if name in vars(trainer)}
    try:
        yield
    finally:
        vars(trainer).update(before)


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """What is drawn in the block changes nothing of what is drawn after it."""
    state, numbers = random.getstate(), numpy.random.get_state()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(state)
        numpy.random.set_state(numbers)


def _lengths(trainer: Trainer) -> list[int]:
    """Tokens of every row as its batch is padded: the longer answer's for pairs; empty without tokens in the rows."""
    dataset = trainer.train_dataset
    columns = set(getattr(dataset, "column_names", None) or ())
    window = getattr(trainer.args, "max_length", None) or 2**30
    if "input_ids" in columns:
        return [min(window, len(ids)) for ids in dataset["input_ids"]]
    answers = [name for name in ("chosen_ids", "rejected_ids", "completion_ids") if name in columns]
    if not answers:
        answers = [name for name in ("chosen_input_ids", "rejected_input_ids") if name in columns]
    if "prompt_ids" not in columns:  # each is a whole sequence, with its prompt
        whole = zip(*(dataset[name] for name in answers), strict=True)
        return [min(window, max(map(len, row))) for row in whole]
    rows = zip(dataset["prompt_ids"], *(dataset[name] for name in answers), strict=True)
    return [min(window, len(prompt) + max(map(len, rest))) for prompt, *rest in rows]


def _mean_length(trainer: Trainer) -> float:
    lengths = _lengths(trainer)
    return sum(lengths) / len(lengths)


def _told_of(found: Rehearsed) -> str:
    """Answers are seldom as long as they may be."""
    return f"{found.drawing_seconds:.1f} s more a step to draw answers, at most " if found.drawing_seconds else ""


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
