"""The two answers of the Arena side by side: they scroll together, and take the keys."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Static

from workbench.tui.safety import safe, safe_cell

SIDES = ("left", "right")


class AnswerText(Static):
    """One answer; grows while it is watched."""

    def __init__(self, side: str) -> None:
        super().__init__(id=f"arena-{side}-text", classes="arena--text", markup=False)
        self._text = ""

    def show_text(self, text: str) -> None:
        """This text in the place of the one before."""
        self._text = text
        self.update(safe(text))

    def append_text(self, text: str) -> None:
        """More text of an answer that is being written."""
        self.show_text(self._text + text)


class Answers(Horizontal, can_focus=True):
    """The two answers. It takes the keys; the arrows up and down scroll both sides together."""

    BINDINGS = [
        Binding("down,j", "scroll_both(2)", "Scroll", show=False, id="view.down", tooltip="Scroll both down"),
        Binding("up,k", "scroll_both(-2)", "Scroll", show=False, id="view.up", tooltip="Scroll both up"),
        Binding("pagedown", "scroll_both(12)", "Page", show=False, id="view.page_down", tooltip="Both a page down"),
        Binding("pageup", "scroll_both(-12)", "Page", show=False, id="view.page_up", tooltip="Both a page up"),
    ]

    def compose(self) -> ComposeResult:
        """Left and right, each with its own scrolling."""
        for side in SIDES:
            with VerticalScroll(id=f"arena-{side}", classes="arena--side", can_focus=False):
                yield AnswerText(side)

    def action_scroll_both(self, lines: int) -> None:
        """Move both sides by some lines."""
        for side in self.query(VerticalScroll):
            side.scroll_relative(y=lines, animate=False)

    def side(self, side: str) -> AnswerText:
        """The text on one side."""
        return self.query_one(f"#arena-{side}-text", AnswerText)

    def show(self, left: str, right: str) -> None:
        """Two new texts, from their beginning."""
        for side, text in zip(SIDES, (left, right), strict=True):
            self.side(side).show_text(text)
            self.query_one(f"#arena-{side}", VerticalScroll).scroll_home(animate=False)

    def set_titles(self, left: str, right: str, *, winner: str = "") -> None:
        """What stands above each answer; the winner's is marked."""
        for side, title in zip(SIDES, (left, right), strict=True):
            box = self.query_one(f"#arena-{side}", VerticalScroll)
            box.border_title = safe_cell(f"{'✓ ' if winner == side else ''}{title}", 60)
            box.set_class(winner == side, "-winner")
