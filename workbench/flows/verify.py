"""Looking whether all that a workspace says is still so: its database, its runs' frozen rows, its models' weights."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.backups import Flaw, Level, Verified
from workbench.domain.models import Model, ModelKind
from workbench.domain.runs import Run, RunSpec
from workbench.errors import RefusedError, RunError, StoreError, is_disk_full
from workbench.flows.backups import Counter, OnProgress, nobody
from workbench.flows.registry import files_hash, is_hub_id
from workbench.jobs.run_directory import RunDirectory, is_complete
from workbench.jobs.settling import is_at_work
from workbench.store import hashes, snapshots
from workbench.store.replacing import LOOKED_AT

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

_BACKUP = "workbench restore brings a backup back"
_SEARCH = "workbench verify --fix makes it anew from the rows"
_CONTENTS = "workbench verify --fix brings it in line with the rows"


def verify(bench: Bench, *, quick: bool = False, fix: bool = False, on_progress: OnProgress = nobody) -> Verified:
    """Look at the database, at every run and at every model; others may work in the workspace meanwhile.

    ``quick`` leaves out whether indexes agree with their rows, and reads no weights. ``fix`` makes anew what does not
    agree with the rows it was made from, a search index or the list of contents; nothing else is changed. Raises
    ``StoreError`` when the disk has no room for a copy of the database.
    """
    flaws = list(_database(bench, quick=quick, on_progress=on_progress))
    for hint, mend in {_SEARCH: rebuild_searches, _CONTENTS: _mend_contents}.items():
        if fix and any(flaw.hint == hint for flaw in flaws):
            mend(bench)
            flaws = [flaw for flaw in flaws if flaw.hint != hint]
    runs, models = bench.store.runs.list(), bench.store.models.list()
    if not any(flaw.level is Level.ERROR for flaw in flaws):
        bench.workspace.unchecked.unlink(missing_ok=True)
    for number, run in enumerate(runs):
        on_progress(f"run {run.name}", number / len(runs))
        flaws += _run(run)
    flaws += _provenance(bench, runs)
    found = check_models(models, quick=quick, on_progress=on_progress)
    flaws += [flaw for flaw in found.values() if flaw is not None]
    flaws += _bases(models)
    return Verified(flaws, {"runs": len(runs), "models": len(models)} | _counts(bench))


def check_models(
    models: Iterable[Model], *, quick: bool = False, on_progress: OnProgress = nobody
) -> dict[str, Flaw | None]:
    """Each model that has weights on this disk, with what is wrong with them; reads them whole unless ``quick``.

    One without a recorded hash (a hub id, a server's) is not among them.
    """
    known = [model for model in models if model.sha256]
    found: dict[str, Flaw | None] = {}
    for number, model in enumerate(known):
        on_progress(f"model {model.name}", number / len(known))
        found[model.name] = _model(model, quick=quick)
    return found


def after_unclean_stop(bench: Bench, *, on_progress: OnProgress = nobody) -> list[str]:
    """What SQLite finds wrong after a bench that did not close; nothing when all did. Reads the whole database."""
    if not bench.workspace.unchecked.exists():
        return []
    looking = partial(on_progress, "looking at the database", 0.0)
    found = snapshots.page_faults(bench.workspace.database, on_step=looking)
    if not found:
        bench.workspace.unchecked.unlink(missing_ok=True)
    return found


def rebuild_searches(bench: Bench) -> None:
    """Make the search over chats and examples anew from the rows. Raises ``RefusedError`` while an import is coming."""
    if bench.store.imports.on_its_way():
        raise RefusedError("an import is on its way", hint="wait for its end, then try again")
    with bench.store.write() as db:
        snapshots.rebuild_searches(db.conn)


def _mend_contents(bench: Bench) -> None:
    with bench.store.write() as db:
        hashes.mend(db.conn)


def _counts(bench: Bench) -> dict[str, int]:
    counts = snapshots.counted(bench.workspace.database)
    return {name: counts[name] for name in ("chats", "messages", "examples", "comparisons")}


def _database(bench: Bench, *, quick: bool, on_progress: OnProgress) -> Iterator[Flaw]:
    """What is wrong in the database, found in a copy: the search cannot be checked without writing."""
    place = str(bench.workspace.database)
    with tempfile.TemporaryDirectory(prefix=LOOKED_AT, dir=bench.workspace.root) as folder:
        copy = Path(folder) / "copy.db"
        count = Counter("copying the database", 1, on_progress)
        try:
            snapshots.copy_database(bench.workspace.database, copy, lambda done, of: count.at(done / max(1, of)))
            on_progress("looking at the database", 0.0)
            found = snapshots.faults(copy, quick=quick)
        except StoreError as error:
            if is_disk_full(error):
                raise
            yield Flaw(Level.ERROR, error.message, place, _BACKUP)
            return
    yield from (Flaw(Level.ERROR, f"the database is damaged: {one}", place, _BACKUP) for one in found.pages)
    yield from (Flaw(Level.ERROR, one, place, _BACKUP) for one in found.references)
    yield from (Flaw(Level.ERROR, one, place, _SEARCH) for one in found.searches)
    yield from (Flaw(Level.ERROR, one, place, _CONTENTS) for one in found.contents)
    for name in found.unsearched:
        yield Flaw(Level.WARNING, f"the search over {name} was not looked at: an import is on its way", place)


def _run(run: Run) -> Iterator[Flaw]:
    """A run's folder against its spec: the rows it was made of, its checkpoints."""
    directory = RunDirectory(Path(run.directory))
    where = run.directory
    if not directory.root.is_dir():
        yield Flaw(
            Level.ERROR,
            f"the folder of run {run.name} is gone",
            where,
            f"{_BACKUP} (made with --runs), or: workbench runs delete {run.id}",
        )
        return
    try:
        spec = directory.spec()
        rows = directory.row_hash()
    except RunError as error:
        yield Flaw(Level.ERROR, f"run {run.name}: {error.message}", where, _BACKUP)
        return
    except OSError as error:
        yield Flaw(Level.ERROR, f"the rows of run {run.name} cannot be read: {error.strerror}", where, _BACKUP)
        return
    if rows != spec.row_hash:
        yield Flaw(
            Level.ERROR,
            f"the rows of run {run.name} are not those it was made of: their hash is {rows[:12]}…, "
            f"not {spec.row_hash[:12]}…",
            where,
            f"{_BACKUP}; a resume or rerun would train on other rows than its page says",
        )
    yield from _reward(run, spec, directory)
    torn = [] if is_at_work(directory) else [p for p in directory.checkpoint_folders() if not is_complete(p)]
    for checkpoint in torn:
        yield Flaw(
            Level.WARNING, f"{checkpoint.name} of run {run.name} is not complete", str(checkpoint),
            "a resume passes it over",
        )  # fmt: skip


def _reward(run: Run, spec: RunSpec, directory: RunDirectory) -> Iterator[Flaw]:
    from workbench.jobs.run_facts import file_hash

    if spec.reward_sha256 and file_hash(directory.reward_file) != spec.reward_sha256:
        yield Flaw(
            Level.ERROR, f"reward.py of run {run.name} is not the one it was made with", str(directory.reward_file),
            f"{_BACKUP}; read the file before a resume: it is a program",
        )  # fmt: skip


def _provenance(bench: Bench, runs: Iterable[Run]) -> Iterator[Flaw]:
    """Runs whose rows lead back to examples that are not in the store any more."""
    for run in runs:
        try:
            spec = RunDirectory(Path(run.directory)).spec()
        except RunError:
            continue
        wanted = {*spec.example_ids, *spec.eval_example_ids}
        if gone := len(wanted) - bench.store.examples.present(wanted):
            yield Flaw(
                Level.WARNING,
                f"{gone} of the {len(wanted)} examples behind run {run.name} are not in the store any more",
                run.directory,
                "its frozen rows are whole: a rerun trains on the same",
            )


def _model(model: Model, *, quick: bool) -> Flaw | None:
    if is_hub_id(model.path) and not Path(model.path).exists():
        return None
    again = f"{_BACKUP} (if it was made with --models), or: workbench models remove {model.name}"
    if not Path(model.path).is_dir():
        return Flaw(Level.ERROR, f"the folder of model {model.name} is gone", model.path, again)
    if quick:
        return None
    found = files_hash(model)
    if not found:
        return Flaw(Level.ERROR, f"the weights of model {model.name} are gone", model.path, again)
    if found != model.sha256:
        what = f"the weights of model {model.name} have changed: their hash is {found[:12]}…, not {model.sha256[:12]}…"
        return Flaw(Level.ERROR, what, model.path, f"{again} and add it again under another name")
    return None


def _bases(models: Iterable[Model]) -> Iterator[Flaw]:
    known = {model.name for model in models}
    for model in models:
        if model.kind in {ModelKind.ADAPTER, ModelKind.REWARD} and model.base and model.base not in known:
            hint = f"workbench models add PATH --name {model.base}"
            yield Flaw(Level.ERROR, f"the base {model.base} of {model.name} is not registered", model.path, hint)
