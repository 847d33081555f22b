"""Rows on their way into the store: packed, batch after batch, in a file without a name.

Whoever packs them may be another process that was handed the file; the store reads from the beginning while more are
added at the end. Knows nothing of transactions. Only our own processes can open the file, so that pickles are safe.
"""

from __future__ import annotations

import os
import pickle
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from workbench.domain.checks import Finding
from workbench.domain.examples import NewExample, Status
from workbench.store.columns import new_values

BATCH = 200
_LENGTH = struct.Struct("<Q")

Packed = tuple[list[Any], tuple[str, ...], tuple[str, ...], tuple[Finding, ...]]
"""A row's values in the order of ``columns.COLUMNS``, its tags, flags and findings."""


@dataclass(frozen=True, slots=True)
class Packing:
    """What is the same for all rows. ``status`` is for those that bring none."""

    status: Status
    rater: str
    now: str


def new_file(folder: Path) -> IO[bytes]:
    """A file that is gone when the last process that has it closes it, or is killed."""
    return tempfile.TemporaryFile(dir=folder)


class SpoolWriter:
    """Packs rows at the end of a file."""

    def __init__(self, file: IO[bytes], packing: Packing) -> None:
        self._file = file
        self._packing = packing
        self._batch: list[Packed] = []

    def put(self, new: NewExample) -> int:
        """One more row; returns how many became readable by that: none, or a batch."""
        values = new_values(new, rater=self._packing.rater, now=self._packing.now, status=self._packing.status)
        self._batch.append((values, new.tags, new.flags, new.findings))
        return self.flush() if len(self._batch) >= BATCH else 0

    def flush(self) -> int:
        """Make the rows readable that were put since the last batch; returns how many these are."""
        count = len(self._batch)
        if count:
            packed = pickle.dumps(self._batch, protocol=5)
            self._file.write(_LENGTH.pack(len(packed)))
            self._file.write(packed)
            self._file.flush()
            self._batch = []
        return count


class SpoolReader:
    """Reads batches by their place in the file, which may be written at the same time."""

    def __init__(self, file: int) -> None:
        self._file = file

    def batch(self, at: int) -> tuple[list[Packed], int]:
        """The batch at a place, and the place of the next. It must be there."""
        start = at + _LENGTH.size
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, at))
        batch: list[Packed] = pickle.loads(self._read(length, start))
        return batch, start + length

    def _read(self, count: int, at: int) -> bytes:
        parts: list[bytes] = []
        while count:
            parts.append(os.pread(self._file, count, at))
            if not parts[-1]:
                raise EOFError("the rows on their way were cut short")
            count, at = count - len(parts[-1]), at + len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)
