"""Training runs: their states, what a run directory says about itself, and when a run counts as lost.

Owns the words of the protocol between bench, runner and trainer. Knows no files, processes or ML.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from math import fsum, nan
from statistics import median
from typing import Any

from workbench.domain.methods import KnobValue

MEMORY, DISK, ROWS, DEEPSPEED = "memory", "disk", "rows", "deepspeed"
"""What a run is refused for before it starts, by the names under which a person may allow it."""
REFUSALS = (MEMORY, DISK, ROWS, DEEPSPEED)
GAINS = ("accuracy", "margin", "pair_loss", "reward", "divergence", "agreement")
"""What is measured on held-out rows beside the loss."""
_SHOWN = {"margin": "reward margin"}
MORE_IS_BETTER = frozenset({"accuracy", "margin", "reward", "agreement"})
"""The figures of which the highest is the best; of all others it is the lowest."""
_JUDGED = ("pair_loss", "divergence", "reward", "loss")
"""By what a measurement is told better than another, the first that it has."""
RECIPE, SWEEP = "recipe", "sweep"
"""What runs that were made together are: stages one after another, or the same with other settings."""


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"

    @property
    def is_active(self) -> bool:
        """True while a process should be working on the run."""
        return self in {RunState.STARTING, RunState.RUNNING, RunState.PAUSED, RunState.STOPPING}

    @property
    def is_over(self) -> bool:
        """True when nothing more will happen unless a person resumes the run."""
        return not self.is_active and self is not RunState.QUEUED

    @property
    def can_resume(self) -> bool:
        """True when a person may queue the run again from its last complete checkpoint."""
        return self in {RunState.STOPPED, RunState.FAILED, RunState.LOST, RunState.CANCELLED}


def figure_name(name: str) -> str:
    """A run's figure as a person reads it. Its margin is one of rewards (TRL's ``rewards/margins``: times beta, and
    against the start), where that of a single row in Curate is the plain difference of the answers' log-likelihoods.
    """
    return _SHOWN.get(name, name)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """All a trainer needs besides the frozen rows: written once as ``spec.json``, never changed.

    ``base_path`` is a model folder or hub id; ``adapter_path`` an adapter to start from ("" for none). ``knobs`` holds
    a value for every knob of the method. ``row_hash`` is the SHA-256 of ``train.jsonl`` followed by ``eval.jsonl``;
    ``example_ids`` are the stored examples behind the training rows, in their order. ``reward`` is what the model's own
    answers are rewarded by: a reward model, with ``reward_path`` and ``reward_base_path`` as for an adapter and its
    base, or the name of a function in the file that was frozen beside the rows, with its hash. ``teacher`` is the model
    that is learnt from, with its paths likewise. ``general`` says where the texts came from on which it is measured
    what the run made the model forget ("" for none).
    ``replay_rows`` of the
    training rows come from ``replay_dataset``, against forgetting; they stand behind the others in ``example_ids``.
    Runs that were made together have one ``group`` of a ``group_kind`` (``RECIPE`` or ``SWEEP``); ``stage`` is this
    one's name there, ``varied`` are the settings in which a sweep's runs differ, and ``rank_by`` is the figure by which
    they are compared ("" for the method's own). ``eval_dataset`` is the dataset that was named to be measured on (""
    for a share of its own).
    """

    name: str
    method: str
    base: str
    base_path: str
    dataset: str
    knobs: Mapping[str, KnobValue]
    train_rows: int
    eval_rows: int
    row_hash: str
    example_ids: tuple[int, ...] = ()
    eval_example_ids: tuple[int, ...] = ()
    adapter: str = ""
    adapter_path: str = ""
    preset: str = ""
    seed: int = 7
    created_utc: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    reward: str = ""
    reward_path: str = ""
    reward_base_path: str = ""
    reward_sha256: str = ""
    teacher: str = ""
    teacher_path: str = ""
    teacher_base_path: str = ""
    general: str = ""
    replay_dataset: str = ""
    replay_rows: int = 0
    group: str = ""
    group_kind: str = ""
    stage: str = ""
    varied: tuple[str, ...] = ()
    rank_by: str = ""
    eval_dataset: str = ""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What ``state.json`` says, rewritten whole (temporary file, then rename) at every change of state.

    ``pid`` and ``process_started`` (no date: a number that no setting of the clock changes) together name the process;
    ``hint`` says what to do about ``error``.
    """

    state: RunState
    step: int = 0
    total_steps: int = 0
    pid: int | None = None
    process_started: float | None = None
    updated_utc: str = ""
    started_utc: str = ""
    ended_utc: str = ""
    error: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a run at one step: ``loss``, ``eval_loss``, ``learning_rate``, ``tokens_per_second`` and so on."""

    step: int
    name: str
    value: float
    at_utc: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the store keeps it: the spec's main facts, the last known status, and its result."""

    id: int
    name: str
    method: str
    dataset: str
    base: str
    directory: str
    state: RunState
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    eval_loss: float | None = None
    base_eval_loss: float | None = None
    adapter: str = ""
    error: str = ""
    hint: str = ""
    created_utc: str = ""
    started_utc: str = ""
    ended_utc: str = ""
    group: str = ""
    group_kind: str = ""


@dataclass(frozen=True, slots=True)
class ExampleScore:
    """How well a run's model knows one example: the loss per token of its (better) answer before and after.

    Margins are of pairs only: by how much, in the logarithm, the better answer is likelier than the worse one; of a
    reward model by how much it scores it higher. None is what could not be measured. ``run`` is the run's name.
    """

    run_id: int
    example_id: int
    held_out: bool
    tokens: int
    base_loss: float | None
    loss: float | None
    base_margin: float | None = None
    margin: float | None = None
    run: str = ""


def newest(metrics: Sequence[Metric]) -> Metric | None:
    """The figure that was measured last; None without one. At a run's end it may be of an earlier step than others,
    whose weights were the best.
    """
    return max(metrics, key=lambda metric: (metric.at_utc, metric.step), default=None)


def last_step(metrics: Sequence[Metric], default: int) -> int:
    """How far a run is by its newest figures. What is measured on held-out rows at the end may be of an earlier step,
    whose weights were the best.
    """
    return next((metric.step for metric in reversed(metrics) if "eval_" not in metric.name), default)


def judged(scores: Mapping[str, Any]) -> tuple[float, bool] | None:
    """The figure by which a measurement on held-out rows is better than another, and whether higher is better.

    For pairs the loss of the pairs, for answers that are drawn their reward, else the loss; a figure that was no number
    is NaN. None when nothing was measured.
    """
    if (found := judged_by(scores)) is None:
        return None
    name, higher = found
    value = scores[name]
    return (float(value) if isinstance(value, int | float) else nan), higher


def judged_by(scores: Container[str]) -> tuple[str, bool] | None:
    """The name of that figure, and whether higher is better; None when none of them was measured."""
    return next(((name, name in MORE_IS_BETTER) for name in _JUDGED if name in scores), None)


def example_scores(run_id: int, rows: Iterable[Mapping[str, Any]]) -> list[ExampleScore]:
    """The figures of a run directory's single rows, by example: rows of one example are taken together by tokens.

    Of an example that gave rows with both labels those with the thumb up count.
    """
    of_each: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        if isinstance(row.get("example"), int):
            of_each.setdefault(row["example"], []).append(row)
    return [_together(run_id, example_id, found) for example_id, found in of_each.items()]


def _together(run_id: int, example_id: int, rows: Sequence[Mapping[str, Any]]) -> ExampleScore:
    liked = [row for row in rows if row.get("label", True)] or rows
    tokens = sum(int(row.get("tokens", 0)) for row in liked)
    held_out = any(row.get("split") == "held_out" for row in liked)
    return ExampleScore(
        run_id,
        example_id,
        held_out,
        tokens,
        base_loss=_figure(liked, "base", "loss"),
        loss=_figure(liked, "tuned", "loss"),
        base_margin=_figure(liked, "base", "margin"),
        margin=_figure(liked, "tuned", "margin"),
    )


def _figure(rows: Sequence[Mapping[str, Any]], which: str, name: str) -> float | None:
    """Losses as their mean by tokens, margins as their sum; None when no row has one."""
    found = [(row[which].get(name), int(row.get("tokens", 0))) for row in rows if isinstance(row.get(which), Mapping)]
    values = [(float(value), tokens) for value, tokens in found if isinstance(value, int | float)]
    if name == "margin" or len(values) == 1:
        return fsum(value for value, _ in values) if values else None
    total = sum(tokens for _, tokens in values)
    return fsum(value * tokens for value, tokens in values) / total if total else None


def smaller_batch(batch: int, accumulation: int, *, fewest: int = 1) -> tuple[int, int] | None:
    """Half the rows in a forward pass (or the next fewer) and more passes a step, so that a step sees the same rows.

    None when there is no smaller batch of at least ``fewest`` rows that divides this one.
    """
    for rows in range(batch // 2, max(1, fewest) - 1, -1):
        if batch % rows == 0:
            return rows, accumulation * (batch // rows)
    return None


def observed_state(written: RunState, *, process_alive: bool) -> RunState:
    """The state to show: what was written, unless it claims a process that is gone; then the run is lost."""
    if written.is_active and not process_alive:
        return RunState.LOST
    return written


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """How long a run still needs, in seconds; ``rough`` while fewer than 20 steps were timed."""

    seconds: float
    rough: bool


def time_left(
    marks: Sequence[tuple[int, float]], total_steps: int, *, window: int = 50, sure: int = 20
) -> TimeLeft | None:
    """The median time of the last ``window`` steps times the steps that are left.

    ``marks`` are steps with the moment (seconds) at which each was done, in order. The median ignores the pauses of
    evaluation, checkpoints and a resume. None before two steps were done or when the length of the run is unknown.
    """
    recent = marks[-window - 1 :]
    times = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(recent) if b[0] > a[0] and b[1] >= a[1]]
    if not times or total_steps <= 0:
        return None
    left = max(0, total_steps - marks[-1][0])
    return TimeLeft(median(times) * left, rough=len(times) < sure)
