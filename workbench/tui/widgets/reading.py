"""A dialog that only shows something long: it scrolls, and any of its leaving keys closes it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from workbench.tui.safety import safe
from workbench.tui.widgets.dialogs import Dialog


class ReadingDialog(Dialog[None]):
    """Something to read. ``show_content`` and ``show_problem`` may come later, and are ignored once it is closed."""

    BINDINGS = [
        Binding("q,enter", "leave", "Close", id="reading.close", show=False),
        Binding("down,j", "scroll_by(1)", "Down", id="reading.down", show=False),
        Binding("up,k", "scroll_by(-1)", "Up", id="reading.up", show=False),
        Binding("pagedown,space", "scroll_by(12)", "Page down", id="reading.page_down", show=False),
        Binding("pageup", "scroll_by(-12)", "Page up", id="reading.page_up", show=False),
    ]
    DEFAULT_CSS = """
    ReadingDialog > Vertical { width: 104; }
    ReadingDialog .reading--text { height: auto; max-height: 78vh; scrollbar-size-vertical: 1; }
    ReadingDialog .reading--text Static { height: auto; }
    """

    def __init__(self, title: str, content: Content | None = None, *, waiting: str = "", text: str = "") -> None:
        super().__init__(title, text=text, keys="↑ ↓ PgUp PgDn · Esc closes")
        self._content = content if content is not None else safe(waiting)

    def compose_body(self) -> ComposeResult:
        """The content in a box that scrolls."""
        with VerticalScroll(classes="reading--text", can_focus=False):
            yield Static(self._content, id="reading-content", markup=False)

    def show_content(self, content: Content) -> None:
        """Put this in the place of what is shown."""
        if self.is_attached:
            self.query_one("#reading-content", Static).update(content)

    def show_failure(self, text: str) -> None:
        """Say why there is nothing to show."""
        if self.is_attached:
            self.query_one("#reading-content", Static).update("")
            self.show_problem(text)

    def action_scroll_by(self, lines: int) -> None:
        """Move the text by some lines."""
        box: Widget = self.query_one(".reading--text")
        box.scroll_relative(y=lines, animate=False)
