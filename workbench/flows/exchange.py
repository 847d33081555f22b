"""Examples in from files and out to files.

Owns reports, duplicates, what happens to bad lines, and how a file is written. What a row means is the format's
business; how lines become rows is that of ``reading.py`` beside this.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO

from workbench import formats
from workbench.domain.chats import storable
from workbench.domain.checks import Severity
from workbench.domain.examples import Example, Kind, NewExample, Source, SourceKind, Status
from workbench.domain.formats import Format
from workbench.domain.models import check_name
from workbench.domain.provenance import COLUMNS, provenance_row, with_provenance
from workbench.domain.queries import Filter, Query, parse_query
from workbench.errors import DataError, NotFoundError, WorkbenchError
from workbench.flows import check
from workbench.flows.reading import Line, RowError, open_lines, read_rows

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

STANDARD_INPUT = "-"
REPAIRED = "repaired-text"
_MOST_ERRORS = 1000
_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class LineError:
    """A line that could not be taken, and why."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or with ``dry_run`` would do. ``errors`` are the first of ``skipped`` bad lines.

    ``kinds`` counts the good rows that were read, new or not. ``skipped_file`` holds the bad lines as they were.
    """

    dataset: str
    format: str
    imported: int
    duplicates: int
    skipped: int
    errors: tuple[LineError, ...] = ()
    kinds: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    skipped_file: str = ""
    dry_run: bool = False

    def as_dict(self) -> dict[str, object]:
        """The report as ``--json`` prints it."""
        return asdict(self) | {"errors": [asdict(error) for error in self.errors], "notes": list(self.notes)}

    def sentence(self) -> str:
        """The report for a person."""
        if self.imported or not self.duplicates:
            verb = "would import" if self.dry_run else "imported"
            parts = [f"{verb} {_count(self.imported, 'row')} into {self.dataset}"]
            parts += [f"{self.duplicates:,} were there already"] if self.duplicates else []
        else:
            parts = [f"nothing new: {_count(self.duplicates, 'row')} already in {self.dataset}"]
        if self.skipped:
            where = f", written to {self.skipped_file}" if self.skipped_file else ""
            parts.append(f"skipped {_count(self.skipped, 'bad line')}{where}")
            parts += [f"line {error.line}: {error.reason}" for error in self.errors[:3]]
        return "; ".join([*parts, *self.notes])


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written where."""

    file: str
    format: str
    rows: int
    sha256: str
    kinds: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """The report as ``--json`` prints it."""
        return asdict(self)

    def sentence(self) -> str:
        """The report for a person, with a word on files that most trainers will not take."""
        said = f"exported {_count(self.rows, 'row')} to {self.file}"
        if len(self.kinds) > 1:
            mixed = ", ".join(f"{number:,} {kind}" for kind, number in self.kinds.items())
            said += f"; it mixes kinds ({mixed}): for a trainer, export one, such as kind:{next(iter(self.kinds))}"
        return said


class _DryRunEnded(Exception):
    """Takes the transaction of a dry run back."""


def import_file(
    bench: Bench,
    source: Path | TextIO,
    *,
    dataset: str = "",
    format: str = "",
    status: Status = Status.PENDING,
    skip_bad: bool = False,
    dry_run: bool = False,
) -> ImportReport:
    """Bring the rows of a JSONL file, a JSON array or a text stream into ``dataset`` (default: named after the file).

    All rows or none: one bad line raises ``DataError`` with its file, line and reason, after all others were looked
    at too. With ``skip_bad`` the good rows are taken, and the bad lines are written to ``<file>.skipped.jsonl`` beside
    the file (into the workspace's exports where that folder cannot be written). A row that the dataset has already is
    counted, not added. ``status`` is for rows that do not bring their own (see ``export_file``).
    """
    name = STANDARD_INPUT if not isinstance(source, Path) else str(source)
    dataset = check_name(dataset, what="dataset") if dataset else _dataset_name(source)
    with open_lines(source) as file, _Skipped(bench, source, wanted=skip_bad and not dry_run) as skipped:
        reader = _Reader(name, file, formats.get(format) if format else None, skipped)
        report = _import(bench, reader, dataset, status, skip_bad=skip_bad, dry_run=dry_run)
        skipped.keep()
    return report


def _import(
    bench: Bench, reader: _Reader, dataset: str, status: Status, *, skip_bad: bool, dry_run: bool
) -> ImportReport:
    counts = 0, 0
    try:
        with bench.store.write():
            counts = bench.store.examples.add_many(dataset, reader.rows(skip_bad), rater=bench.rater, status=status)
            reader.check(skip_bad=skip_bad)
            if dry_run:
                raise _DryRunEnded
    except _DryRunEnded:
        pass
    return ImportReport(
        dataset=dataset,
        format=reader.format.name if reader.format else "",
        imported=counts[0],
        duplicates=counts[1],
        skipped=reader.bad,
        errors=tuple(reader.errors),
        kinds={kind.value: reader.kinds[kind] for kind in Kind},
        notes=tuple(reader.notes()),
        skipped_file=str(reader.skipped.path) if reader.bad and reader.skipped.path else "",
        dry_run=dry_run,
    )


class _Reader:
    """The rows of one file, and what was found out on the way."""

    def __init__(self, name: str, file: IO[bytes], wanted: Format | None, skipped: _Skipped) -> None:
        self.name = name
        self.format = wanted
        self.skipped = skipped
        self.bad = 0
        self.errors: list[LineError] = []
        self.kinds: Counter[Kind] = Counter()
        self._file = file
        self._repaired = 0
        self._ignored: set[str] = set()
        self._flagged: Counter[str] = Counter()

    def rows(self, skip_bad: bool) -> Iterator[NewExample]:
        """The good rows; nothing more after the first bad line unless ``skip_bad``, but every line is looked at."""
        for line in self._lines():
            try:
                new = self._example(line)
            except DataError as error:
                self._refuse(line, error)
            else:
                self.kinds[new.content.kind] += 1
                if skip_bad or not self.bad:
                    yield new

    def check(self, *, skip_bad: bool) -> None:
        """Raise ``DataError`` for the first bad line unless bad lines are skipped, and for a file without rows."""
        if self.bad and not skip_bad:
            first, more = self.errors[0], self.bad - 1
            others = f" ({more:,} more bad {'line' if more == 1 else 'lines'})" if more else ""
            raise DataError(
                f"{first.reason}{others}; nothing was imported",
                hint="correct it, or import the rest with --skip-bad",
                where=f"{self.name}:{first.line}",
            )
        if not self.bad and not self.kinds:
            raise DataError("there are no rows in it", hint="one JSON object per line", where=self.name)

    def notes(self) -> Iterator[str]:
        """What a person should know about the rows that were taken."""
        if self._repaired:
            yield f"{_count(self._repaired, 'row')} had broken characters, now U+FFFD (flag:{REPAIRED})"
        if self._flagged:
            found = ", ".join(f"{name} {count:,}" for name, count in self._flagged.most_common())
            yield f"checks flagged rows ({found}); `check` says why"
        if self._ignored:
            yield f"columns not taken: {', '.join(sorted(self._ignored))}"

    def _lines(self) -> Iterator[Line]:
        try:
            return read_rows(self._file)
        except DataError as error:
            raise DataError(error.message, hint=error.hint, where=self.name) from None

    def _example(self, line: Line) -> NewExample:
        if isinstance(line.row, RowError):
            raise DataError(line.row.reason)
        if self.format is None:
            self.format = formats.detect(line.row)
        content = self.format.read(line.row)
        path = self.name if self.name == STANDARD_INPUT else str(Path(self.name).absolute())
        source = Source(SourceKind.IMPORT, file=storable(path), line=line.number)
        new = with_provenance(content, line.row, source=source)
        new = replace(new, findings=tuple(check.look_at(content)))
        self._flagged.update({found.check for found in new.findings if found.severity is not Severity.INFO})
        self._ignored |= set(line.row) - self.format.columns - set(COLUMNS)
        if not line.repaired:
            return new
        self._repaired += 1
        return replace(new, flags=tuple(dict.fromkeys((*new.flags, REPAIRED))))

    def _refuse(self, line: Line, error: DataError) -> None:
        self.bad += 1
        if len(self.errors) < _MOST_ERRORS:
            self.errors.append(LineError(self.name, line.number, error.message))
        self.skipped.add(line.raw)


class _Skipped(contextlib.AbstractContextManager["_Skipped"]):
    """The file of bad lines: made with the first one, in place only after the import was committed."""

    def __init__(self, bench: Bench, source: Path | TextIO, *, wanted: bool) -> None:
        self.path: Path | None = None
        self._wanted = wanted
        self._exports = bench.workspace.exports
        self._source = source if isinstance(source, Path) else None
        self._file: IO[bytes] | None = None
        self._temporary: Path | None = None

    def add(self, raw: bytes) -> None:
        """One more bad line, as it was."""
        if not self._wanted:
            return
        if self._file is None:
            self.path, self._temporary, self._file = self._open()
        self._file.write(raw.rstrip(b"\r\n") + b"\n")

    def keep(self) -> None:
        """Put the file in its place."""
        if self._file is not None and self._temporary is not None and self.path is not None:
            self._file.close()
            self._temporary.replace(self.path)

    def __exit__(self, *_: object) -> None:
        if self._file is not None and self._temporary is not None:
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _open(self) -> tuple[Path, Path, IO[bytes]]:
        name = f"{self._source.name if self._source else 'stdin'}.skipped.jsonl"
        folders = [self._source.absolute().parent] if self._source else []
        for folder in folders:
            with contextlib.suppress(OSError):
                return folder / name, *_temporary(folder / name)
        try:
            self._exports.mkdir(parents=True, exist_ok=True)
            return self._exports / name, *_temporary(self._exports / name)
        except OSError as error:
            message = f"the bad lines cannot be written out: {error.strerror}"
            raise WorkbenchError(message, where=str(self._exports)) from None


def export_lines(
    bench: Bench, query_text: str, *, dataset: str = "", format: str = "trl", provenance: bool = False
) -> Iterator[str]:
    """The lines that ``export_file`` writes, each with its newline."""
    written = array("q")
    for example in _matching(bench, query_text, dataset):
        yield _line(example, formats.get(format), provenance)
        written.append(example.id)
    bench.store.findings.settle(written)


def export_file(
    bench: Bench,
    query_text: str,
    to: Path,
    *,
    dataset: str = "",
    format: str = "trl",
    provenance: bool = False,
) -> ExportReport:
    """Write the examples that the query finds to ``to`` as JSONL; the file appears whole or not at all.

    An empty query means ``status:accepted``. Rejected examples are written only when the query asks for a status.
    ``provenance`` adds id, dataset, status, split, tags, note, rating, rater, flags and source to each row; importing
    such a file restores them. Redactions of what is written become final. Raises ``NotFoundError`` when nothing
    matches.
    """
    writer, kinds, digest, written = formats.get(format), Counter[str](), hashlib.sha256(), array("q")
    to = to.resolve()  # a link stays a link
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        temporary, file = _temporary(to)
    except OSError as error:
        raise WorkbenchError(f"the file cannot be written: {error.strerror}", where=str(to)) from None
    try:
        with file:
            for example in _matching(bench, query_text, dataset):
                line = _line(example, writer, provenance).encode("utf-8")
                digest.update(line)
                file.write(line)
                kinds[example.content.kind.value] += 1
                written.append(example.id)
            file.flush()
            os.fsync(file.fileno())
        if not kinds:
            raise NotFoundError(f"no example matches {query_text or 'status:accepted'!r}", hint=_nothing_hint(dataset))
        temporary.replace(to)
        bench.store.findings.settle(written)
    except OSError as error:
        raise WorkbenchError(f"the file cannot be written: {error.strerror}", where=str(to)) from None
    finally:
        temporary.unlink(missing_ok=True)
    return ExportReport(str(to), writer.name, kinds.total(), digest.hexdigest(), dict(kinds))


def export_query(text: str) -> Query:
    """The query of an export: accepted examples when ``text`` is empty, rejected ones only when it names a status."""
    query = parse_query(text)
    if not text.strip():
        return Query((Filter("status", Status.ACCEPTED.value),))
    if any(found.field == "status" for found in query.filters):
        return query
    return Query((*query.filters, Filter("status", Status.REJECTED.value, negated=True)), query.words)


def _matching(bench: Bench, query_text: str, dataset: str) -> Iterator[Example]:
    query, after = export_query(query_text), 0
    while rows := bench.store.examples.list(query, dataset=dataset or None, after=after, limit=_ROWS_AT_ONCE):
        yield from rows
        after = rows[-1].id


def _line(example: Example, writer: Format, provenance: bool) -> str:
    if example.content.kind not in writer.kinds:
        raise DataError(f"{writer.name} has no form for a {example.content.kind.value}", where=f"example {example.id}")
    row = writer.write(example.content) | (provenance_row(example) if provenance else {})
    return storable(json.dumps(row, ensure_ascii=False)) + "\n"


def _temporary(to: Path) -> tuple[Path, IO[bytes]]:
    """A new file beside ``to``, to be renamed to it; made with the user's own default rights."""
    path = to.with_name(f".{to.name}.{secrets.token_hex(4)}.tmp")
    return path, path.open("xb")


def _dataset_name(source: Path | TextIO) -> str:
    if not isinstance(source, Path):
        return "imported"
    name = source.name.partition(".")[0] or source.stem
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:64] or "imported"


def _nothing_hint(dataset: str) -> str:
    where = f" in {dataset}" if dataset else ""
    return f"`workbench examples list` shows what there is{where}; without a query only accepted examples are exported"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
