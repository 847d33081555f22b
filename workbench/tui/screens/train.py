"""Train: the list of runs, the one under the cursor live (curve, figures, log), and what can be done with it.

Owns the ticker that takes in what the run directories say, the keys, and saying once how a run ended. Runs are
processes of their own: nothing here keeps them going, and leaving the workbench ends none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from workbench.domain.runs import Run, RunState
from workbench.flows import queueing, run_news
from workbench.flows import train as flow
from workbench.tui import run_curves, run_pages, run_view
from workbench.tui.messages import ModelsChanged, News, RunsChanged
from workbench.tui.run_view import RunLook
from workbench.tui.safety import cell, safe_cell
from workbench.tui.screens.train_form import FormValues, TrainForm, load_form
from workbench.tui.screens.train_keys import KEYS
from workbench.tui.screens.train_papers import RunPapers
from workbench.tui.screens.train_queue import RunQueueing, values_of
from workbench.tui.widgets.dialogs import ConfirmDialog
from workbench.tui.widgets.listing import PlainListing
from workbench.tui.widgets.plot import LinePlot, Series

if TYPE_CHECKING:
    from workbench.domain.runs import RunSpec
    from workbench.flows.bench import Bench
    from workbench.flows.train import RunPlan

TICK_S = 0.5
HIDDEN_TICKS = 8
"""While another pane is in front, only every eighth tick looks: enough to ring when a run ends."""
LOG_LINES = 300
NO_RUNS = "no runs yet: n sets one up"
TITLES = {"samples": "samples", "group": "group and queue", "config": "config", "data": "data"}


@dataclass(frozen=True, slots=True)
class Survey:
    """What one tick found: all runs, which of them changed, and a look at the selected one (None for none)."""

    runs: tuple[Run, ...]
    changed: tuple[Run, ...]
    look: RunLook | None
    places: Mapping[int, int] = field(default_factory=dict)
    series: tuple[Series, ...] = ()
    figures: tuple[str, ...] = ()
    page: Text | None = None
    checkpoints: Mapping[int, int | None] = field(default_factory=dict)
    """The last complete checkpoint of every run that changed and can be resumed."""
    wanted: Wanted | None = None
    """What was asked for."""
    still: tuple[object, ...] | None = None
    """While this is the same there is nothing new to be found; None: there always may be."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the pane shows, and so what is to be read: ``page`` "" for none, ``over`` the runs that are laid over."""

    selected: str
    log_lines: int
    spec: RunSpec | None
    figure: str
    weight: float
    over: frozenset[int]
    page: str
    width: int


def survey_if_new(bench: Bench, wanted: Wanted, last: Survey) -> Survey | None:
    """A survey; None where it would find what the last one found, which costs next to nothing to tell. For a thread."""
    is_same = last.wanted == wanted and not wanted.page  # a page tells of GPUs and of other runs too
    if is_same and last.still is not None and last.still == run_news.standstill(bench, last.runs):
        return None
    return survey(bench, wanted)


def survey(bench: Bench, wanted: Wanted) -> Survey:
    """Take in what is new in the run directories, and read what is shown. For a thread."""
    still = run_news.standstill(bench, flow.runs(bench))  # before anything is read: what comes meanwhile is news
    changed = tuple(flow.sync(bench))
    runs = tuple(flow.runs(bench))
    chosen = next((run for run in runs if str(run.id) == wanted.selected), runs[0] if runs else None)
    places = queueing.places(bench)
    checkpoints = {run.id: run_view.checkpoint_step(run) for run in changed if run.state.can_resume}
    if chosen is None:
        return Survey(runs, changed, None, places, checkpoints=checkpoints, wanted=wanted, still=still)
    known = wanted.spec if str(chosen.id) == wanted.selected else None
    figures = tuple(run_curves.figures_of(bench, chosen))
    figure = wanted.figure if wanted.figure in figures else run_curves.LOSS
    others = [run for run in runs if run.id in wanted.over and run.id != chosen.id]
    return Survey(
        runs,
        changed,
        run_view.look(bench, chosen, log_lines=wanted.log_lines, spec=known),
        places,
        tuple(run_curves.curves(bench, chosen, others, figure, wanted.weight)),
        figures,
        run_pages.page(bench, chosen, wanted.page, wanted.width) if wanted.page else None,
        checkpoints,
        wanted,
        still,
    )


class TrainPane(RunQueueing, RunPapers):
    """Runs and the one run that is looked at."""

    title = "Train"
    letter = "t"
    BINDINGS = [*KEYS]

    view: reactive[str] = reactive("both")
    """``both``, ``curve``, ``log``, or one of the pages."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._runs: tuple[Run, ...] = ()
        self._look: RunLook | None = None
        self._states: dict[int, RunState] = {}
        self._warned: set[int] = set()
        self._shown = False
        self._looking = False
        self._again = False
        self._ticks = 0
        self._trouble = ""
        self._figure, self._weight = run_curves.LOSS, 0.0
        self._over: set[int] = set()
        self._found_last = Survey((), (), None)

    def compose(self) -> ComposeResult:
        """List and live view, side by side when there is room."""
        with Horizontal(id="train-body"):
            with Vertical(id="train-left"):
                yield PlainListing(run_view.COLUMNS, empty="reading the runs …", id="train-runs")
                with VerticalScroll(id="train-spec-box", can_focus=False):
                    yield Static(id="train-spec", markup=False)
            with Vertical(id="train-right"):
                yield Static(id="train-title", markup=False)
                yield LinePlot(id="train-plot")
                yield Static(id="train-figures", markup=False)
                with VerticalScroll(id="train-log-box", can_focus=False):
                    yield Static(id="train-log", markup=False)
                with VerticalScroll(id="train-page-box", can_focus=False):
                    yield Static(id="train-page", markup=False)

    def on_mount(self) -> None:
        """Start the ticker; it does nothing while the bench is not open."""
        self.query_one(LinePlot).ascii_only = self._ascii
        self.query_one("#train-spec-box").border_title = "settings"
        self.query_one("#train-log-box").border_title = "log"
        self.set_interval(TICK_S, self._tick)

    @property
    def _ascii(self) -> bool:
        return self.workbench.settings.appearance.unicode == "ascii"

    @property
    def _listing(self) -> PlainListing:
        return self.query_one("#train-runs", PlainListing)

    def first_focus(self) -> Widget:
        """The list."""
        return self._listing

    def when_shown(self) -> None:
        """Look at once, then at every tick."""
        self._shown = True
        self.workbench.call_when_open(self.look_now)

    def when_hidden(self) -> None:
        """Look seldom; the corner belongs to the pane in front."""
        self._shown = False
        self.workbench.set_corner("")

    def heard(self, news: News) -> None:
        """A run that somebody else queued."""
        if isinstance(news, RunsChanged) and self._shown:
            self.look_now()

    def text_to_copy(self) -> str:
        """The run's folder."""
        return self._look.run.directory if self._look else ""

    # --- looking -----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._ticks += 1
        if self._shown or self._ticks % HIDDEN_TICKS == 0:
            self.workbench.call_when_open(partial(self.look_now, only_news=True))

    def look_now(self, *, only_news: bool = False) -> None:
        """Take in what is new and redraw; asked twice at once, it looks once more afterwards.

        With ``only_news`` nothing is read, nor drawn, while everything stands as it was last seen.
        """
        if self._looking:
            self._again = self._again or not only_news
            return
        self._looking = True
        seen = self._look
        spec = seen.spec if seen is not None and str(seen.run.id) == self._listing.key else None
        wanted = Wanted(
            self._listing.key,
            LOG_LINES if self.view == "log" else 40,
            spec,
            self._figure,
            self._weight,
            frozenset(self._over),
            self.view if self.view in run_pages.PAGES else "",
            max(20, self.query_one("#train-right").size.width - 3),
        )
        look: Callable[[], Survey | None] = partial(survey, self.bench, wanted)
        if only_news:
            look = partial(survey_if_new, self.bench, wanted, self._found_last)
        self.run_flow(look, self._found, group="survey", failed=self._not_found)

    def _found(self, found: Survey | None) -> None:
        self._looking, self._trouble = False, ""
        if found is not None:
            self._take_in(found)
        if self._again or (self._look is not None and str(self._look.run.id) != self._listing.key):
            self._again = False
            self.look_now()

    def _take_in(self, found: Survey) -> None:
        if self._listing.empty != NO_RUNS:
            self._listing.empty = NO_RUNS
            self._listing.refresh()
        self._runs, self._look, self._found_last = found.runs, found.look, found
        self._tell_endings(found.runs)
        self._show_rows()
        if self._shown:
            self.workbench.set_corner(run_view.corner(found.runs))
        self.workbench.set_fact("run", run_view.fact(found.runs))
        self._draw()
        if found.changed:
            self.tell(RunsChanged(tuple(run.id for run in found.changed)))

    def _show_rows(self, *, key: str = "") -> None:
        places = self._found_last.places
        rows = [run_view.run_row(run, place=places.get(run.id), over=run.id in self._over) for run in self._runs]
        self._listing.show(rows, key=key)

    def _not_found(self, error: BaseException) -> None:
        self._looking = False
        if str(error) != self._trouble:  # said once, not twice a second
            self._trouble = str(error)
            self.workbench.report(error)

    def _draw(self) -> None:
        seen = self._look
        empty = seen is None
        for name in ("#train-right", "#train-spec-box"):
            self.query_one(name).set_class(empty, "-empty")
        if seen is None:
            return
        _show(self.query_one("#train-title", Static), Text(cell(run_view.title(seen)), no_wrap=True))
        self.query_one(LinePlot).show(self._found_last.series)
        figures = self.query_one("#train-figures", Static)
        _show(figures, run_view.figure_lines(seen, max(20, figures.size.width), ascii_only=self._ascii))
        figures.set_class(seen.run.state in run_view.LOUD, "-bad")
        self._draw_log(seen)
        if self._found_last.page is not None:
            _show(self.query_one("#train-page", Static), self._found_last.page)
        _show(self.query_one("#train-spec", Static), run_view.spec_text(seen))

    def _draw_log(self, seen: RunLook) -> None:
        box = self.query_one("#train-log-box", VerticalScroll)
        follows = box.scroll_offset.y >= box.max_scroll_y - 1
        log = self.query_one("#train-log", Static)
        is_other = _show(log, run_view.log_text(seen.log, max(20, box.size.width - 1)))
        if is_other and (follows or self.view != "log"):
            box.call_after_refresh(box.scroll_end, animate=False)

    def _tell_endings(self, runs: Sequence[Run]) -> None:
        """Say how a run ended or that it waits for room, ring once, and tell the others.

        Also once when a loss is no number any more.
        """
        for run in runs:
            before = self._states.get(run.id)
            self._states[run.id] = run.state
            if before is None or before is run.state:
                continue
            if run.state is RunState.PAUSED:
                self.notice(f"{run.name} {run_view.ending(run)}", "error")
                self._ring(f"{run.name} waits: {run.error}")
            if not run.state.is_over:
                continue
            ended = run_view.ending(run, self._found_last.checkpoints.get(run.id))
            good = run.state in {RunState.FINISHED, RunState.STOPPED, RunState.CANCELLED}
            self.notice(f"{run.name} {ended}", "information" if good else "error")
            self._ring(f"{run.name} {ended}")
            self.tell(ModelsChanged())
        seen = self._look
        if seen and seen.run.state.is_active and seen.first_bad_step is not None and seen.run.id not in self._warned:
            self._warned.add(seen.run.id)
            advice = "stop it (s) and try a lower learning_rate"
            self.notice(
                f"{seen.run.name}: the loss is not a number since step {seen.first_bad_step}; {advice}", "error"
            )
            self._ring(f"{seen.run.name}: the loss is not a number")

    def _ring(self, said: str) -> None:
        if self.workbench.settings.appearance.bell:
            self.app.bell()
            self.workbench.notify_desktop("workbench", said)

    @on(PlainListing.Moved, "#train-runs")
    def _selected(self) -> None:
        if not self._look or str(self._look.run.id) != self._listing.key:
            self.look_now()

    def on_resize(self) -> None:
        """The lines are cut to the width."""
        if self._look is not None:
            self.call_after_refresh(self._draw)

    def watch_view(self, view: str) -> None:
        """What stands in the pane is the style sheet's business."""
        for name in ("both", "curve", "log"):
            self.set_class(view == name, f"-{name}")
        self.set_class(view in run_pages.PAGES, "-page")
        self.query_one("#train-page-box").border_title = safe_cell(TITLES.get(view, ""), 40)
        self.query_one("#train-page", Static).update("")
        if self.is_mounted and self._look is not None:
            self.look_now()

    # --- keys --------------------------------------------------------------------------------------------------

    def action_zoom(self) -> None:
        """The curve alone, and back."""
        self._look_at("both" if self.view == "curve" else "curve")

    def action_log(self) -> None:
        """The log alone (arrows scroll it), and back."""
        self._look_at("both" if self.view == "log" else "log")

    def action_back(self) -> None:
        """Escape: list and live view again."""
        self._look_at("both")

    def action_page(self) -> None:
        """Samples, group and queue, config, data, log, and from the beginning."""
        order = (*run_pages.PAGES, "log", "both")
        self._look_at(order[(order.index(self.view) + 1) % len(order)] if self.view in order else order[0])

    def _look_at(self, view: str) -> None:
        """Show a view and give the keys to what is shown in it."""
        self.view = view
        plot, log = self.query_one(LinePlot), self.query_one("#train-log-box", VerticalScroll)
        page = self.query_one("#train-page-box", VerticalScroll)
        plot.can_focus, log.can_focus, page.can_focus = view == "curve", view == "log", view in run_pages.PAGES
        shown: dict[str, Widget] = {"curve": plot, "log": log, **dict.fromkeys(run_pages.PAGES, page)}
        page.scroll_home(animate=False)
        shown.get(view, self._listing).focus()

    def action_log_scale(self) -> None:
        """Loss on a logarithmic axis, and back."""
        plot = self.query_one(LinePlot)
        plot.show(self._found_last.series, log_y=not plot.log_y)

    def action_smooth(self) -> None:
        """The next smoothing; behind the strongest come the raw values."""
        steps = run_curves.SMOOTHINGS
        self._weight = steps[(steps.index(self._weight) + 1) % len(steps)]
        self.notice(f"smoothing {self._weight:g}" if self._weight else "no smoothing")
        self.look_now()

    def action_figure(self) -> None:
        """Plot the next figure that the run has."""
        figures = self._found_last.figures or (run_curves.LOSS,)
        at = figures.index(self._figure) if self._figure in figures else -1
        self._figure = figures[(at + 1) % len(figures)]
        self.query_one(LinePlot).window = None
        self.notice(f"{self._figure} by step")
        self.look_now()

    def action_overlay(self) -> None:
        """Lay the selected run over whichever is selected, or no longer."""
        if (run := self.selected_run()) is None:
            return
        self._over ^= {run.id}
        on = f"{run.name} is laid over the others ({len(self._over)} in all); c takes it off"
        self.notice(on if run.id in self._over else f"{run.name} is no longer laid over")
        self._show_rows()
        self.look_now()

    def action_scale(self, factor: float) -> None:
        """Fewer or more steps."""
        self.query_one(LinePlot).zoom(factor)

    def action_whole(self) -> None:
        """All steps."""
        self.query_one(LinePlot).show_all()

    def action_pan(self, share: float) -> None:
        """Along the steps, where not all are shown."""
        self.query_one(LinePlot).pan(share)

    def action_new(self) -> None:
        """The form, with what the last run had where that still exists."""
        self.open_form(FormValues())

    def action_rerun(self) -> None:
        """The form with everything as in this run."""
        if (run := self.selected_run()) is not None:
            self.run_flow(partial(values_of, run), self.open_form, group="form")

    def open_form(self, values: FormValues, *, focus: str = "") -> None:
        """The form of a new run, filled in; the cursor on the knob ``focus``."""

        def opened(form: TrainForm) -> None:
            form.first_knob = focus
            self.app.push_screen(form, self._launch)

        def read() -> None:
            self.run_flow(partial(load_form, self.bench, values), opened, group="form")

        self.workbench.call_when_open(read)

    def _launch(self, plan: RunPlan | None) -> None:
        if plan is not None:
            self.run_flow(partial(flow.launch, self.bench, plan), self._launched, group="launch")

    def _launched(self, run: Run) -> None:
        self.notice(f"queued {run.name}; it goes on when you leave")
        self._runs = (run, *self._runs)
        self._states[run.id] = run.state
        self._show_rows(key=str(run.id))
        self.tell(RunsChanged((run.id,)))

    def action_stop_run(self) -> None:
        """Ask the trainer to finish its step, save and end."""
        if (run := self.selected_run()) is None:
            return
        self._act(flow.stop, run, flow.stop_said)

    def action_kill(self) -> None:
        """End it at once, after its name was typed."""
        if (run := self.selected_run()) is None:
            return
        if not run.state.is_active:
            self.notice(f"{run.name} is {run.state.value}: there is nothing to kill", "warning")
            return
        text = "What came after its last checkpoint is lost. s stops it with a checkpoint instead."

        def answered(yes: bool | None) -> None:
            if yes:
                self._act(flow.kill, run, lambda run: f"{run.name} was killed")

        self.app.push_screen(ConfirmDialog(f"Kill {run.name}?", text=text, typed=run.name), answered)

    def action_resume(self) -> None:
        """Queue it again."""
        if (run := self.selected_run()) is not None:
            self._act(flow.resume, run, lambda run: f"{run.name} is queued again")

    def _act(self, act: Callable[[Bench, Run], Run], run: Run, said: Callable[[Run], str]) -> None:
        def done(now: Run) -> None:
            self.notice(said(now))
            self.look_now()

        self.run_flow(partial(act, self.bench, run), done, group="act")

    async def action_arena(self) -> None:
        """To the Arena, with the base against what the run made."""
        if (run := self.selected_run()) is None:
            return
        if not run.adapter:
            self.notice(f"{run.name} has made no model yet", "warning")
            return
        from workbench.tui.screens.arena import ArenaPane

        await self.workbench.go("arena")
        if isinstance(pane := self.workbench.pane("arena"), ArenaPane):
            pane.offer(run.base, run.adapter)

    def selected_run(self) -> Run | None:
        """The run under the cursor; says so when there is none."""
        found = next((run for run in self._runs if str(run.id) == self._listing.key), None)
        if found is None:
            self.notice("there is no run here yet; n sets one up", "warning")
        return found


def _show(place: Static, text: Text) -> bool:
    """Show a text where it is another than before; False when it is not.

    The screen is laid out anew only for more or fewer lines: that costs as much as all else that a tick does.
    """
    before = place.content
    is_as_high = False
    if isinstance(before, Text):
        if before == text:
            return False
        is_cut = bool(before.no_wrap and text.no_wrap)
        is_as_high = is_cut and len(before.plain.splitlines()) == len(text.plain.splitlines())
    place.update(text, layout=not is_as_high)
    return True
