"""The queue of runs as a person changes it: order, GPUs, hold and go on; and what is seen of GPUs and runner.

Works on run directories through ``jobs``; the store only tells which run is meant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.queues import Gpu, impossible, others_on, wish
from workbench.domain.runs import Run, RunState
from workbench.errors import RefusedError, RunError
from workbench.flows.run_news import take_over
from workbench.jobs import devices, launch
from workbench.jobs.queue import move as move_in_queue
from workbench.jobs.queue import queue
from workbench.jobs.run_directory import RunDirectory

if TYPE_CHECKING:
    from workbench.flows.bench import Bench


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the queue stands: who is in it (by run id, first come first), its runner, the GPUs and who is on them.

    ``on`` says on which GPUs each run at work is; "" for the CPU.
    """

    waiting: tuple[int, ...]
    active: tuple[int, ...]
    runner: int | None
    held: bool
    gpus: tuple[Gpu, ...]
    others: str
    on: dict[int, str]


def places(bench: Bench) -> dict[int, int]:
    """The place in the queue, from 1 on, of every run that waits."""
    folders = {directory.root.name: place for place, directory in enumerate(queue(bench.workspace.runs), start=1)}
    return {
        run.id: folders[Path(run.directory).name]
        for run in bench.store.runs.list()
        if run.state is RunState.QUEUED and Path(run.directory).name in folders
    }


def move(bench: Bench, run: Run, steps: int) -> int:
    """Move a queued run ``steps`` places later (earlier below 0); its place then. Raises ``RunError``."""
    place = move_in_queue(RunDirectory(Path(run.directory)), steps)
    if place is None:
        state = take_over(bench, run).state.value
        raise RunError(f"{run.name} is {state}: only a queued run has a place", hint="runs resume queues it")
    return place


def set_gpus(bench: Bench, run: Run, gpus: str) -> str:
    """Give a run that is not at work other GPUs; gives back a sentence. Raises ``UsageError`` for what names none."""
    directory = RunDirectory(Path(run.directory))
    status = directory.status()
    if status is not None and status.state.is_active:
        raise RunError(f"{run.name} is {status.state.value}: it keeps the GPUs it has", hint="stop it first")
    if problem := impossible(wish(gpus), devices.gpus()):
        raise RefusedError(problem)
    directory.write_ticket(replace(directory.ticket(), gpus=gpus))
    return f"{run.name} trains on {gpus}"


def gpus_of(run: Run) -> str:
    """The GPUs that a run is on, or wants while it waits; "" for a run on the CPU."""
    directory = RunDirectory(Path(run.directory))
    if run.state is RunState.QUEUED:
        return directory.ticket().gpus
    return ", ".join(directory.runner_note().labels)


def standing(bench: Bench) -> Standing:
    """Where the queue stands now. Asks the driver: for a thread."""
    found = bench.store.runs.list()
    active = [run for run in found if run.state.is_active]
    order = places(bench)
    gpus = devices.gpus()
    status = [RunDirectory(Path(run.directory)).status() for run in active]
    ours = {one.pid for one in status if one is not None and one.pid is not None} | {bench.engine.status().pid or 0}
    runner = launch.runner_process(bench.workspace.runs)
    return Standing(
        tuple(sorted(order, key=lambda run_id: order[run_id])),
        tuple(run.id for run in active),
        runner.pid if runner else None,
        launch.is_held(bench.workspace.runs),
        gpus,
        others_on(gpus, ours),
        {run.id: gpus_of(run) for run in active},
    )


def go_on(bench: Bench, *, here: bool = False) -> bool:
    """Let the queue go on (also after ``hold``) with a runner at work; True when one was started.

    With ``here`` this process is the runner until the queue is empty.
    """
    runs = bench.workspace.runs
    launch.let_go(runs)
    for run in bench.store.runs.list():
        if not run.state.is_over:
            take_over(bench, run)  # what a reboot ended is queued again
    return launch.be_runner(runs) if here else bool(queue(runs)) and launch.ensure_runner(runs)


def hold(bench: Bench) -> bool:
    """Start no further run until ``go_on``; runs at work go on. True when a runner was at work."""
    return launch.hold(bench.workspace.runs) is not None
