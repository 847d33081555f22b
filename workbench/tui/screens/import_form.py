"""Import as a dialog: a path, the guess and three rows before anything is written, then progress, then the report.

Owns what stands in the form and that nothing begins before its preview was shown. The import itself belongs to whoever
opened the dialog, and goes on when it is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Label, Static

from workbench import formats
from workbench.domain.examples import Status
from workbench.errors import WorkbenchError
from workbench.flows.containers import CONTAINERS
from workbench.flows.exchange import NO_COLUMN, Preview
from workbench.flows.tables import TEXT_UNITS
from workbench.formats import table
from workbench.tui.running_import import ImportAsked, RunningImport
from workbench.tui.safety import cell, safe, safe_cell
from workbench.tui.screens.import_entries import preview_content, refusal_content, report_content
from workbench.tui.widgets.dialogs import MOVES, Dialog
from workbench.tui.widgets.paths import PathSuggester
from workbench.tui.widgets.picker import Picker
from workbench.tui.work import begin

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

TOLD, ALL, NONE = "by itself", "all", "-"
REFUSE, SKIP = "refuse all", "skip them"
ASK_KEYS = "^s or Enter shows the rows, again imports · ← → change · Esc cancels"
PAUSE_S = 0.3
LOOK_S = 0.25

Start = Callable[[ImportAsked], RunningImport]


class ImportDialog(Dialog[str]):
    """Asks for a file and imports it. The answer is the dataset that the rows went into."""

    BINDINGS: ClassVar = [
        Binding("ctrl+s", "accept", "Import", id="form.accept", priority=True),
        Binding("enter", "accept", "Import", show=False, id="import.enter"),
        Binding("ctrl+t", "skip_bad", "Import the good lines", id="import.skip_bad", priority=True),
        Binding("ctrl+k", "cancel_import", "Cancel the import", id="import.cancel", priority=True),
        *MOVES,
        Binding("pagedown", "scroll(8)", "Scroll down", show=False, id="import.down", priority=True),
        Binding("pageup", "scroll(-8)", "Scroll up", show=False, id="import.up", priority=True),
    ]
    DEFAULT_CSS = """
    ImportDialog > Vertical { width: 130; height: 96%; }
    ImportDialog .import--row { height: 1; }
    ImportDialog .import--row > Label { width: auto; color: $text-muted; padding: 0 1 0 0; }
    ImportDialog .import--row > .import--first { width: 9; }
    ImportDialog .import--row > Input { width: 1fr; margin: 0 1 0 0; }
    ImportDialog .import--row > #import-path { margin: 0; }
    ImportDialog .import--row > Picker { margin: 0 2 0 0; }
    ImportDialog .import--row > .import--part { width: 11; }
    ImportDialog .import--row > .import--column { width: 1fr; }
    ImportDialog #import-columns, ImportDialog #import-more { height: auto; display: none; }
    ImportDialog.-columns #import-columns { display: block; }
    ImportDialog.-more #import-more { display: block; }
    ImportDialog #import-shown { height: 1fr; scrollbar-size-vertical: 1; border-top: solid $border-blurred; }
    ImportDialog #import-shown Static { height: auto; }
    ImportDialog.-begun .import--form { display: none; }
    """

    def __init__(self, bench: Bench, dataset: str, start: Start, *, running: RunningImport | None = None) -> None:
        super().__init__("Import", keys="")
        self.bench = bench
        self.running = running
        self._dataset, self._start = dataset, start
        self._seen: tuple[ImportAsked, Preview] | None = None
        self._looked: ImportAsked | None = None
        self._timer: Timer | None = None
        self._watch: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """Path, what to take it for, where it goes; the columns of a table; below, what it would become."""
        with Vertical(classes="import--form") as form:
            form.styles.height = "auto"
            with Horizontal(classes="import--row"):
                yield Label("file", classes="import--first")
                hint = "a file, a folder, or hf:OWNER/NAME; → completes"
                yield Input(
                    id="import-path", placeholder=hint, suggester=PathSuggester(), compact=True, select_on_focus=False
                )
            with Horizontal(classes="import--row"):
                yield Label("format", classes="import--first")
                yield Picker([TOLD, *formats.find()], title="Format", id="import-format")
                yield Label("container")
                yield Picker([TOLD, *CONTAINERS], title="Container", id="import-container")
            with Horizontal(classes="import--row"):
                yield Label("dataset", classes="import--first")
                yield Input(
                    self._dataset,
                    id="import-dataset",
                    placeholder="the file's name",
                    compact=True,
                    select_on_focus=False,
                )
                yield Label("as")
                yield Picker([Status.PENDING.value, Status.ACCEPTED.value], title="Status", id="import-status")
                yield Label("bad lines")
                yield Picker([REFUSE, SKIP], title="Bad lines", id="import-bad")
            with Horizontal(id="import-more", classes="import--row"):
                yield Label("entry", classes="import--first")
                yield Picker([ALL], title="Entry", id="import-entry")
                yield Label("split")
                yield Input(id="import-split", placeholder="all", compact=True, select_on_focus=False)
                yield Label("a row is a")
                yield Picker(TEXT_UNITS, title="A row is a", id="import-unit")
            with Vertical(id="import-columns"):
                parts = list(table.NAMES)
                for at in range(0, len(parts), 2):
                    with Horizontal(classes="import--row"):
                        for part in parts[at : at + 2]:
                            yield Label(safe_cell(part), classes="import--part")
                            yield Picker([NONE], title=f"Which column is the {part}?", name=part)
        with VerticalScroll(id="import-shown", can_focus=False):
            yield Static(id="import-report", markup=False)

    def on_mount(self) -> None:
        """Begin with the form, or with the import that is on its way."""
        for picker in self._parts():
            picker.add_class("import--column")
        if self.running is not None:
            self._begun(self.running)
        else:
            self._say_keys(ASK_KEYS)
            self.query_one("#import-path").focus()

    # --- what stands in the form -------------------------------------------------------------------------------

    def _picked(self, name: str) -> str:
        value = self.query_one(f"#import-{name}", Picker).value
        return "" if value in (TOLD, ALL) else value

    def _typed(self, name: str) -> str:
        return self.query_one(f"#import-{name}", Input).value.strip()

    def _parts(self) -> list[Picker]:
        return [picker for picker in self.query(Picker) if picker.name in table.NAMES]

    def asked(self) -> ImportAsked:
        """The form as it stands."""
        mapping = self._mapping()
        return ImportAsked(
            self._typed("path"),
            self._typed("dataset"),
            self._picked("format") or (table.FORMAT.name if mapping else ""),
            self._picked("container"),
            self._typed("split"),
            self._picked("unit"),
            self._picked("entry"),
            Status(self._picked("status")),
            self._picked("bad") == SKIP,
            mapping,
        )

    def _mapping(self) -> Mapping[str, str]:
        """What a person chose otherwise than by the columns' names; nothing when all is as guessed."""
        if not self.has_class("-columns") or self._seen is None:
            return {}
        guessed = table.guess(self._seen[1].columns)
        chosen = {str(picker.name): NO_COLUMN if picker.value == NONE else picker.value for picker in self._parts()}
        return {part: column for part, column in chosen.items() if column != guessed.get(part, NO_COLUMN)}

    # --- looking before anything is written --------------------------------------------------------------------

    @on(Input.Changed, "#import-path")
    def _path_typed(self) -> None:
        if self.running is None:
            self._forget_columns()
            self._look_soon()

    @on(Input.Changed, "#import-split")
    @on(Picker.Changed)
    def _changed(self, event: Picker.Changed | Input.Changed) -> None:
        if (
            isinstance(event, Picker.Changed)
            and event.picker.id == "import-format"
            and event.value != table.FORMAT.name
        ):
            self._forget_columns()
        self._look_soon()

    def _look_soon(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(PAUSE_S, self._look_if_there)

    def _look_if_there(self) -> None:
        """While it is being typed only what is on this disk is looked at; a hub is asked on Enter."""
        source = self.asked().source
        if isinstance(source, Path) and source.exists():
            self._look()

    def _look(self) -> None:
        asked = self._key(self.asked())
        if asked != self._looked:
            self._looked = asked
            begin(self, partial(self._show_preview, asked), group="preview", exclusive=True)

    def _key(self, asked: ImportAsked) -> ImportAsked:
        """What the preview depends on."""
        return replace(asked, dataset="", status=Status.PENDING, skip_bad=False)

    async def _show_preview(self, asked: ImportAsked) -> None:
        self._show(Content("reading the first rows …"))
        try:
            seen = await asyncio.to_thread(asked.preview, self.bench)
        except WorkbenchError as error:
            self._seen = self._looked = None
            self._show(Content(""))
            self._tell(error)
            return
        if self.running is not None:
            return
        self.show_problem("")
        self._offer(seen)
        self._seen = asked, seen
        self._show(preview_content(seen, self._width))

    def _offer(self, seen: Preview) -> None:
        """Offer the entries of a folder, and the columns of what no format claims."""
        if seen.entries:
            self.query_one("#import-entry", Picker).offer([ALL, *seen.entries])
        self.set_class(bool(seen.entries) or seen.container in ("dataset", "text"), "-more")
        is_table = seen.format in ("", table.FORMAT.name) and bool(seen.columns)
        if is_table and not self.has_class("-columns"):
            for picker in self._parts():
                picker.offer([NONE, *seen.columns], seen.mapping.get(str(picker.name), NONE))
        self.set_class(is_table, "-columns")

    def _forget_columns(self) -> None:
        self.remove_class("-columns")
        self._seen = None

    # --- importing ---------------------------------------------------------------------------------------------

    def on_input_submitted(self) -> None:
        """Enter in any line."""
        self.action_accept()

    def action_accept(self) -> None:
        """Look first; then, with the rows shown, import; after the report, leave."""
        if self.running is not None:
            if self.running.is_over:
                self._leave_with_report()
            return
        asked = self.asked()
        if not asked.path:
            self.show_problem("name a file, a folder, or hf:OWNER/NAME")
        elif self._seen is None or self._seen[0] != self._key(asked):
            self._look()
        elif not self._seen[1].rows and not self._seen[1].left_out:
            self.show_problem("none of the first rows can be taken: choose another format, or say which column is what")
        else:
            self._begun(self._start(asked))

    def action_skip_bad(self) -> None:
        """Import the good lines; the bad ones are written beside the file."""
        if self.running is not None and (self.running.error is None or not self.running.ended.is_set()):
            return
        self.query_one("#import-bad", Picker).value = SKIP
        again = replace(self.running.asked, skip_bad=True) if self.running is not None else None
        if again is None:
            self.action_accept()
        else:
            self._begun(self._start(again))

    def _begun(self, running: RunningImport) -> None:
        self.running = running
        self.show_problem("")
        self.add_class("-begun")
        self.set_focus(None)
        self._say_keys("^k cancels it · Esc goes on labelling meanwhile")
        self._watch = self._watch or self.set_interval(LOOK_S, self._look_at_it)
        self._look_at_it()

    def _look_at_it(self) -> None:
        running = self.running
        if running is None:
            return
        if not running.is_over:
            self._show(safe(f"{running.asked.path}\n\n{running.line()}"))
            return
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        if running.error is not None:
            self._say_keys("^t imports the good lines · Enter changes the form · Esc closes")
            self._show(refusal_content(running.error, self._width))
        else:
            self._say_keys("Enter shows the rows · Esc closes")
            self._show(report_content(running.reports, running.asked.command(), self._width))

    def _leave_with_report(self) -> None:
        assert self.running is not None
        if self.running.reports:
            self.dismiss(self.running.reports[-1].dataset)
            return
        asked, self.running = self.running.asked, None
        self.remove_class("-begun")
        if not self._typed("path"):
            self.query_one("#import-path", Input).value = asked.path
        self._looked = None
        self.query_one("#import-path").focus()
        self._look_soon()
        self._say_keys(ASK_KEYS)

    def action_cancel_import(self) -> None:
        """Ctrl+K: end the import that is on its way."""
        if self.running is not None and not self.running.is_over:
            self.running.cancel()
            self._look_at_it()

    # --- showing -----------------------------------------------------------------------------------------------

    @property
    def _width(self) -> int:
        return self.query_one("#import-shown").size.width - 2

    def _show(self, content: Content) -> None:
        if self.is_attached:
            self.query_one("#import-report", Static).update(content)

    def _tell(self, error: WorkbenchError) -> None:
        where = f"{error.where}: " if error.where else ""
        self.show_problem(cell(f"{where}{error.message}") + (f" ({cell(error.hint)})" if error.hint else ""))

    def _say_keys(self, keys: str) -> None:
        self.query_one(Vertical).border_subtitle = safe_cell(keys, 68)

    def action_scroll(self, lines: int) -> None:
        """Move what is shown."""
        self.query_one("#import-shown").scroll_relative(y=lines, animate=False)
