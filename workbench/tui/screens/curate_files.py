"""Between Curate and files: an import that goes on while rows are decided, and an export of what is shown.

Owns the one import that may be on its way, which outlives its dialog, and what the status line says of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from textual.timer import Timer

from workbench.errors import BusyError, WorkbenchError
from workbench.flows.exchange import ImportReport
from workbench.tui.messages import ExamplesChanged
from workbench.tui.pane import Pane
from workbench.tui.running_import import ImportAsked, RunningImport
from workbench.tui.safety import cell
from workbench.tui.screens.export_form import ExportDialog
from workbench.tui.screens.import_form import ImportDialog

FACT = "import"
TELL_S = 0.5


class CurateFiles:
    """Import and export for a pane. ``show`` is called with the dataset that a person wants to see after an import."""

    def __init__(self, pane: Pane, show: Callable[[str], None]) -> None:
        self._pane, self._show = pane, show
        self._running: RunningImport | None = None
        self._dialog: ImportDialog | None = None
        self._teller: Timer | None = None

    def ask_import(self, dataset: str) -> None:
        """The form; or the progress of the import that is on its way; or the report that nobody has read yet."""
        self._dialog = ImportDialog(self._pane.bench, dataset, self._start, running=self._running)
        self._pane.app.push_screen(self._dialog, self._closed)

    def ask_export(self, query: str, dataset: str) -> None:
        """The form for an export of what the filter finds."""

        def exported(said: str | None) -> None:
            if said:
                self._pane.notice(said)

        target = Path(self._pane.bench.workspace.exports) / f"{dataset or 'examples'}.jsonl"
        self._pane.app.push_screen(ExportDialog(self._pane.bench, query, dataset, target), exported)

    def closing(self) -> Sequence[Callable[[], object]]:
        """Cancel what is on its way; what is returned waits for it."""
        if self._running is None or self._running.ended.is_set():
            return ()
        self._running.cancel()
        return (self._running.ended.wait,)

    def _closed(self, dataset: str | None) -> None:
        self._dialog = None
        if self._running is not None and self._running.is_over:
            self._running = None
        if dataset is not None:
            self._show(dataset)

    def _start(self, asked: ImportAsked) -> RunningImport:
        if self._running is not None and not self._running.is_over:
            raise BusyError("another import is on its way", hint="wait for it, or cancel it")
        running = self._running = RunningImport(self._pane.bench, asked)
        self._teller = self._pane.set_interval(TELL_S, self._tell)
        self._pane.run_flow(
            running.work, lambda reports: self._done(running, reports), group="import", failed=self._failed(running)
        )
        return running

    def _tell(self) -> None:
        if self._running is not None and not self._running.is_over:
            self._pane.workbench.set_fact(FACT, f"import {self._running.fact()}")

    def _ended(self) -> None:
        if self._teller is not None:
            self._teller.stop()
        self._pane.workbench.set_fact(FACT, "")

    def _done(self, running: RunningImport, reports: Sequence[ImportReport]) -> None:
        self._ended()
        self._pane.tell(ExamplesChanged())
        said = "; ".join(report.sentence() for report in reports)
        self._pane.notice(said if self._is_watched else f"{cell(said, 160)}; i shows the report")

    def _failed(self, running: RunningImport) -> Callable[[BaseException], None]:
        def failed(error: BaseException) -> None:
            running.error = error
            self._ended()
            if not isinstance(error, WorkbenchError):
                self._pane.workbench.report(error)
            elif not self._is_watched:
                self._pane.notice(f"the import of {running.asked.path} failed; i shows why", "error")

        return failed

    @property
    def _is_watched(self) -> bool:
        return self._dialog is not None
