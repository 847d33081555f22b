"""Backing a workspace up into one file, by hand or once a day, while others work in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import __version__
from workbench.domain.backups import DAILY, DATABASE, BackedUp, Contents, outlived
from workbench.domain.counting import size
from workbench.domain.models import Model, ModelKind
from workbench.errors import BusyError, DataError, RefusedError, StoreError
from workbench.flows.backup_file import BackupFile, add_file, add_list, sweep, writing
from workbench.flows.bundles import run_files
from workbench.jobs.run_directory import all_runs
from workbench.store import snapshots

if TYPE_CHECKING:
    from workbench.flows.bench import Bench
    from workbench.paths import Workspace

_NEWS_SECONDS = 0.1

OnProgress = Callable[[str, float], None]
"""Told what is being done and how much of it is done, from 0 to 1; what it raises ends the work."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was written."""

    file: Path
    bytes: int
    contents: Contents

    @property
    def said(self) -> str:
        """In a line."""
        left = "".join(f"\nnot in it: {one}" for one in self.contents.left_out)
        return f"{self.file}: {size(self.bytes)}, {self.contents.said}{left}"

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {"ok": True, "file": str(self.file), "bytes": self.bytes} | told(self.contents)


def told(contents: Contents) -> dict[str, Any]:
    """What is in a backup, for scripts: without the list of its files."""
    shown = asdict(contents)
    del shown["files"]
    return shown | {"files": len(contents.files), "unpacked_bytes": contents.bytes}


class Counter:
    """Turns bytes into progress, said at most ten times a second."""

    def __init__(self, what: str, total: int, on_progress: OnProgress) -> None:
        self._what, self._total, self._say = what, max(1, total), on_progress
        self._done, self._said = 0, 0.0

    def __call__(self, more: int) -> None:
        """So many bytes more."""
        self._done += more
        self.at(self._done / self._total)

    def at(self, share: float) -> None:
        """So much of it is done."""
        now = time.monotonic()
        if now - self._said >= _NEWS_SECONDS:
            self._said = now
            self._say(self._what, min(1.0, share))


def nobody(what: str, share: float) -> None:
    """Nobody wants to know."""


def default_file(bench: Bench) -> Path:
    """Where a backup goes when no place is named: in the workspace, named after the moment."""
    return bench.workspace.backups / f"workbench-{datetime.now(UTC):%Y-%m-%d-%H%M%S}.zip"


def back_up(
    bench: Bench,
    to: Path,
    *,
    runs: bool = False,
    models: bool = False,
    replace: bool = False,
    on_progress: OnProgress = nobody,
) -> Backup:
    """Write the workspace as it is now into the file ``to``; others may work in it meanwhile.

    ``runs`` adds the folders of all runs that are not at work, with their last checkpoint and what came of them;
    ``models`` every model that lies in the workspace. Raises ``RefusedError`` when ``to`` is there and not to be
    replaced, ``StoreError`` when the database is damaged or the file cannot be written.
    """
    to = to.expanduser().absolute()
    _refuse_existing(to, replace)
    chosen, left_out = _chosen(bench, runs=runs, models=models)
    with writing(to) as archive:
        copy = to.with_name(f".{to.name}.db")
        try:
            _copied(bench, copy, on_progress)
            counts = snapshots.counted(copy)
            paths = {DATABASE: copy} | chosen
            count = Counter("writing", sum(path.stat().st_size for path in paths.values()), on_progress)
            files: dict[str, BackedUp] = {}
            for name, path in paths.items():
                files[name] = add_file(archive, name, path, count)
        finally:
            copy.unlink(missing_ok=True)
        made = datetime.now(UTC).isoformat(timespec="seconds")
        root = str(bench.workspace.root.resolve())
        contents = Contents(files, __version__, made, root, counts, tuple(left_out))
        add_list(archive, contents)
        _refuse_existing(to, replace)  # somebody else may have put one there meanwhile
    return Backup(to, to.stat().st_size, contents)


def is_due(bench: Bench) -> bool:
    """Whether today's backup is to be made: there is none, something is to be lost, and the setting says so."""
    return bool(bench.settings.backup.daily) and not _todays(bench).exists() and _has_work(bench)


def _todays(bench: Bench) -> Path:
    return bench.workspace.backups / f"{DAILY}{datetime.now(UTC):%Y-%m-%d}.zip"


def daily(bench: Bench, *, on_progress: OnProgress = nobody) -> Backup | None:
    """Today's backup of the database, unless there is one, nothing is to be lost, or the setting says none.

    The oldest daily ones go when there are more than the setting keeps, and so does what killed backups left. Raises
    ``StoreError`` as ``back_up`` does: then none goes.
    """
    if not is_due(bench):
        return None
    keep, folder, to = bench.settings.backup.daily, bench.workspace.backups, _todays(bench)
    try:
        made = back_up(bench, to, on_progress=on_progress)
    except (BusyError, RefusedError):
        return None  # another bench makes it, or has made it
    for name in outlived((path.name for path in folder.glob(f"{DAILY}*.zip")), keep):
        (folder / name).unlink(missing_ok=True)
    sweep(folder)
    return made


def examine(file: Path, *, on_progress: OnProgress = nobody) -> Contents:
    """What is in a backup, every byte of it checked against its hash; raises ``DataError`` when it is damaged."""
    backup = BackupFile(file.expanduser().absolute())
    try:
        backup.check(Counter("checking", backup.contents.bytes, on_progress))
        return backup.contents
    finally:
        backup.close()


def look(file: Path) -> Contents:
    """What a backup says that is in it; reads its list alone. Raises ``NotFoundError`` or ``DataError``."""
    backup = BackupFile(file.expanduser().absolute())
    backup.close()
    return backup.contents


def _has_work(bench: Bench) -> bool:
    counts = snapshots.counted(bench.workspace.database)
    return any(counts.get(name) for name in ("chats", "examples", "runs", "comparisons"))


def _refuse_existing(to: Path, replace: bool) -> None:
    if to.is_dir():
        raise DataError(f"{to.name} is a folder: name a file", where=str(to))
    if to.exists() and not replace:
        raise RefusedError(
            f"{to.name} is there already", hint="another name, or --force to write over it", where=str(to)
        )


def _copied(bench: Bench, copy: Path, on_progress: OnProgress) -> None:
    """The database as it is now, and known to be whole."""
    for end in ("", "-journal"):  # of one that was killed here
        copy.with_name(copy.name + end).unlink(missing_ok=True)
    count = Counter("copying the database", 1, on_progress)
    snapshots.copy_database(bench.workspace.database, copy, lambda done, of: count.at(done / max(1, of)))
    copy.chmod(0o600)
    if found := snapshots.page_faults(copy, on_step=partial(on_progress, "looking at the copy", 0.0)):
        raise StoreError(
            f"the database is damaged: {found[0]}",
            hint="nothing was written; workbench verify says more, workbench restore brings an older backup back",
            where=str(bench.workspace.database),
        )


def _chosen(bench: Bench, *, runs: bool, models: bool) -> tuple[dict[str, Path], list[str]]:
    """The files beside the database by their place in the workspace, and what of that cannot be taken along."""
    workspace = bench.workspace
    chosen: dict[str, Path] = {}
    left_out: list[str] = []
    for directory in all_runs(workspace.runs) if runs else []:
        status = directory.status()
        if status is not None and status.state.is_active:
            left_out.append(f"{directory.root.name}, a run that is {status.state.value}")
            continue
        for path in run_files(directory, checkpoint=True):
            chosen[f"runs/{path.relative_to(workspace.runs).as_posix()}"] = path
    for model in bench.store.models.list() if models else []:
        if (place := _place(workspace, model)) is None:
            continue
        if not place:
            left_out.append(f"the model {model.name}, which lies outside of the workspace at {model.path}")
            continue
        for path in sorted(Path(model.path).rglob("*")):
            if path.is_file() and not path.is_symlink():
                chosen[f"{place}/{path.relative_to(model.path).as_posix()}"] = path
    return dict(sorted(chosen.items())), left_out


def _place(workspace: Workspace, model: Model) -> str | None:
    """Where in the workspace a model lies, ``runs/…`` or ``models/…``; "" for outside, None for what is no folder or,
    like a base that was added, is nobody's work here.
    """
    folder = Path(model.path)
    if model.kind is ModelKind.ENDPOINT or not folder.is_dir():
        return None
    for name, parent in (("runs", workspace.runs), ("models", workspace.models)):
        if folder.resolve().is_relative_to(parent.resolve()) and folder.resolve() != parent.resolve():
            return f"{name}/{folder.resolve().relative_to(parent.resolve()).as_posix()}"
    return None if model.kind is ModelKind.BASE else ""
