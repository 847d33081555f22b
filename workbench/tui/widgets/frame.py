"""The frame around every pane: the jump strip above, the status line and the keys below, and the notice on a terminal
that is too small. They show what they are given and know no pane.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.app import RenderResult
from textual.binding import Binding
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

from workbench.tui.panes import PANES
from workbench.tui.safety import cell

MINIMUM_SIZE = (80, 24)

_KEY_SIGNS = {
    "space": "␣",
    "backspace": "⌫",
    "enter": "⏎",
    "escape": "Esc",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "slash": "/",
    "question_mark": "?",
    "colon": ":",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "exclamation_mark": "!",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "tab": "Tab",
    "shift+tab": "⇧Tab",
    "home": "Home",
    "end": "End",
    "delete": "Del",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}


def key_sign(key: str) -> str:
    """A short sign for a key: ``^r`` for Ctrl+R, ``⌫`` for Backspace, ``F1``."""
    if key in _KEY_SIGNS:
        return _KEY_SIGNS[key]
    if key.startswith("ctrl+"):
        return "^" + key_sign(key.removeprefix("ctrl+"))
    if key.startswith("f") and key[1:].isdigit():
        return key.upper()
    return key


class JumpStrip(Widget):
    """The names of the panes with their letters; the one in front is in capitals and brackets."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    JumpStrip { height: 1; background: $panel; color: $text-muted; }
    JumpStrip > .strip--here { color: $accent; text-style: bold; }
    JumpStrip > .strip--letter { color: $foreground; text-style: bold; }
    """
    COMPONENT_CLASSES = {"strip--here", "strip--letter"}

    current: reactive[str] = reactive("")
    corner: reactive[str] = reactive("")

    def render(self) -> RenderResult:
        """The strip in one line, with ``corner`` at the right when there is room for all of it."""
        text = Text(" ", no_wrap=True, overflow="crop")
        for entry in PANES:
            if entry.name == self.current:
                text.append(f"[{entry.label.upper()}]", self.get_component_rich_style("strip--here", partial=True))
            else:
                text.append(entry.label)
                at = len(text) - len(entry.label) + entry.label.index("(") + 1
                text.stylize(self.get_component_rich_style("strip--letter", partial=True), at, at + 1)
            text.append(" ")
        corner = cell(self.corner)
        if cell_len(corner) > self.size.width - text.cell_len - 1:
            corner = ""
        text.append(" " * max(0, self.size.width - text.cell_len - cell_len(corner) - 1) + corner)
        return text


class StatusLine(Widget):
    """One line: what was just said at the left, standing facts (engine, runs, ...) at the right."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    StatusLine { height: 1; background: $surface; color: $text-muted; padding: 0 1; }
    StatusLine > .status--information { color: $foreground; }
    StatusLine > .status--warning { color: $text-warning; text-style: bold; }
    StatusLine > .status--error { color: $text-error; text-style: bold; }
    """
    COMPONENT_CLASSES = {"status--information", "status--warning", "status--error"}

    said: reactive[str] = reactive("")
    severity: reactive[str] = reactive("information")
    facts: reactive[tuple[str, ...]] = reactive(())

    def render(self) -> RenderResult:
        """What was said has the first claim on the room; facts are dropped from the left when there is too little."""
        width = self.size.width
        mark = {"warning": "! ", "error": "!! "}.get(self.severity, "") if self.said else ""
        said = cell(mark + self.said, width)
        facts = [cell(fact) for fact in self.facts if fact]
        while facts and cell_len(said) + 2 + cell_len(" │ ".join(facts)) > width:
            facts.pop(0)
        right = " │ ".join(facts)
        gap = " " * max(0, width - cell_len(said) - cell_len(right))
        style = self.get_component_rich_style(f"status--{self.severity}", partial=True)
        return Text(no_wrap=True, overflow="crop").append(said, style).append(gap + right)


class KeyLine(Widget):
    """The keys that work now, from the live bindings: the focused widget's and pane's first, the app's at the right."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    KeyLine { height: 1; background: $panel; color: $foreground; padding: 0 1; }
    KeyLine > .keys--key { color: $accent; text-style: bold; }
    """
    COMPONENT_CLASSES = {"keys--key"}

    def on_mount(self) -> None:
        """Follow the screen's bindings: focus, keymap and enabled state all change them."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, _screen: Screen[object]) -> None:
        self.refresh()

    def render(self) -> RenderResult:
        """As many keys as fit; none is cut in the middle, and F1 is always among them."""
        key_style = self.get_component_rich_style("keys--key", partial=True)
        own, common = self._live_bindings()
        tail = self._line(common, key_style)
        room = self.size.width - tail.cell_len - 2
        head = Text(no_wrap=True)
        for piece in (self._line([one], key_style) for one in own):
            if head.cell_len + piece.cell_len + 2 > room:
                break
            head.append("  " if head.cell_len else "").append_text(piece)
        gap = max(2, self.size.width - head.cell_len - tail.cell_len)
        return Text(no_wrap=True, overflow="crop").append_text(head).append(" " * gap).append_text(tail)

    def _live_bindings(self) -> tuple[list[Binding], list[Binding]]:
        own: list[Binding] = []
        common: list[Binding] = []
        seen: set[tuple[int, str]] = set()
        for active in self.screen.active_bindings.values():
            mark = (id(active.node), active.binding.action)
            if not active.binding.show or not active.enabled or mark in seen:
                continue
            seen.add(mark)
            (common if active.node is self.app else own).append(active.binding)
        return own, common

    def _line(self, bindings: Iterable[Binding], key_style: Style) -> Text:
        line = Text(no_wrap=True)
        for binding in bindings:
            sign = binding.key_display or key_sign(binding.key)
            line.append("  " if line.cell_len else "").append(sign, key_style).append(f" {binding.description}")
        return line


class TooSmall(Widget):
    """Covers everything while the terminal is smaller than the layouts allow."""

    DEFAULT_CSS = """
    TooSmall {
        layer: cover; display: none; width: 100%; height: 100%;
        background: $background; color: $foreground; content-align: center middle; text-align: center;
    }
    """

    def render(self) -> RenderResult:
        """The present size and the least that is needed."""
        width, height = self.app.size
        least = f"{MINIMUM_SIZE[0]}x{MINIMUM_SIZE[1]}"
        return Text(f"This terminal is {width}x{height}.\nworkbench needs at least {least}.\nCtrl+Q quits.")
