"""The beginning of a source as it would be understood, for whoever asks before anything is written.

Owns what a preview holds. How a row is read is the import's business; here nothing is stored and little is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from workbench import formats
from workbench.domain.examples import Content
from workbench.domain.formats import Format, LeftOut, Reading
from workbench.errors import DataError, UsageError
from workbench.flows import containers, described
from workbench.flows.containers import Opened, Options
from workbench.flows.import_rows import SAMPLES, LineError, mapping_of, parts_of, renamed, told
from workbench.flows.reading import Line, RowError

_COUNTED_BYTES = 1 << 29  # counting line ends in so many takes some tenths of a second
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Preview:
    """The beginning of a file as it would be understood, for a dialog that asks before anything is written.

    ``formats`` are all that could read the rows, the surest first. ``error`` says why the first rows cannot be taken
    as they are: then ``rows`` may be empty and ``mapping`` is a guess that a person can correct. ``bad`` are the bad
    lines among the ``looked_at`` first ones. ``about`` is how many rows there may be, None where that cannot be told
    without reading all; it is exact when ``is_whole``. ``entries`` are the names that a described folder has.
    """

    format: str
    container: str
    columns: tuple[str, ...]
    mapping: dict[str, str]
    kinds: dict[str, int]
    rows: tuple[Content, ...]
    formats: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""
    bad: tuple[LineError, ...] = ()
    left_out: dict[str, int] | None = None
    looked_at: int = 0
    about: int | None = None
    is_whole: bool = False
    entries: tuple[str, ...] = ()


def preview(
    source: containers.Source,
    *,
    format: str = "",
    mapping: Mapping[str, str] | None = None,
    options: Options | None = None,
    entry: str = "",
    rows: int = SAMPLES,
) -> Preview:
    """How the first rows of a source would be understood; reads no further, writes nothing.

    Of a folder with a ``dataset_info.json`` the first entry is shown, or the one called ``entry``. Raises
    ``DataError`` or ``NotFoundError`` only for a source that cannot be opened at all.
    """
    wanted = formats.get(format) if format else None
    entries: tuple[str, ...] = ()
    if isinstance(source, Path) and described.is_described(source):
        files, _ = described.entries(source)
        entries = tuple(file.name for file in files)
        file = next((file for file in files if entry in ("", file.name)), None)
        if file is None:
            raise DataError("no entry with a file that is there", where=str(source))
        source, wanted = file.path, file.format
    with containers.open_source(source, options or Options()) as opened:
        lines = list(islice(opened.lines, formats.LOOKED_AT + 1))
        is_whole = len(lines) <= formats.LOOKED_AT
        lines = lines[: formats.LOOKED_AT]
        about = len(lines) if is_whole else _about(opened, lines)
    return _looked_at(opened, lines, wanted, dict(mapping or {}), rows, (about, is_whole), entries)


def _about(opened: Opened, lines: Sequence[Line]) -> int | None:
    """How many rows there are, from the line ends or the length of these rows; None where that would mean nothing."""
    if not 0 < opened.size <= _COUNTED_BYTES or opened.container not in ("jsonl", "json", "csv", "tsv"):
        return None
    if opened.container == "json":
        mean = sum(len(line.raw) for line in lines) / len(lines)
        return round(opened.size / mean) if mean else None
    with Path(opened.name).open("rb") as file:
        ends = sum(piece.count(b"\n") for piece in iter(lambda: file.read(_PIECE), b""))
    return ends - (opened.container != "jsonl")


def _looked_at(
    opened: Opened,
    lines: Sequence[Line],
    wanted: Format | None,
    mapping: dict[str, str],
    shown: int,
    size: tuple[int | None, bool],
    entries: tuple[str, ...],
) -> Preview:
    found = [line.row for line in lines if not isinstance(line.row, RowError)]
    mapped = [renamed(row, mapping) for row in found]
    columns = tuple(dict.fromkeys(name for row in found for name in row))
    error, hint, chosen = "", "", wanted
    try:
        chosen = wanted or (told(mapped, mapping) if mapped else None)
    except DataError as none:
        error, hint = none.message, none.hint
    if chosen and (unknown := set(mapping) - chosen.columns):
        raise UsageError(
            f"{chosen.name} has no column {min(unknown)!r}", hint=f"it has: {', '.join(sorted(chosen.columns))}"
        )
    contents, left_out, bad = _read(lines, chosen, mapping, opened.name)
    if not lines:
        error = "there are no rows in it"
    elif not error and not contents and not left_out:
        error = bad[0].reason if bad else ""
    return Preview(
        chosen.name if chosen else "",
        opened.container,
        columns,
        mapping_of(chosen, columns, mapping),
        dict(Counter(content.kind.value for content in contents)),
        tuple(contents[:shown]),
        tuple(one.name for one, _ in formats.ranked(mapped)),
        error,
        hint,
        tuple(bad),
        dict(left_out),
        len(lines),
        *size,
        entries,
    )


def _read(
    lines: Sequence[Line], chosen: Format | None, mapping: Mapping[str, str], name: str
) -> tuple[list[Content], Counter[str], list[LineError]]:
    contents: list[Content] = []
    left_out: Counter[str] = Counter()
    bad: list[LineError] = []
    for line in lines:
        if isinstance(line.row, RowError):
            bad.append(LineError(line.file or name, line.number, line.row.reason))
            continue
        try:
            parts = parts_of(chosen, renamed(line.row, mapping)) if chosen else ()
        except DataError as error:
            bad.append(LineError(line.file or name, line.number, error.message))
            continue
        contents += [part.content for part in parts if isinstance(part, Reading)]
        left_out.update(part.reason for part in parts if isinstance(part, LeftOut))
    return contents, left_out, bad
