"""Examples in from files: reports, bad lines, duplicates, and what happens to all of them.

What a row means is the format's business, how bytes become rows that of ``containers.py`` beside this, what is shown
before anything is written that of ``previews.py``, and how rows become visible together that of the store.
"""

from __future__ import annotations

import contextlib
import gc
import json
import re
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from workbench import formats
from workbench.domain.chats import storable
from workbench.domain.checks import Severity
from workbench.domain.examples import Content, Kind, NewExample, Source, SourceKind, Status
from workbench.domain.formats import Format, LeftOut, Reading
from workbench.domain.models import check_name
from workbench.domain.provenance import COLUMNS, with_provenance
from workbench.errors import DataError, UsageError, WorkbenchError
from workbench.flows import check, containers
from workbench.flows.containers import STANDARD_INPUT, Opened, Options
from workbench.flows.reading import Line, Row, RowError
from workbench.formats import table
from workbench.store.imports import CancelledImport

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

REPAIRED = "repaired-text"
SAMPLES = 3
NO_COLUMN = ""
"""In a mapping: this part is in no column, whatever the columns are called."""
_MOST_ERRORS = 1000
_TOLD_ERRORS = 20
_CANCELLED = "the import was cancelled; nothing was imported"
_ROWS_PER_NEWS = 200
_VALUES_PER_COLLECTION = 50_000
_PROVENANCE = frozenset(COLUMNS)


@dataclass(frozen=True, slots=True)
class LineError:
    """A line that could not be taken, and why."""

    file: str
    line: int
    reason: str


class BadLines(DataError):
    """Lines that cannot be taken, and nothing was imported: ``errors`` are the first of ``bad`` of them."""

    def __init__(self, errors: Sequence[LineError], bad: int) -> None:
        first, more = errors[0], bad - 1
        others = f" ({more:,} more bad {'line' if more == 1 else 'lines'})" if more else ""
        super().__init__(
            f"{first.reason}{others}; nothing was imported",
            hint="correct it, or import the rest with --skip-bad",
            where=f"{first.file}:{first.line}",
        )
        self.errors = tuple(errors)
        self.bad = bad

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, with the first bad lines one by one."""
        return {**super().as_dict(), "bad": self.bad, "lines": [asdict(error) for error in self.errors[:_TOLD_ERRORS]]}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is: ``share`` of the phase (``reading``, then ``writing``), None where it cannot be told.

    ``bad`` counts the lines so far that cannot be taken.
    """

    phase: str
    rows: int
    share: float | None
    bad: int = 0


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or with ``dry_run`` would do. ``errors`` are the first of ``skipped`` bad lines.

    ``kinds`` counts the examples in the good rows, new or not. ``skipped_file`` holds the bad lines as they were.
    ``samples`` are the first examples as they were understood, ``mapping`` which column was taken for which part, and
    ``flagged`` in how many rows each check found something.
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
    file: str = ""
    container: str = ""
    import_id: int | None = None
    mapping: dict[str, str] = field(default_factory=dict)
    samples: tuple[dict[str, Any], ...] = ()
    flagged: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """The report as ``--json`` prints it."""
        lists = {"errors": [asdict(error) for error in self.errors], "notes": list(self.notes)}
        return asdict(self) | lists | {"samples": list(self.samples)}

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


def import_file(
    bench: Bench,
    source: containers.Source,
    *,
    dataset: str = "",
    format: str = "",
    status: Status = Status.PENDING,
    skip_bad: bool = False,
    dry_run: bool = False,
    mapping: Mapping[str, str] | None = None,
    options: Options | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: threading.Event | None = None,
    described: Format | None = None,
) -> ImportReport:
    """Bring the rows of a file, folder, text stream or hub id into ``dataset`` (default: named after the file).

    All rows or none, and visible all at once: one bad line raises ``DataError`` with its file, line and reason, after
    all others were looked at too. With ``skip_bad`` the good rows are taken, and the bad lines are written to
    ``<file>.skipped.jsonl`` beside the file (into the workspace's exports where that folder cannot be written). A row
    that the dataset has already is counted, not added. ``mapping`` names the file's column for a format's column.
    ``status`` is for rows that do not bring their own (see ``export_file``). ``cancelled`` ends it with nothing kept
    (``CancelledImport``). ``described`` is a format that the folder of the file describes.
    """
    dataset = check_name(dataset, what="dataset") if dataset else _dataset_name(source)
    wanted = described or (formats.get(format) if format else None)
    with _cancelling(cancelled), contextlib.ExitStack() as stack:
        stack.enter_context(_seldom_collected())
        opened = stack.enter_context(containers.open_source(source, options or Options(), cancelled=cancelled))
        skipped = stack.enter_context(_Skipped(bench, source, wanted=skip_bad and not dry_run))
        staging = stack.enter_context(bench.store.imports.stage(dataset, status=status, rater=bench.rater))
        reader = _Reader(opened, wanted, mapping or {}, skipped)
        for new in reader.examples(skip_bad, lambda progress: _tell(on_progress, progress, cancelled)):
            staging.put(new)
        reader.check(skip_bad=skip_bad)
        if dry_run:
            imported, duplicates, import_id = *staging.count(), None
        else:
            done = staging.publish(
                file=reader.path(opened.name),
                format=reader.format.name if reader.format else "",
                skipped=reader.bad,
                advance=lambda rows: _tell(on_progress, Progress("writing", rows, rows / staging.rows), None),
                cancelled=cancelled,
            )
            imported, duplicates, import_id = done.imported, done.duplicates, done.import_id
        skipped.keep()
    return reader.report(
        ImportReport(dataset, "", imported, duplicates, reader.bad, dry_run=dry_run, import_id=import_id)
    )


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Millions of short-lived values and no cycles among them: the collector would spend a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(_VALUES_PER_COLLECTION, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextlib.contextmanager
def _cancelling(cancelled: threading.Event | None) -> Iterator[None]:
    """However an import breaks off after it was cancelled, it was cancelled."""
    try:
        yield
    except WorkbenchError as error:
        if cancelled is None or not cancelled.is_set() or isinstance(error, CancelledImport):
            raise
        raise CancelledImport(_CANCELLED) from error


def _tell(
    on_progress: Callable[[Progress], None] | None, progress: Progress, cancelled: threading.Event | None
) -> None:
    if cancelled is not None and cancelled.is_set():
        raise CancelledImport(_CANCELLED)
    if on_progress is not None:
        on_progress(progress)


def told(rows: Sequence[Row], mapping: Mapping[str, str]) -> Format:
    """The format of rows; with a mapping the table, where no other takes the columns that it names."""
    try:
        found = formats.detect(rows)
    except DataError:
        if not mapping:
            raise
        return table.FORMAT
    return found if set(mapping) <= found.columns else table.FORMAT


def renamed(row: Row, mapping: Mapping[str, str]) -> Row:
    """The row with its columns under the names that the format knows them by.

    A part that is mapped to no column is not guessed either: the columns that would be taken for it are left out.
    """
    if not mapping:
        return row
    rest = {name: value for name, value in row.items() if name not in mapping.values()}
    unwanted = [ours for ours, theirs in mapping.items() if theirs == NO_COLUMN]
    while unwanted and (guessed := [column for part, column in table.guess(rest).items() if part in unwanted]):
        rest = {name: value for name, value in rest.items() if name not in guessed}
    return rest | {ours: row[theirs] for ours, theirs in mapping.items() if theirs in row}


def parts_of(found: Format, row: Row) -> Sequence[Reading | LeftOut]:
    try:
        return found.read(row)
    except DataError as error:
        if found.score(row):
            raise
        others = formats.ranked([row])
        hint = (
            f"; it looks like {others[0][0].title}" if others else f" (columns: {', '.join(map(repr, row)) or 'none'})"
        )
        raise DataError(error.message + hint, hint=error.hint) from None


def mapping_of(found: Format | None, columns: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Which column is taken for which part: as given, else, for a table, as guessed by name."""
    if found is not None and found is not table.FORMAT:
        return {part: column for part, column in given.items() if column != NO_COLUMN}
    left = renamed(dict.fromkeys(columns), given)
    guessed = {part: column for part, column in table.guess(left).items() if column in columns}
    return guessed | {part: column for part, column in given.items() if column != NO_COLUMN}


class _Reader:
    """The rows of one source, and what was found out on the way."""

    def __init__(self, opened: Opened, wanted: Format | None, mapping: Mapping[str, str], skipped: _Skipped) -> None:
        self.format = wanted
        self.skipped = skipped
        self.bad = 0
        self.errors: list[LineError] = []
        self.kinds: Counter[Kind] = Counter()
        self.left_out: Counter[str] = Counter()
        self._opened = opened
        self._mapping = dict(mapping)
        self._is_mapped: set[str] = set()
        self._repaired = 0
        self._ignored: set[str] = set()
        self._known: set[str] = set()
        self._flagged: Counter[str] = Counter()
        self._columns: dict[str, None] = {}
        self._samples: list[Content] = []
        self._paths: dict[str, str] = {}

    def examples(self, skip_bad: bool, tell: Callable[[Progress], None]) -> Iterator[NewExample]:
        """The good ones; nothing more after the first bad line unless ``skip_bad``, but every line is looked at."""
        for number, line in enumerate(self._lines(), start=1):
            if number % _ROWS_PER_NEWS == 0:
                tell(Progress("reading", number, self._opened.share_read(), self.bad))
            try:
                found = list(self._examples(line))
            except DataError as error:
                self._refuse(line, error)
                continue
            for new in found:
                self.kinds[new.content.kind] += 1
                if skip_bad or not self.bad:
                    yield new

    def check(self, *, skip_bad: bool) -> None:
        """Raise ``DataError`` for the first bad line unless bad lines are skipped, and for a file without rows."""
        name = self._opened.name
        if (missing := set(self._mapping.values()) - self._is_mapped - {NO_COLUMN}) and self._columns:
            columns = ", ".join(map(repr, self._columns))
            raise UsageError(f"there is no column {min(missing)!r}", hint=f"columns: {columns}")
        if self.bad and not skip_bad:
            raise BadLines(self.errors, self.bad)
        if not self.bad and not self.kinds:
            reasons = "; ".join(self._left_out())
            raise DataError(f"there are no rows in it{f' ({reasons})' if reasons else ''}", where=name)

    def report(self, begun: ImportReport) -> ImportReport:
        """The report with what was found out."""
        return replace(
            begun,
            format=self.format.name if self.format else "",
            file=self._opened.name,
            container=self._opened.container,
            errors=tuple(self.errors),
            kinds={kind.value: self.kinds[kind] for kind in Kind},
            notes=tuple(self._notes()),
            skipped_file=str(self.skipped.path) if self.bad and self.skipped.path else "",
            mapping=mapping_of(self.format, tuple(self._columns), self._mapping) if self.format else {},
            samples=tuple(sample(content) for content in self._samples),
            flagged=dict(self._flagged.most_common()),
        )

    def path(self, name: str) -> str:
        """The absolute path of a file, kept for the next row."""
        if name not in self._paths:
            is_path = name != STANDARD_INPUT and Path(name).exists()
            self._paths[name] = storable(str(Path(name).absolute()) if is_path else name)
        return self._paths[name]

    def _notes(self) -> Iterator[str]:
        if self._repaired:
            yield f"{_count(self._repaired, 'row')} had broken characters, now U+FFFD (flag:{REPAIRED})"
        yield from self._left_out()
        if self._flagged:
            found = ", ".join(f"{name} {count:,}" for name, count in self._flagged.most_common())
            yield f"checks flagged rows ({found}); `check` says why"
        if self._ignored:
            yield f"columns not taken: {', '.join(sorted(self._ignored))}"

    def _left_out(self) -> Iterator[str]:
        return (f"left out {number:,} {reason}" for reason, number in sorted(self.left_out.items()))

    def _lines(self) -> Iterator[Line]:
        """The lines, mapped, after the first ones have told the format."""
        mapped = (self._renamed(line) for line in self._opened.lines)
        first = list(islice(mapped, formats.LOOKED_AT))
        rows = [line.row for line in first if not isinstance(line.row, RowError)]
        if self.format is None and rows:
            try:
                self.format = told(rows, self._mapping)
            except DataError as error:
                number = next(line.number for line in first if not isinstance(line.row, RowError))
                raise DataError(error.message, hint=error.hint, where=f"{self._opened.name}:{number}") from None
        if self.format and (unknown := set(self._mapping) - self.format.columns):
            raise UsageError(
                f"{self.format.name} has no column {min(unknown)!r}",
                hint=f"it has: {', '.join(sorted(self.format.columns))}",
            )
        return chain(first, mapped)

    def _renamed(self, line: Line) -> Line:
        if isinstance(line.row, RowError):
            return line
        if not line.row.keys() <= self._columns.keys():
            self._columns |= dict.fromkeys(line.row)
        if not self._mapping:
            return line
        self._is_mapped |= set(self._mapping.values()) & set(line.row)
        return replace(line, row=renamed(line.row, self._mapping))

    def _examples(self, line: Line) -> Iterator[NewExample]:
        if isinstance(line.row, RowError):
            raise DataError(line.row.reason)
        if self.format is None:
            self.format = told([line.row], self._mapping)
        parts = parts_of(self.format, line.row)
        source = Source(SourceKind.IMPORT, file=self.path(line.file or self._opened.name), line=line.number)
        if all(isinstance(part, LeftOut) for part in parts):
            self.left_out.update(part.reason for part in parts if isinstance(part, LeftOut))
            return
        if not line.row.keys() <= self._known:
            taken = table.guess(line.row).values() if self.format is table.FORMAT else self.format.columns
            self._known |= {*taken, *_PROVENANCE}
            self._ignored |= line.row.keys() - self._known
        self._repaired += line.repaired
        for part in parts:
            if isinstance(part, LeftOut):
                self.left_out[part.reason] += 1
            else:
                yield self._example(part, line, source)

    def _example(self, part: Reading, line: Line, source: Source) -> NewExample:
        assert not isinstance(line.row, RowError)
        if len(self._samples) < SAMPLES:
            self._samples.append(part.content)
        source = replace(source, models=part.models) if part.models else source
        findings = tuple(check.look_at(part.content))
        self._flagged.update({found.check for found in findings if found.severity is not Severity.INFO})
        if _PROVENANCE.isdisjoint(line.row):
            new = NewExample(part.content, source, findings=findings)
        else:
            new = replace(with_provenance(part.content, line.row, source=source), findings=findings)
        if part.tags or part.note or part.rating or part.status:
            new = replace(
                new,
                tags=tuple(dict.fromkeys((*part.tags, *new.tags))),
                note=new.note or part.note,
                rating=new.rating or part.rating,
                status=new.status or part.status,
            )
        return replace(new, flags=tuple(dict.fromkeys((*new.flags, REPAIRED)))) if line.repaired else new

    def _refuse(self, line: Line, error: DataError) -> None:
        self.bad += 1
        if len(self.errors) < _MOST_ERRORS:
            self.errors.append(LineError(line.file or self._opened.name, line.number, error.message))
        self.skipped.add(line.raw)


def sample(content: Content) -> dict[str, Any]:
    """An example as a preview shows it: kind and turns, and only the parts that there are."""
    parts = {"prompt": content.prompt, "chosen": content.chosen, "rejected": content.rejected}
    row: dict[str, Any] = {name: [turn.as_dict() for turn in turns] for name, turns in parts.items() if turns}
    row |= {"label": content.label} if content.label is not None else {}
    row |= {"tools": json.loads(content.tools)} if content.tools else {}
    return {"kind": content.kind.value, **row}


class _Skipped(contextlib.AbstractContextManager["_Skipped"]):
    """The file of bad lines: made with the first one, in place only after the import was committed."""

    def __init__(self, bench: Bench, source: containers.Source, *, wanted: bool) -> None:
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
        self._file.write(b" ".join(raw.rstrip(b"\r\n").splitlines()) + b"\n")

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


def _temporary(to: Path) -> tuple[Path, IO[bytes]]:
    """A new file beside ``to``, to be renamed to it; made with the user's own default rights."""
    path = to.with_name(f".{to.name}.{secrets.token_hex(4)}.tmp")
    return path, path.open("xb")


def _dataset_name(source: containers.Source) -> str:
    if not isinstance(source, Path | str):
        return "imported"
    path = source if isinstance(source, Path) else Path(source.rpartition("/")[2])
    name = path.name.partition(".")[0] or path.stem
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:64] or "imported"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
