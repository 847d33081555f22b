"""Export as a dialog: what the filter finds, in which format, what that format would lose; then where it went.

Owns what stands in the form. Counting and writing are flows, in threads.
"""

from __future__ import annotations

import asyncio
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Label, Static

from workbench import formats
from workbench.domain.counting import counted
from workbench.errors import WorkbenchError
from workbench.flows import exchange as flow
from workbench.tui.safety import cell, safe, safe_cell
from workbench.tui.widgets.dialogs import MOVES, Dialog
from workbench.tui.widgets.paths import PathSuggester
from workbench.tui.widgets.picker import Picker
from workbench.tui.work import begin

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

WITHOUT, WITH = "without", "with"
REFUSE, FLATTEN = "refuse it", "leave it out"
PAUSE_S = 0.3
LOOK_S = 0.25

Part = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ExportAsked:
    """What a person asked for."""

    path: str
    query: str
    dataset: str
    format: str
    provenance: bool
    flatten: bool
    card: bool

    @property
    def target(self) -> Path:
        """Where it goes."""
        return Path(self.path).expanduser()

    def command(self) -> str:
        """The command that does the same."""
        words = ["workbench", "export", *([self.query] if self.query else []), "--to", self.path]
        words += ["--format", self.format] if self.format != "trl" else []
        words += ["--dataset", self.dataset] if self.dataset else []
        flags = {"--provenance": self.provenance, "--flatten": self.flatten, "--no-card": not self.card}
        return shlex.join([*words, *(flag for flag, is_on in flags.items() if is_on)])


class ExportDialog(Dialog[str]):
    """Asks where to, and exports what the query finds. The answer is the report's sentence."""

    BINDINGS: ClassVar = [
        Binding("ctrl+s", "accept", "Export", id="form.accept", priority=True),
        *MOVES,
    ]
    DEFAULT_CSS = """
    ExportDialog > Vertical { width: 110; }
    ExportDialog .export--row { height: 1; }
    ExportDialog .export--row > Label { width: auto; color: $text-muted; padding: 0 1 0 0; }
    ExportDialog .export--row > .export--first { width: 9; }
    ExportDialog .export--row > Input { width: 1fr; margin: 0; }
    ExportDialog .export--row > Picker { margin: 0 2 0 0; }
    ExportDialog #export-shown { height: auto; max-height: 14; min-height: 4; border-top: solid $border-blurred; }
    ExportDialog #export-shown Static { height: auto; }
    """

    def __init__(self, bench: Bench, query: str, dataset: str, target: Path) -> None:
        super().__init__("Export", keys="Enter exports · ← → change · Esc cancels")
        self.bench = bench
        self._query, self._dataset, self._target = query, dataset, target
        self._replaces: Path | None = None
        self._answer: str | None = None
        self._cancelled: threading.Event | None = None
        self._counting = threading.Event()
        self._timer: Timer | None = None
        self._done = (0, 0)

    def compose_body(self) -> ComposeResult:
        """Where to, which rows, in what form."""
        lines = (
            ("path", "to file", str(self._target), ".jsonl .json .csv .tsv .parquet, .gz .zst; or a folder"),
            ("query", "rows", self._query, "empty: the accepted ones"),
            ("dataset", "dataset", self._dataset, "empty: all datasets"),
        )
        for name, label, value, hint in lines:
            with Horizontal(classes="export--row"):
                yield Label(safe_cell(label), classes="export--first")
                suggester = PathSuggester() if name == "path" else None
                yield Input(
                    value,
                    id=f"export-{name}",
                    placeholder=hint,
                    suggester=suggester,
                    compact=True,
                    select_on_focus=False,
                )
        with Horizontal(classes="export--row"):
            yield Label("format", classes="export--first")
            yield Picker(list(formats.writable()), "trl", title="Format", id="export-format")
            yield Label("what it cannot hold")
            yield Picker([REFUSE, FLATTEN], title="What the format cannot hold", id="export-flatten")
        with Horizontal(classes="export--row"):
            yield Label("ids", classes="export--first")
            yield Picker([WITHOUT, WITH], title="With ids of chat, run and models", id="export-provenance")
            yield Label("card")
            yield Picker([WITH, WITHOUT], title="With a card that says what is in it", id="export-card")
        with VerticalScroll(id="export-shown", can_focus=False):
            yield Static(id="export-report", markup=False)

    def on_mount(self) -> None:
        """Count at once."""
        self._count()

    def asked(self) -> ExportAsked:
        """The form as it stands."""
        return ExportAsked(
            self._typed("path"),
            self._typed("query"),
            self._typed("dataset"),
            self._picked("format"),
            self._picked("provenance") == WITH,
            self._picked("flatten") == FLATTEN,
            self._picked("card") == WITH,
        )

    def _typed(self, name: str) -> str:
        return self.query_one(f"#export-{name}", Input).value.strip()

    def _picked(self, name: str) -> str:
        return self.query_one(f"#export-{name}", Picker).value

    # --- what it would be --------------------------------------------------------------------------------------

    @on(Input.Changed)
    @on(Picker.Changed)
    def _changed(self) -> None:
        self._answer = self._replaces = None
        self.show_problem("")
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(PAUSE_S, self._count)

    def _count(self) -> None:
        if self._cancelled is None and self._answer is None:
            self._counting.set()
            self._counting = threading.Event()
            work = partial(self._show_count, self.asked(), self._counting)
            begin(self, work, group="count", exclusive=True)

    async def _show_count(self, asked: ExportAsked, cancelled: threading.Event) -> None:
        bench = self.bench
        try:
            count = await asyncio.to_thread(
                flow.count, bench, asked.query, dataset=asked.dataset, provenance=asked.provenance
            )
            self._show(_head(asked, count))
            found = await asyncio.to_thread(
                flow.look,
                bench,
                asked.query,
                dataset=asked.dataset,
                format=asked.format,
                provenance=asked.provenance,
                cancelled=cancelled,
            )
        except flow.CancelledExport:
            return
        except WorkbenchError as error:
            self._show(Content(""))
            self._tell(error)
            return
        if self._cancelled is None and self._answer is None and not cancelled.is_set():
            self._show(_look_content(asked, found))

    # --- exporting ---------------------------------------------------------------------------------------------

    def on_input_submitted(self) -> None:
        """Enter in any line; after the report it closes."""
        self.action_accept()

    def action_accept(self) -> None:
        """Start; a file that is there is replaced only on a second Enter; after the report, leave with it."""
        if self._answer is not None:
            self.dismiss(self._answer)
            return
        if self._cancelled is not None:
            return
        asked = self.asked()
        if not asked.path:
            self.show_problem("name a file")
        elif asked.target.exists() and self._replaces != asked.target:
            self._replaces = asked.target
            self.show_problem(f"{asked.target} exists; Enter again replaces it.")
        else:
            self._counting.set()
            self._cancelled = threading.Event()
            begin(self, partial(self._export, asked, self._cancelled), group="export")

    async def _export(self, asked: ExportAsked, cancelled: threading.Event) -> None:
        self.show_problem("")
        watch = self.set_interval(LOOK_S, self._show_progress)
        try:
            report = await asyncio.to_thread(
                flow.export_file,
                self.bench,
                asked.query,
                asked.target,
                dataset=asked.dataset,
                format=asked.format,
                provenance=asked.provenance,
                flatten=asked.flatten,
                card=asked.card,
                replace=self._replaces == asked.target,
                on_progress=self._hear,
                cancelled=cancelled,
            )
        except WorkbenchError as error:
            self._cancelled = None
            self._tell(error)
            self._count()
            return
        finally:
            watch.stop()
            self._cancelled = None  # before anything is shown: what is shown invites the next key
        self._answer = report.sentence()
        self._show(_report_content(report, asked))

    def _hear(self, done: int, total: int) -> None:
        self._done = (done, total)

    def _show_progress(self) -> None:
        done, total = self._done
        if self._cancelled is not None:
            self._show(safe(f"writing, {done:,} of {total:,} rows; Esc cancels"))

    def action_leave(self) -> None:
        """Escape: end the export that is under way, or leave; after the report it counts as done."""
        if self._cancelled is not None:
            self._cancelled.set()
            return
        self._counting.set()
        self.dismiss(self._answer)

    def _show(self, content: Content) -> None:
        if self.is_attached:
            self.query_one("#export-report", Static).update(content)

    def _tell(self, error: WorkbenchError) -> None:
        where = f"{error.where}: " if error.where else ""
        self.show_problem(f"{where}{error.message}" + (f" ({error.hint})" if error.hint else ""))


def _head(asked: ExportAsked, count: int) -> Content:
    return Content.assemble(*_head_parts(asked, count), ("looking at what the format can hold …", "$text-muted"))


def _head_parts(asked: ExportAsked, count: int) -> list[Part]:
    container = flow.container_of(asked.target)
    which = cell(asked.query or "status:accepted", 60)
    return [
        (f"{counted(count, 'rows')} ({which}) as {asked.format} in {container}\n", "bold"),
        (formats.get(asked.format).summary + "\n", "$text-muted"),
    ]


def _look_content(asked: ExportAsked, found: flow.ExportLook) -> Content:
    return Content.assemble(*_head_parts(asked, found.rows), *_look(asked, found))


def _look(asked: ExportAsked, found: flow.ExportLook) -> Iterator[Part]:
    yield ", ".join(f"{count:,} {kind}" for kind, count in found.kinds.items()) or "nothing matches", ""
    for kind, count in found.homeless.items():
        yield (
            f"\n{asked.format} has no form for a {kind} ({counted(count, 'rows')}): add -kind:{kind}",
            "bold $text-error",
        )
    if found.held_back:
        yield f"\n{cell(flow.held_back_said(found.held_back))}", "$text-warning"
    lost = sum(found.lost.values())
    if lost:
        what = "will be left out" if asked.flatten else "is refused, unless what it cannot hold is left out"
        tone = "bold $text-warning" if asked.flatten else "bold $text-error"
        yield (
            f"\n{counted(lost, 'rows')} with more than {asked.format} can hold, which {what}:",
            tone,
        )
        for reason, count in found.lost.items():
            yield f"\n  {count:,} {cell(reason)}", tone
    elif found.rows and not found.homeless:
        yield "\nall of it fits", "$text-success"


def _report_content(report: flow.ExportReport, asked: ExportAsked) -> Content:
    files = [(f"\n  {cell(name)}  sha256 {digest[:16]}…", "") for name, digest in report.files.items()]
    card = f"\nthe card is {cell(report.card)}" if report.card else "\nno card was written"
    return Content.assemble(
        (cell(report.sentence()), "bold $text-success"),
        *files,
        (card, ""),
        ("\nThe same: ", "$text-muted"),
        (cell(asked.command()), ""),
        ("\nEnter closes.", "$text-muted"),
    )
