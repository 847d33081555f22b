"""The display boundary: text from a model, a file or a name becomes something that can only be looked at.

What is replaced is the domain's rule (``foreign_text``); here it becomes content that no widget parses as markup, no
line is wider than ``MAX_LINE_CELLS`` cells, and a filter beneath every widget drops what one of them forgot.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.color import Color
from textual.content import Content
from textual.filter import LineFilter

from workbench.domain import foreign_text
from workbench.domain.foreign_text import CONTROL, MAX_LINE_CELLS


def clean(text: str) -> str:
    """``text`` for a surface with several lines: no control acts, every line at most ``MAX_LINE_CELLS`` cells."""
    shown = foreign_text.clean(text)
    if len(shown) <= MAX_LINE_CELLS // 2:
        return shown
    return "\n".join(_narrowed(line, MAX_LINE_CELLS) for line in shown.split("\n"))


def cell(text: str, width: int = MAX_LINE_CELLS) -> str:
    """``text`` as one line (newlines shown as ⏎), cut with an ellipsis to ``width`` cells."""
    if width <= 0:
        return ""
    # a character may take no cell at all, so more are read than fit; a fixed number keeps a 1 MB line cheap
    head = text[: width * 4 + 8]
    line = foreign_text.cell(head)
    return line if len(head) == len(text) and cell_len(line) <= width else _narrowed(line + "…", width)


def safe(text: str) -> Content:
    """``text`` as content that no widget parses as markup, for surfaces with several lines."""
    return Content(clean(text))


def safe_cell(text: str, width: int = MAX_LINE_CELLS) -> Content:
    """``text`` as one line of content that no widget parses as markup: titles, borders, tooltips, cells."""
    return Content(cell(text, width))


def has_controls(text: str) -> bool:
    """True when something in ``text`` besides line ends and tabs is replaced on the screen."""
    return CONTROL.search(text.replace("\r\n", "").replace("\n", "").replace("\t", "")) is not None


def join_cells(parts: Sequence[str], separator: str = " │ ") -> str:
    """One-line parts, cleaned, the empty ones left out, joined for a status line."""
    return separator.join(cell(part) for part in parts if part)


def _narrowed(line: str, width: int) -> str:
    if len(line) * 2 <= width or cell_len(line) <= width:
        return line
    return set_cell_size(line, width - 1).rstrip() + "…"


class ControlFilter(LineFilter):
    """The net beneath every widget: no control character leaves for the terminal, whatever a widget forgot."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments, without control characters in their text."""
        if not any(CONTROL.search(segment.text) for segment in segments):
            return segments
        return [Segment(CONTROL.sub("", text), style, control) for text, style, control in segments]
