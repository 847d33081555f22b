"""The two answers of the Arena side by side: they scroll together, and take the keys."""

from __future__ import annotations

from itertools import count
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal

from workbench.tui.safety import safe_cell
from workbench.tui.widgets.transcript import Entry, Transcript

SIDES = ("left", "right")
_KEYS = count(1)


class Answer(Transcript, can_focus=False):
    """One answer, drawn as Chat draws it; grows while it is watched."""

    def __init__(self, side: str) -> None:
        super().__init__(follow=False, folds=True, bare=True, id=f"arena-{side}", classes="arena--side")

    def show_text(self, text: str) -> None:
        """This text from its beginning, in the place of the one before."""
        self.follow = False
        self.set_entries([Entry(next(_KEYS), "", text)])

    def begin_text(self) -> None:
        """An answer that is about to be written; its end stays in sight until somebody scrolls up."""
        self.set_entries([])
        self.follow = True
        self.begin(Entry(next(_KEYS), "", ""))


class Answers(Horizontal, can_focus=True):
    """The two answers. It takes the keys; the arrows up and down scroll both sides together."""

    BINDINGS: ClassVar = [
        Binding("down,j", "scroll_both(2)", "Scroll", show=False, id="view.down", tooltip="Scroll both down"),
        Binding("up,k", "scroll_both(-2)", "Scroll", show=False, id="view.up", tooltip="Scroll both up"),
        Binding("pagedown", "scroll_both(12)", "Page", show=False, id="view.page_down", tooltip="Both a page down"),
        Binding("pageup", "scroll_both(-12)", "Page", show=False, id="view.page_up", tooltip="Both a page up"),
        Binding("z", "fold", "Fold", show=False, id="view.fold", tooltip="Show thoughts and tool calls, or fold them"),
    ]

    def compose(self) -> ComposeResult:
        """Left and right, each with its own scrolling."""
        for side in SIDES:
            yield Answer(side)

    def action_scroll_both(self, lines: int) -> None:
        """Move both sides by some lines."""
        for side in self.query(Answer):
            side.action_scroll_lines(lines)

    def action_fold(self) -> None:
        """What the models thought and called, on both sides."""
        for side in self.query(Answer):
            side.fold()

    def side(self, side: str) -> Answer:
        """The answer on one side."""
        return self.query_one(f"#arena-{side}", Answer)

    def show(self, left: str, right: str) -> None:
        """Two new texts, from their beginning."""
        for side, text in zip(SIDES, (left, right), strict=True):
            self.side(side).show_text(text)

    def begin(self) -> None:
        """Two answers that will be watched."""
        for side in SIDES:
            self.side(side).begin_text()

    def set_titles(self, left: str, right: str, *, winner: str = "") -> None:
        """What stands above each answer; the winner's is marked."""
        for side, title in zip(SIDES, (left, right), strict=True):
            box = self.side(side)
            box.border_title = safe_cell(f"{'✓ ' if winner == side else ''}{title}", 60)
            box.set_class(winner == side, "-winner")
