"""Examples out to files: which rows, in what form and container, and the card that says what they are.

What a target format cannot hold is refused, or left out when asked and counted. Files appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import secrets
import shutil
import tempfile
import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from io import BufferedIOBase
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Self, cast

from workbench import formats
from workbench.domain.chats import storable
from workbench.domain.examples import Example, Kind, Split, Status
from workbench.domain.formats import Format
from workbench.domain.provenance import provenance_row
from workbench.domain.queries import Filter, Query, parse_query
from workbench.errors import DataError, NotFoundError, RefusedError, UsageError, WorkbenchError
from workbench.flows import unseen
from workbench.flows.card import Tally, card_place, card_text
from workbench.flows.described import describe, refuse_taken
from workbench.flows.tables import write_table
from workbench.formats import llama_factory
from workbench.jobs.tables import write_lines

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

CONTAINERS = ("jsonl", "json", "csv", "tsv", "parquet", "dataset")
_BY_SUFFIX = {
    "": "dataset",
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **{f".{name}": name for name in ("json", "csv", "tsv", "parquet")},
}
_PACKINGS = (".gz", ".zst")
_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written where. ``flattened`` counts rows of which something was left out, because it was asked for.

    ``held_back`` are rows of the test split that the query found and that were not written.
    ``unnamed`` counts rows that were written without their models, which this rater is not to know yet.
    """

    file: str
    format: str
    rows: int
    sha256: str
    kinds: dict[str, int] = field(default_factory=dict)
    container: str = "jsonl"
    flattened: int = 0
    held_back: int = 0
    unnamed: int = 0
    card: str = ""
    files: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """The report as ``--json`` prints it."""
        return asdict(self)

    def sentence(self) -> str:
        """The report for a person, with a word on files that most trainers will not take."""
        said = f"exported {_count(self.rows, 'row')} to {self.file}"
        if self.flattened:
            said += f"; {_count(self.flattened, 'row')} flattened to what {self.format} can hold"
        if self.held_back:
            said += f"; {held_back_said(self.held_back)}"
        if self.unnamed:
            said += f"; {unseen.unnamed_said(self.unnamed)}"
        if len(self.kinds) > 1 and len(self.files) < 2:
            mixed = ", ".join(f"{number:,} {kind}" for kind, number in self.kinds.items())
            said += f"; it mixes kinds ({mixed}): for a trainer, export one, such as kind:{next(iter(self.kinds))}"
        return said


class CancelledExport(WorkbenchError):
    """Somebody asked for the export to end; nothing was written."""

    kind = "cancelled"
    exit_code = 130


OnProgress = Callable[[int, int], None]
"""Called with the rows that were looked at, and how many there are."""


@dataclass(frozen=True, slots=True)
class ExportLook:
    """What an export would write: how many rows of which kinds.

    ``homeless`` counts the rows of kinds that the format has no form for, ``lost`` those of which something would be
    left out, by what that is. ``held_back`` are rows of the test split that the query found and that stay.
    """

    rows: int
    kinds: dict[str, int]
    homeless: dict[str, int]
    lost: dict[str, int]
    held_back: int = 0


def look(
    bench: Bench,
    query_text: str,
    *,
    dataset: str = "",
    format: str = "trl",
    provenance: bool = False,
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> ExportLook:
    """What ``export_file`` would find, and what the format could not hold of it. Reads every row, writes nothing."""
    writer = _writer(format)
    kinds, homeless, lost = Counter[str](), Counter[str](), Counter[str]()
    query = _asked(bench, query_text, provenance)
    for example in _watched(bench, query, dataset, on_progress, cancelled):
        kind = example.content.kind
        kinds[kind.value] += 1
        if kind not in writer.kinds:
            homeless[kind.value] += 1
        elif reason := writer.lost(example.content):
            lost[reason] += 1
    back = _held_back(bench, query, dataset)
    return ExportLook(kinds.total(), dict(kinds), dict(homeless), dict(lost), back)


def count(bench: Bench, query_text: str, *, dataset: str = "", provenance: bool = False) -> int:
    """How many rows an export would find."""
    return bench.store.examples.count(_asked(bench, query_text, provenance), dataset or None)


def container_of(to: Path) -> str:
    """What a file's name asks for, in words: its container, and how it is packed."""
    packed = {".gz": ", packed by gzip", ".zst": ", packed by zstd"}.get(to.suffix, "")
    return _container(to, "") + packed


def export_file(
    bench: Bench,
    query_text: str,
    to: Path,
    *,
    dataset: str = "",
    format: str = "trl",
    provenance: bool = False,
    container: str = "",
    flatten: bool = False,
    card: bool = False,
    replace: bool | Callable[[Path], bool] = False,
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> ExportReport:
    """Write the examples that the query finds to ``to``, which appears whole or not at all.

    The container follows from the file's name (``.jsonl .json .csv .tsv .parquet``, the line formats also with ``.gz``
    or ``.zst``; a name without an ending is a folder that ``datasets`` loads). An empty query means
    ``status:accepted``. Rejected examples are written only when the query asks for a status, and those of the locked
    test split only when it asks for a split or with ``provenance``, which tells them apart. ``provenance`` adds id,
    dataset, status, split, tags, note, rating, rater, flags and source to each row; importing such a file restores
    them. ``card`` writes ``<file>.README.md`` beside it, in a folder ``README.md``; one that a person wrote stays,
    and the card is then called ``WORKBENCH.md``. A file that is there already is only replaced when ``replace`` is
    true, or answers so when it is asked. LLaMA-Factory's files get their
    entry in ``dataset_info.json``; into a folder, each kind is a file of its own. Redactions of what is written become
    final.

    Raises ``NotFoundError`` when nothing matches, ``DataError`` when the format cannot hold all of it and not
    ``flatten``, ``RefusedError`` when it would replace a file that is to stay, and ``CancelledExport``.
    """
    to = to.resolve()  # a link stays a link
    writer, container = _writer(format), container or _container(to, format)
    query = _asked(bench, query_text, provenance)
    found, back = _watched(bench, query, dataset, on_progress, cancelled), _held_back(bench, query, dataset)
    hidden = bench.store.comparisons.unseen(bench.rater)
    with _Rows(
        found,
        query_text,
        dataset,
        writer,
        provenance=provenance,
        flatten=flatten,
        hidden=hidden,
        held_back=back,
    ) as rows:
        rows.check(flatten=flatten)
        rows.check_container(container)
        targets = _targets(to, writer, container, rows, dataset)
        if writer is llama_factory.FORMAT:
            for target in targets:
                refuse_taken(target.parent, _entry_name(target), target.name)
        place = _card_place(to, container) if card else None
        _ask_to_replace(targets, replace)
        _make_folder(to if len(targets) > 1 or next(iter(targets)) != to else to.parent)
        container = "jsonl" if writer is llama_factory.FORMAT and container == "dataset" else container
        digests: dict[str, str] = {}
        for target, kind in targets.items():
            digests[target.name] = _write(rows, target, container, kind)
            if writer is llama_factory.FORMAT:
                _describe(rows, target, kind)
        said = ""
        if place is not None:
            said = _write_card(rows, place, to, digests, writer, container, query_text, dataset)
        bench.store.findings.settle(rows.ids)
    digest = next(iter(digests.values())) if len(digests) == 1 else _digest_of(digests)
    return ExportReport(
        *(str(to), writer.name, rows.tally.rows, digest, dict(rows.tally.counts["kind"]), container),
        flattened=rows.lost.total(),
        held_back=rows.held_back,
        unnamed=rows.unnamed,
        card=said,
        files=digests,
    )


def export_lines(
    bench: Bench,
    query_text: str,
    *,
    dataset: str = "",
    format: str = "trl",
    provenance: bool = False,
    container: str = "jsonl",
    flatten: bool = False,
    say: Callable[[str], object] | None = None,
) -> Iterator[str]:
    """The lines that ``export_file`` writes, each with its newline, for standard output.

    ``say`` hears at the end what is not in them.
    """
    if container not in CONTAINERS[:4]:
        raise UsageError(
            f"{container} cannot be written to standard output", hint=f"known: {', '.join(CONTAINERS[:4])}"
        )
    found = _watched(bench, _asked(bench, query_text, provenance), dataset)
    hidden = bench.store.comparisons.unseen(bench.rater)
    with _Rows(
        found, query_text, dataset, _writer(format), provenance=provenance, flatten=flatten, hidden=hidden
    ) as rows:
        rows.check(flatten=flatten, may_be_empty=True)
        rows.check_container(container)
        with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as file:
            _fill(rows, file, container, None)
            file.seek(0)
            yield from file
        bench.store.findings.settle(rows.ids)
        if rows.unnamed and say is not None:
            say(unseen.unnamed_said(rows.unnamed))


def held_back(bench: Bench, query_text: str, *, dataset: str = "", provenance: bool = False) -> int:
    """How many rows of the test split an export leaves out of what its query finds."""
    return _held_back(bench, _asked(bench, query_text, provenance), dataset)


def _held_back(bench: Bench, query: Query, dataset: str) -> int:
    if _UNTESTED not in query.filters:
        return 0
    filters = tuple(Filter("split", Split.TEST.value) if found == _UNTESTED else found for found in query.filters)
    return bench.store.examples.count(replace(query, filters=filters), dataset or None)


def held_back_said(count: int) -> str:
    """Why rows were held back, and how to have them."""
    return f"{_count(count, 'row')} of the locked test split left out: split:test exports them"


def export_query(text: str, *, provenance: bool = False) -> Query:
    """The query of an export: accepted examples when ``text`` is empty, rejected ones only when it names a status.

    Rows of the test split only when it names a split, or when each row says of which one it is.
    """
    query = parse_query(text)
    filters = query.filters if text.strip() else (Filter("status", Status.ACCEPTED.value),)
    fields = {found.field for found in filters}
    more = (*(() if "status" in fields else (_UNREJECTED,)), *(() if provenance or "split" in fields else (_UNTESTED,)))
    return replace(query, filters=(*filters, *more))


def _asked(bench: Bench, text: str, provenance: bool) -> Query:
    return replace(export_query(text, provenance=provenance), rater=bench.rater)


_UNREJECTED = Filter("status", Status.REJECTED.value, negated=True)
_UNTESTED = Filter("split", Split.TEST.value, negated=True)


class _Rows:
    """The rows of an export in an unlinked file, and what was found out while they were written there."""

    def __init__(
        self,
        found: Iterable[Example],
        query_text: str,
        dataset: str,
        writer: Format,
        *,
        provenance: bool,
        flatten: bool,
        hidden: Mapping[int, frozenset[str]],
        held_back: int = 0,
    ) -> None:
        self.tally = Tally()
        self.lost: Counter[str] = Counter()
        self.has_tools: set[str] = set()
        self.has_system: set[str] = set()
        self.columns: dict[str, None] = {}
        self.ids = array("q")
        self._file = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed by __exit__
        self._first: dict[str, int] = {}
        self._homeless: Counter[str] = Counter()
        self.unnamed = 0
        self._writer, self._query_text, self._dataset = writer, query_text, dataset
        self.held_back = held_back
        self._unseen = hidden
        for example in found:
            self._add(example, provenance, flatten)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _add(self, example: Example, provenance: bool, flatten: bool) -> None:
        told = example
        if told.source.models and unseen.waits(told, self._unseen):
            example = unseen.nameless(told)
        kind = example.content.kind
        if kind not in self._writer.kinds:
            self._homeless[kind.value] += 1
            self._first.setdefault(kind.value, example.id)
            return
        if lost := self._writer.lost(example.content):
            self.lost[lost] += 1
            self._first.setdefault(lost, example.id)
        self.tally.add(example)
        self.ids.append(example.id)
        assert self._writer.write is not None
        if lost and not flatten:
            return
        row = self._writer.write(example)
        self.unnamed += example is not told and (provenance or row != self._writer.write(told))
        self.has_tools |= {kind.value} if "tools" in row else set()
        self.has_system |= {kind.value} if "system" in row else set()
        row |= provenance_row(example) if provenance else {}
        self.columns |= dict.fromkeys(row)
        line = storable(json.dumps([kind.value, row], ensure_ascii=False))
        self._file.write(line.encode("utf-8") + b"\n")

    def check(self, *, flatten: bool, may_be_empty: bool = False) -> None:
        """Raise what stands against writing these rows."""
        if self._homeless:
            kind, number = self._homeless.most_common(1)[0]
            held = " or ".join(f"kind:{one.value}" for one in self._writer.kinds)
            raise DataError(
                f"{self._writer.name} has no form for a {kind} ({_count(number, 'row')})",
                hint=f"export {held}",
                where=f"example {self._first[kind]}",
            )
        if self.lost and not flatten:
            lost, number = self.lost.most_common(1)[0]
            more = f", and {self.lost.total() - number:,} more" if len(self.lost) > 1 else ""
            raise DataError(
                f"{self._writer.name} cannot hold {lost} ({_count(number, 'row')}{more})",
                hint="--flatten writes the rest of these rows",
                where=f"example {self._first[lost]}",
            )
        if not self.tally.rows and not may_be_empty:
            raise NotFoundError(
                f"no example matches {self._query_text or 'status:accepted'!r}",
                hint=held_back_said(self.held_back) if self.held_back else _nothing_hint(self._dataset),
            )

    def check_container(self, container: str) -> None:
        """Raise for prompts alone beside other kinds in a table: nothing there tells them from lost answers."""
        kinds = self.tally.counts.get("kind", Counter[str]())
        if container in ("csv", "tsv", "parquet", "dataset") and Kind.PROMPT.value in kinds and len(kinds) > 1:
            raise DataError(
                f"in {container} a prompt alone cannot be told from a row whose answer is empty",
                hint="export kind:prompt by itself, and the others with `-- -kind:prompt`; or all to .jsonl",
            )

    def rows(self, kind: str | None) -> Iterator[dict[str, Any]]:
        """The rows, of one kind only when it is given."""
        self._file.seek(0)
        for line in self._file:
            of, row = json.loads(line)
            if kind in (None, of):
                yield row


def _watched(
    bench: Bench,
    query: Query,
    dataset: str,
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> Iterator[Example]:
    """The rows of an export, a few hundred at a time; raises ``CancelledExport``."""
    ids = bench.store.examples.ids(query, dataset=dataset or None)
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        if cancelled is not None and cancelled.is_set():
            raise CancelledExport("the export was cancelled; nothing was written")
        if on_progress is not None:
            on_progress(start, len(ids))
        yield from bench.store.examples.many(ids[start : start + _ROWS_AT_ONCE])


def _writer(name: str) -> Format:
    found = formats.get(name)
    if found.write is None:
        raise UsageError(f"{found.name} is only read", hint=f"to write: {', '.join(formats.writable())}")
    return found


def _container(to: Path, format: str) -> str:
    """The container that a file's name asks for; a format that is no container stands for JSON Lines."""
    suffix = Path(to.stem).suffix if to.suffix in _PACKINGS else to.suffix
    if suffix not in _BY_SUFFIX:
        return "jsonl"
    return _BY_SUFFIX[suffix]


def _targets(to: Path, writer: Format, container: str, rows: _Rows, dataset: str) -> dict[Path, str | None]:
    """Which files are written, and which kind goes into each; None for all kinds."""
    if writer is not llama_factory.FORMAT:
        return {to: None}
    kinds = list(rows.tally.counts["kind"])
    if container == "dataset":
        return {to / f"{dataset or 'workbench'}_{kind}.jsonl": kind for kind in kinds}
    if len(kinds) > 1:
        mixed = " or ".join(f"kind:{kind}" for kind in kinds)
        raise DataError(
            "LLaMA-Factory takes one kind per file", hint=f"export {mixed}, or into a folder (a name without an ending)"
        )
    return {to: kinds[0]}


def _describe(rows: _Rows, target: Path, kind: str | None) -> None:
    assert kind is not None
    tools, system = kind in rows.has_tools, kind in rows.has_system
    entry = llama_factory.entry(target.name, Kind(kind), tools=tools, system=system)
    describe(target.parent, _entry_name(target), entry)


def _entry_name(target: Path) -> str:
    return target.name.partition(".")[0]


def _card_place(to: Path, container: str) -> Path:
    return card_place(to) if container == "dataset" else card_place(to.parent, f"{to.name}.")


def _ask_to_replace(targets: Iterable[Path], replace: bool | Callable[[Path], bool]) -> None:
    for target in targets:
        if target.is_dir() or not os.path.lexists(target):  # a folder is never replaced, which writing will say
            continue
        if not (replace(target) if callable(replace) else replace):
            raise RefusedError(
                f"{target.name} exists already", hint="--yes replaces it; or give another name", where=str(target)
            )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkbenchError(f"the file cannot be written: {error.strerror}", where=str(folder)) from None


def _write(rows: _Rows, to: Path, container: str, kind: str | None) -> str:
    """Write one target under another name and move it into its place; returns its SHA-256."""
    temporary = to.with_name(f".{to.name}.{secrets.token_hex(4)}.tmp")
    try:
        if to.is_dir():
            raise IsADirectoryError(21, "Is a directory")
        if container in ("parquet", "dataset"):
            lines = (json.dumps(_for_arrow(row), ensure_ascii=False) for row in rows.rows(kind))
            write_lines(lines, container, temporary)
        else:
            with _packed(temporary, to.suffix) as file:
                _fill(rows, file, container, kind)
        digest = _digest(temporary)
        temporary.replace(to)
    except OSError as error:
        raise WorkbenchError(f"the file cannot be written: {error.strerror}", where=str(to)) from None
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        temporary.unlink(missing_ok=True)
    return digest


@contextlib.contextmanager
def _packed(path: Path, suffix: str) -> Iterator[IO[str]]:
    """A text file, packed as its name will say, and on the disk before it is closed."""
    with path.open("xb") as raw:
        packed: BufferedIOBase = raw
        if suffix == ".gz":
            packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0)
        elif suffix == ".zst":
            import zstandard  # 8 ms

            packed = cast(BufferedIOBase, zstandard.ZstdCompressor().stream_writer(cast(BinaryIO, raw), closefd=False))
        text = io.TextIOWrapper(cast(BinaryIO, packed), encoding="utf-8", newline="")
        yield text
        text.flush()
        if packed is raw:
            text.detach()
        else:
            text.close()
        raw.flush()
        os.fsync(raw.fileno())


def _fill(rows: _Rows, file: IO[str], container: str, kind: str | None) -> None:
    match container:
        case "csv" | "tsv":
            write_table(file, rows.rows(kind), list(rows.columns), "," if container == "csv" else "\t")
        case "json":
            separator = "[\n"
            for row in rows.rows(kind):
                file.write(separator + json.dumps(row, ensure_ascii=False))
                separator = ",\n"
            file.write("\n]\n")
        case _:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.rows(kind))


def _for_arrow(value: Any, name: str = "") -> Any:
    """The value with what differs from row to row as JSON text: columns of Arrow have one type for all rows."""
    if name in ("tools", "arguments", "parameters") and isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return {key: _for_arrow(item, key) for key, item in value.items()}
    return [_for_arrow(item) for item in value] if isinstance(value, list) else value


def _write_card(
    rows: _Rows, path: Path, to: Path, digests: dict[str, str], writer: Format, container: str, query: str, dataset: str
) -> str:
    text = card_text(
        dataset or to.name,
        rows.tally,
        format=writer.title,
        container=container,
        query=query or "status:accepted",
        files=digests,
    )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WorkbenchError(f"the card cannot be written: {error.strerror}", where=str(path)) from None
    return str(path)


def _digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of its files' names and digests."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return _digest_of({str(file.relative_to(path)): _digest(file) for file in files})
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of(digests: dict[str, str]) -> str:
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _nothing_hint(dataset: str) -> str:
    where = f" in {dataset}" if dataset else ""
    return f"`workbench examples list` shows what there is{where}; without a query only accepted examples are exported"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
