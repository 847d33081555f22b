"""Examples in from files: reports, bad lines, duplicates, and what happens to all of them.

What a row means is the format's business, how bytes become rows that of ``containers.py`` beside this, how rows become
examples that of ``import_rows.py``, what is shown before anything is written that of ``previews.py``, and how examples
become visible together that of the store.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, assert_never

from workbench import formats
from workbench.domain.examples import Status
from workbench.domain.formats import Format
from workbench.domain.models import check_name
from workbench.errors import WorkbenchError
from workbench.flows import containers, import_child
from workbench.flows.containers import Options
from workbench.flows.import_child import Arrived
from workbench.flows.import_rows import LineError, Progress, RowReader, Understood, counted, seldom_collected
from workbench.store.imports import CancelledImport, Published, Staging

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

LARGE_BYTES = 3_000_000
"""From here on a child process reads a source, while this one writes what has been read: starting one costs 0.2 s."""
_AHEAD_ROWS = 1000
_CANCELLED = "the import was cancelled; nothing was imported"


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
            parts = [f"{verb} {counted(self.imported, 'row')} into {self.dataset}"]
            parts += [f"{self.duplicates:,} were there already"] if self.duplicates else []
        else:
            parts = [f"nothing new: {counted(self.duplicates, 'row')} already in {self.dataset}"]
        if self.skipped:
            where = f", written to {self.skipped_file}" if self.skipped_file else ""
            parts.append(f"skipped {counted(self.skipped, 'bad line')}{where}")
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
    with _cancelling(cancelled), seldom_collected(), contextlib.ExitStack() as stack:
        skipped = stack.enter_context(_Skipped(bench, source, wanted=skip_bad and not dry_run))
        stage = bench.store.imports.stage
        staging = stack.enter_context(stage(dataset, status=status, rater=bench.rater, is_file=True))
        intake = _Intake(staging, skipped, skip_bad, dry_run, on_progress, cancelled)
        options = options or Options()
        if isinstance(source, Path) and described is None and _is_large(source):
            found = intake.from_child(source, options, format, mapping or {})
        else:
            found = intake.from_here(source, options, wanted, mapping or {})
        found.check(skip_bad=skip_bad)
        if dry_run:
            done = Published(None, *staging.count())
        else:
            done = staging.publish(
                file=found.path,
                format=found.format,
                skipped=found.bad,
                advance=lambda rows: _tell(on_progress, Progress("writing", rows, rows / staging.rows), None),
                cancelled=cancelled,
            )
        skipped.keep()
    return ImportReport(
        dataset,
        found.format,
        done.imported,
        done.duplicates,
        found.bad,
        errors=found.errors,
        kinds=found.kinds,
        notes=found.notes,
        skipped_file=str(skipped.path) if found.bad and skipped.path else "",
        dry_run=dry_run,
        file=found.name,
        container=found.container,
        import_id=done.import_id,
        mapping=found.mapping,
        samples=found.samples,
        flagged=found.flagged,
    )


@dataclass(frozen=True, slots=True)
class _Intake:
    """One import on its way in: where its rows go, and who hears of it."""

    staging: Staging
    skipped: _Skipped
    skip_bad: bool
    dry_run: bool
    on_progress: Callable[[Progress], None] | None
    cancelled: threading.Event | None

    def from_here(
        self, source: containers.Source, options: Options, wanted: Format | None, mapping: Mapping[str, str]
    ) -> Understood:
        """Read the source in this process, then nothing is written yet."""
        with containers.open_source(source, options, cancelled=self.cancelled) as opened:
            reader = RowReader(opened, wanted, mapping, self.skipped.add)
            for new in reader.examples(self.skip_bad, self._hear):
                self.staging.put(new)
        return reader.understood()

    def from_child(self, source: Path, options: Options, format: str, mapping: Mapping[str, str]) -> Understood:
        """Let a child process read the source, and write what it has read while it reads on."""
        request = import_child.Request(source, options, format, mapping, self.skip_bad, self.staging.packing)
        told = Progress("reading", 0, None)
        for news in import_child.read(request, self.staging.fileno(), cancelled=self.cancelled):
            match news:
                case Progress():
                    told = news
                    self._hear(told)
                case Arrived():
                    self.staging.arrived(news.rows)
                    if news.format and not self.dry_run and (self.skip_bad or not told.bad):
                        self._write_ahead(news, told)
                case bytes():
                    self.skipped.add(news)
                case Understood():
                    return news
                case _:
                    assert_never(news)
        raise WorkbenchError("the process that read the file ended too early")

    def _write_ahead(self, news: Arrived, told: Progress) -> None:
        if self.staging.rows < _AHEAD_ROWS:
            return
        expected = 1.1 * self.staging.rows / told.share if told.share else 2 * self.staging.rows
        self.staging.write_ahead(file=news.path, format=news.format, expected=round(expected), cancelled=self.cancelled)

    def _hear(self, progress: Progress) -> None:
        _tell(self.on_progress, progress, self.cancelled)


def _is_large(source: Path) -> bool:
    if source.is_file():
        return source.stat().st_size >= LARGE_BYTES
    return source.is_dir() and sum(p.stat().st_size for p in source.rglob("*") if p.is_file()) >= LARGE_BYTES


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
