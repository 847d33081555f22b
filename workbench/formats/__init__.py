"""File formats, one file each, found by folder: a new file here can be imported and exported everywhere.

Owns the finding, and telling a format from the shape of rows. A file whose name begins with an underscore holds parts
that formats share and is not a format itself.

How a format is told: each scores the first rows of a file by their shape, never by the file's name; the highest sum
wins. Formats that read a row in the same way may score alike (a plain ``messages`` row is TRL, OpenAI and Axolotl at
once): of those ``trl`` is taken, else the first by name. The scores: 100 for a column or value that only one format
has, 80 to 90 for an unusual shape, 40 to 70 for common columns, 5 for a guess by the name of a column (``table``).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache

from workbench.domain.formats import Format, Row
from workbench.domain.methods import nearest
from workbench.errors import DataError, NotFoundError

LOOKED_AT = 50


@cache
def find() -> dict[str, Format]:
    """Every format of this folder by name, in the order of the file names."""
    modules = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    formats = [_format(name) for name in modules]
    return {found.name: found for found in formats}


def writable() -> dict[str, Format]:
    """The formats that can be written."""
    return {name: found for name, found in find().items() if found.write is not None}


def get(name: str) -> Format:
    """The format called ``name``; raises ``NotFoundError`` with the nearest name when there is none."""
    formats, name = find(), name.replace("-", "_")
    if name not in formats:
        raise NotFoundError(f"there is no format {name!r}", hint=nearest(name, formats))
    return formats[name]


def ranked(rows: Sequence[Row]) -> list[tuple[Format, int]]:
    """The formats that these rows could be of with their scores, the surest first."""
    scores = [(found, sum(found.score(row) for row in rows[:LOOKED_AT])) for found in find().values()]
    return sorted((pair for pair in scores if pair[1]), key=lambda pair: (-pair[1], pair[0].name != "trl"))


def detect(rows: Sequence[Row]) -> Format:
    """The format of these rows by their shape; raises ``DataError`` that names the columns they have."""
    if found := ranked(rows):
        return found[0][0]
    columns = ", ".join(sorted({repr(name) for row in rows[:LOOKED_AT] for name in row})) or "none"
    raise DataError(
        f"no format has such rows (columns: {columns})",
        hint="say which column is which: --map prompt=COLUMN --map completion=COLUMN (or chosen=, rejected=, text=)",
    )


def _format(module: str) -> Format:
    found = importlib.import_module(f"{__name__}.{module}").FORMAT
    if not isinstance(found, Format):
        raise TypeError(f"workbench/formats/{module}.py must define FORMAT as a Format")
    return found
