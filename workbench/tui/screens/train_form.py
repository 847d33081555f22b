"""The form for a new run, made from the method's own description: every knob a line, its help beside it.

Owns what stands in the form and shows what the plan says about it: findings, and the command that does the same. The
plan is made by the flow, in a thread, a moment after the last key.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, assert_never

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Input, Label, Static
from textual.worker import Worker, WorkerState

from workbench.domain.counting import counted
from workbench.domain.datasets import Dataset
from workbench.domain.examples import Kind
from workbench.domain.methods import KnobGroup, KnobValue, Method, knob_text
from workbench.errors import NotFoundError, RefusedError, Remedy, UsageError, WorkbenchError
from workbench.flows import curate, preflight
from workbench.flows import train as flow
from workbench.flows.datasets import shown
from workbench.flows.gathered import Gathered
from workbench.tui.safety import cell, clean, safe, safe_cell
from workbench.tui.screens.train_knobs import KnobLine
from workbench.tui.screens.train_refused import Allowed, Rejected, Way, ask_way_out, setting_of, ways_out
from workbench.tui.widgets.dialogs import MOVES
from workbench.tui.widgets.picker import Picker
from workbench.tui.widgets.reading import ReadingDialog
from workbench.tui.work import begin

if TYPE_CHECKING:
    from workbench.flows.bench import Bench
    from workbench.flows.preflight import Preflight
    from workbench.flows.train import RunPlan
    from workbench.tui.app import WorkbenchApp

PAUSE_S = 0.3
"""How long the form waits after a key before it plans again."""
SHARE = "a share of it"
ASIDE = {
    "form-general": "general: held-out text, a file or a dataset, whose loss tells before and after what is forgotten; "
    "none measures nothing, and left empty it is training.general in the settings",
    "form-canaries": "canaries: prompts that have nothing to do with the task, in a file or a dataset, answered before "
    "and after; none asks nothing, and left empty it is training.canaries in the settings",
}
USUAL = ("sft", "dpo", "kto")
"""The methods that a form opens with, of several that take the same rows."""


@dataclass(frozen=True, slots=True)
class FormValues:
    """What stands in the form; empty texts mean the default. ``overrides`` are knobs that differ from the preset."""

    method: str = ""
    model: str = ""
    dataset: str = ""
    preset: str = "auto"
    name: str = ""
    eval_dataset: str = ""
    overrides: Mapping[str, str] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    """What the run may be refused for and is to be started all the same."""
    general: str = ""
    canaries: str = ""

    def is_of_the_rows_of(self, other: FormValues | None) -> bool:
        """True when both are trained on rows of the same datasets by the same method."""
        names = ("method", "dataset", "eval_dataset")
        return other is not None and all(getattr(self, name) == getattr(other, name) for name in names)


@dataclass(slots=True)
class Checking:
    """A check of the rows under way in a thread: what for, how far, and how it is ended."""

    cancelled: threading.Event
    values: FormValues | None = None
    said: str = ""

    def hear(self, doing: str, seen: int, total: int) -> None:
        """Called by the thread."""
        self.said = f"{doing}: {seen:,} of {total:,} rows"


def load_form(bench: Bench, values: FormValues) -> TrainForm:
    """The form for this workspace, with ``values`` filled in where they exist; for a thread.

    Raises ``NotFoundError`` when there is no dataset to train on.
    """
    found = shown(bench)
    if not found:
        raise NotFoundError("there is no dataset yet", hint="keep answers in Chat, or import a file in Curate")
    models = [model.name for model in bench.store.models.trainable()]
    methods = flow.methods()
    method, dataset = _most_rows(methods.values(), found)
    filled = replace(
        values,
        method=values.method if values.method in methods else method,
        model=values.model if values.model in models else bench.store.models.default().name,
        dataset=values.dataset if values.dataset in {one.name for one in found} else dataset,
    )
    return TrainForm(bench, filled, methods=methods, models=models, datasets=found)


def own_rows(method: Method, dataset: Dataset) -> int:
    """How many rows of the method's own kind the dataset has."""
    return dataset.count(method.kinds[0])


def _most_rows(methods: Iterable[Method], datasets: Sequence[Dataset]) -> tuple[str, str]:
    """The method and dataset that fit together with the most rows: a form that can be started as it opens."""
    pairs = [(method, dataset) for method in methods for dataset in datasets]
    best = max(pairs, key=lambda pair: (own_rows(*pair), pair[0].kinds[0] is Kind.DEMONSTRATION, pair[0].name in USUAL))
    return best[0].name, best[1].name


class TrainForm(ModalScreen["RunPlan | None"]):
    """Sets up a run; the answer is a plan that was checked, or None."""

    BINDINGS = [
        Binding("ctrl+s", "start", "Start", id="form.start", priority=True),
        Binding("ctrl+r", "remedy", "Change what is advised", id="form.remedy", priority=True),
        Binding("ctrl+l", "rows", "List the rows that are cut or left out", id="form.rows", priority=True),
        Binding("ctrl+g", "copy", "Copy the command", id="form.copy", priority=True),
        *MOVES,
        Binding("escape", "leave", "Cancel", id="form.cancel"),
    ]
    DEFAULT_CSS = """
    TrainForm { align: center middle; }
    TrainForm > Vertical {
        width: 120; max-width: 100%; height: 100%; max-height: 44; padding: 0 1;
        border: round $primary; border-title-color: $accent; border-subtitle-color: $accent; background: $surface;
    }
    TrainForm .form--row { height: 1; }
    TrainForm .form--row > Label { width: 10; color: $text-muted; }
    TrainForm .form--row > Picker { width: 28; margin: 0 1 0 0; }
    TrainForm .form--row > Input { width: 28; height: 1; background: $panel; margin: 0 1 0 0; }
    TrainForm .form--row > Input:focus {
        background: $block-cursor-background; color: $block-cursor-foreground;
    }
    TrainForm #form-summary { height: auto; max-height: 4; color: $text-muted; }
    TrainForm #form-knobs { height: 1fr; scrollbar-size-vertical: 1; border-top: solid $border-blurred; }
    TrainForm .form--group { height: 1; color: $accent; text-style: bold; }
    TrainForm #form-plan.-wrong { color: $error; }
    TrainForm #form-plan { height: auto; max-height: 12; border-top: solid $border-blurred; }
    """

    def __init__(
        self,
        bench: Bench,
        values: FormValues,
        *,
        methods: Mapping[str, Method],
        models: list[str],
        datasets: Sequence[Dataset],
    ) -> None:
        super().__init__()
        self._bench, self._methods, self._models, self._datasets = bench, methods, models, datasets
        self._start_values = values
        self._plan: RunPlan | None = None
        self._preflight: Preflight | None = None
        self._outdated = threading.Event()
        self._gathered = Gathered()
        self._checking = Checking(threading.Event())
        self._planned: FormValues | None = None
        self._timer: Timer | None = None
        self._starting = self._looking = False
        self._refused: RefusedError | None = None
        self._allow = values.allow
        self.first_knob = ""

    def compose(self) -> ComposeResult:
        """What to train at the top, the knobs, and below what the plan says."""
        given = self._start_values
        method = given.method
        presets = [preset.name for preset in self._methods[method].presets]
        with Vertical() as box:
            box.border_title = "New run"
            box.border_subtitle = "^s Start  ^r Remedy  ^l Rows  ^g Command  ↑↓ move  ←→ change  Esc cancel"
            with Horizontal(classes="form--row"):
                yield Label("method")
                yield Picker(list(self._methods), method, title="Method", id="form-method")
                yield Label("preset")
                yield Picker(presets, given.preset, title="Preset", id="form-preset")
            with Horizontal(classes="form--row"):
                yield Label("base")
                yield Picker(self._models, given.model, title="Model to start from", id="form-model")
                yield Label("name")
                yield Input(given.name, placeholder="chosen for you", compact=True, id="form-name")
            with Horizontal(classes="form--row"):
                yield Label("dataset")
                names = [dataset.name for dataset in self._datasets]
                yield Picker(names, given.dataset, title="Dataset", id="form-dataset")
                yield Label("held-out")
                yield Picker([SHARE, *names], given.eval_dataset or SHARE, title="Held-out rows", id="form-eval")
            with Horizontal(classes="form--row"):
                yield Label("general")
                yield Input(given.general, placeholder="as set; FILE, DATASET, none", compact=True, id="form-general")
                yield Label("canaries")
                yield Input(given.canaries, placeholder="as set; FILE, DATASET, none", compact=True, id="form-canaries")
            yield Static(id="form-summary", markup=False)
            yield VerticalScroll(id="form-knobs", can_focus=False)
            yield Static(id="form-plan", markup=False)

    async def on_mount(self) -> None:
        """Fill in the knobs and plan for the first time."""
        await self._fill_knobs(self._start_values.overrides)
        self.set_interval(PAUSE_S, self._show_progress)
        self._plan_soon()
        if (line := next((one for one in self._lines() if one.knob.name == self.first_knob), None)) is not None:
            line.query_one(Input).focus()

    @property
    def workbench(self) -> WorkbenchApp:
        """The app, with its own type."""
        from workbench.tui.app import WorkbenchApp

        assert isinstance(self.app, WorkbenchApp)
        return self.app

    @property
    def _method(self) -> Method:
        return self._methods[self._picked("method")]

    def _picked(self, name: str) -> str:
        return self.query_one(f"#form-{name}", Picker).value

    def _typed(self, name: str) -> str:
        return self.query_one(f"#form-{name}", Input).value.strip()

    def _lines(self) -> Iterator[KnobLine]:
        yield from self.query(KnobLine)

    async def _fill_knobs(self, overrides: Mapping[str, str]) -> None:
        method = self._method
        base = {name: knob_text(value) for name, value in method.values(self._picked("preset"), {}).items()}
        box = self.query_one("#form-knobs", VerticalScroll)
        await box.remove_children()
        lines: list[Label | KnobLine] = []
        group = None
        for knob in sorted(method.knobs, key=lambda knob: list(KnobGroup).index(knob.group)):
            if knob.group is not group:
                group = knob.group
                lines.append(Label(safe_cell(group.value), classes="form--group", markup=False))
            lines.append(KnobLine(knob, base[knob.name], overrides.get(knob.name)))
        await box.mount_all(lines)
        self._fit_lines()
        self.query_one("#form-summary", Static).update(f"{method.title}: {method.summary}")

    # --- what stands in the form -------------------------------------------------------------------------------

    def values(self) -> FormValues:
        """The form as it stands."""
        held_out = self._picked("eval")
        name, general, canaries = (self._typed(field) for field in ("name", "general", "canaries"))
        return FormValues(
            self._picked("method"),
            self._picked("model"),
            self._picked("dataset"),
            self._picked("preset"),
            name,
            "" if held_out == SHARE else held_out,
            {line.knob.name: line.text for line in self._lines() if line.is_edited and line.display},
            self._allow,
            general,
            canaries,
        )

    @on(Picker.Changed, "#form-method")
    async def _another_method(self) -> None:
        kept = self.values().overrides
        presets = [preset.name for preset in self._method.presets]
        self.query_one("#form-preset", Picker).offer(presets)
        self._fit_dataset()
        known = {knob.name for knob in self._method.knobs}
        await self._fill_knobs({name: text for name, text in kept.items() if name in known})
        self._plan_soon()

    def _fit_dataset(self) -> None:
        """Go to a dataset that the method can be trained on, unless the chosen one will do."""
        here = next(dataset for dataset in self._datasets if dataset.name == self._picked("dataset"))
        if not own_rows(self._method, here):
            self.query_one("#form-dataset", Picker).value = _most_rows([self._method], self._datasets)[1]

    @on(Picker.Changed, "#form-preset")
    def _another_preset(self) -> None:
        self._rebase(self._method.values(self._picked("preset"), {}))
        self._plan_soon()

    def _fit_lines(self) -> None:
        """Show the settings that the chosen adapter has, and of adapters no others."""
        chosen = next((line.text for line in self._lines() if line.knob.name == "adapter"), "")
        own = {knob.name for adapter in self._method.adapters if adapter.name == chosen for knob in adapter.knobs}
        for line in self._lines():
            if line.knob.target == "adapter":
                line.display = line.knob.name in own

    def _rebase(self, values: Mapping[str, KnobValue]) -> None:
        for line in self._lines():
            if line.knob.name in values:
                line.rebase(knob_text(values[line.knob.name]))

    @on(Picker.Changed, "#form-method, #form-dataset, #form-eval")
    def _other_rows(self) -> None:
        """What was allowed was meant of those rows."""
        self._allow = ()

    @on(Picker.Changed)
    @on(Input.Changed)
    def _changed(self, event: Picker.Changed | Input.Changed) -> None:
        line = next((a for a in event.control.ancestors if isinstance(a, KnobLine)), None)
        if line is not None:
            line.check()
            if line.knob.name == "adapter":
                self._fit_lines()
        self._plan_soon()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The whole help of the knob that has the focus; in its own line it may be cut."""
        line = next((a for a in event.widget.ancestors if isinstance(a, KnobLine)), None)
        method = self._method
        text = f"{line.knob.name}: {self._help(line)}" if line else ASIDE.get(str(event.widget.id))
        text = text or f"{method.title}: {method.summary}"
        self.query_one("#form-summary", Static).update(text)

    def _help(self, line: KnobLine) -> str:
        """The knob's help, and why the preset has the value that stands there."""
        of_plan = self._plan.reasons if self._plan is not None else {}
        reasons = {**self._method.preset(self._picked("preset")).reasons, **of_plan}
        reason = reasons.get(line.knob.name)
        return f"{line.knob.help} ({line.base}: {reason})" if reason and not line.is_edited else line.knob.help

    @on(Input.Submitted)
    def _next_field(self) -> None:
        self.focus_next()

    # --- the plan ----------------------------------------------------------------------------------------------

    def _plan_soon(self) -> None:
        self._refused = None
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(PAUSE_S, self._plan_now)

    def _plan_now(self) -> None:
        wanted = self.values()
        if wanted == self._planned and self._plan is not None:
            return
        if wrong := [line.problem for line in self._lines() if line.problem and line.display]:
            self._not_planned(UsageError("\n✗ ".join(wrong)))
            return
        begin(self, partial(self._make_plan, wanted), group="plan", exclusive=True)

    async def _make_plan(self, wanted: FormValues) -> None:
        if not wanted.is_of_the_rows_of(self._checking.values):
            self._checking.cancelled.set()  # what is being checked is of no use any more
            self._checking = Checking(threading.Event(), wanted)
        checking = self._checking
        try:
            plan = await asyncio.to_thread(make_plan, self._bench, wanted, self._gathered, checking)
        except WorkbenchError as error:
            if wanted == self.values():
                self._not_planned(error)
            return
        finally:
            checking.said = ""
        if wanted != self.values():
            return
        self._rebase({n: v for n, v in plan.spec.knobs.items() if n not in wanted.overrides})
        self._plan, self._planned, self._preflight, self._refused = plan, self.values(), None, None
        self._look_soon(plan)

    def _look_soon(self, plan: RunPlan) -> None:
        self._looking = True
        self._show_plan(plan, None)
        begin(self, partial(self._look_ahead, plan), group="preflight", exclusive=True)

    async def _look_ahead(self, plan: RunPlan) -> None:
        """Count and estimate for the plan, at first without the seconds that counting takes."""
        self._outdated.set()
        self._outdated = outdated = threading.Event()
        for count in (False, True):
            try:
                is_first = await asyncio.to_thread(preflight.starts_at_once, self._bench)
                found = await asyncio.to_thread(
                    preflight.look, self._bench, plan, count=count, cancelled=self._outdated
                )
            except WorkbenchError as error:
                if not outdated.is_set() and plan is self._plan:
                    self._looking = self._starting = False
                    self._show(_plan_text(plan, None, counting=False).append(f"\n✗ {clean(error.message)}", "bold"))
                return
            if plan is not self._plan:
                return
            # Uncounted rows are taken to fill the window: no reason yet to refuse.
            shown = found if count or not found.not_allowed(plan.allow) else None
            self._preflight = shown if count or is_first else None
            self._looking = not count
            self._show_plan(plan, shown)
            if self._starting and self._preflight is not None:
                self._start(plan)
                return

    def _show_plan(self, plan: RunPlan, found: Preflight | None) -> None:
        text = _plan_text(plan, found, counting=self._looking)
        self._show(text.append("\n▸ starts as soon as that is looked at", "bold") if self._starting else text)

    def _show_progress(self) -> None:
        """How far the check of many rows is, while it is under way."""
        if said := self._checking.said:
            self._show(Text(f"… {cell(said)}"))

    def _start(self, plan: RunPlan) -> None:
        """Now when what it needs was looked at, else when that is done."""
        found = self._preflight
        self._starting = found is None
        if found is None:
            if self._looking:
                self._show_plan(plan, None)
            else:
                self._look_soon(plan)  # the last look came to nothing
        elif found.not_allowed(plan.allow):
            self.action_remedy()
        else:
            self.dismiss(plan)

    def _not_planned(self, error: WorkbenchError) -> None:
        self._plan, self._starting = None, False
        self._refused = error if isinstance(error, RefusedError) and ways_out(error) else None
        text = Text(f"✗ {clean(error.message)}" + (": ^r changes it" if self._refused else ""), "bold")
        self._show(text.append(f"\n  {clean(error.hint)}" if error.hint else "", "not bold"), bad=True)

    def _show(self, text: Text, *, bad: bool = False) -> None:
        self.query_one("#form-plan", Static).update(text)
        self.query_one("#form-plan").set_class(bad, "-wrong")

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A plan that failed in an unforeseen way is said, never fatal."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            self._starting = self._looking = False
            self.workbench.report(event.worker.error)

    # --- keys --------------------------------------------------------------------------------------------------

    def action_start(self) -> None:
        """Start what stands in the form, once its plan is made; of what is refused, ask what to change."""
        if self._refused is not None:
            self.action_remedy()
            return
        if self._plan is not None and self._planned == self.values():
            self._start(self._plan)
            return
        self._starting = True
        self._plan_now()

    def action_remedy(self) -> None:
        """Choose one of the changes that the preflight advises; with a refusal, also to start all the same."""
        refused = self._refused or _refusal_of(self._preflight, self._plan)
        if refused is None:
            self._tell("nothing is advised to be changed")
            return
        if not ways_out(refused):
            self.workbench.say(f"nothing can be changed here: {refused.message}", "error")
            return
        ask_way_out(self, refused, self._mend)

    def _mend(self, way: Way) -> None:
        """Do what was chosen, and plan again; a run that is allowed starts as soon as that is done."""
        match way:
            case Remedy():
                for line in self._lines():
                    if line.knob.name in way.knobs:
                        line.take(way.knobs[line.knob.name])
                self._fit_lines()
            case Allowed():
                self._starting = self._plan is not None
                self._allow = (*self._allow, *way.names)
            case Rejected():
                begin(self, partial(self._reject, way.examples), group="reject")
                return
            case _:
                assert_never(way)
        self._plan_soon()

    async def _reject(self, examples: Sequence[int]) -> None:
        done = await asyncio.to_thread(curate.reject, self._bench, examples)
        self._tell(f"{done.said}; undo in Curate takes it back")
        self._plan_soon()

    def _tell(self, text: str) -> None:
        """A toast: the form covers the status line."""
        self.notify(safe(text).plain, markup=False, timeout=4)

    def action_rows(self) -> None:
        """Every row that the window cuts or leaves out, by number."""
        found, plan = self._preflight, self._plan
        if found is None or plan is None or found.lengths is None:
            self._tell("the rows are not counted yet")
            return
        lines = list(found.lengths.listed(int(plan.spec.knobs[preflight.WINDOW])))
        said = "\n".join(lines) or "No row that was counted is cut or left out."
        self.app.push_screen(ReadingDialog("Rows that do not fit the window", safe(said)))

    def action_copy(self) -> None:
        """The command that does the same, to the clipboard."""
        if self._plan is None:
            self._tell("there is no command while the plan cannot be made")
        else:
            self.app.copy_to_clipboard(self._plan.command)
            self._tell("the command is copied")

    def on_unmount(self) -> None:
        """Nobody waits for the checks and the counting any more."""
        self._checking.cancelled.set()
        self._outdated.set()

    def action_leave(self) -> None:
        """Without a run."""
        self.dismiss(None)


def make_plan(bench: Bench, values: FormValues, gathered: Gathered, checking: Checking) -> RunPlan:
    """The flow's plan for what stands in the form; for a thread."""
    return flow.plan(
        bench,
        method=values.method,
        dataset=values.dataset,
        model=values.model,
        preset=values.preset,
        overrides=values.overrides,
        name=values.name,
        eval_dataset=values.eval_dataset,
        allow=values.allow,
        general=values.general,
        canaries=values.canaries,
        gathered=gathered,
        on_progress=checking.hear,
        cancelled=checking.cancelled,
    )


def _refusal_of(found: Preflight | None, plan: RunPlan | None) -> RefusedError | None:
    """What was found against the plan, as one refusal; only advice where nothing was; None where there is neither."""
    if found is None or plan is None:
        return None
    against = found.not_allowed(plan.allow)
    names = [refusal.name for refusal in against if refusal.name]
    remedies = [remedy for refusal in against for remedy in refusal.remedies] + list(found.remedies)
    if not (against or remedies):
        return None
    said = "; ".join(refusal.said for refusal in against)
    return RefusedError(said, allow=names if len(names) == len(against) else (), remedies=remedies)


def _plan_text(plan: RunPlan, found: Preflight | None, *, counting: bool = True) -> Text:
    spec = plan.spec
    refused = found is not None and bool(found.not_allowed(plan.allow))
    rows = counted(spec.train_rows, "rows")
    text = Text(f"{'✗' if refused else '✓'} {rows} to train on, {spec.eval_rows:,} held out")
    text.append(" … counting tokens" if counting else "")
    if found is not None:
        against = found.not_allowed(plan.allow)
        for refusal in against:
            text.append(f"\n✗ {cell(refusal.said)}" + (": ^r changes it" if refusal.name else ""), "bold")
            text.append(f"\n  {cell(refusal.hint)}" if refusal.hint else "", "not bold")
        for refusal in found.refusals:
            text.append("" if refusal in against else f"\n⚠ {cell(refusal.said)}: allowed", "bold")
        for fact in found.facts:
            text.append(f"\n  {cell(fact)}", "not bold")
        if found.remedies:
            text.append(f"\n  ^r could set {cell(setting_of(found.remedies[0]))}: {cell(found.remedies[0].said)}")
    for finding in list(plan.findings)[:4]:
        text.append(f"\n⚠ {cell(str(finding))}", "not bold")
    return text.append("\nsame as: ", "bold").append(clean(plan.command), "not bold")
