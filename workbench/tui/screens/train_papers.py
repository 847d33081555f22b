"""What is kept of a run, by keys of the Train pane: what its numbers say, its page, its differences, its removal.

The pane knows which run is meant; what is written and said is the flows' business.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.binding import Binding

from workbench.domain.counting import size
from workbench.domain.run_findings import Level
from workbench.domain.runs import Run
from workbench.flows import bundles, preflight, rerun, run_diff, run_papers
from workbench.flows import train as flow
from workbench.tui.messages import RunsChanged
from workbench.tui.safety import safe
from workbench.tui.screens.train_refused import Allowed, Changes, Refusable
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, ConfirmDialog
from workbench.tui.widgets.reading import ReadingDialog

if TYPE_CHECKING:
    from workbench.flows.run_papers import Report

_SIGNS = {Level.WARNING: "⚠", Level.NOTE: "·", Level.GOOD: "✓"}
_REPORT, _BUNDLE, _AGAIN = "report", "bundle", "again"


class RunPapers(Refusable):
    """The keys of a pane with a run under its cursor."""

    BINDINGS = [
        Binding("i", "findings", "Says", show=False, id="run.findings", tooltip="What the run's numbers say"),
        Binding("x", "export", "Keep", id="run.export", tooltip="Write the run's page, pack it, or run it again"),
        Binding("d", "diff", "Differ", show=False, id="run.diff", tooltip="How this run differs from another"),
        Binding("D", "delete", "Delete", show=False, id="run.delete", tooltip="Remove the run with its folder"),
    ]

    @abstractmethod
    def selected_run(self) -> Run | None:
        """The run under the cursor; says so when there is none."""

    @abstractmethod
    def look_now(self) -> None:
        """Read the runs again."""

    def action_findings(self) -> None:
        """What the numbers say, and the canaries' answers."""
        if (run := self.selected_run()) is None:
            return
        dialog = ReadingDialog(run.name, waiting="reading …")
        self.app.push_screen(dialog)
        self.run_flow(
            partial(_said, run),
            lambda said: dialog.show_content(safe(said)),
            group="papers",
            failed=lambda error: dialog.show_failure(str(error)),
        )

    def action_export(self) -> None:
        """The page, a bundle, or the same once more."""
        if (run := self.selected_run()) is None:
            return
        choices = [
            Choice(_REPORT, "page", "Markdown and one HTML file, in the run's folder"),
            Choice(_BUNDLE, "bundle", "one file that goes on in another workspace"),
            Choice(_AGAIN, "again", "the same rows, settings and seed once more"),
        ]

        def chosen(what: str | None) -> None:
            if what == _REPORT:
                self.run_flow(partial(run_papers.report, run), self._reported, group="papers")
            elif what == _BUNDLE:
                self._bundle(run)
            elif what == _AGAIN:
                self._run_again(run)

        self.app.push_screen(ChooseDialog(f"Keep {run.name}", choices), chosen)

    def _reported(self, made: Report) -> None:
        self.notice(f"written: {made.html}")

    def _bundle(self, run: Run) -> None:
        to = self.bench.workspace.exports / f"{Path(run.directory).name}.tar.gz"
        self.notice(f"packing {run.name} …")

        def done(made: bundles.Bundle) -> None:
            self.notice(f"packed {made.files} files, {size(made.bytes)}: {made.file}")

        self.run_flow(partial(bundles.bundle, run, to), done, group="papers")

    def _run_again(self, run: Run) -> None:
        def queue(changes: Changes) -> Run:
            plan = rerun.plan_again(self.bench, run, allow=changes.allow)
            preflight.look_before(self.bench, plan).refuse(plan.allow)
            return flow.launch(self.bench, plan)

        def done(made: Run) -> None:
            self.notice(f"queued {made.name}: the same rows, settings and seed as {run.name}")
            self.tell(RunsChanged((made.id,)))
            self.look_now()

        # It is the same run only with the same rows and settings.
        self.run_unless_refused(queue, done, group="papers", kinds=(Allowed,))

    def action_diff(self) -> None:
        """Ask for the other run, then show what differs."""
        if (run := self.selected_run()) is None:
            return

        def ask(runs: list[Run]) -> None:
            others = [one for one in runs if one.id != run.id]
            if not others:
                self.notice("there is no other run", "warning")
                return
            choices = [Choice(str(one.id), one.name, f"{one.method} on {one.dataset}") for one in others]
            by_id = {str(one.id): one for one in others}
            dialog = ChooseDialog(f"{run.name} beside …", choices)
            self.app.push_screen(dialog, lambda value: self._differ(run, by_id[value]) if value else None)

        self.run_flow(partial(flow.runs, self.bench), ask, group="papers")

    def _differ(self, run: Run, other: Run) -> None:
        dialog = ReadingDialog(f"{run.name} → {other.name}", waiting="reading …")
        self.app.push_screen(dialog)
        self.run_flow(
            lambda: "\n".join(run_diff.lines(run_diff.diff(run, other))),
            lambda said: dialog.show_content(safe(said)),
            group="papers",
            failed=lambda error: dialog.show_failure(str(error)),
        )

    def action_delete(self) -> None:
        """Remove the run, after its name was typed; refused while it is at work or its model is registered."""
        if (run := self.selected_run()) is None:
            return

        def ask(_: None) -> None:
            text = f"Its rows, checkpoints, curves and figures go, and there is no way back:\n{run.directory}"
            self.app.push_screen(ConfirmDialog(f"Delete {run.name}?", text=text, typed=run.name), answered)

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_flow(partial(run_papers.delete, self.bench, run), self._deleted, group="papers")

        self.run_flow(partial(run_papers.refuse_removal, self.bench, run), ask, group="papers")

    def _deleted(self, run: Run) -> None:
        self.notice(f"{run.name} is deleted")
        self.tell(RunsChanged((run.id,)))
        self.look_now()


def _said(run: Run) -> str:
    """The findings of a run and its canaries' answers, as lines; for a thread."""
    facts = run_papers.facts(run)
    lines = [f"{_SIGNS[found.level]} {found.said}" for found in facts.findings]
    for canary in facts.retention.canaries:
        lines += ["", f"? {canary.prompt}", f"  before  {canary.base}", f"  after   {canary.tuned}"]
    return "\n".join(lines) or "The run has measured nothing yet that says anything."
