"""A backup as a file: a ZIP with the files of a workspace and, as its last entry, the list of them with their hashes.

Any unzip program opens one. What is read is foreign: names are checked before anything is written, and every byte
against its hash while it is.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from workbench.domain.backups import DATABASE, BackedUp, Contents, check_names, contents_of
from workbench.errors import BusyError, DataError, NotFoundError, StoreError

LIST = "backup.json"
_PIECE = 1 << 20
_LARGEST_LIST = 200_000_000  # bytes
_PACKED_ALREADY = {".safetensors", ".pt", ".bin", ".gz", ".zip"}

OnBytes = Callable[[int], None]
"""Told how many more bytes were read; what it raises ends the work."""


@contextmanager
def writing(to: Path) -> Iterator[zipfile.ZipFile]:
    """A new archive, under another name until the block ends; then it is flushed to the disk and called ``to``.

    When the block raises nothing is left. Raises ``BusyError`` while another process writes the same one.
    """
    part = to.with_name(f".{to.name}.part")
    try:
        to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"the backup cannot be written: {error.strerror}", where=str(to)) from None
    with os.fdopen(handle, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError("another workbench is writing this backup", where=str(to)) from None
        if not part.exists() or part.stat().st_ino != os.fstat(file.fileno()).st_ino:
            raise BusyError("another workbench has just written this backup", where=str(to))
        try:
            file.truncate(0)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                yield archive
            file.flush()
            os.fsync(file.fileno())
            part.replace(to)
        except BaseException as error:
            part.unlink(missing_ok=True)  # only then: once it is renamed, another may write one of this name
            if not isinstance(error, OSError):
                raise
            # One that is read may go meanwhile, with its run; what is written has no name here.
            where = Path(str(error.filename)) if error.filename else to
            raise StoreError(f"the backup was not written: {error.strerror}", where=str(where)) from None


def sweep(folder: Path) -> None:
    """Take away what killed backups left in a folder, also their copies of the database; one at work is left alone."""
    for part in folder.glob(".*.part"):
        with suppress(OSError), part.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for end in (".db", ".db-journal", ".part"):
                part.with_suffix(end).unlink(missing_ok=True)


def add_file(archive: zipfile.ZipFile, name: str, path: Path, on_bytes: OnBytes) -> BackedUp:
    """Add a file under a name of the workspace's; gives back its hash."""
    archive.compression = zipfile.ZIP_STORED if path.suffix in _PACKED_ALREADY else zipfile.ZIP_DEFLATED
    with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
        return _copy(source, target, on_bytes)


def add_list(archive: zipfile.ZipFile, contents: Contents) -> None:
    """Add the list, after everything else."""
    archive.compression = zipfile.ZIP_DEFLATED
    archive.writestr(LIST, json.dumps(contents.as_dict(), indent=1) + "\n")


class BackupFile:
    """A backup to read: such an archive, or a folder that a restore put aside (which has no hashes)."""

    def __init__(self, path: Path) -> None:
        """Reads the list alone. Raises ``NotFoundError``, or ``DataError`` when it is no backup."""
        self.path = path
        self._archive: zipfile.ZipFile | None = None
        if path.is_dir():
            self.contents = _of_folder(path)
            return
        if not path.is_file():
            raise NotFoundError(f"there is no file {path.name}", where=str(path))
        with _reading(path):
            self._archive = zipfile.ZipFile(path)
            self.contents = contents_of(_list_in(self._archive))
            check_names(self.contents.files)
            there = set(self._archive.namelist()) - {LIST}
        if wrong := sorted(there ^ set(self.contents.files)):
            raise DataError(f"{wrong[0]} is not both in it and in its list", where=str(path))

    def unpack(self, to: Path, on_bytes: OnBytes) -> None:
        """Write every file below ``to``; raises ``DataError`` for one that is not what the list says."""
        for name, told in self.contents.files.items():
            place = to / name
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with place.open("xb") as target:
                self._read(name, told, target, on_bytes)
                target.flush()
                os.fsync(target.fileno())

    def check(self, on_bytes: OnBytes) -> None:
        """Read every file; raises ``DataError`` for one that is not what the list says."""
        for name, told in self.contents.files.items():
            self._read(name, told, None, on_bytes)

    def close(self) -> None:
        """Let go of the file."""
        if self._archive is not None:
            self._archive.close()

    def _read(self, name: str, told: BackedUp, target: IO[bytes] | None, on_bytes: OnBytes) -> None:
        with _reading(self.path):
            source = (self.path / name).open("rb") if self._archive is None else self._archive.open(name)
            with source:
                found = _copy(source, target, on_bytes, most=told.bytes)
        if found.bytes != told.bytes or (told.sha256 and found.sha256 != told.sha256):
            raise DataError(
                f"{name} in it is not what its list says",
                hint="the backup is damaged: use another",
                where=str(self.path),
            )


def _copy(source: IO[bytes], target: IO[bytes] | None, on_bytes: OnBytes, *, most: int | None = None) -> BackedUp:
    digest, size = hashlib.sha256(), 0
    while piece := source.read(_PIECE):
        digest.update(piece)
        size += len(piece)
        if most is not None and size > most:
            break  # an archive can claim little and hold much
        if target is not None:
            target.write(piece)
        on_bytes(len(piece))
    return BackedUp(digest.hexdigest(), size)


def _list_in(archive: zipfile.ZipFile) -> Mapping[str, Any]:
    try:
        entry = archive.getinfo(LIST)
    except KeyError:
        raise DataError("it is no backup of a workbench: it has no backup.json") from None
    if entry.file_size > _LARGEST_LIST:
        raise DataError("its list of files is too long to be one")
    values: Mapping[str, Any] = json.loads(archive.read(LIST))
    return values


def _of_folder(folder: Path) -> Contents:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    files = {path.relative_to(folder).as_posix(): BackedUp("", path.stat().st_size) for path in paths}
    beside = {name: one for name, one in files.items() if not name.startswith(f"{DATABASE}-")}
    if DATABASE not in beside:
        raise DataError(f"there is no {DATABASE} in this folder: it is no backup", where=str(folder))
    check_names(beside)
    return Contents(files)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(error.message, hint=error.hint, where=str(path)) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"it is no backup that can be read: {error}", where=str(path)) from None
    except OSError as error:
        raise StoreError(f"it cannot be read: {error.strerror}", where=str(path)) from None
