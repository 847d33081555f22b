"""Results: who is better and how sure that is, what could have led the votes, and the way from votes to data.

Owns the keys and what is chosen to be looked at. The numbers come from the flow, the text of them is ``results_text``.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from workbench.domain.comparisons import Score, Vote
from workbench.domain.counting import counted
from workbench.domain.results import VoteFilter
from workbench.domain.statistics import verdict, win_rate
from workbench.flows import battles, fixes, judging, unseen, votes
from workbench.flows import results as flow
from workbench.tui.messages import ComparisonsChanged, ExamplesChanged, News
from workbench.tui.pane import Pane
from workbench.tui.safety import cell, safe, safe_cell
from workbench.tui.screens.fixing import write_better
from workbench.tui.screens.results_text import METRICS, results_text
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, ConfirmDialog, TextDialog
from workbench.tui.widgets.reading import ReadingDialog
from workbench.tui.work import begin

if TYPE_CHECKING:
    from workbench.domain.agreement import Agreement
    from workbench.domain.comparisons import Comparison, Rating
    from workbench.domain.models import Model
    from workbench.flows.bench import Bench

ALL = "*"
_HIDES = {
    "": "all votes",
    "fast": "without votes under 2 s",
    "live": "without answers that were watched",
    "both": "without either",
}
_SHAPES = (
    Choice(votes.Shape.PAIRS.value, "preference pairs", "the winner over the loser, into votes"),
    Choice(votes.Shape.LABELS.value, "good and bad answers", "each by itself, into vote-labels"),
    Choice(votes.Shape.EVALUATION.value, "evaluation set", "winners as references, locked from training"),
)
CLOSING_S = 5.0


@dataclass(frozen=True, slots=True)
class Shown:
    """What stands on the screen."""

    report: flow.Report
    judges: tuple[judging.Standing, ...]


class ResultsPane(Pane):
    """The standings, and what can be done with the votes."""

    title = "Results"
    letter = "r"
    BINDINGS = [
        Binding("d,enter", "drill", "Votes", key_display="d", id="res.drill", tooltip="The votes behind this standing"),
        Binding("f", "fix", "To fix", id="res.fix", tooltip="Answers that lost or were bad: write better ones"),
        Binding("r", "rater", "Rater", id="res.rater", tooltip="Only the votes of one person, or all"),
        Binding("t", "tag", "Tag", id="res.tag", tooltip="Only prompts with one tag, or all"),
        Binding("m", "metric", "Metric", id="res.metric", tooltip="Ties left out, or as half a win for each"),
        Binding("w", "filters", "Filter", id="res.filters", tooltip="Hide fast votes, or those on watched answers"),
        Binding("b", "bootstrap", "Boot", id="res.bootstrap", tooltip="Draw the bootstrap again"),
        Binding("x", "export", "Export", id="res.export", tooltip="Write the votes as battles for FastChat's scripts"),
        Binding("y", "markdown", "Copy", id="res.markdown", tooltip="Copy the standings as a Markdown table"),
        Binding("D", "data", "Data", id="res.data", tooltip="Make the votes into pairs, labels or an evaluation set"),
        Binding("J", "judge", "Judge", id="res.judge", tooltip="Let a model judge the pairs, beside the people"),
        Binding("down,j", "move(1)", "Next", show=False, id="res.next", tooltip="The next standing"),
        Binding("up,k", "move(-1)", "Previous", show=False, id="res.previous", tooltip="The one before"),
    ]

    which: reactive[VoteFilter] = reactive(VoteFilter())
    metric: reactive[str] = reactive("decided")
    cursor: reactive[int] = reactive(0)

    class Asked(Message):
        """A judge has answered once more."""

        def __init__(self, done: int, total: int) -> None:
            super().__init__()
            self.done, self.total = done, total

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: Shown | None = None
        self._seed = 0
        self._agreement: Agreement | None = None
        self._judging: threading.Event | None = None
        self._idle = threading.Event()

    def compose(self) -> ComposeResult:
        """A line about which votes, and the text."""
        yield Static(id="results-head", markup=False)
        with VerticalScroll(id="results-box"):
            yield Static("reading the votes …", id="results-text", markup=False)

    def first_focus(self) -> Widget:
        """The text, which scrolls."""
        return self.query_one("#results-box")

    def when_shown(self) -> None:
        """Read again: votes may have come."""
        self.workbench.call_when_open(self._read)

    def heard(self, news: News) -> None:
        """Votes changed while this pane is in front."""
        if isinstance(news, ComparisonsChanged | ExamplesChanged) and self.workbench.front is self:
            self.workbench.call_when_open(self._read)

    def on_resize(self) -> None:
        """Bars are drawn to the width."""
        self._draw()

    def _read(self) -> None:
        look = partial(_look, self.bench, self.which, self._seed)
        self.run_flow(look, self._show, group="results", exclusive=True)
        agree = partial(flow.agreement_on, self.bench, self.which.tag)
        self.run_flow(agree, self._show_agreement, group="agreement", exclusive=True)

    def _show_agreement(self, agreement: Agreement | None) -> None:
        """It comes from a process that takes seconds to start: the rest does not wait for it."""
        self._agreement = agreement
        if self._shown is not None:
            self._show(self._shown)

    def _show(self, shown: Shown) -> None:
        self._shown = replace(shown, report=replace(shown.report, agreement=self._agreement))
        self.cursor = min(self.cursor, max(0, len(shown.report.scores) - 1))
        self._draw()

    def _draw(self) -> None:
        if not self.is_mounted or self._shown is None:
            return
        report, width = self._shown.report, max(40, self.query_one("#results-box").size.width - 2)
        which = self.which
        hides = _HIDES[_hidden(which)]
        parts = [_counted(report), which.rater or "all raters", f"tag {which.tag}" if which.tag else ""]
        parts += [hides if hides != "all votes" else "", METRICS[self.metric]]
        self.query_one("#results-head", Static).update(safe_cell("  ".join(part for part in parts if part), width))
        ascii_only = self.workbench.settings.appearance.unicode == "ascii"
        text = results_text(
            report, self._shown.judges, width, cursor=self.cursor, metric=self.metric, ascii_only=ascii_only
        )
        self.query_one("#results-text", Static).update(text)

    def watch_cursor(self) -> None:
        """The mark moves."""
        self._draw()

    def watch_metric(self) -> None:
        """Another share."""
        self._draw()

    def watch_which(self) -> None:
        """Other votes."""
        if self.is_mounted:
            self.workbench.call_when_open(self._read)

    @property
    def score(self) -> Score | None:
        """The standing that the mark is on."""
        scores = self._shown.report.scores if self._shown else ()
        return scores[self.cursor] if self.cursor < len(scores) else None

    # --- what is looked at -------------------------------------------------------------------------------------

    def action_move(self, steps: int) -> None:
        """To another standing; with one or none, scroll."""
        count = len(self._shown.report.scores) if self._shown else 0
        if count > 1 and 0 <= self.cursor + steps < count:
            self.cursor += steps
        else:
            self.query_one("#results-box").scroll_relative(y=2 * steps, animate=False)

    def action_rater(self) -> None:
        """Choose whose votes."""
        raters = self._shown.report.raters if self._shown else {}
        self._choose(
            "Whose votes?",
            [(name, counted(n, "votes")) for name, n in raters.items()],
            self.which.rater,
            lambda name: replace(self.which, rater=name),
        )

    def action_tag(self) -> None:
        """Choose on which prompts."""
        tags = self._shown.report.tags if self._shown else ()
        self._choose(
            "Prompts with which tag?",
            [(tag, "") for tag in tags],
            self.which.tag,
            lambda tag: replace(self.which, tag=tag),
        )

    def _choose(
        self, title: str, found: Sequence[tuple[str, str]], current: str, take: Callable[[str], VoteFilter]
    ) -> None:
        choices = [Choice(ALL, "all"), *(Choice(value, cell(value, 60), detail) for value, detail in found)]

        def chosen(value: str | None) -> None:
            if value is not None:
                before, self.which = self.which, take("" if value == ALL else value)
                if self.which.tag != before.tag:
                    self._agreement = None  # it was of the other prompts

        self.app.push_screen(ChooseDialog(title, choices, current=current or ALL), chosen)

    def action_metric(self) -> None:
        """Ties left out, or as half a win."""
        self.metric = "ties" if self.metric == "decided" else "decided"

    def action_filters(self) -> None:
        """Choose what is hidden."""

        def chosen(value: str | None) -> None:
            if value is not None:
                name = "" if value == ALL else value
                self.which = replace(self.which, hide_fast=name in {"fast", "both"}, hide_live=name in {"live", "both"})

        choices = [Choice(name or ALL, said) for name, said in _HIDES.items()]
        self.app.push_screen(ChooseDialog("Which votes?", choices, current=_hidden(self.which) or ALL), chosen)

    def action_bootstrap(self) -> None:
        """Other resamples: an interval that moves much rests on few votes."""
        self._seed = secrets.randbelow(2**31)
        self.notice("the bootstrap is drawn again")
        self.workbench.call_when_open(self._read)

    # --- votes -------------------------------------------------------------------------------------------------

    async def action_drill(self) -> None:
        """The votes behind the standing, one of them whole."""
        if (score := self.score) is None:
            self.notice("there are no votes yet")
            return
        with self.telling():
            self._drill(score, await asyncio.to_thread(flow.votes_between, self.bench, score.a, score.b, self.which))

    def _drill(self, score: Score, every: tuple[Sequence[Vote], Sequence[Vote]]) -> None:
        found, hidden = every
        if hidden and not found:
            self.notice(f"{unseen.left_out(len(hidden))}: {unseen.HIDDEN}")
            return
        choices = [Choice(str(vote.comparison_id), *_vote_line(vote)) for vote in reversed(found)]

        def chosen(comparison_id: str | None) -> None:
            if comparison_id is not None:
                self.run_flow(partial(_whole, self.bench, int(comparison_id)), self._read_vote, group="vote")

        title = f"{counted(len(found), 'votes')} on {score.a} and {score.b}"
        self.app.push_screen(ChooseDialog(title, choices, text=unseen.left_out(len(hidden))), chosen)

    def _read_vote(self, told: str) -> None:
        self.app.push_screen(ReadingDialog("A comparison and its votes", safe(told)))

    async def action_fix(self) -> None:
        """The to-fix list; saving a better answer opens it again."""
        if self._shown is not None:
            with self.telling():
                self._fix(*await asyncio.to_thread(_to_fix, self.bench))

    def _fix(self, found: Sequence[fixes.ToFix], waiting: int) -> None:
        left_out = unseen.left_out(waiting, "answers")
        if not found:
            self.notice(left_out or "nothing is to be fixed: no answer lost, or each has a better one")
            return
        by_id = {str(one.comparison_id): one for one in found}
        choices = [Choice(key, *_fix_line(one)) for key, one in by_id.items()]

        async def write(key: str) -> None:
            await write_better(self, by_id[key], again)

        def again() -> None:
            self.call_later(self.action_fix)

        def chosen(key: str | None) -> None:
            if key is not None:
                begin(self, partial(write, key), group="fix")

        title = f"{counted(len(found), 'answers')} to fix"
        self.app.push_screen(ChooseDialog(title, choices, text=left_out), chosen)

    def action_data(self) -> None:
        """Choose what the votes become."""

        def chosen(shape: str | None) -> None:
            if shape is not None:
                self.decide(partial(votes.collect, self.bench, votes.Shape(shape)), self._collected)

        self.app.push_screen(ChooseDialog("Make the votes into what?", _SHAPES), chosen)

    def _collected(self, made: votes.Collected) -> None:
        self.notice(made.said)
        self.tell(ExamplesChanged())

    def action_export(self) -> None:
        """Ask for a file."""

        def write(path: Path, is_meant: bool | None) -> None:
            if is_meant:
                self.run_flow(partial(battles.export_battles, self.bench, path, replace=True), self._exported)

        def chosen(name: str | None) -> None:
            path = Path((name or "").strip()).expanduser()
            if name and name.strip() and path.is_file():
                self.app.push_screen(ConfirmDialog(f"{path.name} exists: replace it?"), partial(write, path))
            elif name and name.strip():
                write(path, True)

        text = "One JSON array, as FastChat's elo_analysis.py reads it."
        self.app.push_screen(TextDialog("Write the battles to which file?", value="battles.json", text=text), chosen)

    def _exported(self, made: battles.Written) -> None:
        self.notice(made.said)

    def action_markdown(self) -> None:
        """Copy a table."""
        if self._shown is not None:
            self.app.copy_to_clipboard(markdown(self._shown.report.scores))

    def text_to_copy(self) -> str:
        """The same table."""
        return markdown(self._shown.report.scores) if self._shown else ""

    # --- a judge -----------------------------------------------------------------------------------------------

    async def action_judge(self) -> None:
        """Choose a model that judges in the background; Ctrl+C stops it."""
        if self._judging is not None:
            self.notice("a judge is at work already; Ctrl+C stops it", "warning")
            return
        with self.telling():
            self._choose_judge(await asyncio.to_thread(self.bench.store.models.speakers))

    def _choose_judge(self, models: Sequence[Model]) -> None:
        def chosen(name: str | None) -> None:
            if name is not None:
                self._judging = threading.Event()
                self._idle.clear()
                work = partial(self._judge, name, self._judging)
                self.run_flow(work, self._judged, group="judge", failed=self._not_judged)

        choices = [Choice(model.name, model.name, model.kind.value) for model in models]
        text = "It is asked about each pair twice, with the answers exchanged. Its word counts for no standing."
        self.app.push_screen(ChooseDialog("Which model judges?", choices, text=text), chosen)

    def _judge(self, name: str, cancelled: threading.Event) -> int:
        try:
            asked = judging.judge(self.bench, name, on_progress=self._hear, cancelled=cancelled)
            return sum(1 for _ in asked)
        finally:
            self._idle.set()

    def _hear(self, done: int, total: int) -> None:
        self.post_message(self.Asked(done, total))

    def on_results_pane_asked(self, event: Asked) -> None:
        """How far the judge is."""
        self.notice(f"the judge has answered {event.done} of {event.total}")

    def _judged(self, count: int) -> None:
        self._judging = None
        self.notice(f"the judge has judged {count} pair{'s' * (count != 1)}")
        self._read()

    def _not_judged(self, error: BaseException) -> None:
        self._judging = None
        self.workbench.report(error)
        self._read()

    def can_stop(self) -> bool:
        """While a judge is asked."""
        return self._judging is not None

    def stop(self) -> None:
        """Ask it no more; what it said is kept."""
        if self._judging is not None:
            self._judging.set()

    def closing(self) -> Sequence[Callable[[], object]]:
        """Ask the judge no more."""
        if self._judging is None:
            return ()
        self._judging.set()
        return (partial(self._idle.wait, CLOSING_S),)


def _look(bench: Bench, which: VoteFilter, seed: int) -> Shown:
    return Shown(flow.report(bench, which=which, seed=seed, with_agreement=False), tuple(judging.standings(bench)))


def _to_fix(bench: Bench) -> tuple[list[fixes.ToFix], int]:
    return fixes.to_fix(bench), fixes.waiting(bench)


def _counted(report: flow.Report) -> str:
    """``40 votes``, or ``40 votes on 25 pairs`` when some are on the same two answers; equal answers are apart."""
    on = f" on {counted(report.comparisons - report.equal, 'pairs')}" if report.comparisons < report.votes else ""
    equal = f"  {report.equal:,} equal without a vote" if report.equal else ""
    return counted(report.votes - report.equal, "votes") + on + equal


def _hidden(which: VoteFilter) -> str:
    if which.hide_fast and which.hide_live:
        return "both"
    return "fast" if which.hide_fast else "live" if which.hide_live else ""


def _vote_line(vote: Vote) -> tuple[str, str]:
    winner = {"a": vote.a, "b": vote.b}.get(vote.outcome)
    said = f"{cell(winner, 30)} won" if winner else vote.outcome.replace("-", " ")
    strength = f", {vote.strength.value}" if vote.strength else ""
    time = f"{vote.duration_ms / 1000:.1f} s" if vote.duration_ms else ""
    by = cell(vote.rater, 20) if vote.rater else "equal answers"
    detail = "  ".join(part for part in (by, time, ", ".join(vote.tags)) if part)
    return f"#{vote.comparison_id}  {said}{strength}", detail


def _fix_line(one: fixes.ToFix) -> tuple[str, str]:
    question = " ".join(one.prompt[-1].content.split())
    return f"#{one.comparison_id}  {one.why.replace('-', ' ')}  {cell(one.model, 14)}", cell(question, 36)


def _whole(bench: Bench, comparison_id: int) -> str:
    comparison = bench.store.comparisons.get(comparison_id)
    ratings = [rating for rating in bench.store.comparisons.ratings(comparison_id) if not rating.undone]
    parts = [f"[{turn.role}]\n{turn.shown}" for turn in comparison.prompt]
    for side, candidate in (("left", comparison.left), ("right", comparison.right)):
        parts.append(f"--- {side}: {candidate.model}\n{candidate.text}")
    parts.append("\n".join(_rating_line(comparison, rating) for rating in ratings))
    return "\n\n".join(parts)


def _rating_line(comparison: Comparison, rating: Rating) -> str:
    strength = f", {rating.strength.value}" if rating.strength else ""
    marks = "".join(f"; {name} {left} to {right}" for name, (left, right) in rating.rubric.items())
    comment = f"; {rating.comment}" if rating.comment else ""
    return f"{rating.rater}: {rating.verdict.value}{strength}, {rating.duration_ms / 1000:.1f} s{marks}{comment}"


def markdown(scores: Sequence[Score]) -> str:
    """The standings as a Markdown table."""
    columns = ("a", "b", "wins", "losses", "ties", "both bad", "share", "95 %", "verdict")
    rows = [columns, tuple("---" for _ in columns), *map(_markdown_row, scores)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _markdown_row(score: Score) -> tuple[str, ...]:
    rate = win_rate(score)
    counts = (score.a_wins, score.b_wins, score.ties, score.both_bad)
    share = "-" if rate.value is None else f"{rate.value:.0%}"
    return score.a, score.b, *map(str, counts), share, f"{rate.low:.0%} to {rate.high:.0%}", verdict(score)
