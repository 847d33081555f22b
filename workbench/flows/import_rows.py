"""The rows of a source as examples: which format they are of, what is wrong with them, what the checks find in them.

Owns what is found out on the way through a source, also when that way is gone by a child process
(``import_child.py`` beside this). Knows nothing of where the examples go.
"""

from __future__ import annotations

import contextlib
import gc
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from workbench import checks, formats
from workbench.domain import counting
from workbench.domain.chats import storable
from workbench.domain.checks import Severity
from workbench.domain.examples import Content, Kind, NewExample, Source, SourceKind
from workbench.domain.formats import Format, LeftOut, Reading
from workbench.domain.provenance import COLUMNS, with_provenance
from workbench.errors import DataError, UsageError
from workbench.flows.containers import STANDARD_INPUT, Opened
from workbench.flows.reading import Line, Row, RowError
from workbench.formats import table

REPAIRED = "repaired-text"
SAMPLES = 3
NO_COLUMN = ""
"""In a mapping: this part is in no column, whatever the columns are called."""
_MOST_ERRORS = 1000
_TOLD_ERRORS = 20
_ROWS_PER_NEWS = 200
_VALUES_PER_COLLECTION = 50_000
_PROVENANCE = frozenset(COLUMNS)
_IMPORT = SourceKind.IMPORT


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
class Understood:
    """What was found out about a source by reading all of it. ``path`` is absolute where ``name`` is a file's.

    ``missing`` is a column that the mapping names and no row has. All of it can be written as JSON.
    """

    name: str
    path: str
    container: str
    format: str
    bad: int
    errors: tuple[LineError, ...]
    kinds: dict[str, int]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]
    columns: tuple[str, ...]
    missing: str
    mapping: dict[str, str]
    samples: tuple[dict[str, Any], ...]
    flagged: dict[str, int]

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Understood:
        """What ``asdict`` gave, after its way through JSON."""
        lists = {name: tuple(row[name]) for name in ("notes", "left_out", "columns", "samples")}
        return cls(**{**row, **lists, "errors": tuple(LineError(**error) for error in row["errors"])})

    def check(self, *, skip_bad: bool) -> None:
        """Raise ``DataError`` for the first bad line unless bad lines are skipped, and for a file without rows."""
        if self.missing and self.columns:
            raise UsageError(
                f"there is no column {self.missing!r}", hint=f"columns: {', '.join(map(repr, self.columns))}"
            )
        if self.bad and not skip_bad:
            raise BadLines(self.errors, self.bad)
        if not self.bad and not any(self.kinds.values()):
            reasons = "; ".join(self.left_out)
            raise DataError(f"there are no rows in it{f' ({reasons})' if reasons else ''}", where=self.name)


@contextlib.contextmanager
def seldom_collected() -> Iterator[None]:
    """Millions of short-lived values and no cycles among them: the collector would spend a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(_VALUES_PER_COLLECTION, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


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


class RowReader:
    """The rows of one source, and what was found out on the way. ``refused`` hears each bad line as it was."""

    def __init__(
        self, opened: Opened, wanted: Format | None, mapping: Mapping[str, str], refused: Callable[[bytes], None]
    ) -> None:
        self.format = wanted
        self._refused = refused
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
        self._checks = checks.row_checks(cheap=True)

    def examples(self, skip_bad: bool, tell: Callable[[Progress], None]) -> Iterator[NewExample]:
        """The good ones; nothing more after the first bad line unless ``skip_bad``, but every line is looked at."""
        for number, line in enumerate(self._lines(), start=1):
            if number % _ROWS_PER_NEWS == 0:
                tell(Progress("reading", number, self._opened.share_read(), self.bad))
            try:
                found = self._examples(line)
            except DataError as error:
                self._refuse(line, error)
                continue
            for new in found:
                self.kinds[new.content.kind] += 1
                if skip_bad or not self.bad:
                    yield new

    def understood(self) -> Understood:
        """What was found out."""
        columns = tuple(self._columns)
        return Understood(
            name=self._opened.name,
            path=self.path(self._opened.name),
            container=self._opened.container,
            format=self.format.name if self.format else "",
            bad=self.bad,
            errors=tuple(self.errors),
            kinds={kind.value: self.kinds[kind] for kind in Kind},
            notes=tuple(self._notes()),
            left_out=tuple(self._left_out()),
            columns=columns,
            missing=min(set(self._mapping.values()) - self._is_mapped - {NO_COLUMN}, default=""),
            mapping=mapping_of(self.format, columns, self._mapping) if self.format else {},
            samples=tuple(sample(content) for content in self._samples),
            flagged=dict(self._flagged.most_common()),
        )

    def path(self, name: str) -> str:
        """The absolute path of a file, kept for the next row."""
        path = self._paths.get(name)
        if path is None:
            is_path = name != STANDARD_INPUT and Path(name).exists()
            path = self._paths[name] = storable(str(Path(name).absolute()) if is_path else name)
        return path

    def _notes(self) -> Iterator[str]:
        if self._repaired:
            yield f"{counted(self._repaired, 'row')} had broken characters, now U+FFFD (flag:{REPAIRED})"
        yield from self._left_out()
        if self._flagged:
            found = ", ".join(f"{name} {count:,}" for name, count in self._flagged.most_common())
            yield f"checks flagged rows ({found}); `check` says why"
        if self._ignored:
            yield f"columns not taken: {', '.join(sorted(self._ignored))}"

    def _left_out(self) -> Iterator[str]:
        return (f"left out {counting.counted(number, reason)}" for reason, number in sorted(self.left_out.items()))

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

    def _examples(self, line: Line) -> list[NewExample]:
        row = line.row
        if isinstance(row, RowError):
            raise DataError(row.reason)
        if self.format is None:
            self.format = told([row], self._mapping)
        parts: list[Reading] = []
        for part in parts_of(self.format, row):
            if isinstance(part, LeftOut):
                self.left_out[part.reason] += 1
            else:
                parts.append(part)
        if not parts:
            return []
        if not row.keys() <= self._known:
            taken = table.guess(row).values() if self.format is table.FORMAT else self.format.columns
            self._known |= {*taken, *_PROVENANCE}
            self._ignored |= row.keys() - self._known
        self._repaired += line.repaired
        source = Source(_IMPORT, file=self.path(line.file or self._opened.name), line=line.number)
        return [self._example(part, line, source) for part in parts]

    def _example(self, part: Reading, line: Line, source: Source) -> NewExample:
        assert not isinstance(line.row, RowError)
        if len(self._samples) < SAMPLES:
            self._samples.append(part.content)
        source = replace(source, models=part.models) if part.models else source
        findings = tuple(checks.look(part.content, self._checks))
        if findings:
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
        self._refused(line.raw)


def sample(content: Content) -> dict[str, Any]:
    """An example as a preview shows it: kind and turns, and only the parts that there are."""
    parts = {"prompt": content.prompt, "chosen": content.chosen, "rejected": content.rejected}
    row: dict[str, Any] = {name: [turn.as_dict() for turn in turns] for name, turns in parts.items() if turns}
    row |= {"label": content.label} if content.label is not None else {}
    row |= {"tools": json.loads(content.tools)} if content.tools else {}
    return {"kind": content.kind.value, **row}


def counted(number: int, what: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
