"""From the bytes of a file to JSON rows: JSON Lines or one JSON array, row by row, each with its line number.

Owns what can be wrong before a row means anything: encodings, broken JSON, values that are no objects, and halves of
surrogate pairs. Nothing here ends the reading of the other lines, except an array that breaks off.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

from workbench.domain.chats import storable
from workbench.errors import DataError, NotFoundError

Row = dict[str, object]
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x1f\x8b": "gzip", b"PK": "zip", b"PAR1": "Parquet"}
_SPOOLED_BYTES = 8_000_000


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a line has no row."""

    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """A row with the line it begins on. ``repaired``: some characters were halves of pairs and are U+FFFD now."""

    number: int
    raw: bytes
    row: Row | RowError
    repaired: bool = False


@contextlib.contextmanager
def open_lines(source: Path | TextIO) -> Iterator[IO[bytes]]:
    """The bytes of a file or of a text stream; a stream is read to its end first, so that no lock waits for a pipe."""
    if isinstance(source, Path):
        try:
            file = source.open("rb")
        except FileNotFoundError:
            raise NotFoundError(f"{source.name} does not exist", where=str(source)) from None
        except OSError as error:
            raise DataError(f"the file cannot be read: {error.strerror}", where=str(source)) from None
        with file:
            yield file
        return
    with tempfile.SpooledTemporaryFile(max_size=_SPOOLED_BYTES) as spool:
        raw = getattr(source, "buffer", None)
        if raw is not None:
            shutil.copyfileobj(raw, spool)
        else:
            for text in source:
                spool.write(text.encode("utf-8", "surrogatepass"))
        spool.seek(0)
        yield spool


def read_rows(file: IO[bytes]) -> Iterator[Line]:
    """Every line or array element that is not blank, good or bad; raises ``DataError`` for what is not text at all."""
    start = file.read(4)
    for mark, name in _OTHER_ENCODINGS.items():
        if start.startswith(mark):
            raise DataError(f"this is {name}, not JSON in UTF-8", hint="convert it to JSONL first")
    file.seek(len(_BYTE_ORDER_MARK) if start.startswith(_BYTE_ORDER_MARK) else 0)
    position = file.tell()
    is_array = _first_sign(file) == b"["
    file.seek(position)
    return _array(file) if is_array else _lines(file)


def _first_sign(file: IO[bytes]) -> bytes:
    while sign := file.read(1):
        if not sign.isspace():
            return sign
    return b""


def _lines(file: IO[bytes]) -> Iterator[Line]:
    for number, raw in enumerate(file, start=1):
        if raw.strip():
            yield _line(number, raw)


def _line(number: int, raw: bytes) -> Line:
    try:
        return _checked(number, raw, json.loads(raw.decode("utf-8")))
    except UnicodeDecodeError as error:
        return Line(number, raw, RowError(f"it is not UTF-8 (byte {error.start + 1} of the line)"))
    except json.JSONDecodeError as error:
        return Line(number, raw, RowError(f"it is not JSON: {error.msg} (column {error.colno})"))
    except (ValueError, RecursionError):
        return Line(number, raw, RowError("it is not JSON that can be read: a number or a nesting without end"))


def _array(file: IO[bytes]) -> Iterator[Line]:
    """The elements of one array; where its JSON breaks, the rest cannot be told and is one bad line."""
    try:
        text = file.read().decode("utf-8")
    except UnicodeDecodeError as error:
        yield Line(1, b"", RowError(f"the file is not UTF-8 (byte {error.start + 1})"))
        return
    decoder, position, number, counted = json.JSONDecoder(), text.index("[") + 1, 1, 0
    while True:
        position = _skip_space(text, position)
        number, counted = number + text.count("\n", counted, position), position
        if text.startswith("]", position):
            break
        try:
            value, end = decoder.raw_decode(text, position)
            yield _checked(number, text[position:end].encode("utf-8"), value, one_line=True)
            position = _skip_space(text, end)
            if text.startswith(",", position):
                position += 1
            elif not text.startswith("]", position):
                raise ValueError("a comma or the end of the array is missing")
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            yield Line(number, text[position:].encode("utf-8"), RowError(f"the array breaks off here: {reason}"))
            return
    if text[position + 1 :].strip():
        yield Line(number, text[position + 1 :].encode("utf-8"), RowError("something follows the end of the array"))


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _checked(number: int, raw: bytes, value: object, *, one_line: bool = False) -> Line:
    if one_line:
        raw = json.dumps(value).encode("ascii")
    if not isinstance(value, dict):
        return Line(number, raw, RowError(f"it is not a JSON object but {_named(value)}"))
    if b"\\ud" not in raw.lower():
        return Line(number, raw, value)
    repaired = _repaired(value)
    assert isinstance(repaired, dict)
    return Line(number, raw, repaired, repaired=repaired != value)


def _repaired(value: object) -> object:
    match value:
        case str():
            return storable(value)
        case list():
            return [_repaired(item) for item in value]
        case dict():
            return {storable(key): _repaired(item) for key, item in value.items()}
        case _:
            return value


def _named(value: object) -> str:
    return {list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")
