"""One knob of a training method as a line of a form: its name, its value to type or to pick, its help."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input, Static

from workbench.domain.methods import Knob
from workbench.errors import UsageError
from workbench.tui.safety import safe_cell
from workbench.tui.widgets.picker import Picker


class KnobLine(Horizontal):
    """One knob: its name, its value to type or to pick, and its help or what is wrong with the value."""

    DEFAULT_CSS = """
    KnobLine { height: 1; width: 1fr; }
    KnobLine > .knob--name { width: 30; height: 1; color: $foreground; }
    KnobLine.-edited > .knob--name { color: $accent; text-style: bold; }
    KnobLine > Input { width: 20; height: 1; background: $panel; }
    KnobLine > Input:focus { background: $block-cursor-background; color: $block-cursor-foreground; }
    KnobLine > Picker { width: 20; }
    KnobLine > .knob--help {
        width: 1fr; height: 1; color: $text-muted; padding: 0 0 0 1; text-wrap: nowrap; text-overflow: ellipsis;
    }
    KnobLine.-wrong > .knob--help { color: $error; text-style: bold; }
    """

    def __init__(self, knob: Knob, base: str, text: str | None = None) -> None:
        super().__init__()
        self.knob = knob
        self.base = base
        self._text = base if text is None else text
        self.problem = ""

    def compose(self) -> ComposeResult:
        """Name, value, help."""
        yield Static(safe_cell(f"  {self.knob.name}"), classes="knob--name", markup=False)
        choices = self.choices
        if choices:
            yield Picker(choices, self._text, title=self.knob.name)
        else:
            yield Input(self._text, compact=True, select_on_focus=False)
        yield Static(classes="knob--help", markup=False)

    def on_mount(self) -> None:
        """Show the help, or what is wrong already."""
        self.check()

    @property
    def choices(self) -> tuple[str, ...]:
        """The values to pick from, empty for a knob that is typed."""
        return ("true", "false") if isinstance(self.knob.default, bool) else self.knob.choices

    @property
    def text(self) -> str:
        """The value as it stands."""
        for picker in self.query(Picker):
            return picker.value
        for typed in self.query(Input):
            return typed.value.strip()
        return self._text  # not composed yet, or already being removed for another method

    @property
    def is_edited(self) -> bool:
        """True when a person wants something else than the preset."""
        return self.text != self.base

    def rebase(self, base: str) -> None:
        """The preset's value is another one; an edited line keeps its own."""
        edited, self.base = self.is_edited, base
        if not edited:
            if self.choices:
                self.query_one(Picker).offer(self.choices, base)
            else:
                with self.prevent(Input.Changed):
                    self.query_one(Input).value = base
        self.check()

    def take(self, text: str) -> None:
        """Have this value, as if a person had typed it."""
        for picker in self.query(Picker):
            picker.value = text
        for typed in self.query(Input):
            typed.value = text
        self.check()

    def check(self) -> None:
        """Parse the value and say what is wrong with it in the line."""
        try:
            self.knob.parse(self.text)
            self.problem = ""
        except UsageError as error:
            self.problem = error.message
        self.set_class(bool(self.problem), "-wrong")
        self.set_class(self.is_edited, "-edited")
        shown = f"✗ {self.problem}" if self.problem else self.knob.help
        self.query_one(".knob--help", Static).update(safe_cell(shown))
