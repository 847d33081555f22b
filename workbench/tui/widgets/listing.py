"""A list of rows that fit in memory (runs, models, settings): columns, a cursor with a mark, a heading. Draws only the
lines on the screen. Rows of examples, of which there may be a million, have their own widget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from workbench.tui.safety import cell

CURSOR = "▶ "


@dataclass(frozen=True, slots=True)
class Column:
    """A column: ``width`` 0 takes what is left (shared); it is left out when the list is narrower than ``least``."""

    title: str
    width: int = 0
    right: bool = False
    least: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One row: ``key`` names it, ``tone`` colours its last cell: good, bad, busy, muted or plain."""

    key: str
    cells: tuple[str, ...]
    tone: str = "plain"


def list_bindings(*, letters: bool, g: bool = True) -> list[BindingType]:
    """The keys of a list; without ``letters``, j, k and Enter are left to the pane around it, without ``g`` that."""
    down, up = ("down,j", "up,k") if letters else ("down", "up")
    moves: list[BindingType] = [
        Binding(down, "move(1)", "Down", show=False, id="list.down", tooltip="Next row"),
        Binding(up, "move(-1)", "Up", show=False, id="list.up", tooltip="Previous row"),
        Binding("pagedown", "page(1)", "Page down", show=False, id="list.page_down", tooltip="Next page"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="list.page_up", tooltip="Previous page"),
        Binding("home,g" if g else "home", "go(0)", "First", show=False, id="list.first", tooltip="First row"),
        Binding("end,G", "go(-1)", "Last", show=False, id="list.last", tooltip="Last row"),
    ]
    choose = Binding("enter", "choose", "Open", id="list.choose", tooltip="Open this row")
    return [*moves, choose] if letters else moves


class Listing(Widget, can_focus=True):
    """Shows rows and a cursor. The cursor stays on its key when the rows are replaced."""

    BINDINGS = list_bindings(letters=True)
    COMPONENT_CLASSES = {
        "listing--heading",
        "listing--cursor",
        "listing--cursor-blurred",
        "listing--good",
        "listing--bad",
        "listing--busy",
        "listing--muted",
    }
    DEFAULT_CSS = """
    Listing {
        height: 1fr; width: 1fr;
        & .listing--heading { color: $text-muted; text-style: underline; }
        & .listing--cursor {
            color: $block-cursor-foreground; background: $block-cursor-background; text-style: bold;
        }
        & .listing--cursor-blurred {
            color: $block-cursor-blurred-foreground; background: $block-cursor-blurred-background;
        }
        & .listing--good { color: $success; }
        & .listing--bad { color: $error; text-style: bold; }
        & .listing--busy { color: $warning; }
        & .listing--muted { color: $text-muted; }
    }
    """

    class Moved(Message):
        """The cursor stands on another row ("" when there is none)."""

        def __init__(self, listing: Listing, key: str) -> None:
            super().__init__()
            self.listing, self.key = listing, key

        @property
        def control(self) -> Listing:
            """The list, for selectors of ``@on``."""
            return self.listing

    class Chosen(Moved):
        """Enter or a second click on a row."""

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        empty: str = "nothing here yet",
        heading: bool = True,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.columns = tuple(columns)
        self.empty = empty
        self.heading = heading
        self.rows: tuple[Row, ...] = ()
        self.cursor = 0
        self._top = 0

    @property
    def key(self) -> str:
        """The key of the row under the cursor, "" when there are no rows."""
        return self.rows[self.cursor].key if self.rows else ""

    def show(self, rows: Sequence[Row], *, key: str = "") -> None:
        """Replace the rows; the cursor goes to ``key``, else stays on its key, else on its place."""
        wanted = key or self.key
        before = self.key
        old, self.rows = self.rows, tuple(rows)
        places = {row.key: place for place, row in enumerate(self.rows)}
        self.cursor = places.get(wanted, min(self.cursor, max(0, len(self.rows) - 1)))
        self._keep_in_view()
        if old != self.rows or self.key != before:
            self.refresh()
        if self.key != before:
            self.post_message(self.Moved(self, self.key))

    def go_to(self, place: int) -> None:
        """Move the cursor to a place, kept within the rows."""
        place = min(max(place, 0), len(self.rows) - 1)
        if self.rows and place != self.cursor:
            self.cursor = place
            self._keep_in_view()
            self.refresh()
            self.post_message(self.Moved(self, self.key))

    @property
    def _visible(self) -> int:
        return max(1, self.size.height - int(self.heading))

    def _keep_in_view(self) -> None:
        last_top = max(0, len(self.rows) - self._visible)
        self._top = min(max(self._top, self.cursor - self._visible + 1), self.cursor, last_top)

    def on_resize(self) -> None:
        """More or fewer rows fit."""
        self._keep_in_view()
        self.refresh()

    def on_focus(self) -> None:
        """The cursor's colour tells where the keys go."""
        self.refresh()

    def on_blur(self) -> None:
        """The same."""
        self.refresh()

    def action_move(self, steps: int) -> None:
        """Up or down."""
        self.go_to(self.cursor + steps)

    def action_page(self, pages: int) -> None:
        """A page up or down."""
        self.go_to(self.cursor + pages * max(1, self._visible - 1))

    def action_go(self, place: int) -> None:
        """First (0) or last (-1)."""
        self.go_to(place if place >= 0 else len(self.rows) - 1)

    def action_choose(self) -> None:
        """Enter."""
        if self.rows:
            self.post_message(self.Chosen(self, self.key))

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; on the cursor's row it opens it."""
        place = self._top + event.y - int(self.heading)
        if 0 <= place < len(self.rows) and event.y >= int(self.heading):
            if place == self.cursor:
                self.action_choose()
            self.go_to(place)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.go_to(self.cursor + 3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel moves the cursor."""
        event.stop()
        self.go_to(self.cursor - 3)

    # --- drawing -----------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """The heading, or one row."""
        width = self.size.width
        if self.heading and y == 0:
            return self._strip([(self._heading(width), "listing--heading")], width)
        place = self._top + y - int(self.heading)
        if not self.rows and place == 0:
            return self._strip([(cell("  " + self.empty, width), "listing--muted")], width)
        if place >= len(self.rows):
            return Strip.blank(width, self.rich_style)
        return self._row(self.rows[place], place == self.cursor, width)

    def _heading(self, width: int) -> str:
        titles = [(c.title, w, c.right) for c, w in self._widths(width) if w]
        line = _titles(titles)
        if len(self.rows) <= self._visible:
            return line
        count = f" {self.cursor + 1}/{len(self.rows)}"
        if titles and len(line.rstrip()) > width - len(count):  # no room behind the last title: behind the first one
            (first, w, right), *others = titles
            return _titles([(first + count, w, right), *others])
        return _fit(line, width - len(count), False) + count

    def _row(self, row: Row, is_cursor: bool, width: int) -> Strip:
        shown = [(text, w, c.right) for text, (c, w) in zip(row.cells, self._widths(width), strict=True) if w]
        pieces = [_fit(cell(text, w), w, right) for text, w, right in shown]
        mark = CURSOR if is_cursor else "  "
        if is_cursor:
            style = "listing--cursor" if self.has_focus else "listing--cursor-blurred"
            return self._strip([(mark + "  ".join(pieces), style)], width)
        head, last = "  ".join(pieces[:-1]), pieces[-1] if pieces else ""
        tone = "" if row.tone == "plain" else f"listing--{row.tone}"
        return self._strip([(mark + head + ("  " if head else ""), ""), (last, tone)], width)

    def _strip(self, pieces: Sequence[tuple[str, str]], width: int) -> Strip:
        segments = [
            Segment(text, self.get_component_rich_style(name) if name else self.rich_style) for text, name in pieces
        ]
        last = segments[-1].style if pieces and pieces[-1][1].startswith("listing--cursor") else self.rich_style
        return Strip(segments).adjust_cell_length(width, last)

    def _widths(self, width: int) -> list[tuple[Column, int]]:
        """Each column with its width in cells, 0 for one that is left out."""
        kept = [column for column in self.columns if width >= column.least]
        fixed = sum(column.width for column in kept) + 2 * len(kept)
        flexible = sum(1 for column in kept if not column.width)
        share = max(4, (width - fixed) // flexible) if flexible else 0
        return [(c, (c.width or share) if c in kept else 0) for c in self.columns]


class PlainListing(Listing, inherit_bindings=False):
    """A list in a pane that uses j, k or Enter for something else."""

    BINDINGS = list_bindings(letters=False)


class HomeListing(Listing, inherit_bindings=False):
    """A list in a pane that uses g for something else: Home goes to the first row."""

    BINDINGS = list_bindings(letters=True, g=False)


def _titles(titles: Sequence[tuple[str, int, bool]]) -> str:
    return "  " + "  ".join(_fit(title, width, right) for title, width, right in titles)


def _fit(text: str, width: int, right: bool) -> str:
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width)
    return " " * (width - length) + text if right else text + " " * (width - length)
