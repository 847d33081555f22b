"""Dialogs with a typed answer: confirm, ask for a text, choose one, fill in a form. None means that it was left.

They show foreign text (names, answers, paths) and parse none of it. They know no flow: a form's ``check`` is given in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from workbench.errors import WorkbenchError
from workbench.tui.safety import safe, safe_cell
from workbench.tui.widgets.editor import Editor
from workbench.tui.widgets.paths import PathSuggester

Answer = TypeVar("Answer")
LISTED_AT_MOST = 400

MOVES = (
    Binding("down", "app.focus_next", "Next", show=False, id="form.next"),
    Binding("up", "app.focus_previous", "Previous", show=False, id="form.previous"),
)
"""From field to field of a form."""


class Dialog(ModalScreen[Answer | None], Generic[Answer]):
    """A box in the middle with a title and, below, the keys that matter. Escape leaves it with None."""

    BINDINGS = [Binding("escape", "leave", "Cancel", id="dialog.cancel")]
    DEFAULT_CSS = """
    Dialog { align: center middle; }
    Dialog > Vertical {
        width: 76; max-width: 96%; height: auto; max-height: 96%; padding: 0 1;
        border: round $primary; border-title-color: $accent; border-subtitle-color: $text-muted;
        background: $surface;
    }
    Dialog .dialog--text { height: auto; max-height: 12; margin: 0 0 1 0; }
    Dialog .dialog--text Static { height: auto; }
    Dialog .dialog--problem { height: auto; color: $text-error; text-style: bold; display: none; }
    Dialog Input { border: none; height: 1; background: $panel; margin: 0 0 1 0; padding: 0 1; }
    Dialog Input:focus { border: none; background: $primary 30%; }
    Dialog.-lines > Vertical { width: 104; }
    Dialog Editor { height: 58vh; border: none; background: $panel; margin: 0 0 1 0; }
    Dialog Editor:focus { border: none; background: $primary 20%; }
    Dialog OptionList { height: auto; max-height: 16; border: none; background: $surface; padding: 0; }
    """

    def __init__(self, title: str, *, text: str = "", keys: str = "Esc cancels") -> None:
        super().__init__()
        self._title, self._text, self._keys = title, text, keys

    def compose(self) -> ComposeResult:
        """Title, text, then what the dialog asks with."""
        with Vertical() as box:
            box.border_title = safe_cell(self._title, 68)
            box.border_subtitle = safe_cell(self._keys, 68)
            if self._text:
                with VerticalScroll(classes="dialog--text", can_focus=False):
                    yield Static(safe(self._text))
            yield from self.compose_body()
            yield Static(classes="dialog--problem", markup=False)

    def compose_body(self) -> ComposeResult:
        """What a subclass asks with."""
        yield from ()

    def show_problem(self, text: str) -> None:
        """Say inside the dialog why the answer cannot be taken."""
        problem = self.query_one(".dialog--problem", Static)
        problem.update(safe(text))
        problem.display = bool(text)

    def action_leave(self) -> None:
        """Escape."""
        self.dismiss(None)


class ConfirmDialog(Dialog[bool]):
    """Yes or no. With ``typed`` the person must type that word, for what cannot be taken back."""

    BINDINGS = [
        Binding("y", "answer(True)", "Yes", id="dialog.yes"),
        Binding("n", "answer(False)", "No", id="dialog.no"),
    ]

    def __init__(self, question: str, *, text: str = "", typed: str = "") -> None:
        keys = "type the name, Enter does it · Esc cancels" if typed else "y yes · n no · Esc cancels"
        super().__init__(question, text=text, keys=keys)
        self._typed = typed

    def compose_body(self) -> ComposeResult:
        """An input only when something must be typed."""
        if self._typed:
            yield Label(safe_cell(f"Type {self._typed} to go on:"))
            yield Input()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Only the very word counts."""
        if event.value.strip() == self._typed:
            self.dismiss(True)
        else:
            self.show_problem("that is not the name")

    def action_answer(self, yes: bool) -> None:
        """``y`` or ``n``."""
        if not (yes and self._typed):
            self.dismiss(yes)


class TextDialog(Dialog[str]):
    """Asks for a text: one line (Enter accepts), or several in an editor (Ctrl+S accepts)."""

    BINDINGS = [Binding("ctrl+s", "accept", "Save", id="edit.save", priority=True)]

    def __init__(
        self,
        title: str,
        *,
        value: str = "",
        text: str = "",
        placeholder: str = "",
        lines: bool = False,
        path: bool = False,
    ) -> None:
        keys = "^s saves · ^x ^e opens $EDITOR · Esc cancels" if lines else "Enter accepts · Esc cancels"
        super().__init__(title, text=text, keys=keys)
        self._value, self._placeholder, self._lines, self._path = value, placeholder, lines, path
        self.set_class(lines, "-lines")

    def compose_body(self) -> ComposeResult:
        """An input or an editor."""
        if self._lines:
            yield Editor(self._value)
        else:
            suggester = PathSuggester() if self._path else None
            placeholder = safe_cell(self._placeholder).plain
            yield Input(self._value, placeholder=placeholder, select_on_focus=False, suggester=suggester)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the one-line form; what was typed behind it is not part of the text.

        Below an editor the line is a note, and Enter accepts what stands in the editor.
        """
        if self._lines:
            self.action_accept()
        else:
            self.dismiss(event.value)

    def action_accept(self) -> None:
        """Leave with the text as it stands."""
        field = self.query_one("Editor, Input")
        self.dismiss(field.written if isinstance(field, Editor) else field.value if isinstance(field, Input) else "")


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to choose: ``value`` is the answer, ``label`` and ``detail`` are shown."""

    value: str
    label: str
    detail: str = ""


class ChooseDialog(Dialog[str]):
    """One of several; typing filters them, ↑ ↓ move, Enter takes."""

    BINDINGS = [
        Binding("down", "move(1)", "Next", show=False, priority=True),
        Binding("up", "move(-1)", "Previous", show=False, priority=True),
        Binding("pagedown", "move(10)", "Page down", show=False, priority=True),
        Binding("pageup", "move(-10)", "Page up", show=False, priority=True),
    ]

    def __init__(self, title: str, choices: Sequence[Choice], *, current: str = "", text: str = "") -> None:
        super().__init__(title, text=text, keys="type to filter · ↑ ↓ · Enter takes · Esc cancels")
        self._choices, self._current = choices, current
        self._listed: list[Choice] = []

    def compose_body(self) -> ComposeResult:
        """The filter above the list; the keys stay in the filter."""
        yield Input(placeholder="filter")
        chooser = OptionList(markup=False)
        chooser.can_focus = False
        yield chooser

    def on_mount(self) -> None:
        """Fill in all choices and stand on the current one."""
        self._fill("")

    @on(Input.Changed)
    def _filter(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def _fill(self, wanted: str) -> None:
        words = wanted.casefold().split()
        fits = [c for c in self._choices if all(w in f"{c.label} {c.detail}".casefold() for w in words)]
        self._listed = fits[:LISTED_AT_MOST]
        chooser = self.query_one(OptionList)
        chooser.set_options([Option(safe_cell(self._line(c), 200)) for c in self._listed])
        values = [c.value for c in self._listed]
        chooser.highlighted = values.index(self._current) if self._current in values else 0 if values else None

    def _line(self, choice: Choice) -> str:
        mark = "▶ " if choice.value == self._current else "  "
        return f"{mark}{choice.label}" + (f"   {choice.detail}" if choice.detail else "")

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.take()

    def take(self) -> None:
        """Leave with the choice that is highlighted."""
        at = self.query_one(OptionList).highlighted
        if at is not None and at < len(self._listed):
            self.dismiss(self._listed[at].value)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._listed[event.option_index].value)

    def action_move(self, steps: int) -> None:
        """Move in the list without leaving the filter."""
        chooser = self.query_one(OptionList)
        if self._listed:
            chooser.highlighted = min(max((chooser.highlighted or 0) + steps, 0), len(self._listed) - 1)


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a form: ``lines`` makes it an editor; what stands in a ``hidden`` one is not shown."""

    name: str
    label: str
    value: str = ""
    help: str = ""
    lines: bool = False
    hidden: bool = False


class FormDialog(Dialog[Answer], Generic[Answer]):
    """Several texts at once. ``check`` turns them into the answer, or raises ``WorkbenchError``, shown in the form."""

    BINDINGS = [Binding("ctrl+s", "accept", "Accept", id="form.accept", priority=True), *MOVES]
    DEFAULT_CSS = """
    FormDialog .form--fields { height: auto; max-height: 100%; }
    FormDialog .form--label { color: $text-muted; height: 1; }
    FormDialog Editor { height: 6; }
    """

    def __init__(
        self, title: str, fields: Sequence[Field], check: Callable[[Mapping[str, str]], Answer], *, text: str = ""
    ) -> None:
        super().__init__(title, text=text, keys="↑ ↓ move · Enter or ^s accepts · Esc cancels")
        self._fields, self._check = fields, check

    def compose_body(self) -> ComposeResult:
        """A label and an input for each field."""
        with VerticalScroll(classes="form--fields", can_focus=False):
            for field in self._fields:
                yield Label(safe_cell(field.label + (f"  ({field.help})" if field.help else "")), classes="form--label")
                if field.lines:
                    yield Editor(field.value, name=field.name)
                else:
                    yield Input(field.value, name=field.name, select_on_focus=False, password=field.hidden)

    def on_input_submitted(self) -> None:
        """Enter in any line accepts the whole form."""
        self.action_accept()

    def values(self) -> dict[str, str]:
        """What stands in the form now, by field name."""
        inputs = {w.name: w.value for w in self.query(Input) if w.name}
        return inputs | {w.name: w.written for w in self.query(Editor) if w.name}

    def action_accept(self) -> None:
        """Check, then leave with the answer, or say what is wrong and stay."""
        try:
            answer = self._check(self.values())
        except WorkbenchError as error:
            self.show_problem(error.message + (f" ({error.hint})" if error.hint else ""))
            return
        self.dismiss(answer)
