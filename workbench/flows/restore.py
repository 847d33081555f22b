"""Putting a backup in the place of what a workspace has, whole or not at all; what was there is kept.

The order is: nobody else is here; every byte is checked and lies ready beside the old; then the names are changed. A
kill before the last step leaves the old workspace, a kill in it the new one: the next opening finishes that step.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.domain.backups import DATABASE, Contents
from workbench.errors import BusyError, DataError, NotFoundError, RefusedError, RunError, StoreError, WorkbenchError
from workbench.flows.backup_file import BackupFile
from workbench.flows.backups import Counter, OnProgress, nobody, told
from workbench.flows.bundles import put_at_rest
from workbench.flows.registry import embedded_folder
from workbench.jobs.engine import EngineClient
from workbench.jobs.launch import runner_is_running
from workbench.jobs.run_directory import RunDirectory, all_runs, spec_as_dict
from workbench.jobs.run_facts import weights_hash
from workbench.jobs.settling import is_at_work
from workbench.paths import Workspace
from workbench.store import replacing, snapshots
from workbench.store.presence import Presence

_ROOM = 1.05
_MODEL_PATHS = (
    "base_path",
    "adapter_path",
    "reward_path",
    "reward_base_path",
    "teacher_path",
    "teacher_base_path",
)


@dataclass(frozen=True, slots=True)
class Restored:
    """A backup that is in place. ``kept`` is the folder with what was there before; "" when there was nothing."""

    file: str
    kept: str
    replaced: Sequence[str]
    contents: Contents

    @property
    def said(self) -> str:
        """In lines."""
        lines = [f"restored: {self.contents.said}"]
        if self.kept:
            lines.append(f"what was there is in {self.kept}; `workbench restore` of that folder brings it back")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {"ok": True, **asdict(self)} | {"contents": told(self.contents)}


def restore(workspace: Workspace, file: Path, *, on_progress: OnProgress = nobody) -> Restored:
    """Put the backup ``file`` (or a folder that an earlier restore kept) in the place of what the workspace has.

    Runs that the backup does not have stay; those that it has come back as they were, and none starts by itself.
    Another folder than the one that the backup was made of may take it over. Raises ``BusyError`` while somebody has
    the workspace open or a run is at work in it, ``DataError`` for a backup that is not sound, ``StoreError`` for one
    of a newer workbench.
    """
    backup = BackupFile(file.expanduser().absolute())
    try:
        _make(workspace.root)
        presence = Presence.whole(workspace)
        try:
            _refuse_work(workspace)
            return _restore(workspace, backup, on_progress)
        finally:
            presence.leave()
    finally:
        backup.close()


def is_in_use(workspace: Workspace) -> bool:
    """True when a restore would replace something here."""
    return workspace.database.exists()


def _restore(workspace: Workspace, backup: BackupFile, on_progress: OnProgress) -> Restored:
    stamp = f"{datetime.now(UTC):%Y-%m-%d-%H%M%S}"
    staged, kept = workspace.root / replacing.STAGED, workspace.backups / f"before-restore-{stamp}"
    _refuse_other_disks(workspace, backup)
    shutil.rmtree(staged, ignore_errors=True)  # of one that was killed before it changed anything
    try:
        staged.mkdir(mode=0o700)
        _refuse_no_room(workspace, backup.contents)
        backup.unpack(staged, Counter("unpacking", backup.contents.bytes, on_progress))
        on_progress("looking at the database", 0.0)
        contents = _made_ready(workspace, backup, staged)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise StoreError(f"nothing was changed: {error.strerror}", where=str(error.filename or staged)) from None
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    on_progress("putting it in place", 1.0)
    names = contents.units
    replaced = [name for name in names if (workspace.root / name).exists()]
    planned = replacing.Replacement(staged.name, str(kept.relative_to(workspace.root)), names)
    replacing.replace(workspace, planned)
    workspace.unchecked.unlink(missing_ok=True)
    if any(name != DATABASE for name in names):
        with suppress(WorkbenchError):
            EngineClient(workspace).unload()  # it may have weights in memory that are others now
    return Restored(str(backup.path), str(kept) if replaced else "", replaced, contents)


def _made_ready(workspace: Workspace, backup: BackupFile, staged: Path) -> Contents:
    """The staged files as this workspace needs them: known, whole, at home here, and at rest."""
    database, contents = staged / DATABASE, backup.contents
    snapshots.check_steps(database)
    if found := snapshots.page_faults(database):
        raise DataError(f"the database in it is damaged: {found[0]}", where=str(backup.path))
    if not contents.counts:
        contents = replace(contents, counts=snapshots.counted(database))
    new = str(workspace.root.resolve())
    old = contents.workspace or new
    if old != new:
        snapshots.move_paths(database, old, new)
    with suppress(NotFoundError):
        embedded = embedded_folder()
        snapshots.move_model(database, weights_hash(tuple(sorted(embedded.glob("*.safetensors")))), str(embedded))
    for directory in all_runs(staged / "runs"):
        directory.root.chmod(0o700)
        with suppress(RunError):
            put_at_rest(directory)
            _bring_home(directory, old, new)
    for end in ("-wal", "-shm", "-journal"):  # of a kept folder; the checks above wrote them back into the database
        database.with_name(database.name + end).unlink(missing_ok=True)
    return contents


def _bring_home(directory: RunDirectory, old: str, new: str) -> None:
    """Let the paths in a run's spec lead into the folder that the workspace is now."""
    spec = directory.spec()
    paths = {
        name: new + value.removeprefix(old)
        for name in _MODEL_PATHS
        if (value := str(getattr(spec, name))).startswith(f"{old}/") and old != new
    }
    if paths:
        directory.write_json(directory.root / "spec.json", spec_as_dict(replace(spec, **paths)))  # type: ignore[arg-type]


def _refuse_work(workspace: Workspace) -> None:
    for directory in all_runs(workspace.runs):
        if is_at_work(directory):
            raise BusyError(
                f"{directory.root.name} is training here",
                hint="workbench runs stop ends it with a checkpoint; then try again",
                where=str(workspace.root),
            )
    if runner_is_running(workspace.runs):
        raise BusyError(
            "the queue is being worked on", hint="workbench runner stop; then try again", where=str(workspace.root)
        )


def _refuse_other_disks(workspace: Workspace, backup: BackupFile) -> None:
    """Names can only be changed within one disk."""
    disk = workspace.root.stat().st_dev
    tops = {name.split("/")[0] for name in backup.contents.units if "/" in name} | {workspace.backups.name}
    for name in sorted(tops):
        folder = workspace.root / name
        if folder.exists() and folder.stat().st_dev != disk:
            raise RefusedError(
                f"{name}/ lies on another disk than the workspace",
                hint="restore into a new workspace (-w DIR), and move things from there",
                where=str(folder),
            )


def _refuse_no_room(workspace: Workspace, contents: Contents) -> None:
    free, needed = shutil.disk_usage(workspace.root).free, int(contents.bytes * _ROOM)
    if needed > free:
        raise RefusedError(
            f"it needs {needed / 1e6:,.0f} MB of disk, and {free / 1e6:,.0f} MB are free", where=str(workspace.root)
        )


def _make(root: Path) -> None:
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the workspace folder cannot be made: {error.strerror}", where=str(root)) from None
