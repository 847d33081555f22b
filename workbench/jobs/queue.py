"""The queue as it lies in the run directories: its order, who may start, and who waits for nothing that will come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workbench.domain.queues import in_order, moved
from workbench.domain.runs import RunState
from workbench.jobs.run_directory import RunDirectory, all_runs
from workbench.jobs.settling import end


def queue(runs: Path) -> list[RunDirectory]:
    """The queued runs, in the order of their places."""
    found = [(d, d.status()) for d in all_runs(runs)]
    return in_order([(d, d.ticket()) for d, status in found if status and status.state is RunState.QUEUED])


def ready(waiting: Sequence[RunDirectory]) -> list[RunDirectory]:
    """Those of the queued runs that could start now: not those whose parent is still to finish.

    One whose parent is over without a result is cancelled here, with the reason.
    """
    return [directory for directory in waiting if _has_come(directory)]


def parent_of(directory: RunDirectory) -> RunDirectory | None:
    """The run from whose result this one starts; None for one that waits for no other."""
    after = directory.ticket().after
    return RunDirectory(directory.root.parent / after) if after else None


def children_of(directory: RunDirectory) -> list[RunDirectory]:
    """The runs that start from this one's result."""
    return [d for d in all_runs(directory.root.parent) if d.ticket().after == directory.root.name]


def move(directory: RunDirectory, steps: int) -> int | None:
    """Move a queued run ``steps`` places later (earlier below 0); its place from 1 on, None when it is not queued."""
    waiting = queue(directory.root.parent)
    if directory not in waiting:
        return None
    for one, ticket in moved([(d, d.ticket()) for d in waiting], directory, steps).items():
        one.write_ticket(ticket)
    return queue(directory.root.parent).index(directory) + 1


def _has_come(directory: RunDirectory) -> bool:
    if (parent := parent_of(directory)) is None:
        return True
    status = parent.status()
    if status is not None and not status.state.is_over:
        return False
    if status is not None and status.state is RunState.FINISHED:
        return True
    how = status.state.value if status else "gone"
    name = parent.root.name
    error = f"it starts from the result of {name}, which is {how}"
    end(directory, RunState.CANCELLED, error=error, hint=f"resume {name}: what waits for it is then queued again too")
    return False
