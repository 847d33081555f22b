"""What Train does with the queue and with several runs: order, GPUs, recipes, sweeps, stop-and-change.

Part of the Train pane, which shows and ticks; here are the dialogs, and the flows that they call.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import methods as training_methods
from workbench.domain.counting import counted
from workbench.domain.methods import knob_text
from workbench.domain.queues import AUTO, CPU, Gpu
from workbench.domain.runs import Run, RunState
from workbench.domain.sweeps import GRID, SEARCHES
from workbench.errors import UsageError
from workbench.flows import preflight, queueing, recipes, sweeps
from workbench.flows import train as flow
from workbench.jobs import devices
from workbench.tui.messages import RunsChanged
from workbench.tui.screens.train_form import FormValues
from workbench.tui.screens.train_refused import Allowed, Changes, Refusable, Rejected
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, ConfirmDialog, Field, FormDialog, TextDialog

if TYPE_CHECKING:
    from workbench.flows.train import RunPlan


FINDINGS_SHOWN = 4


class RunQueueing(Refusable):
    """The part of the Train pane that changes the queue."""

    @abstractmethod
    def selected_run(self) -> Run | None:
        """The run under the cursor; says so when there is none."""

    @abstractmethod
    def look_now(self) -> None:
        """Read the runs again."""

    @abstractmethod
    def open_form(self, values: FormValues, *, focus: str = "") -> None:
        """The form of a new run."""

    def action_move(self, steps: int) -> None:
        """Earlier or later in the queue."""
        if (run := self.selected_run()) is None:
            return

        def moved(place: int) -> None:
            self.notice(f"{run.name} is number {place} in the queue")
            self.look_now()

        self.run_flow(partial(queueing.move, self.bench, run, steps), moved, group="act")

    def action_gpus(self) -> None:
        """Choose the GPUs of a run that waits."""
        if (run := self.selected_run()) is not None:
            self.run_flow(devices.gpus, partial(self._choose_gpus, run), group="act")

    def _choose_gpus(self, run: Run, gpus: Sequence[Gpu]) -> None:
        several = [Choice(f"{AUTO}:{n}", f"any {n} GPUs", "for one run") for n in range(2, len(gpus) + 1)]
        each = [
            Choice(str(g.index), f"GPU {g.label}", f"{g.free / 1e9:.0f} of {g.total / 1e9:.0f} GB free") for g in gpus
        ]
        choices = [
            Choice(AUTO, "the freest GPU", "when it is this run's turn"),
            *each,
            *several,
            Choice(CPU, "the CPU"),
        ]
        text = "" if gpus else "This machine has no GPU that a trainer sees: runs train on the CPU, one after another."

        def chosen(answer: str | None) -> None:
            if answer is not None:
                self.run_flow(partial(queueing.set_gpus, self.bench, run, answer), self.notice, group="act")

        self.app.push_screen(ChooseDialog(f"Where does {run.name} train?", choices, text=text), chosen)

    def action_edit(self) -> None:
        """Another learning rate: stop the run, and set up the same as a new one."""
        if (run := self.selected_run()) is None:
            return
        waits = run.state is RunState.QUEUED
        is_open = waits or run.state.is_active
        ends = "is taken from the queue" if waits else "saves a checkpoint and stops"

        def stop_and_read() -> FormValues:
            values = values_of(run)
            if is_open:
                flow.stop(self.bench, run)
            return values

        def opened(values: FormValues) -> None:
            said = f"{run.name} {ends}; " if is_open else ""
            self.notice(f"{said}here is the same run to be changed")
            self.open_form(values, focus="learning_rate")
            self.look_now()

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_flow(stop_and_read, opened, group="form")

        text = f"A run keeps the settings that it was made with. This one {ends}; a new one begins."
        if is_open:
            self.app.push_screen(ConfirmDialog(f"Stop {run.name}, and change its settings?", text=text), answered)
        else:
            answered(True)

    def action_recipe(self) -> None:
        """Ask for a recipe file, check all its stages, and queue them."""

        def asked(path: str | None) -> None:
            if path and path.strip():
                file = Path(path.strip()).expanduser()
                kinds = (Rejected, Allowed)  # its settings stand in the file
                self.notice(f"checking the stages of {file.name} …")
                self.run_unless_refused(partial(self._planned_recipe, file), self._confirm, group="launch", kinds=kinds)

        text = "A TOML file of stages, each from the last one's result. workbench runs recipe RUN writes one."
        self.app.push_screen(TextDialog("Queue a recipe", text=text, placeholder="recipe.toml"), asked)

    def _planned_recipe(self, file: Path, changes: Changes) -> tuple[Sequence[RunPlan], Callable[[], Sequence[Run]]]:
        plans = recipes.plan(self.bench, recipes.read(file), allow=changes.allow)
        for plan in plans:
            preflight.look(self.bench, plan).refuse(plan.allow)
        return plans, partial(recipes.launch, self.bench, plans)

    def action_sweep(self) -> None:
        """Ask what of the selected run is to vary, and queue a run for each."""
        if (run := self.selected_run()) is not None:
            self.run_flow(partial(changed_values_of, run), partial(self._ask_sweep, run), group="form")

    def _ask_sweep(self, run: Run, values: FormValues) -> None:
        fields = [
            Field("space", "settings", "learning_rate=1e-4,2e-4", "knob=a,b knob=c,d; or knob=low..high"),
            Field("search", "search", GRID, ", ".join(SEARCHES)),
            Field("trials", "trials", "", "runs in all, for random and optuna"),
            Field("rank_by", "rank by", "", "such as accuracy or loss; empty: the method's own"),
        ]

        def answered(sweep: sweeps.Sweep | None) -> None:
            if sweep is not None:
                self.notice(f"checking the runs of the sweep around {run.name} …")
                self.run_unless_refused(partial(self._planned_sweep, sweep), self._confirm, group="launch")

        form = FormDialog(f"Sweep around {run.name}", fields, partial(sweep_of, values))
        self.app.push_screen(form, answered)

    def _planned_sweep(
        self, sweep: sweeps.Sweep, changes: Changes
    ) -> tuple[Sequence[RunPlan], Callable[[], Sequence[Run]]]:
        overrides = {**(sweep.overrides or {}), **changes.knobs}
        sweep = replace(sweep, overrides=overrides, allow=(*sweep.allow, *changes.allow))
        plans = sweeps.plan(self.bench, sweep)
        for plan in plans:
            preflight.look(self.bench, plan).refuse(plan.allow)
        return plans, partial(sweeps.launch, self.bench, sweep, plans)

    def _confirm(self, planned: tuple[Sequence[RunPlan], Callable[[], Sequence[Run]]]) -> None:
        plans, launch = planned
        findings = list(dict.fromkeys(finding for plan in plans for finding in plan.findings))[:FINDINGS_SHOWN]
        lines = [*(f"! {finding}" for finding in findings), *(plan.said for plan in plans)]

        def launched(runs: Sequence[Run]) -> None:
            self.notice(f"queued {counted(len(runs), 'runs')} of {runs[0].group}; they go on when you leave")
            self.tell(RunsChanged(tuple(run.id for run in runs)))
            self.look_now()

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_flow(launch, launched, group="launch")

        self.app.push_screen(ConfirmDialog(f"Queue {counted(len(plans), 'runs')}?", text="\n".join(lines)), answered)


def values_of(run: Run) -> FormValues:
    """A form filled in as ``run`` was; raises ``RunError`` when its folder is gone. For a thread."""
    spec = flow.spec(run)
    knobs = {name: knob_text(value) for name, value in spec.knobs.items()}
    return FormValues(
        spec.method,
        spec.adapter or spec.base,
        spec.dataset,
        spec.preset,
        eval_dataset=spec.eval_dataset,
        overrides=knobs,
    )


def changed_values_of(run: Run) -> FormValues:
    """The same with the settings alone that its preset does not give by itself. For a thread."""
    changed = recipes.changed_settings(flow.spec(run))
    return replace(values_of(run), overrides={name: knob_text(value) for name, value in changed.items()})


def sweep_of(values: FormValues, answers: Mapping[str, str]) -> sweeps.Sweep:
    """The sweep around a run's values; raises ``UsageError`` for what cannot be."""
    trials = answers["trials"].strip()
    if trials and not trials.isdigit():
        raise UsageError(f"{trials!r} is no number of trials")
    if answers["search"].strip() not in SEARCHES:
        raise UsageError(f"there is no search {answers['search']!r}", hint=f"one of {', '.join(SEARCHES)}")
    space = tuple(answers["space"].split())
    varied = {word.partition("=")[0] for word in space}
    overrides = {name: text for name, text in values.overrides.items() if name not in varied}
    if overrides.get("arguments"):
        overrides["arguments"] = training_methods.without_arguments(overrides["arguments"], varied)
    sweep = sweeps.Sweep(
        "",
        values.method,
        values.dataset,
        space,
        search=answers["search"].strip(),
        trials=int(trials or 0),
        model=values.model,
        preset=values.preset,
        overrides=overrides,
        eval_dataset=values.eval_dataset,
        rank_by=answers["rank_by"].strip(),
    )
    if not sweep.dimensions:
        raise UsageError("nothing varies", hint="learning_rate=1e-4,2e-4")
    _ = sweep.measure
    return sweep
