"""What is kept of a run, and how it goes: its page, and its removal."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.domain.runs import Run
from workbench.errors import RefusedError, RunError
from workbench.jobs.run_directory import RunDirectory
from workbench.jobs.run_facts import read_facts
from workbench.jobs.run_page import summary, write_page

if TYPE_CHECKING:
    from workbench.flows.bench import Bench
    from workbench.jobs.run_facts import RunFacts


@dataclass(frozen=True, slots=True)
class Report:
    """A run's page as it was written, and its numbers."""

    markdown: Path
    html: Path
    summary: dict[str, Any]


def report(run: Run, *, to: Path | None = None) -> Report:
    """Write the page of a run as it stands now, into its folder, and to ``to`` (.md or .html) when that is given.

    Raises ``RunError`` when its folder is gone or cannot be written.
    """
    directory = RunDirectory(Path(run.directory))
    try:
        markdown, html = write_page(directory)
        if to is not None:
            shutil.copyfile(markdown if to.suffix.lower() in {".md", ".markdown"} else html, to)
    except OSError as error:
        raise RunError(f"the page of {run.name} cannot be written: {error.strerror}", where=str(to or "")) from None
    return Report(markdown, html, summary(read_facts(directory)))


def facts(run: Run) -> RunFacts:
    """All that a run's folder says of it; raises ``RunError`` when the folder is gone."""
    return read_facts(RunDirectory(Path(run.directory)))


def refuse_removal(bench: Bench, run: Run) -> None:
    """Raise ``RefusedError`` when the run is at work, or models are registered whose files lie in its folder."""
    directory = RunDirectory(Path(run.directory))
    status = directory.status()
    if status is not None and status.state.is_active:
        raise RefusedError(f"{run.name} is {status.state.value}", hint="stop it first: workbench runs stop")
    inside = [m.name for m in bench.store.models.list() if Path(m.path).is_relative_to(run.directory)]
    if inside:
        names = ", ".join(inside)
        raise RefusedError(
            f"the files of {names} lie in the folder of {run.name}",
            hint=f"forget it first: workbench models remove {inside[0]}",
        )


def delete(bench: Bench, run: Run) -> Run:
    """Remove a run, its folder, its curves and its scores; there is no way back. Raises ``RefusedError``."""
    refuse_removal(bench, run)
    folder = Path(run.directory)
    aside = folder.with_name(f".deleted-{folder.name}-{secrets.token_hex(3)}")
    if folder.is_dir():
        folder.rename(aside)
    bench.store.runs.remove(run.id)
    shutil.rmtree(aside, ignore_errors=True)
    return run
