"""Examples in from files and out to files: the names that front ends use.

Import is told in ``imports.py`` (and ``previews.py``), export in ``exports.py``, and what a source may be in
``containers.py``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError
from workbench.flows import described
from workbench.flows.containers import Options, Source, as_source
from workbench.flows.exports import (
    CancelledExport,
    ExportLook,
    ExportReport,
    container_of,
    count,
    export_file,
    export_lines,
    export_query,
    held_back,
    held_back_said,
    look,
)
from workbench.flows.import_rows import NO_COLUMN, REPAIRED, BadLines, LineError, Progress
from workbench.flows.imports import ImportReport, import_file
from workbench.flows.previews import Preview
from workbench.flows.previews import preview as preview_source

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.flows.bench import Bench

__all__ = [
    "NO_COLUMN",
    "REPAIRED",
    "BadLines",
    "CancelledExport",
    "ExportLook",
    "ExportReport",
    "ImportReport",
    "LineError",
    "Options",
    "Preview",
    "Progress",
    "Source",
    "as_source",
    "container_of",
    "count",
    "export_file",
    "export_lines",
    "export_query",
    "held_back",
    "held_back_said",
    "import_any",
    "import_file",
    "look",
    "preview",
]


def import_any(bench: Bench, source: Source, *, entry: str = "", **how: Any) -> list[ImportReport]:
    """``import_file``, also for a folder with a ``dataset_info.json``: one report for each of its files.

    Each of those goes into a dataset named after its entry unless ``dataset`` is given; ``entry`` takes one of them.
    """
    from pathlib import Path

    if not isinstance(source, Path) or not described.is_described(source):
        return [import_file(bench, source, **how)]
    files, elsewhere = described.entries(source)
    wanted = [file for file in files if entry in ("", file.name)]
    if not wanted:
        known = ", ".join(file.name for file in files) or "none"
        raise DataError("no entry with a file that is there", hint=f"known: {known}", where=str(source))
    how["dataset"] = how.get("dataset", "")
    reports = []
    for file in wanted:
        into = how | {"dataset": how["dataset"] or file.name, "described": file.format, "format": ""}
        reports.append(replace(import_file(bench, file.path, **into), file=str(file.path)))
    if elsewhere and not entry:
        note = f"{len(elsewhere)} entries without a file here: {', '.join(elsewhere[:5])}"
        reports[-1] = replace(reports[-1], notes=(*reports[-1].notes, note))
    return reports


def preview(bench: Bench, source: Path | Source, **how: Any) -> Preview:
    """``previews.preview`` with the bench that every flow is handed, though it changes nothing in it."""
    return preview_source(source, **how)
