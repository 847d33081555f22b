"""A choice in one line: ``‹ value ›``. Left and right go through the values, Enter lists them all."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import RenderResult
from textual.binding import Binding
from textual.events import Click, Key
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from workbench.tui.safety import cell
from workbench.tui.widgets.dialogs import Choice, ChooseDialog


class Picker(Widget, can_focus=True):
    """One of several texts. A typed letter goes to the next value that begins with it."""

    BINDINGS = [
        Binding("left", "step(-1)", "Previous value", show=False, id="pick.previous"),
        Binding("right,space", "step(1)", "Next value", show=False, id="pick.next"),
        Binding("enter", "list_all", "All values", show=False, id="pick.list"),
    ]
    DEFAULT_CSS = """
    Picker { height: 1; width: auto; color: $foreground; }
    Picker:focus { background: $block-cursor-background; color: $block-cursor-foreground; text-style: bold; }
    """

    value: reactive[str] = reactive("", layout=True)

    class Changed(Message):
        """A person chose another value."""

        def __init__(self, picker: Picker, value: str) -> None:
            super().__init__()
            self.picker, self.value = picker, value

        @property
        def control(self) -> Picker:
            """The picker, for selectors of ``@on``."""
            return self.picker

    def __init__(
        self,
        values: Sequence[str],
        value: str = "",
        *,
        title: str = "",
        id: str | None = None,
        name: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, name=name, classes=classes)
        self.values = tuple(values)
        self.title = title
        self.set_reactive(Picker.value, value or (self.values[0] if self.values else ""))

    def render(self) -> RenderResult:
        """The value between its arrows; without a choice, the value alone."""
        shown = cell(self.value, max(1, self.size.width - 4)) if self.size.width else cell(self.value)
        return Text(f"‹ {shown} ›" if len(self.values) > 1 else f"  {shown}  ", no_wrap=True, overflow="crop")

    def get_content_width(self, container: object, viewport: object) -> int:
        """Wide enough for the longest value, so that a form does not jump."""
        return Text(max((cell(v) for v in (*self.values, self.value)), key=len, default="")).cell_len + 4

    def offer(self, values: Sequence[str], value: str = "") -> None:
        """Replace the values without saying that anything changed."""
        self.values = tuple(values)
        wanted = value or self.value
        self.value = wanted if wanted in self.values else (self.values[0] if self.values else "")
        self.refresh(layout=True)

    def choose(self, value: str) -> None:
        """Take a value and say so when it is another one."""
        if value != self.value:
            self.value = value
            self.post_message(self.Changed(self, value))

    def action_step(self, steps: int) -> None:
        """The next or previous value, round the ends."""
        if self.values:
            at = self.values.index(self.value) if self.value in self.values else 0
            self.choose(self.values[(at + steps) % len(self.values)])

    def action_list_all(self) -> None:
        """All values, with a filter."""
        if len(self.values) > 1:
            choices = [Choice(value, value or "(none)") for value in self.values]
            self.app.push_screen(ChooseDialog(self.title or "Choose", choices, current=self.value), self._chosen)

    def _chosen(self, value: str | None) -> None:
        if value is not None:
            self.choose(value)

    def on_click(self, event: Click) -> None:
        """A click on the left half goes back, on the right half forward."""
        self.action_step(-1 if event.x < 2 else 1)

    def on_key(self, event: Key) -> None:
        """Type-ahead by first letter."""
        letter = event.character
        if letter is None or not letter.isalnum():
            return
        at = self.values.index(self.value) if self.value in self.values else 0
        later = [*self.values[at + 1 :], *self.values[: at + 1]]
        if (found := next((v for v in later if v.lower().startswith(letter.lower())), None)) is not None:
            event.stop()
            self.choose(found)
