"""The checks in Curate: run them behind the work, filter by what they found, mend a row by a key, or take it back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from textual.message import Message

from workbench.domain.counting import counted
from workbench.errors import WorkbenchError
from workbench.flows import apart, check, datasets
from workbench.flows import curate as flow
from workbench.tui.screens.curate_entries import finding_of
from workbench.tui.widgets.dialogs import Choice, ChooseDialog

if TYPE_CHECKING:
    from workbench.tui.screens.curate import CuratePane

_RUN, _STOP, _ANY = "run", "stop", "has:finding"
_FACT = "checks"


class CheckProgress(Message):
    """How far the checks are: posted from their thread."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class CurateChecks:
    """At most one run of the checks at a time; the fix of one finding is one gesture."""

    def __init__(self, pane: CuratePane) -> None:
        self._pane = pane
        self._running: threading.Event | None = None

    async def ask(self) -> None:
        """Run them on the dataset, stop them, or show the rows in which one found something."""
        pane = self._pane
        bench, dataset = pane.bench, pane.dataset or ""
        found = await asyncio.to_thread(check.by_check, bench, dataset)
        where = dataset or "all datasets"
        choices = [Choice(_STOP, "stop the checks")] if self._running else [Choice(_RUN, f"run the checks on {where}")]
        if found:
            choices.append(Choice(_ANY, "show every row with a finding", _ANY))
        choices += [Choice(f"check:{name}", f"show {name}", counted(n, "rows")) for name, n in found.items()]

        def chosen(value: str | None) -> None:
            if value == _RUN:
                self._run()
            elif value == _STOP:
                self.stop()
            elif value:
                pane.show_filter(value)

        pane.app.push_screen(ChooseDialog("Checks", choices), chosen)

    def _run(self) -> None:
        pane = self._pane
        bench, dataset = pane.bench, pane.dataset or ""
        cancelled = self._running = threading.Event()
        pane.notice("the checks run behind your work; C shows what they find, or stops them")

        def told(title: str, seen: int, total: int) -> None:
            pane.post_message(CheckProgress(f"checks: {title} {seen:,}/{total:,}"))

        def look() -> tuple[str, int]:
            how: dict[str, Any] = {"rows": datasets.count(bench, dataset), "on_progress": told, "cancelled": cancelled}
            return apart.call(check.summary, bench, dataset=dataset, **how)

        pane.run_flow(look, self._done, group="checks", failed=self._failed)

    def _done(self, said: tuple[str, int]) -> None:
        pane = self._pane
        self._ended()
        sentence, skipped = said
        pane.notice(sentence + (f"; {skipped} not run, they need a model" if skipped else "") + "; C shows the rows")
        pane.reread()

    def _failed(self, error: BaseException) -> None:
        was_stopped = self._running is not None and self._running.is_set()
        self._ended()
        if was_stopped and isinstance(error, WorkbenchError):
            self._pane.notice("the checks were stopped; what they found before stays")
        else:
            self._pane.workbench.report(error)

    def _ended(self) -> None:
        self._running = None
        self._pane.workbench.set_fact(_FACT, "")

    def show(self, progress: CheckProgress) -> None:
        """How far they are, on the status line."""
        if self._running is not None:
            self._pane.workbench.set_fact(_FACT, progress.text)

    def stop(self) -> None:
        """End a run; its child processes too."""
        if self._running is not None:
            self._running.set()

    async def fix(self) -> None:
        """Mend the finding under the cursor of the detail, or all that can be mended in the row."""
        pane = self._pane
        if pane.is_guarded() or (example := await pane.current_example()) is None:
            return
        bench, only = pane.bench, ""
        if (
            pane.detail.has_focus
            and (at := finding_of(pane.detail.current_key)) is not None
            and at < len(pane.findings)
        ):
            only = pane.findings[at].check

        def act(_ids: Sequence[int]) -> flow.Done:
            report = check.fix(bench, example.id, only=only)
            how = "rejected" if report.rejected else "mended"
            left = f", {len(report.findings)} left" if report.findings else ""
            return flow.Done(f"{how} example {example.id}{left}", 0)

        pane.decide_on((example.id,), act)

    def unredact(self) -> None:
        """Bring back what was redacted in the row, or in the marked ones."""
        pane = self._pane
        if (targets := pane.targets()) is None:
            return
        bench = pane.bench

        def act(ids: Sequence[int]) -> flow.Done:
            done = check.unredact(bench, ids)
            return flow.Done(done.said, done.group)

        pane.decide_on(targets, act)
