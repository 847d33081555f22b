"""Parquet files, saved datasets and datasets of the Hugging Face hub, read and written by a child process.

The child (``workbench.worker.table``) may load pyarrow and datasets; here rows are lines of JSON.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from workbench.errors import DataError, WorkbenchError
from workbench.jobs.children import converse

MODULE = "workbench.worker.table"
# A line that is no row begins with this: the child says in JSON why it cannot go on.
REFUSAL = "!"


def read_lines(source: str, *, split: str = "", cancelled: threading.Event | None = None) -> Iterator[str]:
    """The rows of a Parquet file, a saved dataset's folder or a hub id, one JSON object each.

    Raises ``DataError`` with the reason in plain words when it cannot be read. ``cancelled`` ends the child.
    """
    for line in converse(MODULE, ["read", source, "--split", split], (), cancelled=cancelled):
        if line.startswith(REFUSAL):
            raise _refused(line, source)
        yield line


def write_lines(lines: Iterable[str], kind: str, to: Path) -> None:
    """Write rows (JSON lines) as ``parquet`` or as a ``dataset`` folder; raises ``WorkbenchError``."""
    for line in converse(MODULE, ["write", kind, str(to)], lines):
        if line.startswith(REFUSAL):
            raise _refused(line, str(to))


def _refused(line: str, where: str) -> WorkbenchError:
    reason = json.loads(line.removeprefix(REFUSAL))
    return DataError(reason["message"], hint=reason.get("hint", ""), where=where)
