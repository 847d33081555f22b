"""Folders whose ``dataset_info.json`` says what their files are: LLaMA-Factory's own way, read and written."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.domain.formats import Format
from workbench.errors import DataError, RefusedError, WorkbenchError
from workbench.formats import llama_factory

INFO = llama_factory.INFO


@dataclass(frozen=True, slots=True)
class Described:
    """One local file of a described folder, and how to read it."""

    name: str
    path: Path
    format: Format


def is_described(path: Path) -> bool:
    """True for such a folder (or its ``dataset_info.json``); ``datasets`` writes a file of that name too."""
    folder = path.parent if path.name == INFO else path
    if not (folder / INFO).is_file() or any((folder / name).exists() for name in ("state.json", "dataset_dict.json")):
        return False
    return path == folder / INFO or path.is_dir()


def entries(path: Path) -> tuple[list[Described], list[str]]:
    """The files that are there, and the names of entries whose data is elsewhere (a hub, a script, a missing file)."""
    folder = path.parent if path.name == INFO else path
    found: list[Described] = []
    elsewhere: list[str] = []
    for name, entry in _read(folder / INFO).items():
        file = entry.get("file_name") if isinstance(entry, Mapping) else None
        target = folder / file if isinstance(file, str) and file else None
        if target is None or not target.resolve().is_relative_to(folder.resolve()) or not target.exists():
            elsewhere.append(name)
            continue
        try:
            found.append(Described(name, target, llama_factory.of_entry(entry)))
        except DataError as error:
            raise DataError(f"the entry {name!r}: {error.message}", hint=error.hint, where=str(folder / INFO)) from None
    return found, elsewhere


def refuse_taken(folder: Path, name: str, file_name: str) -> None:
    """Raise ``RefusedError`` when the folder has an entry ``name`` for something else than the file ``file_name``."""
    info = folder / INFO
    known = _read(info).get(name) if info.exists() else None
    if known is not None and not (isinstance(known, Mapping) and known.get("file_name") == file_name):
        raise RefusedError(
            f"{INFO} has an entry {name!r} already, for something else than {file_name}",
            hint="give the file (or --dataset) another name, or take the entry out",
            where=str(info),
        )


def describe(folder: Path, name: str, entry: Mapping[str, object]) -> None:
    """Add one entry to the folder's ``dataset_info.json``; the others stay as they are.

    Of an entry of this name what says how to read the file is replaced, and the rest (such as ``num_samples``) stays.
    """
    info = folder / INFO
    known = _read(info) if info.exists() else {}
    before = known.get(name)
    kept = {key: value for key, value in before.items() if key not in _READING} if isinstance(before, Mapping) else {}
    known[name] = kept | dict(entry)
    temporary = info.with_name(f".{info.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(json.dumps(known, ensure_ascii=False, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(info)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WorkbenchError(f"the file cannot be written: {error.strerror}", where=str(info)) from None


_READING = frozenset({"formatting", "ranking", "columns", "tags"})


def _read(info: Path) -> dict[str, Any]:
    try:
        known = json.loads(info.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(info)) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"it is not JSON: {error}", where=f"{info}:{getattr(error, 'lineno', 1)}") from None
    if not isinstance(known, dict):
        raise DataError("it is not an object of datasets", where=f"{info}:1")
    return known
