"""The two answers of a pair side by side: how they scroll, what is shown of them, and how far they were read.

Knows texts and sides, no verdicts.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.reactive import reactive
from textual.widgets import Static

from workbench.tui.safety import safe, safe_cell
from workbench.tui.word_diff import side_by_side

SIDES = ("left", "right")


class Side(VerticalScroll, can_focus=False):
    """One answer. It counts as read once its end was in sight."""

    is_read: reactive[bool] = reactive(False)

    def __init__(self, side: str) -> None:
        super().__init__(id=f"prefer-{side}", classes="prefer--side")
        self._side, self._words = side, 0

    def compose(self) -> ComposeResult:
        """The text."""
        yield Static(classes="prefer--text", markup=False)

    def begin(self, text: str) -> None:
        """Another answer, from its beginning."""
        self._words = len(text.split())
        self.is_read = False
        self.scroll_home(animate=False, immediate=True)
        self._title()
        self.call_after_refresh(self._look)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolled: perhaps to the end."""
        super().watch_scroll_y(old_value, new_value)
        self._look()

    def on_resize(self) -> None:
        """A zoom or another width may show all of it."""
        self.call_after_refresh(self._look)

    def _look(self) -> None:
        if self.display and self.size.height and self.scroll_offset.y >= self.max_scroll_y:
            self.is_read = True

    def watch_is_read(self) -> None:
        """Said in the title."""
        self._title()

    def _title(self) -> None:
        words = f"{self._words:,} word{'s' * (self._words != 1)}"
        self.border_title = safe_cell(f"{self._side.upper()}  {words}  {'✓ read' if self.is_read else '▼ goes on'}")


class Sides(Horizontal, can_focus=True):
    """The two answers. It takes the keys that scroll: both sides together, or each with its own keys."""

    BINDINGS = [
        Binding("down,j", "scroll_sides(2)", "Scroll", show=False, id="view.down", tooltip="Scroll down"),
        Binding("up,k", "scroll_sides(-2)", "Scroll", show=False, id="view.up", tooltip="Scroll up"),
        Binding("J", "scroll_other(2)", "Right", show=False, id="view.right_down", tooltip="The right side down"),
        Binding("K", "scroll_other(-2)", "Right", show=False, id="view.right_up", tooltip="The right side up"),
        Binding("pagedown", "scroll_sides(12)", "Page", show=False, id="view.page_down", tooltip="A page down"),
        Binding("pageup", "scroll_sides(-12)", "Page", show=False, id="view.page_up", tooltip="A page up"),
    ]

    in_step: reactive[bool] = reactive(True)
    """Whether both sides scroll together; else ``j k`` scroll the left one and ``J K`` the right one."""

    def compose(self) -> ComposeResult:
        """Left and right, each with its own scrolling."""
        for side in SIDES:
            yield Side(side)

    def action_scroll_sides(self, lines: int) -> None:
        """Move both sides, or the left one."""
        for side in SIDES if self.in_step else ("left",):
            self._box(side).scroll_relative(y=lines, animate=False)

    def action_scroll_other(self, lines: int) -> None:
        """Move the right side alone."""
        self._box("right").scroll_relative(y=lines, animate=False)

    def _box(self, side: str) -> Side:
        return self.query_one(f"#prefer-{side}", Side)

    @property
    def unread(self) -> tuple[str, ...]:
        """The sides whose end was never in sight."""
        return tuple(side for side in SIDES if not self._box(side).is_read)

    def show(self, left: str, right: str, *, differing: bool, rewind: bool) -> None:
        """Two texts, with the words underlined in which they differ if that is wanted."""
        shown = side_by_side(left, right) if differing else (safe(left), safe(right))
        for side, content, text in zip(SIDES, shown, (left, right), strict=True):
            self._box(side).query_one(Static).update(content)
            if rewind:
                self._box(side).begin(text)

    def zoom(self, side: str) -> None:
        """Give the whole width to ``side``; "" shows both."""
        for one in SIDES:
            self._box(one).display = side in {"", one}
