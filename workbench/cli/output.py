"""What a command prints: data on stdout, everything else on stderr.

With ``--json`` stdout holds one JSON document, or one per line where a command lists things, and nothing else. Plain
output cleans foreign text first, so that no model or file can drive the terminal; JSON escapes control characters.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from workbench.domain.foreign_text import cell, clean
from workbench.errors import WorkbenchError


class Output:
    """The two streams of one command."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def data(self, document: Mapping[str, object], text: str = "") -> None:
        """The command's result: the document with ``--json``, else ``text`` (nothing if empty)."""
        if self.as_json:
            print(_json(document), flush=True)
        elif text:
            print(clean(text), flush=True)

    def piece(self, text: str) -> None:
        """A piece of streamed text, not ended by a newline; nothing with ``--json``."""
        if not self.as_json:
            print(clean(text), end="", flush=True)

    def table(self, rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
        """Rows as JSON lines, or as a plain table of ``columns`` in which no cell is wider than 48."""
        if self.as_json:
            for row in rows:
                print(_json(row))
            return
        cells = [[_cell(row.get(name)) for name in columns] for row in rows]
        widths = [max([len(name), *(len(line[i]) for line in cells)]) for i, name in enumerate(columns)]
        for line in [list(columns), *cells]:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())

    def say(self, text: str) -> None:
        """A message for the person, on stderr; silent with ``--quiet``."""
        if not self.quiet:
            print(clean(text), file=sys.stderr, flush=True)

    def progress(self, text: str) -> None:
        """A line that overwrites itself; only on a terminal."""
        if not self.quiet and sys.stderr.isatty():
            print(f"\r\x1b[2K{cell(text, 100)}", end="", file=sys.stderr, flush=True)

    def end_progress(self) -> None:
        """Clear the progress line."""
        if not self.quiet and sys.stderr.isatty():
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)

    def error(self, error: WorkbenchError) -> None:
        """An error on stderr: plain with its place and hint, or as ``{"error": …}`` with ``--json``."""
        if self.as_json:
            print(_json({"error": error.as_dict()}), file=sys.stderr)
            return
        place = f"{error.where}: " if error.where and error.where not in error.message else ""
        print(clean(f"workbench: {place}{error.message}"), file=sys.stderr)
        if error.hint:
            print(clean(f"  {error.hint}"), file=sys.stderr)


def _json(document: Mapping[str, object]) -> str:
    text = json.dumps(document, ensure_ascii=False, default=str)
    return "".join(_escaped(c) if _is_control(c) else c for c in text) if _any_control(text) else text


def _any_control(text: str) -> bool:
    return not text.isprintable()


def _is_control(character: str) -> bool:
    return not character.isprintable() and character != " "


def _escaped(character: str) -> str:
    code = ord(character)
    if code > 0xFFFF:
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return cell(",".join(map(str, value)), 48)
    return cell(str(value), 48)
