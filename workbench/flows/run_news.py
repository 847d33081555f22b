"""What the store takes over from a run's folder: how it stands, its figures, and the model that it made.

Reading on from where it was, so that it can be repeated, and by two benches at once. Starts nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import methods as training_methods
from workbench.domain.methods import Task
from workbench.domain.models import Model, ModelKind
from workbench.domain.runs import GAINS, Metric, Run, RunSpec, RunState, RunStatus, last_step, observed_state
from workbench.errors import NotFoundError, StoreError, is_disk_full
from workbench.flows import run_scores
from workbench.jobs.launch import runner_is_running
from workbench.jobs.run_directory import Event, RunDirectory, went_on_from, without_undone
from workbench.jobs.run_facts import weights_hash
from workbench.jobs.settling import is_at_work, recover, settle

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

QUEUEING_SECONDS = 0.3
"""A run is in the store this much before it is queued, at most."""


def take_over(bench: Bench, run: Run) -> Run:
    """Bring the store up to what the run's folder says now; gives back the run as it then is."""
    store = bench.store.runs
    directory = RunDirectory(Path(run.directory))
    status = _status_now(bench, run, directory)
    offset = store.offset(run.id)
    events, upto = directory.events(offset)
    if upto > offset:
        numbers = metrics_of(events)
        undone = min((step for event in events if (step := went_on_from(event)) is not None), default=None)
        with _later_on_a_full_disk():
            store.record(run.id, numbers, offset=upto, after=undone)
        if numbers and status.state.is_active:
            # The events were read after the state, and may be ahead of it.
            status = replace(status, step=last_step(numbers, status.step))
    if _differs(store.get(run.id), status) or not store.is_written(run.id):
        store.update(run.id, status)
    if status.state is RunState.FINISHED and not run.adapter:
        with _later_on_a_full_disk():
            run_scores.take_over(bench, run, directory)
            _register(bench, run, directory)
    return store.get(run.id)


def standstill(bench: Bench, runs: Sequence[Run]) -> tuple[object, ...] | None:
    """What is another once there is news of these runs: the store's version, and the traces in their folders.

    None where there can be news without that: a process may end without a word, and what a full disk had no room for
    is yet to be taken over.
    """
    if not all(_has_told_all(bench, run) for run in runs):
        return None
    return (bench.store.version(), *(RunDirectory(Path(run.directory)).traces() for run in runs))


def _has_told_all(bench: Bench, run: Run) -> bool:
    is_taken = bench.store.runs.is_written(run.id) and (run.state is not RunState.FINISHED or bool(run.adapter))
    return run.state.is_over and is_taken


@contextmanager
def _later_on_a_full_disk() -> Iterator[None]:
    """What the store has no room for now is in the run's folder, and taken over with the next look."""
    try:
        yield
    except StoreError as error:
        if not is_disk_full(error):
            raise


def metrics_of(events: Sequence[Event]) -> list[Metric]:
    """The numbers in a run's events, by the names under which curves are asked for."""
    return [metric for event in without_undone(events) for metric in _numbers(event)]


def _status_now(bench: Bench, run: Run, directory: RunDirectory) -> RunStatus:
    if not (directory.root / "spec.json").is_file():
        gone = RunStatus(RunState.LOST, step=run.step, total_steps=run.total_steps, started_utc=run.started_utc)
        return replace(gone, ended_utc=run.ended_utc, error="the run's folder is gone", hint=str(directory.root))
    status = directory.status()
    if status is None and run.state is RunState.QUEUED:
        time.sleep(QUEUEING_SECONDS)  # another bench may be about to queue it
        status = directory.status()
    if status is None:
        return RunStatus(RunState.CANCELLED, error="the bench ended before the run was queued", hint="resume queues it")
    if status.state is not run.state and not runner_is_running(bench.workspace.runs) and recover(directory):
        return directory.status() or status
    seen = observed_state(status.state, process_alive=is_at_work(directory))
    if seen is not status.state and not runner_is_running(bench.workspace.runs):
        # With a runner at work it is the runner's to say: it knows the exit code.
        return settle(directory) or status
    return status


def _differs(run: Run, status: RunStatus) -> bool:
    said = (status.state, status.step, status.total_steps, status.error, status.hint)
    times = (status.started_utc, status.ended_utc)
    return said != (run.state, run.step, run.total_steps, run.error, run.hint) or times != (
        run.started_utc,
        run.ended_utc,
    )


def _register(bench: Bench, run: Run, directory: RunDirectory) -> Model | None:
    is_adapter = directory.adapter.is_dir()
    folder = directory.adapter if is_adapter else directory.model
    weights = tuple(sorted(folder.glob("adapter_model*.safetensors" if is_adapter else "*.safetensors")))
    if not weights:
        return None
    digest = weights_hash(weights)
    told = directory.spec()
    with bench.store.write():
        if bench.store.runs.get(run.id).adapter:
            return None
        taken = bench.store.models.taken_names(str(folder), digest)
        name = next(n for i in count(1) if (n := run.name if i == 1 else f"{run.name}-{i}") not in taken)
        model = bench.store.models.add(
            name,
            _kind(told, is_adapter=is_adapter),
            str(folder),
            base=told.base if is_adapter else "",
            run_id=run.id,
            sha256=digest,
            note=f"{told.method} on {told.dataset}",
        )
        bench.store.runs.set_result(run.id, adapter=model.name)
    return model


def _kind(told: RunSpec, *, is_adapter: bool) -> ModelKind:
    with suppress(NotFoundError):  # a method that is gone since
        if training_methods.get(told.method).task is Task.SCORE:
            return ModelKind.REWARD
    return ModelKind.ADAPTER if is_adapter else ModelKind.BASE


def _numbers(event: Event) -> Iterator[Metric]:
    step, at = event.get("step"), str(event.get("at_utc", ""))
    if not isinstance(step, int):
        return
    match event["event"]:
        case "metrics" | "device":
            values: dict[str, Any] = event.get("values", {})
            yield from (Metric(step, name, _number(value), at) for name, value in values.items())
        case "eval":
            prefix = "base_eval_" if event.get("which") == "base" else "eval_"
            for name in ("loss", "perplexity", *GAINS):
                if name in event:
                    yield Metric(step, prefix + name, _number(event[name]), at)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
