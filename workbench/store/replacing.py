"""Putting other files in the place of a workspace's own, all of them or none, also when it is killed on the way.

What is to be done is written down first. From then on it will be done, by whoever opens the workspace next if need be;
before that nothing was changed. Only renames follow, each of which can be found done already. What was there is kept.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench.errors import StoreError
from workbench.paths import Workspace

STAGED, LOOKED_AT = ".restoring", ".verify-"
"""Folders in a workspace that only a killed restore or verification leaves behind: the second begins so."""

_BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database; it belongs to that very one, and goes with it."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What goes where: ``names`` are paths in the workspace, and the same ones in the folders ``staged`` (the new
    files) and ``kept`` (what was there), both named as paths in the workspace too.
    """

    staged: str
    kept: str
    names: Sequence[str]


def replace(workspace: Workspace, planned: Replacement) -> None:
    """Put the staged files in place; nobody else may have the workspace open.

    Raises ``StoreError`` when it cannot go to its end; opening the workspace then tries again.
    """
    aside = workspace.restoring.with_suffix(".part")
    try:
        with aside.open("w", encoding="utf-8") as file:
            json.dump(asdict(planned), file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(workspace.restoring)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StoreError(f"nothing was changed: {error.strerror}", where=str(workspace.root)) from error
    _flush(workspace.root)
    finish(workspace)


def finish(workspace: Workspace) -> None:
    """Do what a replacement that was written down has still to do; nobody else may have the workspace open.

    Raises ``StoreError`` when a file cannot be moved.
    """
    try:
        values = json.loads(workspace.restoring.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    planned = Replacement(**values)
    root = workspace.root
    staged, kept = root / planned.staged, root / planned.kept
    try:
        for name in planned.names:
            _put(staged / name, root / name, kept / name)
        _flush(root)
        workspace.restoring.unlink()
        _flush(root)
    except OSError as error:
        raise StoreError(
            f"a restored backup cannot be put in place: {error.strerror}",
            hint="mend that and open the workspace again: it goes on where it was",
            where=str(error.filename or root),
        ) from error
    shutil.rmtree(staged, ignore_errors=True)


def sweep(workspace: Workspace) -> None:
    """Take away what a killed restore or verification left; nobody else may have the workspace open."""
    for folder in (workspace.root / STAGED, *workspace.root.glob(f"{LOOKED_AT}*")):
        shutil.rmtree(folder, ignore_errors=True)


def _put(new: Path, place: Path, kept: Path) -> None:
    if not new.exists():
        return  # it is in its place already
    for end in ("", *_BESIDE) if new.is_file() else ("",):
        old = place.with_name(place.name + end)
        if old.exists():
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            old.rename(kept.with_name(kept.name + end))
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new.rename(place)


def _flush(folder: Path) -> None:
    """Let the folder's entries reach the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
