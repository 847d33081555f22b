"""Tables and texts as rows: CSV and TSV by the standard library's ``csv``, text files by paragraph, line or whole.

A cell of a column that can hold more than a text (turns, tools, tags) is taken apart when it is JSON of that shape.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BufferedIOBase
from typing import IO

from workbench.errors import UsageError
from workbench.flows.reading import LONGEST, Line, RowError, checked, decoded, first_sign, numbered_lines, peek

TEXT_UNITS = ("paragraph", "line", "file")
# Columns whose cells are JSON when they look like messages, and those that are JSON whenever they can be.
_MESSAGES = {"prompt", "completion", "chosen", "rejected", "input", "output", "repaired_output"}
_JSON = {
    *("messages", "conversations", "conversation", "tools", "functions", "history", "completions", "labels", "answers"),
    *("preferred_output", "non_preferred_output", "chosen_messages", "rejected_messages", "trace", "mapping"),
    *("models", "states", "state", "conversation_a", "conversation_b", "source", "tags", "flags", "system_message"),
}
_NUMBERS = {"id", "rating", "turn", "v"}


def read_table(file: BufferedIOBase, delimiter: str = "") -> Iterator[Line]:
    """The rows of a CSV or TSV file with a header; ``delimiter`` empty tells it from the header."""
    first_sign(file)
    header = peek(file).split(b"\n", 1)[0].decode("utf-8", "replace")
    csv.field_size_limit(LONGEST)
    texts = _Texts(file)
    if told := _TOLD_DELIMITER.fullmatch(header.rstrip()):  # Excel's own line before the header
        next(texts)
        delimiter = told[1]
    delimiter = delimiter or max(",;\t|", key=_QUOTED.sub("", header).count)
    reader = csv.reader(texts, delimiter=delimiter, strict=True)
    names: list[str] | None = None
    while True:
        number = texts.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Line(number, b"", RowError(f"it is not CSV: {error}"))
            if texts.is_over:
                return
            reader = csv.reader(texts, delimiter=delimiter, strict=True)
            continue
        if texts.bad is not None:
            yield texts.bad
            texts.bad = None
            reader = csv.reader(texts, delimiter=delimiter, strict=True)
            continue
        if cells is None:
            return
        if names is None:
            names = [name.strip() for name in cells]
            if bad := _bad_header(names):
                yield Line(number, b"", RowError(bad))
                return
        elif any(cells):  # a line of nothing but delimiters is as blank as an empty one
            yield _row(number, names, cells)


_TOLD_DELIMITER = re.compile("sep=([,;|\t])", re.IGNORECASE)
_QUOTED = re.compile('"[^"]*"')


class _Texts:
    """A file's lines as texts, for the csv reader; ends at a line that is no text, and goes on behind it when asked."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._lines = numbered_lines(file)
        self.number = 0
        self.bad: Line | None = None
        self.is_over = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        found = next(self._lines, None)
        if found is None:
            self.is_over = True
            raise StopIteration
        self.number, raw = found
        text = decoded(self.number, raw)
        if isinstance(text, Line):
            self.bad = text
            raise StopIteration
        return text


def _bad_header(names: Sequence[str]) -> str:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        return f"the header has the column {twice!r} twice"
    return ""


def _row(number: int, names: Sequence[str], cells: Sequence[str]) -> Line:
    raw = json.dumps(dict(zip(names, cells, strict=False)), ensure_ascii=False).encode("utf-8", "surrogatepass")
    if len(cells) != len(names):
        return Line(number, raw, RowError(f"it has {len(cells)} cells, and the header has {len(names)}"))
    return Line(number, raw, {name: _value(name, cell) for name, cell in zip(names, cells, strict=True)})


def _value(name: str, cell: str) -> object:
    """What a cell holds; an empty one holds nothing."""
    if not cell:
        return None
    if name in _NUMBERS and cell.isascii() and cell.isdigit() and len(cell) < 19:
        return int(cell)
    if cell[0] not in "[{" or name not in _JSON | _MESSAGES:
        return cell
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    return value if name in _JSON or _is_structured(value) else cell


def _is_structured(value: object) -> bool:
    if isinstance(value, dict):
        return "role" in value or "from" in value or "messages" in value
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(item, dict) and ("role" in item or "from" in item) for item in value)


def read_text(file: BufferedIOBase, unit: str) -> Iterator[Line]:
    """A text file as rows with a ``text``: one for each paragraph, line, or for the whole file."""
    if unit not in TEXT_UNITS:
        raise UsageError(f"a text cannot be taken by the {unit!r}", hint=f"known: {', '.join(TEXT_UNITS)}")
    first_sign(file)
    lines: list[str] = []
    begun, size = 1, 0
    for number, raw in numbered_lines(file):
        text = decoded(number, raw)
        if isinstance(text, Line):
            yield text
            continue
        if lines and (unit == "line" or (unit == "paragraph" and not text.strip())):
            yield from _text(begun, lines)
            lines, size = [], 0
        if not lines:
            begun = number
        if text.strip() or (lines and unit == "file"):
            lines.append(text)
            size += len(text)
        if size > LONGEST:
            yield Line(begun, b"", RowError(f"the text is longer than {LONGEST:,} characters"))
            lines, size = [], 0
    yield from _text(begun, lines)


def _text(number: int, lines: Sequence[str]) -> Iterator[Line]:
    text = "".join(lines).replace("\r\n", "\n").strip("\n")
    if text.strip():
        yield checked(number, text.encode("utf-8", "surrogatepass"), {"text": text})


def write_table(file: IO[str], rows: Iterable[Mapping[str, object]], columns: Sequence[str], delimiter: str) -> None:
    """Rows as CSV or TSV with a header; what is not a text is written as JSON, and what is absent as nothing."""
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
