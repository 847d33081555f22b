"""The two dialogs between Curate and files: import, and export of what the filter shows. Both name their CLI twin."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.suggester import Suggester
from textual.widgets import Input, Label, Static

from workbench.domain.examples import Status
from workbench.errors import DataError, UsageError, WorkbenchError
from workbench.flows import exchange as flow
from workbench.flows.bench import Bench
from workbench.tui.safety import has_controls, safe, safe_cell
from workbench.tui.widgets.dialogs import Dialog

ENTRIES_LOOKED_AT = 2000


class PathSuggester(Suggester):
    """Completes the path that is being typed from the folder it leads into (→ takes the suggestion)."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """The first name in the folder that begins as the text ends."""
        return await asyncio.to_thread(_completed, value) if value else None


def _completed(value: str) -> str | None:
    folder, name = os.path.split(value)
    try:
        with os.scandir(Path(folder or ".").expanduser()) as entries:
            looked_at = [entry for entry, _ in zip(entries, range(ENTRIES_LOOKED_AT), strict=False)]
            fits = sorted(e.name + "/" * e.is_dir() for e in looked_at if name and e.name.startswith(name))
    except OSError:
        return None
    shown = [fit for fit in fits if not has_controls(fit)]
    return os.path.join(folder, shown[0]) if shown else None  # noqa: PTH118 - a Path would drop a leading "./"


class _FileDialog(Dialog[str]):
    """A small form that runs one flow in a thread and then shows its report."""

    BINDINGS: ClassVar = [Binding("ctrl+s", "accept", "Do it", id="form.accept", priority=True)]
    DEFAULT_CSS = """
    _FileDialog .file--label { color: $text-muted; height: 1; }
    _FileDialog #file-report { height: auto; max-height: 10; margin: 1 0 0 0; }
    """

    def __init__(self, bench: Bench, title: str, keys: str) -> None:
        super().__init__(title, keys=keys)
        self.bench = bench
        self._is_busy = False
        self._answer: str | None = None

    def lines(self) -> list[tuple[str, str, str]]:
        """(name, label, value) of each line."""
        raise AssertionError("each file dialog has its lines")

    def compose_body(self) -> ComposeResult:
        """The lines, then room for the report."""
        for name, label, value in self.lines():
            yield Label(safe_cell(label), classes="file--label")
            suggester = PathSuggester() if name == "path" else None
            yield Input(value, name=name, suggester=suggester, select_on_focus=False)
        yield Static(id="file-report", markup=False)

    def value(self, name: str) -> str:
        """What stands in a line."""
        return next(field.value.strip() for field in self.query(Input) if field.name == name)

    def show_report(self, text: str) -> None:
        """What the flow did, or is doing."""
        self.query_one("#file-report", Static).update(safe(text))

    def on_input_submitted(self) -> None:
        """Enter in any line; after the report it closes."""
        self.action_accept()

    def action_accept(self) -> None:
        """Start, or after the report leave with it."""
        if self._answer is not None:
            self.dismiss(self._answer)
        else:
            self.run_worker(self.perform(), group="file", exit_on_error=False)

    def action_leave(self) -> None:
        """Escape; after the report it counts as done."""
        if not self._is_busy:
            self.dismiss(self._answer)

    async def perform(self) -> None:
        """Read the form, run the flow, show what came of it."""
        raise AssertionError("each file dialog does something")

    async def run_flow(self, flow_call: Callable[[], str], answer: str) -> WorkbenchError | None:
        """Run in a thread; show the sentence it returns and remember ``answer``, or show and return the error."""
        if self._is_busy:
            return None
        self._is_busy = True
        self.show_problem("")
        self.show_report("working…")
        problem: WorkbenchError | None = None
        report = ""
        try:
            report = await asyncio.to_thread(flow_call) + "\n\nEnter closes."
        except WorkbenchError as error:
            problem = error
        finally:
            self._is_busy = False  # before anything is shown: what is shown invites the next key
        self.show_report(report)
        if problem is not None:
            where = f"{problem.where}: " if problem.where else ""
            self.show_problem(where + problem.message + (f" ({problem.hint})" if problem.hint else ""))
            return problem
        self._answer = answer
        return None


class ImportDialog(_FileDialog):
    """Asks for a file; the answer is the dataset that the rows went into."""

    BINDINGS: ClassVar = [Binding("ctrl+t", "skip_bad", "Skip bad lines", id="form.skip_bad", priority=True)]

    def __init__(self, bench: Bench, dataset: str) -> None:
        super().__init__(bench, "Import a file", "Enter imports · ^t imports and skips bad lines · Esc cancels")
        self._dataset = dataset
        self._skip_bad = False

    def lines(self) -> list[tuple[str, str, str]]:
        """Path, dataset, status."""
        return [
            ("path", "File (JSONL or JSON; → completes the path)", ""),
            ("dataset", "Into dataset (empty: named after the file)", self._dataset),
            ("status", "Status of new rows (pending or accepted)", "pending"),
        ]

    def action_skip_bad(self) -> None:
        """Import the good lines; the bad ones are written beside the file."""
        self._skip_bad = True
        self.action_accept()

    async def perform(self) -> None:
        """Import, then report."""
        bench, skip_bad, self._skip_bad = self.bench, self._skip_bad, False
        path, dataset, status = Path(self.value("path")).expanduser(), self.value("dataset"), self.value("status")
        reports: list[flow.ImportReport] = []

        def run() -> str:
            if status not in {"pending", "accepted"}:
                raise UsageError(f"the status is pending or accepted, not {status!r}")
            report = flow.import_file(bench, path, dataset=dataset, status=Status(status), skip_bad=skip_bad)
            reports.append(report)
            command = ["workbench", "import", str(path), "--dataset", report.dataset]
            return f"{report.sentence()}\nThe same: {shlex.join(command)}"

        error = await self.run_flow(run, "")
        if reports:
            self._answer = reports[0].dataset
        elif isinstance(error, DataError):
            self.show_report("Ctrl+T imports the good lines and writes the bad ones beside the file.")


class ExportDialog(_FileDialog):
    """Asks where to; exports what the filter shows. The answer is the report's sentence."""

    def __init__(self, bench: Bench, query: str, dataset: str, target: Path) -> None:
        super().__init__(bench, "Export", "Enter exports · Esc cancels")
        self._query, self._dataset, self._target = query, dataset, target
        self._replaces: Path | None = None

    def lines(self) -> list[tuple[str, str, str]]:
        """Path, query, dataset, provenance."""
        return [
            ("path", "To file (→ completes the path)", str(self._target)),
            ("query", "Which rows (empty: the accepted ones)", self._query),
            ("dataset", "From dataset (empty: all)", self._dataset),
            ("provenance", "With ids of chat, run and models (yes or no)", "no"),
        ]

    async def perform(self) -> None:
        """Export, then report."""
        bench, query, dataset = self.bench, self.value("query"), self.value("dataset")
        path, provenance = Path(self.value("path")).expanduser(), self.value("provenance").lower() in {"yes", "y"}
        said: list[str] = []
        if path.exists() and self._replaces != path:
            self._replaces = path
            self.show_report(f"{path} exists; Enter again replaces it.")
            return

        def run() -> str:
            asked = self._replaces == path
            report = flow.export_file(bench, query, path, dataset=dataset, provenance=provenance, replace=asked)
            said.append(report.sentence())
            command = ["workbench", "export", *([query] if query else []), "--to", str(path)]
            command += ["--dataset", dataset] if dataset else []
            command += ["--provenance"] if provenance else []
            return f"{report.sentence()}\nThe same: {shlex.join(command)}"

        await self.run_flow(run, "")
        if said:
            self._answer = said[0]
