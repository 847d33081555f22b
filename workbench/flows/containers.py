"""Whatever holds rows, opened: files by their first bytes and, where those do not tell, by the end of their name.

JSON Lines, JSON arrays, CSV and TSV, text files, each also packed by gzip or zstd and from standard input, or in a zip
archive, as account exports are; Parquet files; folders of ``datasets`` saved to disk, of Parquet files, of Kiln's
records; and datasets of the hub by their ids.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import json
import shutil
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import BufferedIOBase
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from workbench.errors import DataError, NotFoundError, UsageError
from workbench.flows.reading import PEEKED, Line, checked, first_sign, peek, read_rows
from workbench.flows.tables import read_table, read_text
from workbench.jobs.tables import read_lines

STANDARD_INPUT = "-"
HUB = "hf:"
CONTAINERS = ("jsonl", "json", "csv", "tsv", "text", "parquet", "dataset")
_BY_SUFFIX = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".kiln": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".txt": "text",
    ".md": "text",
    ".parquet": "parquet",
}
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
_PACKED_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")
_NOT_TEXT = {b"ARROW1": "Arrow"}
_CHATS = "conversations.json"
"""What the account exports of chat programs have their chats in, among other files of a zip archive."""
# UTF-32 first: its mark in one order begins with that of UTF-16.
_MARKED = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
_MARKED |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True, slots=True)
class Options:
    """How to look at a source: ``container`` empty tells it by itself, ``split`` empty takes all splits.

    ``encoding`` empty is UTF-8, or what a byte order mark says.
    """

    container: str = ""
    split: str = ""
    text_unit: str = "paragraph"
    encoding: str = ""


@dataclass(slots=True)
class Opened:
    """A source whose rows can be read once. ``share_read`` is between 0 and 1, None where the size is not known.

    ``size`` is how many bytes of rows there are; 0 where that is not known, as in packed files.
    """

    name: str
    container: str
    lines: Iterator[Line]
    share_read: Callable[[], float | None] = field(default=lambda: None)
    size: int = 0


Source = Path | TextIO | str


@contextlib.contextmanager
def open_source(source: Source, options: Options, *, cancelled: threading.Event | None = None) -> Iterator[Opened]:
    """The rows of a file, a folder, a text stream or a hub id; raises ``DataError`` or ``NotFoundError``.

    ``cancelled`` ends a child process that reads for us, also while it is waited for; then reading raises.
    """
    if options.container and options.container not in CONTAINERS:
        raise UsageError(f"there is no container {options.container!r}", hint=f"known: {', '.join(CONTAINERS)}")
    if isinstance(source, str):
        yield Opened(source, "dataset", _from_child(source, options.split, cancelled))
    elif isinstance(source, Path) and source.is_dir():
        yield _folder(source, options, cancelled)
    else:
        with contextlib.ExitStack() as stack:
            yield _file(source, options, stack, cancelled)


def as_source(name: str) -> Path | str:
    """A file or folder; or, where there is none of the name and it looks like one, a dataset of the hub."""
    if name.startswith(HUB):
        return name
    path = Path(name).expanduser()
    is_id = name.count("/") == 1 and not name.startswith((".", "/", "~")) and not path.suffix
    return name if is_id and not path.exists() and not path.parent.exists() else path


def _from_child(source: str, split: str, cancelled: threading.Event | None) -> Iterator[Line]:
    for number, line in enumerate(read_lines(source, split=split, cancelled=cancelled), start=1):
        raw = line.encode("utf-8", "surrogatepass")
        yield checked(number, raw, json.loads(line))


def _folder(folder: Path, options: Options, cancelled: threading.Event | None) -> Opened:
    if any((folder / name).exists() for name in ("state.json", "dataset_dict.json")):
        return Opened(str(folder), "dataset", _from_child(str(folder), options.split, cancelled))
    if records := sorted(folder.rglob("*.kiln")):
        return Opened(str(folder), "json", _records(records))
    if any(folder.rglob("*.parquet")):
        return Opened(str(folder), "parquet", _from_child(str(folder), options.split, cancelled))
    raise DataError(
        "the folder cannot be read: it is no saved dataset and has no Parquet or Kiln files",
        hint="name the files in it that are to be imported",
        where=str(folder),
    )


def _records(paths: list[Path]) -> Iterator[Line]:
    """Kiln keeps one record per file."""
    for path in paths:
        with open_source(path, Options(container="json")) as opened:
            for line in opened.lines:
                yield replace(line, file=str(path))


def _file(
    source: Path | TextIO, options: Options, stack: contextlib.ExitStack, cancelled: threading.Event | None
) -> Opened:
    name = str(source) if isinstance(source, Path) else STANDARD_INPUT
    file = _open(source, stack)
    size, raw = _size(file), file
    suffixes = [suffix.lower() for suffix in source.suffixes] if isinstance(source, Path) else []
    with _refusing_broken(name, lambda: 0):
        packing = next((packing for mark, packing in _PACKED.items() if peek(file).startswith(mark)), "")
        if packing == "zip":
            file, suffixes = _member(file, name, stack)
        elif packing:
            file = _unpacked(file, packing)
            suffixes = suffixes[:-1] if suffixes[-1:] and suffixes[-1] in _PACKED_SUFFIXES else suffixes
        if encoding := _encoding(file, options):
            file = io.BufferedReader(_Recoded(file, encoding), buffer_size=PEEKED)
        container = options.container or _told(file, suffixes[-1] if suffixes else "", name)
    share = (lambda: min(1.0, raw.tell() / size)) if size else (lambda: None)
    known = size if isinstance(source, Path) and not packing else 0
    if container == "parquet":
        path = str(source) if isinstance(source, Path) and raw is file else _copied(file, stack)
        return Opened(name, container, _from_child(path, "", cancelled))
    return Opened(
        name,
        container,
        _guarded(_lines(file, container, options), name),
        share,
        known,
    )


def _lines(file: BufferedIOBase, container: str, options: Options) -> Iterator[Line]:
    match container:
        case "csv":
            return read_table(file)
        case "tsv":
            return read_table(file, "\t")
        case "text":
            return read_text(file, options.text_unit)
        case _:
            return read_rows(file, may_be_one=container == "json")


def _told(file: BufferedIOBase, suffix: str, name: str) -> str:
    """The container by the first bytes, then by the suffix; what has neither is JSON if it looks like it."""
    start = peek(file)
    if start.startswith(b"PAR1"):
        return "parquet"
    for mark, other in _NOT_TEXT.items():
        if start.startswith(mark):
            raise DataError(f"this is {other}, not text in UTF-8", hint="convert it first", where=name)
    known = _BY_SUFFIX.get(suffix)
    if known == "parquet":
        raise DataError("this is not a Parquet file", where=name)
    if known is not None and (known != "text" or first_sign(file) != b"{"):
        return known
    if first_sign(file) in (b"{", b"[", b"") or not suffix or suffix == ".txt":
        return "jsonl"
    raise DataError(
        f"files that end in {suffix!r} are not known",
        hint=f"say what it is: --as {' or '.join(CONTAINERS[:5])}",
        where=name,
    )


def _open(source: Path | TextIO, stack: contextlib.ExitStack) -> BufferedIOBase:
    """The bytes; a stream is read to its end first, so that no lock waits for a pipe."""
    if isinstance(source, Path):
        try:
            return stack.enter_context(io.BufferedReader(source.open("rb", buffering=0), buffer_size=PEEKED))
        except FileNotFoundError:
            raise NotFoundError(f"{source.name} does not exist", where=str(source)) from None
        except OSError as error:
            raise DataError(f"the file cannot be read: {error.strerror}", where=str(source)) from None
    spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    raw: BinaryIO | None = getattr(source, "buffer", None)
    if raw is not None:
        shutil.copyfileobj(raw, spool)
    else:
        for text in source:
            spool.write(text.encode("utf-8", "surrogatepass"))
    spool.seek(0)
    assert isinstance(spool, BufferedIOBase)
    return spool


def _size(file: BufferedIOBase) -> int:
    """How many bytes there are; 0 for a pipe."""
    if not file.seekable():
        return 0
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def _member(file: BufferedIOBase, name: str, stack: contextlib.ExitStack) -> tuple[BufferedIOBase, list[str]]:
    """The chats in a zip archive, or the only file in it; and the ending of its name."""
    archive = stack.enter_context(zipfile.ZipFile(cast(BinaryIO, file)))
    members = [member for member in archive.infolist() if not member.is_dir()]
    if any(member.filename == "[Content_Types].xml" for member in members):
        raise DataError("this is an Office document, not text", hint="save it as CSV", where=name)
    chats = [member for member in members if Path(member.filename).name == _CHATS]
    found = chats or members
    if len(found) != 1:
        raise DataError(f"there are {len(found)} files in it", hint="unpack it, and name those to import", where=name)
    if found[0].flag_bits & 1:
        raise DataError("the archive is locked by a password", hint="unpack it first", where=name)
    raw = stack.enter_context(archive.open(found[0]))
    return io.BufferedReader(cast(io.RawIOBase, raw), buffer_size=PEEKED), [Path(found[0].filename).suffix.lower()]


def _unpacked(file: BufferedIOBase, packing: str) -> BufferedIOBase:
    raw = gzip.GzipFile(fileobj=cast(BinaryIO, file)) if packing == "gzip" else _Zstd(file)
    return io.BufferedReader(cast(io.RawIOBase, raw), buffer_size=PEEKED)


def _encoding(file: BufferedIOBase, options: Options) -> str:
    """The encoding of a text that is not UTF-8; raises ``UsageError`` for one that there is not."""
    marked = next((name for mark, name in _MARKED.items() if peek(file).startswith(mark)), "")
    name = options.encoding or marked
    try:
        b" ".decode(name or "utf-8", "replace")  # of nothing at all Python does not look the name up
    except LookupError:
        hint = "for example: cp1252 (Excel), latin-1, utf-16, cp932, gb18030"
        raise UsageError(f"there is no encoding {name!r}", hint=hint) from None
    return "" if name.lower().replace("_", "-") in ("utf-8", "utf8") else name


class _Recoded(io.RawIOBase):
    """A text in another encoding as UTF-8; an ``OSError`` where it is no text in that encoding."""

    def __init__(self, file: BufferedIOBase, encoding: str) -> None:
        self._file = file
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._waiting = b""
        self._is_over = False

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        while not self._waiting and not self._is_over:
            piece = self._file.read(PEEKED)
            self._is_over = not piece
            try:
                text = self._decoder.decode(piece, final=self._is_over)
            except UnicodeError:
                raise OSError(f"it is not text in {self._encoding}") from None
            self._waiting = text.encode("utf-8", "surrogatepass")
        taken = self._waiting[: len(buffer)]
        buffer[: len(taken)] = taken
        self._waiting = self._waiting[len(taken) :]
        return len(taken)


class _Zstd(io.RawIOBase):
    """The unpacked bytes of zstd data, frame after frame; an ``OSError`` where it is broken or breaks off.

    The library's own stream reader takes the end of the file for the end of the data.
    """

    def __init__(self, file: BufferedIOBase) -> None:
        import zstandard  # 8 ms

        self._library = zstandard
        self._file = file
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._packed = b""
        self._waiting = b""

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes."""
        while not self._waiting:
            self._packed = self._packed or self._file.read(PEEKED)
            if not self._packed:
                return 0
            self._unpack()
        taken = self._waiting[: len(buffer)]
        buffer[: len(taken)] = taken
        self._waiting = self._waiting[len(taken) :]
        return len(taken)

    def _unpack(self) -> None:
        try:
            if self._frame.eof:
                self._frame = self._library.ZstdDecompressor().decompressobj()
            self._waiting = self._frame.decompress(self._packed)
        except self._library.ZstdError as error:
            raise OSError(f"the zstd data is broken: {error}") from None
        self._packed = self._frame.unused_data if self._frame.eof else self._file.read(PEEKED)
        if not self._frame.eof and not self._packed:
            raise OSError("the zstd data is broken: it breaks off")


@contextlib.contextmanager
def _refusing_broken(name: str, before: Callable[[], int]) -> Iterator[None]:
    """What is wrong with packed bytes, as an error that names the file and the line after the last good one."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        where = f"{name}:{before() + 1}" if before() else name
        raise DataError(f"the gzip data is broken: {error}", where=where) from None
    except (zipfile.BadZipFile, NotImplementedError) as error:  # the latter: a way of packing that Python lacks
        where = f"{name}:{before() + 1}" if before() else name
        raise DataError(f"the zip data cannot be read: {error}", where=where) from None
    except OSError as error:
        where = f"{name}:{before() + 1}" if before() else name
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=where) from None


def _guarded(lines: Iterator[Line], name: str) -> Iterator[Line]:
    number = 0
    with _refusing_broken(name, lambda: number):
        for line in lines:
            number = line.number
            yield line


def _copied(file: BufferedIOBase, stack: contextlib.ExitStack) -> str:
    """The path of a copy, for a child process that must seek in it."""
    copy = stack.enter_context(tempfile.NamedTemporaryFile(suffix=".parquet"))  # noqa: SIM115 - the stack closes it
    shutil.copyfileobj(file, copy)
    copy.flush()
    return copy.name
