"""From the bytes of a file to JSON rows: JSON Lines, one JSON array, or one object, each row with its line number.

Owns what can be wrong before a row means anything: encodings, broken JSON, values that are no objects, lines without
end, and halves of surrogate pairs. Nothing here ends the reading of the other lines, except an array that breaks off.
Reads piece by piece, so that the size of a file is no matter. ``ijson`` streams arrays too, but says neither on which
line an element begins nor what its text was.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase, BufferedRandom, BufferedReader

from workbench.domain.chats import storable

Row = dict[str, object]
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST = 64_000_000
PEEKED = 1 << 16
_PIECE = 1 << 18
_LINE_ENDS = ("\n", "\r\n", "")
_DECODER = json.JSONDecoder()
_LONGEST_WORD = 16  # an error this near to the end of what was read may be a word that was cut, such as "fal"


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a line has no row."""

    reason: str


@dataclass(slots=True)  # not frozen: making one for each row takes a third of the time
class Line:
    """A row with the line it begins on. ``repaired``: some characters were halves of pairs and are U+FFFD now.

    ``file`` is set where rows come from several files.
    """

    number: int
    raw: bytes
    row: Row | RowError
    repaired: bool = False
    file: str = ""


def read_rows(file: BufferedIOBase, *, may_be_one: bool = False) -> Iterator[Line]:
    """Every line or array element that is not blank, good or bad; ``may_be_one`` allows one object on many lines."""
    if first_sign(file) == b"[":
        return _array(file)
    return _lines(file, may_be_one)


def first_sign(file: BufferedIOBase) -> bytes:
    """The first byte that is no space, which stays to be read; a byte order mark before it is taken away."""
    if peek(file).startswith(BYTE_ORDER_MARK):
        file.read(len(BYTE_ORDER_MARK))
    return peek(file).lstrip()[:1]


def peek(file: BufferedIOBase) -> bytes:
    """The next bytes, which stay to be read: as many as the file has buffered."""
    assert isinstance(file, BufferedReader | BufferedRandom)
    return file.peek(PEEKED)


def numbered_lines(file: BufferedIOBase) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers; of one that is too long only the beginning, longer than ``LONGEST``."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        yield number, line
        while len(line) > LONGEST and not line.endswith(b"\n") and (line := file.readline(LONGEST + 1)):
            pass


def decoded(number: int, raw: bytes) -> str | Line:
    """A line's text, or what is wrong with it."""
    if len(raw) > LONGEST:
        return Line(number, raw[:1000], RowError(f"the line is longer than {LONGEST:,} bytes"))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8 (byte {error.start + 1} of the line); --encoding names another"
        return Line(number, raw, RowError(reason))


def checked(number: int, raw: bytes, value: object) -> Line:
    """A JSON value as a line: it must be an object, and is valid Unicode afterwards."""
    if not isinstance(value, dict):
        return Line(number, raw, RowError(f"it is not a JSON object but {_named(value)}"))
    if b"\\" not in raw or (b"\\ud" not in raw and b"\\uD" not in raw):  # one byte is found in a tenth of the time
        return Line(number, raw, value)
    repaired = _repaired(value)
    assert isinstance(repaired, dict)
    return Line(number, raw, repaired, repaired=repaired != value)


def _lines(file: BufferedIOBase, may_be_one: bool) -> Iterator[Line]:
    for number, raw in numbered_lines(file):
        if not raw.strip():
            continue
        line = _line(number, raw)
        if may_be_one and isinstance(line.row, RowError) and raw.lstrip().startswith(b"{"):
            yield from _one(line, raw, file)
            return
        may_be_one = False
        yield line


def _one(first: Line, raw: bytes, file: BufferedIOBase) -> Iterator[Line]:
    """One object over many lines; lines by themselves where that is not what it is."""
    rest = file.read(LONGEST)
    try:
        yield checked(first.number, raw + rest, json.loads((raw + rest).decode("utf-8")))
        return
    except (ValueError, RecursionError):
        yield first
    for number, line in enumerate(rest.splitlines(keepends=True), start=first.number + 1):
        if line.strip():
            yield _line(number, line)


def _line(number: int, raw: bytes) -> Line:
    text = decoded(number, raw)
    if isinstance(text, Line):
        return text
    try:
        return checked(number, raw, _value(text))
    except json.JSONDecodeError as error:
        return Line(number, raw, RowError(f"it is not JSON: {error.msg} (column {error.colno})"))
    except (ValueError, RecursionError):
        return Line(number, raw, RowError("it is not JSON that can be read: a number or a nesting without end"))


def _value(text: str) -> object:
    """What ``json.loads`` gives, which spends a third of its time on the white space around nothing but an object."""
    if text[:1] == "{":
        value, end = _DECODER.raw_decode(text)
        if text[end:] in _LINE_ENDS:
            return value
    return json.loads(text)


class _Window:
    """The part of a text that is being looked at: what was read is dropped, more is read when asked for."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._file = file
        self._read = 0
        self.is_all = False
        self.text = ""
        self.at = 0
        self.line = 1

    def more(self) -> bool:
        """Read on; False at the end of the file. Raises ``UnicodeDecodeError`` with the byte's place in the file."""
        piece = self._file.read(max(_PIECE, len(self.text) - self.at))
        self.is_all = not piece
        try:
            text = self._decoder.decode(piece, final=self.is_all)
        except UnicodeDecodeError as error:
            error.start += self._read
            raise
        self._read += len(piece)
        self.text, self.at = self.text[self.at :] + text, 0
        return not self.is_all

    def take(self, end: int) -> str:
        """The text up to ``end``, which is left behind."""
        taken = self.text[self.at : end]
        self.line += taken.count("\n")
        self.at = end
        return taken

    def sign(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            end = self.at
            while end < len(self.text) and self.text[end] in " \t\r\n":
                end += 1
            self.take(end)
            if end < len(self.text):
                return self.text[end]
            if not self.more():
                return ""


def _array(file: BufferedIOBase) -> Iterator[Line]:
    """The elements of one array; where its JSON breaks, the rest cannot be told and is one bad line."""
    window = _Window(file)
    try:
        window.sign()
        window.take(window.at + 1)
        while (sign := window.sign()) != "]":
            number = window.line
            value, raw = _element(window)
            yield checked(number, raw.encode("utf-8", "surrogatepass"), value)
            if (sign := window.sign()) == ",":
                window.take(window.at + 1)
            elif sign != "]":
                raise ValueError("a comma or the end of the array is missing")
        window.take(window.at + 1)
        if window.sign():
            yield Line(window.line, b"", RowError("something follows the end of the array"))
    except UnicodeDecodeError as error:
        yield Line(
            window.line,
            b"",
            RowError(f"it is not UTF-8 (about byte {error.start + 1} of the file); --encoding names another"),
        )
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        rest = window.text[window.at : window.at + 1000].encode("utf-8", "surrogatepass")
        yield Line(window.line, rest, RowError(f"the array breaks off here: {reason}"))


def _element(window: _Window) -> tuple[object, str]:
    """The next value and its text, of which more is read as long as it may go on."""
    while True:
        try:
            value, end = _DECODER.raw_decode(window.text, window.at)
            if end < len(window.text) or window.is_all:
                return value, window.take(end)
        except json.JSONDecodeError as error:
            is_open = error.msg.startswith("Unterminated string") or error.pos >= len(window.text) - _LONGEST_WORD
            if window.is_all or not is_open:
                raise
        if len(window.text) - window.at > LONGEST:
            raise ValueError(f"an element is longer than {LONGEST:,} characters")
        window.more()


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
