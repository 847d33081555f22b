"""File formats, one file each, found by folder: a new file here can be imported and exported everywhere.

Owns the finding, and telling a format from the shape of a row. A file whose name begins with an underscore holds parts
that formats share and is not a format itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from workbench.domain.formats import Format, Row
from workbench.domain.methods import nearest
from workbench.errors import DataError, NotFoundError


@cache
def find() -> dict[str, Format]:
    """Every format of this folder by name, in the order of the file names."""
    modules = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    formats = [_format(name) for name in modules]
    return {found.name: found for found in formats}


def get(name: str) -> Format:
    """The format called ``name``; raises ``NotFoundError`` with the nearest name when there is none."""
    formats = find()
    if name not in formats:
        raise NotFoundError(f"there is no format {name!r}", hint=nearest(name, formats))
    return formats[name]


def detect(row: Row) -> Format:
    """The first format that a row's shape fits; raises ``DataError`` that names the columns it has."""
    for found in find().values():
        if found.fits(row):
            return found
    columns = ", ".join(sorted(map(repr, row))) or "none"
    raise DataError(
        f"no format has such rows (columns: {columns})",
        hint="for example 'prompt' and 'completion'; 'prompt', 'chosen' and 'rejected'; or 'messages'",
    )


def _format(module: str) -> Format:
    found = importlib.import_module(f"{__name__}.{module}").FORMAT
    if not isinstance(found, Format):
        raise TypeError(f"workbench/formats/{module}.py must define FORMAT as a Format")
    return found
