"""A form of short lines that does what it asks for: a value to type or to pick in each line, its help beside it.

Owns that the work runs in a thread and that an error is shown in the form, which then stays. Knows no flow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Input, Label, Static

from workbench.errors import WorkbenchError
from workbench.tui.safety import safe_cell
from workbench.tui.widgets.dialogs import MOVES, Answer, Dialog
from workbench.tui.widgets.paths import PathSuggester
from workbench.tui.widgets.picker import Picker
from workbench.tui.work import begin


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a form. With ``choices`` the value is picked; ``more`` are further values in the same line."""

    name: str
    label: str = ""
    value: str = ""
    help: str = ""
    choices: tuple[str, ...] = ()
    is_path: bool = False
    more: tuple[Line, ...] = ()


class LineForm(Dialog[Answer], Generic[Answer]):
    """Asks for several short values and hands them to ``do``, in a thread; its result is the answer.

    ``WorkbenchError`` from ``do`` is shown, and the form stays as it was filled in.
    """

    BINDINGS = [
        Binding("ctrl+s", "accept", "Do it", id="form.accept", priority=True),
        *MOVES,
    ]
    DEFAULT_CSS = """
    LineForm > Vertical { width: 96; }
    LineForm .lines { height: auto; max-height: 16; margin: 0 0 1 0; scrollbar-size-vertical: 1; }
    LineForm .lines--line { height: 1; }
    LineForm .lines--line > Label { width: 20; min-width: 20; color: $text-muted; }
    LineForm .-several > Input { width: 1fr; }
    LineForm .lines--line > Input { width: 22; margin: 0 1 0 0; }
    LineForm .lines--line > .lines--path { width: 1fr; }
    LineForm .lines--line > Picker { width: 22; margin: 0 1 0 0; }
    LineForm .lines--line > .lines--help { width: 1fr; color: $text-muted; }
    """

    def __init__(
        self, title: str, lines: Sequence[Line], do: Callable[[Mapping[str, str]], Answer], *, text: str = ""
    ) -> None:
        super().__init__(title, text=text, keys="^s does it · ↑ ↓ move · ← → change · Esc cancels")
        self._lines, self._do = lines, do
        self._is_busy = False

    def compose_body(self) -> ComposeResult:
        """A line each: label, value, help."""
        with VerticalScroll(classes="lines", can_focus=False):
            for line in self._lines:
                with Horizontal(classes="lines--line -several" if line.more else "lines--line"):
                    yield Label(safe_cell(line.label, 19))
                    yield from self._fields(line)
                    if line.help:
                        yield Static(safe_cell(line.help), classes="lines--help", markup=False)

    def _fields(self, line: Line) -> Iterator[Widget]:
        for one in (line, *line.more):
            if one.choices:
                yield Picker(one.choices, one.value, title=line.label, name=one.name)
            else:
                yield Input(
                    one.value,
                    name=one.name,
                    placeholder=safe_cell(one.help if one is not line else "").plain,
                    suggester=PathSuggester() if one.is_path else None,
                    compact=True,
                    select_on_focus=False,
                    classes="lines--path" if one.is_path else "",
                )

    def values(self) -> dict[str, str]:
        """What stands in the form, by name."""
        typed = {str(one.name): one.value.strip() for one in self.query(Input)}
        return typed | {str(one.name): one.value for one in self.query(Picker)}

    def on_input_submitted(self) -> None:
        """Enter in any line."""
        self.action_accept()

    def action_accept(self) -> None:
        """Do it; nothing happens while it is being done already."""
        if not self._is_busy:
            self._is_busy = True
            begin(self, partial(self._work, self.values()), group="form")

    async def _work(self, values: Mapping[str, str]) -> None:
        self.show_problem("working …")
        try:
            answer = await asyncio.to_thread(self._do, values)
        except WorkbenchError as error:
            where = f"{error.where}: " if error.where else ""
            self.show_problem(f"{where}{error.message}" + (f" ({error.hint})" if error.hint else ""))
        else:
            self.dismiss(answer)
        finally:
            self._is_busy = False

    def action_leave(self) -> None:
        """Escape; what is being done is waited for."""
        if not self._is_busy:
            self.dismiss(None)
