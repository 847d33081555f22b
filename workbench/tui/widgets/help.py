"""Help and the jump menu: dialogs made from the live bindings and the registry of panes, so that they cannot lie."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding
from textual.containers import Vertical, VerticalScroll
from textual.dom import DOMNode
from textual.events import Key
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from workbench.tui.panes import PANES
from workbench.tui.widgets.frame import key_sign

WORKBENCH = "workbench"
# What Textual's own keys do, in words that say it.
_IN_WORDS = {
    "Focus Next": "To the next part of the screen",
    "Focus Previous": "To the part before",
    "Copy selected text": "Copy what the mouse has marked",
    "Scroll Home": "To the beginning",
    "Scroll End": "To the end",
}
_SIDEWAYS = {"scroll_left", "scroll_right", "page_left", "page_right"}


def help_rows(active: Mapping[str, ActiveBinding]) -> list[tuple[str, str, str]]:
    """(where, keys, what it does) for every live binding, the keys of one action joined, in order of reach."""
    rows: dict[tuple[str, str], list[str]] = {}
    # what a text field itself binds (cursor keys and the like) is known to most, so it stands last
    for key, found in sorted(active.items(), key=lambda item: not item[1].binding.id):
        is_told = found.binding.description and not found.binding.system and not key.startswith("super+")
        if is_told and not _does_nothing(found):
            what = found.binding.tooltip or found.binding.description
            rows.setdefault((_place(found.node), _IN_WORDS.get(what, what)), []).append(key_sign(key))
    places = list(dict.fromkeys(where for where, _ in rows))
    # the app's own keys are the same on every screen, so they come after the screen's
    listed = sorted(rows.items(), key=lambda row: (row[0][0] == WORKBENCH, places.index(row[0][0])))
    return [(where, _joined(keys), what) for (where, what), keys in listed]


def _does_nothing(found: ActiveBinding) -> bool:
    """Whether it goes sideways in what is never wider than the screen."""
    node = found.node
    return found.binding.action in _SIDEWAYS and isinstance(node, Widget) and not node.allow_horizontal_scroll


def _joined(keys: list[str]) -> str:
    """Keys side by side, a row of digits as its first and last one."""
    if len(keys) > 2 and "".join(keys) in "0123456789":
        return f"{keys[0]}-{keys[-1]}"
    return "  ".join(keys)


def _place(node: DOMNode) -> str:
    """What a person would call the widget: its title, else its class in words ("Dataset" for ``DatasetDialog``)."""
    title = getattr(node, "title", "")
    if isinstance(title, str) and title:
        return title
    if type(node) is VerticalScroll:
        return "Text"
    name = re.sub("(Dialog|Form|Pane)$", "", type(node).__name__) or type(node).__name__
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


class HelpDialog(ModalScreen[None]):
    """Every key that works where the person stands."""

    BINDINGS = [
        Binding("escape,f1,question_mark,q,enter", "close", "Close", id="help.close"),
        Binding("j,down", "scroll_by(1)", "Down", show=False),
        Binding("k,up", "scroll_by(-1)", "Up", show=False),
    ]
    DEFAULT_CSS = """
    HelpDialog { align: center middle; }
    HelpDialog > Vertical {
        width: 76; max-width: 96%; height: auto; max-height: 90%;
        border: round $primary; background: $surface; padding: 0 1; border-title-color: $accent;
    }
    HelpDialog VerticalScroll { height: auto; max-height: 100%; }
    HelpDialog Static { height: auto; }
    """

    def __init__(self, rows: Iterable[tuple[str, str, str]]) -> None:
        super().__init__()
        self._rows = list(rows)

    def compose(self) -> ComposeResult:
        """One table, grouped by where the key is bound."""
        with Vertical() as box:
            box.border_title = "Keys that work here"
            box.border_subtitle = "Esc closes"
            with VerticalScroll():
                yield Static(self._table())

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(min_width=16, no_wrap=True)
        table.add_column(ratio=1)
        last = None
        for where, keys, what in self._rows:
            if where != last:
                table.add_row(Text(where, "bold underline"), Text(""))
                last = where
            table.add_row(Text("  " + keys, "bold"), Text(what))
        return table

    def action_close(self) -> None:
        """Back to where the person was."""
        self.dismiss(None)

    def action_scroll_by(self, lines: int) -> None:
        """Move the table by some lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


class JumpDialog(ModalScreen[str]):
    """Waits for one letter of the strip; the result is the pane's name, or "" when it was left."""

    DEFAULT_CSS = """
    JumpDialog { align: center top; background: $background 40%; }
    JumpDialog > Static {
        margin: 2 0 0 0; width: auto; height: auto; border: round $primary; background: $surface; padding: 0 1;
    }
    """

    def compose(self) -> ComposeResult:
        """The letters and where they lead."""
        yield Static(Text("Go to:  ").append("  ".join(entry.label for entry in PANES)).append("   Esc stays"))

    def on_key(self, event: Key) -> None:
        """The first key decides; a key that is no letter of the strip leaves."""
        event.stop()
        self.dismiss(next((entry.name for entry in PANES if entry.letter == event.character), ""))
