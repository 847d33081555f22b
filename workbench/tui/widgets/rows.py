"""A table over any number of stored rows: a vector of ids, pages fetched when looked at, lines drawn when seen.

The order stays as it was when the ids were set, so a row does not move from under the cursor when its state changes.
Knows neither SQL nor examples: a page is fetched by the function it was given.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress
from typing import Any, ClassVar, Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.binding import Binding
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.tui.safety import cell

Row = TypeVar("Row")
PAGE = 128
PAGES_KEPT = 64
STRIPS_KEPT = 1024
MARKS_KEPT = 100_000
HEADER = 1


@dataclass(frozen=True)  # not slots: Python 3.11 cannot make a generic one with frozen
class Column(Generic[Row]):
    """One column: ``text`` gives its raw text (cleaned here); ``width`` in cells, 0 shares what is left.

    ``tone`` names the component class ``rows--<tone>`` for a row's cell, "" for none.
    """

    title: str
    width: int
    text: Callable[[Row], str]
    right: bool = False
    tone: Callable[[Row], str] | None = None


class RowTable(ScrollView, Generic[Row], can_focus=True, inherit_bindings=False):  # nothing here scrolls sideways
    """Rows by id. Keys move the cursor and mark; the pane decides what to do with a row."""

    ALLOW_SELECT: ClassVar[bool] = False
    title = "List"  # in the help
    BINDINGS = [
        Binding("j,down", "move(1)", "Next row", show=False, id="list.down"),
        Binding("k,up", "move(-1)", "Previous row", show=False, id="list.up"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="list.page_down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="list.page_up"),
        Binding("ctrl+d", "half(1)", "Half a page down", show=False, id="list.half_down"),
        Binding("ctrl+u", "half(-1)", "Half a page up", show=False, id="list.half_up"),
        Binding("g,home", "to(0)", "First row", show=False, id="list.first"),
        Binding("G,end", "to(-1)", "Last row", show=False, id="list.last"),
        Binding("colon", "ask_row", "Go to row n", show=False, id="list.goto"),
        Binding("enter", "choose", "Open", show=False, id="list.open"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--header",
        "rows--cursor",
        "rows--cursor-blurred",
        "rows--marked",
        "rows--good",
        "rows--bad",
        "rows--quiet",
        "rows--warn",
    }
    DEFAULT_CSS = """
    RowTable { scrollbar-gutter: stable; scrollbar-size: 1 1; overflow-x: hidden; overflow-y: auto; }
    RowTable > .rows--header { color: $text-muted; text-style: bold; }
    RowTable > .rows--cursor { background: $primary 40%; color: $foreground; text-style: bold; }
    RowTable > .rows--cursor-blurred { background: $panel; color: $foreground; }
    RowTable > .rows--marked { color: $text-accent; }
    RowTable > .rows--good { color: $text-success; }
    RowTable > .rows--bad { color: $text-error; }
    RowTable > .rows--warn { color: $text-warning; }
    RowTable > .rows--quiet { color: $text-muted; }
    """

    cursor: reactive[int] = reactive(0, repaint=False)

    class Highlighted(Message):
        """The cursor came to a row (``row_id`` None: there is none)."""

        def __init__(self, table: RowTable[Any], row_id: int | None) -> None:
            super().__init__()
            self.table, self.row_id = table, row_id

        @property
        def control(self) -> RowTable[Any]:
            """The table."""
            return self.table

    class Chosen(Message):
        """Enter, or a click, on a row."""

        def __init__(self, table: RowTable[Any], row_id: int) -> None:
            super().__init__()
            self.table, self.row_id = table, row_id

        @property
        def control(self) -> RowTable[Any]:
            """The table."""
            return self.table

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        fetch: Callable[[Sequence[int]], Sequence[Row | None]],
        *,
        empty: str = "",
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._columns = list(columns)
        self._fetch = fetch
        self.empty = empty
        self.ids: array[int] = array("q")
        self.is_partial = False
        self._marks = bytearray()  # one for each id: a million marks are a megabyte, and set at once
        self._marks_all = False
        self._anchor: int | None = None
        self._pages: OrderedDict[int, list[Row | None]] = OrderedDict()
        self._strips: OrderedDict[tuple[object, ...], Strip] = OrderedDict()

    # --- what is shown -----------------------------------------------------------------------------------------

    def set_ids(self, ids: array[int], *, keep: int | None = None, partial: bool = False) -> None:
        """Show these ids. The cursor goes to the row ``keep`` when it is among them, else stays near where it was.

        ``partial`` says that these are only some of the list, and that all of them will follow. Marks stay on their
        rows, unless they are more than ``MARKS_KEPT``.
        """
        marked = self._marked_ids() if self.marked_count <= MARKS_KEPT else ()
        seen = max(1, self.scrollable_content_region.height - HEADER)
        height = self.cursor - int(self.scroll_offset.y) if len(self.ids) else seen // 2
        self.ids, self.is_partial, self._anchor = ids, partial, None
        self._marks = bytearray(b"\1" * len(ids)) if self._marks_all else _marks(ids, marked)
        self._pages.clear()
        self._strips.clear()
        self.virtual_size = Size(self.scrollable_content_region.width, len(ids) + HEADER)
        place = self.index_of(keep) if keep is not None else None
        target = place if place is not None else min(self.cursor, max(0, len(ids) - 1))
        if place is not None:  # the row stays where it is on the screen
            self.scroll_to(y=max(0, target - height), animate=False, immediate=True, force=True)
        if target == self.cursor:
            self.watch_cursor(target, target)
        self.cursor = target
        self.refresh()

    def index_of(self, row_id: int) -> int | None:
        """Where a row stands, None when it is not among the ids."""
        low = max(0, self.cursor - PAGE)
        with suppress(ValueError):  # nearly always it is near
            return self.ids.index(row_id, low, self.cursor + PAGE)
        if (at := bisect_left(self.ids, row_id)) < len(self.ids) and self.ids[at] == row_id:
            return at
        with suppress(ValueError):
            return self.ids.index(row_id)
        return None

    @property
    def current_id(self) -> int | None:
        """The id under the cursor."""
        return self.ids[self.cursor] if 0 <= self.cursor < len(self.ids) else None

    def row(self, index: int) -> Row | None:
        """The row at a position; None when it no longer exists."""
        number = index // PAGE
        page = self._pages.get(number)
        if page is None:
            page = [*self._fetch(self.ids[number * PAGE : (number + 1) * PAGE])]
            self._pages[number] = page
            if len(self._pages) > PAGES_KEPT:
                self._pages.popitem(last=False)
        else:
            self._pages.move_to_end(number)
        at = index - number * PAGE
        return page[at] if at < len(page) else None

    def changed(self, row_ids: Sequence[int]) -> None:
        """These rows have changed in the store: fetch and draw them again. An empty sequence means all of them."""
        if not row_ids or len(row_ids) > PAGE:
            self._pages.clear()
            self._strips.clear()
            self.refresh()
            return
        places = [at for row_id in row_ids if (at := self.index_of(row_id)) is not None]
        read = self._fetch([self.ids[at] for at in places]) if places else []
        for at, row in zip(places, read, strict=True):
            if (page := self._pages.get(at // PAGE)) is not None:
                page[at % PAGE] = row
            self._forget(at)

    def set_columns(self, columns: Sequence[Column[Row]]) -> None:
        """Use other columns (another width, another pane)."""
        self._columns = list(columns)
        self._strips.clear()
        self.refresh()

    def _forget(self, index: int) -> None:
        for key in [key for key in self._strips if key[0] == index]:
            del self._strips[key]
        self.refresh_line(index + HEADER)

    # --- marks -------------------------------------------------------------------------------------------------

    @property
    def marked_count(self) -> int:
        """How many rows are marked."""
        return self._marks.count(1)

    def toggle_mark(self) -> None:
        """Mark or unmark the row under the cursor, and go on."""
        if self.current_id is not None:
            self._marks[self.cursor] ^= 1
            self._marks_all, self._anchor = False, self.cursor
            self._forget(self.cursor)
            self.action_move(1)

    def mark_to_here(self) -> None:
        """Mark every row from the one that was marked last to the one under the cursor."""
        if self.current_id is not None:
            first = self.cursor if self._anchor is None or self._anchor >= len(self.ids) else self._anchor
            low, high = sorted((first, self.cursor))
            self._marks[low : high + 1] = b"\1" * (high + 1 - low)
            self._anchor = self.cursor
            self._strips.clear()
            self.refresh()

    def mark_all(self) -> None:
        """Mark every row, also those of a partial list that are still to come; or none when all are marked already."""
        self._marks_all = self.marked_count < len(self.ids)
        self._marks = bytearray((b"\1" if self._marks_all else b"\0") * len(self.ids))
        self._strips.clear()
        self.refresh()

    def targets(self) -> array[int]:
        """What a gesture is meant for: the marked rows in their order, else the one under the cursor."""
        if self.marked_count:
            return self._marked_ids()
        return array("q", () if self.current_id is None else (self.current_id,))

    def clear_marks(self) -> None:
        """Unmark everything."""
        if self.marked_count or self._marks_all:
            self._marks, self._marks_all, self._anchor = bytearray(len(self.ids)), False, None
            self._strips.clear()
            self.refresh()

    def _marked_ids(self) -> array[int]:
        return array("q", compress(self.ids, self._marks))

    # --- drawing -----------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """The header, then the rows from the scroll offset on."""
        width = self.scrollable_content_region.width
        if y == 0:
            return self._header(width)
        index = int(self.scroll_offset.y) + y - HEADER
        if index >= len(self.ids):
            text = self.empty if index == 0 else ""
            return Strip([Segment(set_cell_size("  " + cell(text, width), width), self.rich_style)], width)
        has_cursor = index == self.cursor
        key = (index, has_cursor, width, self.has_focus and has_cursor)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._line(index, width, has_cursor)
            if len(self._strips) > STRIPS_KEPT:
                self._strips.popitem(last=False)
        return strip

    def _widths(self, width: int) -> list[int]:
        fixed = sum(c.width + 1 for c in self._columns if c.width)
        shares = [c for c in self._columns if not c.width]
        room = max(0, width - 2 - fixed - len(shares))
        each, rest = divmod(room, len(shares)) if shares else (0, 0)
        widths: list[int] = []
        for column in self._columns:
            extra = 1 if not column.width and rest > 0 else 0
            rest -= extra
            widths.append(column.width or each + extra)
        return widths

    def _header(self, width: int) -> Strip:
        style = self.rich_style + self.get_component_rich_style("rows--header", partial=True)
        parts = [
            _fitted(column.title, w, right=column.right)
            for column, w in zip(self._columns, self._widths(width), strict=True)
        ]
        return Strip([Segment(set_cell_size("  " + " ".join(parts), width), style)], width)

    def _line(self, index: int, width: int, has_cursor: bool) -> Strip:
        base = self.rich_style
        is_marked = bool(self._marks[index])
        if has_cursor:  # not partial: only the full style blends a translucent background
            base = self.get_component_rich_style("rows--cursor" if self.has_focus else "rows--cursor-blurred")
        if is_marked:
            base += self.get_component_rich_style("rows--marked", partial=True)
        sign = ("▶" if has_cursor else " ") + ("*" if is_marked else " ")
        segments = [Segment(sign, base)]
        row = self.row(index)
        if row is None:
            segments.append(Segment(set_cell_size("(no longer there)", max(0, width - 2)), base))
            return Strip(segments, width)
        for column, w in zip(self._columns, self._widths(width), strict=True):
            style = base
            if column.tone is not None and (tone := column.tone(row)):
                style += self.get_component_rich_style(f"rows--{tone}", partial=True)
            segments.append(Segment(_fitted(column.text(row), w, right=column.right), style))
            segments.append(Segment(" ", base))
        return Strip(segments).adjust_cell_length(width, base)

    def notify_style_update(self) -> None:
        """Another theme: what was drawn has the wrong colours."""
        self._strips.clear()
        super().notify_style_update()

    def on_resize(self, _event: Resize) -> None:
        """Another width: draw again, and keep the cursor in sight."""
        self._strips.clear()
        self.virtual_size = Size(self.scrollable_content_region.width, len(self.ids) + HEADER)
        self._show_cursor()

    def on_focus(self) -> None:
        """The cursor's colour says where the keys go."""
        self.refresh()

    def on_blur(self) -> None:
        """The cursor's colour says where the keys go."""
        self.refresh()

    # --- moving ------------------------------------------------------------------------------------------------

    def validate_cursor(self, cursor: int) -> int:
        """Always on a row, when there is one."""
        return min(max(cursor, 0), max(0, len(self.ids) - 1))

    def watch_cursor(self, old: int, new: int) -> None:
        """Scroll as little as needed, draw two lines, tell the pane."""
        self._show_cursor()
        self.refresh_line(old + HEADER)
        self.refresh_line(new + HEADER)
        if self.is_attached:
            self.post_message(self.Highlighted(self, self.current_id))

    def _show_cursor(self) -> None:
        top, rows = int(self.scroll_offset.y), max(1, self.scrollable_content_region.height - HEADER)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True, force=True)
        elif self.cursor >= top + rows:
            self.scroll_to(y=self.cursor - rows + 1, animate=False, immediate=True, force=True)

    def action_move(self, rows: int) -> None:
        """Down (positive) or up."""
        self.cursor += rows

    def action_page(self, pages: int) -> None:
        """A window full of rows."""
        self.cursor += pages * max(1, self.scrollable_content_region.height - HEADER)

    def action_half(self, halves: int) -> None:
        """Half a window."""
        self.cursor += halves * max(1, (self.scrollable_content_region.height - HEADER) // 2)

    def action_to(self, index: int) -> None:
        """The first row, or with -1 the last."""
        self.cursor = index if index >= 0 else len(self.ids) - 1

    def action_choose(self) -> None:
        """Enter."""
        if (row_id := self.current_id) is not None:
            self.post_message(self.Chosen(self, row_id))

    def action_ask_row(self) -> None:
        """``:`` and a number, counted from 1."""
        from workbench.tui.widgets.dialogs import TextDialog

        def go(answer: str | None) -> None:
            if answer and answer.strip().isdecimal():
                self.cursor = int(answer) - 1

        self.app.push_screen(TextDialog(f"Go to row (1 to {len(self.ids):,})"), go)

    def on_click(self, event: Click) -> None:
        """A click moves the cursor, a double one opens."""
        index = int(self.scroll_offset.y) + event.y - HEADER
        if event.y >= HEADER and 0 <= index < len(self.ids):
            self.cursor = index
            if event.chain > 1:
                self.action_choose()


def _marks(ids: array[int], marked: Iterable[int]) -> bytearray:
    kept = {*marked}
    return bytearray(map(kept.__contains__, ids)) if kept else bytearray(len(ids))


def _fitted(text: str, width: int, *, right: bool = False) -> str:
    shown = cell(text, width)
    return " " * (width - cell_len(shown)) + shown if right else set_cell_size(shown, width)
