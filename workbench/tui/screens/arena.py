"""Arena: two answers side by side without names, a vote by one key, the names after it.

Owns the blind view and its keys. What may be shown before a vote comes from the flow as ``BlindView``, which knows no
model; this pane holds nothing else about the pair until the vote is stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import Worker, WorkerState

from workbench.domain.chats import Turn
from workbench.domain.comparisons import BlindView, Marks, Strength, Verdict, VoteDetails
from workbench.errors import WorkbenchError
from workbench.flows import compare as flow
from workbench.flows import fixes
from workbench.tui.messages import ComparisonsChanged, ExamplesChanged, News
from workbench.tui.paste_guard import PasteGuard
from workbench.tui.safety import cell, clean, safe_cell
from workbench.tui.screens.arena_answers import Answers
from workbench.tui.screens.arena_round import RoundPane
from workbench.tui.screens.arena_rubric import RubricDialog
from workbench.tui.screens.fixing import write_better
from workbench.tui.screens.verdict_keys import strength_bindings, verdict_bindings
from workbench.tui.widgets.dialogs import TextDialog

if TYPE_CHECKING:
    from workbench.flows.bench import Bench
    from workbench.flows.chat import Gesture
    from workbench.flows.compare import Reveal, TakenBack
    from workbench.tui.screens.arena_form import Plan

_SIGNS = {
    Verdict.LEFT: "← left is better",
    Verdict.RIGHT: "→ right is better",
    Verdict.TIE: "= a tie",
    Verdict.BOTH_BAD: "0 both bad",
    Verdict.SKIP: "␣ skipped",
}
_VOTE_KEYS = "← h left   → l right   = t tie   0 both bad   ␣ skip   u undo   ↑↓ scroll"
_ORDERS = {"made": "in the order made", "differing": "most different first"}


class ArenaPane(RoundPane):
    """Blind votes, one after another."""

    title = "Arena"
    letter = "a"
    BINDINGS = [
        *verdict_bindings("vote", skip="Not this one; it is not counted"),
        Binding("u,backspace", "undo", "Undo", id="label.undo", tooltip="Take the last vote back"),
        Binding("S", "promote", "Pair", id="arena.save", tooltip="Keep the last vote as a preference pair"),
        Binding("e", "fix", "Fix", id="arena.fix", tooltip="Write a better answer than the one that lost: a new pair"),
        Binding("n", "new", "New", id="arena.new", tooltip="Ask two or more models the same prompts"),
        Binding(
            "R",
            "ask_rest",
            "Rest",
            show=False,
            id="arena.rest",
            tooltip="Ask what a round left open as its models failed",
        ),
        Binding("v", "score", "Score", id="arena.score", tooltip="The results, on a screen of their own"),
        *strength_bindings(show=False),
        Binding("r", "marks", "Marks", show=False, id="arena.rubric", tooltip="Mark both answers by the rubric"),
        Binding("c", "comment", "Comment", show=False, id="pref.note", tooltip="A comment to go with the vote"),
        Binding(
            "o",
            "order",
            "Order",
            show=False,
            id="arena.order",
            tooltip="The pairs in the order made, or the most different answers first",
        ),
        Binding("enter", "go_on", "Go on", show=False, id="arena.go_on", tooltip="To the next pair"),
    ]

    mode: reactive[str] = reactive("empty", bindings=True)
    """``empty``, ``live`` (the answers are being written), ``blind`` (a vote is awaited) or ``revealed``."""

    def __init__(self, *, id: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(id=id)
        self._clock = clock
        self._view: BlindView | None = None
        self._last: int | None = None
        self._shown_at = 0.0
        self._hidden_at: float | None = None
        self.guard = PasteGuard(clock)
        self._busy = False
        self._waiting = 0
        self._names_known = False
        self._order = "made"
        self._watched: set[int] = set()
        self.details = VoteDetails(strength=Strength.CLEAR)
        self._below = Text()

    def compose(self) -> ComposeResult:
        """A line about the round, the prompt, both answers, and a line about the vote."""
        yield Static(id="arena-head", markup=False)
        with Vertical(id="arena-blind"):
            with VerticalScroll(id="arena-prompt", can_focus=False):
                yield Static(id="arena-prompt-text", markup=False)
            yield Answers(id="arena-answers")
            yield Static(id="arena-foot", markup=False)

    def on_mount(self) -> None:
        """Nothing is shown before the bench is open."""
        self._draw()
        self.workbench.call_when_open(self.go_on)

    def first_focus(self) -> Widget:
        """The answers, which take the keys."""
        return self.query_one(Answers)

    def when_shown(self) -> None:
        """Show what waits, if nothing is shown yet; time away is not time spent on a vote."""
        if self._hidden_at is not None:
            self._shown_at += self._clock() - max(self._hidden_at, self._shown_at)
            self._hidden_at = None
        self.workbench.call_when_open(self._load_if_idle)

    def when_hidden(self) -> None:
        """The corner belongs to the pane in front."""
        self.workbench.set_corner("")
        self._hidden_at = self._clock()

    def heard(self, news: News) -> None:
        """Pairs that somebody else prepared."""
        if isinstance(news, ComparisonsChanged) and self._view is None:
            self.workbench.call_when_open(self._load_if_idle)

    def text_to_copy(self) -> str:
        """Prompt and both answers as they are shown."""
        view = self._view
        if view is None:
            return ""
        return f"{view.prompt[-1].content}\n\n--- left\n{view.left_text}\n\n--- right\n{view.right_text}\n"

    # --- pairs -------------------------------------------------------------------------------------------------

    def _load_if_idle(self) -> None:
        if self._view is None and not self._busy and self.watching is None:
            self._load()

    def _load(self, comparison_id: int | None = None) -> None:
        """The next pair, or that one; while answers are watched there is none before they are written."""
        if comparison_id is None and self.watching is not None:
            self._show_pair(None, self._waiting)
            self.watching.wanted.set()
            return
        self._busy = True
        work = partial(_next, self.bench, self.plan, self._order, comparison_id)
        self.run_flow(work, self._loaded, group="load", failed=self._not_loaded)

    def _loaded(self, found: tuple[BlindView | None, int, bool]) -> None:
        self._busy = False
        view, waiting, names_known = found
        self._show_pair(view, waiting, names_known=names_known)

    def _not_loaded(self, error: BaseException) -> None:
        self._busy = False
        self.workbench.report(error)

    def _show_pair(self, view: BlindView | None, waiting: int, *, names_known: bool = False) -> None:
        self._view, self._waiting, self._names_known = view, waiting, names_known
        self._shown_at = self._clock()
        self.details = VoteDetails(strength=Strength.CLEAR)
        self.mode = "blind" if view else "empty"
        if view is not None:
            self._show_prompt(view.prompt)
            self.query_one(Answers).show(view.left_text, view.right_text)
        self.query_one(Answers).set_titles("LEFT", "RIGHT")
        self._draw()

    def _show_prompt(self, prompt: tuple[Turn, ...]) -> None:
        self.query_one("#arena-prompt-text", Static).update(_prompt_text(prompt))
        self.query_one("#arena-prompt", VerticalScroll).scroll_home(animate=False)

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        parts = [{"blind": "blind", "revealed": "voted", "live": "blind, watched live"}.get(self.mode, "")]
        parts.append("sides shuffled" if self.mode in {"blind", "live"} else "")
        if self.mode == "blind" and self._names_known:
            parts = ["you know the names, so a vote does not count"]
        waits = f"{self._waiting} wait{'s' * (self._waiting == 1)} for you"
        parts += [waits if self._waiting else "", self.progress]
        parts.append(_ORDERS[self._order] if self._order != "made" else "")
        # one line high whatever it says: a layout of the whole screen would cost four times the key
        self.query_one("#arena-head", Static).update(safe_cell("  ".join(part for part in parts if part)), layout=False)
        if self.mode == "empty":
            self._say_below(Text(self._nothing()))
        elif self.mode == "blind":
            self._say_below(self._vote_line())
        elif self.mode == "live":
            self._say_below(Text("The vote opens when both answers are written."))
        # a class of the pane styles all that is in it again, which costs more than the rest of a vote
        self.set_class(self.mode == "empty", "-empty")
        self.query_one("#arena-foot").set_class(self.mode == "revealed", "-revealed")

    def _say_below(self, text: Text) -> None:
        """The lines under the answers; the screen is laid out again only when there are more or fewer of them."""
        before, self._below = self._below, text
        if text != before:
            is_as_high = text.plain.count("\n") == before.plain.count("\n")
            self.query_one("#arena-foot", Static).update(text, layout=not is_as_high)

    def _nothing(self) -> str:
        if self.making is not None:
            return "No pair to vote on yet: the models are answering …"
        return "No pair waits for a vote.\nn asks two or more models the same prompts.\nv shows the results."

    def _vote_line(self) -> Text:
        text = Text(_VOTE_KEYS)
        told = self.details
        said = [f"strength {told.strength.value} (+ -)" if told.strength else ""]
        said.append(f"r marks: {len(told.rubric)}" if told.rubric else "r marks")
        said.append(f"c comment: {cell(told.comment, 30)}" if told.comment else "c comment")
        return text.append("\n" + "   ".join(part for part in said if part), "dim")

    def watch_mode(self) -> None:
        """The line about the vote follows."""
        self._draw()

    # --- votes -------------------------------------------------------------------------------------------------

    def on_paste(self, event: events.Paste) -> None:
        """What follows a paste may be the rest of it, arriving as single keys: no votes for a moment."""
        event.stop()
        self.guard.pasted()
        self.notice("pasted text is ignored here")

    def action_vote(self, word: str) -> None:
        """One key, one vote, stored at once; after a vote any of these keys goes on to the next pair."""
        if not self._is_meant() or self._busy:
            return
        if self.mode == "revealed":
            self._load()
        elif self.mode == "blind" and self._view is not None:
            self._vote(self._view, Verdict(word))

    def _vote(self, view: BlindView, verdict: Verdict) -> None:
        self._busy = True
        taken_ms = round(1000 * (self._clock() - self._shown_at))
        told = replace(self.details, duration_ms=taken_ms, live=view.comparison_id in self._watched)
        vote = partial(flow.rate, self.bench, view.comparison_id, verdict, details=told)
        self.decide(vote, partial(self._voted, verdict))

    def _is_meant(self) -> bool:
        if self.guard.is_on():
            return False
        if self.guard.is_burst():
            self.notice("that looked like a paste: it is ignored; u takes votes back", "warning")
            return False
        return True

    def _voted(self, verdict: Verdict, reveal: Reveal) -> None:
        self._busy = False
        self._last = reveal.rating.comparison_id
        self._waiting = max(0, self._waiting - 1)
        self.mode = "revealed"
        winner = verdict.value if verdict.is_decided else ""
        self.query_one(Answers).set_titles(reveal.left_model, reveal.right_model, winner=winner)
        keep = "   S keeps it as a pair" if verdict.is_decided else ""
        fix = "   e writes a better one" if verdict.is_decided or verdict is Verdict.BOTH_BAD else ""
        outcome = f": {reveal.outcome}" if verdict.is_decided else ""
        text = Text(f"{_SIGNS[verdict]}{cell(outcome + reveal.remark)}", "bold")
        text.append(f"\nEnter goes on{keep}{fix}   u takes it back", "not bold")
        self._say_below(text)
        self.notice("saved")
        self.tell(ComparisonsChanged())

    def action_go_on(self) -> None:
        """From the names to the next pair."""
        if self.mode == "revealed" and not self._busy:
            self._load()

    def action_undo(self) -> None:
        """Take the last vote back and show its pair again, which needs the place where answers are being written."""
        if self.mode == "live":
            self.notice("wait until both answers are written: then u takes the last vote back")
        elif not (self.guard.is_on() or self._busy):
            self.workbench.call_when_open(self._undo_last)

    def _undo_last(self) -> None:
        self._busy = True
        self.decide(partial(_undo, self.bench), self._undone)

    def _undone(self, found: tuple[TakenBack | None, int]) -> None:
        self._busy = False
        back, waiting = found
        if back is None:
            self.notice("there is no vote to take back")
            return
        self._last = None
        self._show_pair(back.view, waiting, names_known=True)
        self._tell(back.details)
        stays = "the last vote is taken back; its pair is here again, and ␣ goes on"
        if back.kept is not None:
            stays = f"the last vote is taken back; example {back.kept.id} in {flow.DATASET}, made of it, stays"
        self.notice(stays)
        self.tell(ComparisonsChanged())

    def action_promote(self) -> None:
        """The last vote as a preference pair."""
        if self.guard.is_on():
            return
        if self._last is None:
            self.notice("vote first: S keeps the last vote as a preference pair", "warning")
            return
        self.decide(partial(flow.promote, self.bench, self._last), self._promoted)

    def _promoted(self, gesture: Gesture) -> None:
        self.notice(gesture.said)
        self.tell(ExamplesChanged(tuple(example.id for example in gesture.examples)))

    async def action_fix(self) -> None:
        """Write a better answer than the one that lost the last vote, or than two bad ones."""
        if self.guard.is_on():
            return
        if self.mode != "revealed" or self._last is None:
            self.notice("vote first: e writes a better answer than the one that lost", "warning")
            return
        with self.telling():
            await write_better(self, await asyncio.to_thread(fixes.find, self.bench, self._last))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A vote that could not be stored leaves its pair on the screen."""
        if event.state is WorkerState.ERROR:
            self._busy = False
        super().on_worker_state_changed(event)

    # --- beside the verdict ------------------------------------------------------------------------------------

    def _tell(self, details: VoteDetails) -> None:
        self.details = details
        self._draw()

    def action_strength(self, steps: int) -> None:
        """How much better the winner will be."""
        if self.mode == "blind" and self.details.strength is not None:
            self._tell(replace(self.details, strength=self.details.strength.moved(steps)))

    def action_comment(self) -> None:
        """A comment, asked for before the vote."""
        if self.mode != "blind" or self.guard.is_on():
            return

        def said(text: str | None) -> None:
            if text is not None:
                self._tell(replace(self.details, comment=text.strip()))

        self.app.push_screen(TextDialog("A comment to go with the vote", value=self.details.comment), said)

    async def action_marks(self) -> None:
        """Marks by the rubric, asked for before the vote."""
        if self.mode != "blind" or self.guard.is_on():
            return
        try:
            rubric = await asyncio.to_thread(flow.rubric, self.bench)
        except WorkbenchError as error:
            self.workbench.report(error)
            return

        def marked(marks: Marks | None) -> None:
            if marks is not None:
                self._tell(replace(self.details, rubric=marks))

        self.app.push_screen(RubricDialog(rubric, self.details.rubric), marked)

    def action_order(self) -> None:
        """The other order; the pair that is shown stays until it is voted on."""
        self._order = "made" if self._order == "differing" else "differing"
        self.notice(
            "the most different answers come first: by the share of their words that are not in common"
            if self._order == "differing"
            else "pairs come in the order in which they were made"
        )
        self._draw()

    async def action_score(self) -> None:
        """To the results."""
        await self.workbench.go("results")

    # --- a round -----------------------------------------------------------------------------------------------

    def action_new(self) -> None:
        """Choose the models and the prompts."""
        self.offer()

    def round_changed(self) -> None:
        """A round began or ended: a pair that somebody reads stays where it is."""
        if self.watching is not None and self._view is None:
            self.watching.wanted.set()
        elif self.making is None:
            if self.mode == "live":
                self.mode = "empty"
            self._load_if_idle()
        self._draw()

    def round_drawn(self) -> None:
        """In the line at the top."""
        self._draw()

    def on_round_pane_prepared(self, event: RoundPane.Prepared) -> None:
        """One more pair can be voted on: show it if nothing is shown, else only count it."""
        if self.making is not None:
            self.progress = f"made {event.done} of {event.total}"
        if self.mode == "live":
            self.workbench.pump.stop()
            if event.comparison_id is not None:
                self._watched.add(event.comparison_id)
            self._load(event.comparison_id)
        elif self._view is None:
            self._load_if_idle()
        else:
            self.run_flow(partial(flow.waiting, self.bench), self._counted, group="count", exclusive=True)

    def _counted(self, waiting: int) -> None:
        self._waiting = waiting
        self._draw()

    def on_round_pane_watched(self, event: RoundPane.Watched) -> None:
        """A prompt is being answered: show both answers as they come."""
        self.mode = "live"
        self._show_prompt(event.prompt)
        self.query_one(Answers).begin()
        self.query_one(Answers).set_titles("LEFT", "RIGHT")
        self.workbench.pump.start()

    def hear_piece(self, side: str, piece: str) -> None:
        """Some text of an answer that is watched; called in a thread."""
        self.workbench.pump.feed(self.query_one(Answers).side(side), piece)


def _next(bench: Bench, plan: Plan | None, order: str, comparison_id: int | None) -> tuple[BlindView | None, int, bool]:
    """That pair; or the next one of a round between two, or else of any; how many wait; whether its names are known.

    For a thread.
    """
    view = None
    if comparison_id is not None:
        view = flow.view(bench, comparison_id)
    elif plan is not None and len(plan.models) == 2:
        view = flow.next_blind(bench, a=plan.models[0], b=plan.models[1], order=order)
    view = view or flow.next_blind(bench, order=order)
    return view, flow.waiting(bench), view is not None and flow.names_known(bench, view.comparison_id)


def _undo(bench: Bench) -> tuple[TakenBack | None, int]:
    return flow.undo_vote(bench), flow.waiting(bench)


def _prompt_text(prompt: tuple[Turn, ...]) -> Text:
    text = Text()
    for turn in prompt:
        label = {"user": "you", "assistant": "model"}.get(turn.role, cell(turn.role, 20))
        text.append(f"{label}  ", "bold").append(clean(turn.content) + "\n")
    text.rstrip()
    return text
