"""Arena: two answers side by side without names, a vote by one key, the names after it; the score on a view of its own.

Owns the blind view and its keys. What may be shown before a vote comes from the flow as ``BlindView``, which knows no
model; this pane holds nothing else about the pair until the vote is stored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import Worker, WorkerState

from workbench.domain.comparisons import BlindView, Verdict
from workbench.domain.statistics import e_value
from workbench.flows import compare as flow
from workbench.tui.messages import ComparisonsChanged, ExamplesChanged, News
from workbench.tui.pane import Pane
from workbench.tui.paste_guard import PasteGuard
from workbench.tui.safety import cell, clean, safe, safe_cell
from workbench.tui.screens.arena_form import ArenaForm, Round, load_round

if TYPE_CHECKING:
    from workbench.flows.bench import Bench
    from workbench.flows.chat import Gesture
    from workbench.flows.compare import Result, Reveal

FEW_VOTES = 20
CLOSING_S = 5.0
_SIGNS = {
    Verdict.LEFT: "← left is better",
    Verdict.RIGHT: "→ right is better",
    Verdict.TIE: "= a tie",
    Verdict.BOTH_BAD: "0 both bad",
    Verdict.SKIP: "␣ skipped",
}
_VOTE_KEYS = "← h left   → l right   = t tie   0 both bad   ␣ skip   u undo   ↑↓ scroll"


class Answers(Horizontal, can_focus=True):
    """The two answers. It takes the keys; the arrows up and down scroll both sides together."""

    BINDINGS = [
        Binding("down,j", "scroll_both(2)", "Scroll", show=False, id="view.down", tooltip="Scroll both down"),
        Binding("up,k", "scroll_both(-2)", "Scroll", show=False, id="view.up", tooltip="Scroll both up"),
        Binding("pagedown", "scroll_both(12)", "Page", show=False, id="view.page_down", tooltip="Both a page down"),
        Binding("pageup", "scroll_both(-12)", "Page", show=False, id="view.page_up", tooltip="Both a page up"),
    ]

    def compose(self) -> ComposeResult:
        """Left and right, each with its own scrolling."""
        for side in ("left", "right"):
            with VerticalScroll(id=f"arena-{side}", classes="arena--side", can_focus=False):
                yield Static(id=f"arena-{side}-text", classes="arena--text", markup=False)

    def action_scroll_both(self, lines: int) -> None:
        """Move both sides by some lines."""
        for side in self.query(VerticalScroll):
            side.scroll_relative(y=lines, animate=False)

    def show(self, left: str, right: str) -> None:
        """Two new texts, from their beginning."""
        for side, text in (("left", left), ("right", right)):
            self.query_one(f"#arena-{side}-text", Static).update(safe(text))
            self.query_one(f"#arena-{side}", VerticalScroll).scroll_home(animate=False)


class ArenaPane(Pane):
    """Blind votes, and apart from them the score."""

    title = "Arena"
    letter = "a"
    BINDINGS = [
        Binding("left,h", "vote('left')", "Left", key_display="←", id="pref.left", tooltip="The left one is better"),
        Binding(
            "right,l", "vote('right')", "Right", key_display="→", id="pref.right", tooltip="The right one is better"
        ),
        Binding("equals_sign,t", "vote('tie')", "Tie", id="pref.tie", tooltip="They are equally good"),
        Binding("0", "vote('both-bad')", "Bad", id="pref.both_bad", tooltip="Both are bad"),
        Binding("space", "vote('skip')", "Skip", id="pref.skip", tooltip="Not this one; it is not counted"),
        Binding("u,backspace", "undo", "Undo", id="label.undo", tooltip="Take the last vote back"),
        Binding("S", "promote", "Pair", id="arena.save", tooltip="Keep the last vote as a preference pair"),
        Binding("n", "new", "New", id="arena.new", tooltip="Ask two models the same prompts"),
        Binding("v", "score", "Score", id="arena.score", tooltip="The score, and back"),
        Binding("enter", "go_on", "Go on", show=False, id="arena.go_on", tooltip="To the next pair"),
        Binding("escape", "back", "Back", show=False, id="arena.back", tooltip="Back from the score"),
    ]

    mode: reactive[str] = reactive("empty", bindings=True)
    """``empty``, ``blind`` (a vote is awaited), ``revealed``, or ``score``."""

    class Prepared(Message):
        """A pair of answers was stored, or a prompt was done without one."""

        def __init__(self, done: int, total: int) -> None:
            super().__init__()
            self.done, self.total = done, total

    def __init__(self, *, id: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(id=id)
        self._clock = clock
        self._round: Round | None = None
        self._view: BlindView | None = None
        self._last: int | None = None
        self._shown_at = 0.0
        self.guard = PasteGuard(clock)
        self._busy = False
        self._progress = ""
        self._idle = threading.Event()
        self._making: threading.Event | None = None
        self._waiting = 0
        self._before_score = "empty"

    def compose(self) -> ComposeResult:
        """A line about the round, the prompt, both answers, a line about the vote; or the score."""
        yield Static(id="arena-head", markup=False)
        with Vertical(id="arena-blind"):
            with VerticalScroll(id="arena-prompt", can_focus=False):
                yield Static(id="arena-prompt-text", markup=False)
            yield Answers(id="arena-answers")
            yield Static(id="arena-foot", markup=False)
        with VerticalScroll(id="arena-score", can_focus=False):
            yield Static(id="arena-score-text", markup=False)

    def on_mount(self) -> None:
        """Nothing is shown before the bench is open."""
        self._draw()

    def first_focus(self) -> Widget:
        """The answers, which take the keys."""
        return self.query_one(Answers)

    def when_shown(self) -> None:
        """Show what waits, if nothing is shown yet."""
        self.workbench.call_when_open(self._load_if_idle)

    def when_hidden(self) -> None:
        """The corner belongs to the pane in front; time away is not time spent on a vote."""
        self.workbench.set_corner("")
        self._shown_at = self._clock()

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

    def can_stop(self) -> bool:
        """While answers are being made."""
        return self._making is not None

    def stop(self) -> None:
        """Ask for no more answers; what is there stays."""
        if self._making is not None:
            self._making.set()
            self.notice("no more answers are asked for; the pairs that are ready stay")

    def closing(self) -> Sequence[Callable[[], object]]:
        """Stop asking; the last pair may still reach the store."""
        if self._making is None:
            return ()
        self._making.set()
        return (partial(self._idle.wait, CLOSING_S),)

    # --- pairs -------------------------------------------------------------------------------------------------

    def _load_if_idle(self) -> None:
        if self._view is None and not self._busy:
            self._load()

    def _load(self) -> None:
        self._busy = True
        self.run_flow(partial(_next, self.bench, self._round), self._loaded, group="load", failed=self._not_loaded)

    def _loaded(self, found: tuple[BlindView | None, int]) -> None:
        self._busy = False
        self._show_pair(*found)

    def _not_loaded(self, error: BaseException) -> None:
        self._busy = False
        self.workbench.report(error)

    def _show_pair(self, view: BlindView | None, waiting: int) -> None:
        self._view, self._waiting = view, waiting
        self._shown_at = self._clock()
        if self.mode != "score":
            self.mode = "blind" if view else "empty"
        self._before_score = "blind" if view else "empty"
        if view is not None:
            self.query_one("#arena-prompt-text", Static).update(_prompt_text(view))
            self.query_one("#arena-prompt", VerticalScroll).scroll_home(animate=False)
            self.query_one(Answers).show(view.left_text, view.right_text)
        self._title_sides("LEFT", "RIGHT")
        self._draw()

    def _title_sides(self, left: str, right: str, *, winner: str = "") -> None:
        for side, title in (("left", left), ("right", right)):
            box = self.query_one(f"#arena-{side}", VerticalScroll)
            box.border_title = safe_cell(f"{'✓ ' if winner == side else ''}{title}", 60)
            box.set_class(winner == side, "-winner")

    def _draw(self) -> None:
        parts = [{"blind": "blind", "revealed": "voted", "score": "score"}.get(self.mode, "")]
        parts.append("two models, sides shuffled" if self.mode == "blind" else "")
        parts += [f"{self._waiting} wait for you" if self._waiting else "", self._progress]
        self.query_one("#arena-head", Static).update(safe_cell("  ".join(part for part in parts if part)))
        if self.mode == "empty":
            self.query_one("#arena-foot", Static).update(self._nothing())
        elif self.mode == "blind":
            self.query_one("#arena-foot", Static).update(Text(_VOTE_KEYS, no_wrap=True, overflow="ellipsis"))
        for name in ("empty", "blind", "revealed", "score"):
            self.set_class(self.mode == name, f"-{name}")

    def _nothing(self) -> str:
        if self._making is not None:
            return "The first pair is being made …"
        return "No pair waits for a vote.\nn asks two models the same prompts.\nv shows the score."

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The score view takes no votes, so it does not offer them."""
        return not (self.mode == "score" and action in {"vote", "undo", "promote"})

    def watch_mode(self) -> None:
        """Blind view and score never stand together; the keys go to the one that is shown."""
        if not self.is_mounted:
            return
        self._draw()
        score = self.query_one("#arena-score", VerticalScroll)
        had_focus = self.screen.focused in {None, score, self.query_one(Answers)}
        score.can_focus = self.mode == "score"
        if had_focus and self.workbench.front is self:
            (score if score.can_focus else self.query_one(Answers)).focus()

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
            self._busy = True
            verdict = Verdict(word)
            taken_ms = round(1000 * (self._clock() - self._shown_at))
            vote = partial(flow.rate, self.bench, self._view.comparison_id, verdict, duration_ms=taken_ms)
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
        self._title_sides(reveal.left_model, reveal.right_model, winner=winner)
        keep = "   S keeps it as a pair" if verdict.is_decided else ""
        text = Text(f"{_SIGNS[verdict]}: {cell(reveal.said)}", "bold", no_wrap=True, overflow="ellipsis")
        text.append(f"\nEnter or any vote key goes on{keep}   u takes it back", "not bold")
        self.query_one("#arena-foot", Static).update(text)
        self.tell(ComparisonsChanged())

    def action_go_on(self) -> None:
        """From the names to the next pair."""
        if self.mode == "revealed" and not self._busy:
            self._load()

    def action_undo(self) -> None:
        """Take the last vote back and show its pair again."""
        if not (self.guard.is_on() or self._busy or self.mode == "score"):
            self.workbench.call_when_open(self._undo_last)

    def _undo_last(self) -> None:
        self._busy = True
        self.decide(partial(_undo, self.bench), self._undone)

    def _undone(self, found: tuple[BlindView | None, int]) -> None:
        self._busy = False
        if found[0] is None:
            self.notice("there is no vote to take back")
            return
        self._last = None
        self._show_pair(*found)
        self.notice("the last vote is taken back; vote again")
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

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A vote that could not be stored leaves its pair on the screen."""
        if event.state is WorkerState.ERROR:
            self._busy = False
        super().on_worker_state_changed(event)

    # --- a round -----------------------------------------------------------------------------------------------

    def action_new(self) -> None:
        """Choose two models and the prompts."""
        self.offer()

    def offer(self, a: str = "", b: str = "") -> None:
        """Open the form with these two models; empty means the base and its newest adapter."""
        if self._making is not None:
            self.notice("answers are being made already; Ctrl+C stops that", "warning")
            return
        self.workbench.call_when_open(partial(self._open_form, a, b))

    def _open_form(self, a: str, b: str) -> None:
        def opened(form: ArenaForm) -> None:
            self.app.push_screen(form, self._start)

        self.run_flow(partial(load_round, self.bench, a, b), opened, group="form")

    def _start(self, chosen: Round | None) -> None:
        if chosen is None:
            return
        self._round, self._making, self._view = chosen, threading.Event(), None
        self._idle.clear()
        self._progress = "making the first pair"
        self.mode = "empty"
        self._draw()
        work = partial(self._make, chosen, self._making)
        self.run_flow(work, self._made, group="prepare", failed=self._not_made)

    def _make(self, chosen: Round, cancelled: threading.Event) -> int:
        """Ask both models every prompt, ahead of the rater; runs in a thread."""
        try:
            prompts = chosen.prompts_of(self.bench)
            pairs = flow.prepare(
                self.bench,
                chosen.a,
                chosen.b,
                prompts,
                sampling=chosen.sampling,
                seed=chosen.seed,
                on_progress=self._hear,
                cancelled=cancelled,
            )
            return sum(1 for _ in pairs)
        finally:
            self._idle.set()

    def _hear(self, done: int, total: int) -> None:
        self.post_message(self.Prepared(done, total))

    def on_arena_pane_prepared(self, event: Prepared) -> None:
        """One more pair can be voted on: show it if nothing is shown, else only count it."""
        if self._making is not None:
            self._progress = f"made {event.done} of {event.total}"
        if self._view is None:
            self._load_if_idle()
        else:
            self.run_flow(partial(flow.waiting, self.bench), self._counted, group="count", exclusive=True)

    def _counted(self, waiting: int) -> None:
        self._waiting = waiting
        self._draw()

    def _made(self, made: int) -> None:
        self._making, self._progress = None, ""
        self.notice(f"{made} pair{'' if made == 1 else 's'} of answers {'is' if made == 1 else 'are'} ready")
        self.tell(ComparisonsChanged())
        self._load_if_idle()
        self._draw()

    def _not_made(self, error: BaseException) -> None:
        self._making, self._progress = None, ""
        self.workbench.report(error)
        self._load_if_idle()
        self._draw()

    # --- the score ---------------------------------------------------------------------------------------------

    def action_score(self) -> None:
        """The score instead of the pair, and back."""
        if self.mode == "score":
            self.mode = self._before_score
            return
        self._before_score = self.mode
        self.mode = "score"
        self.workbench.call_when_open(self._read_score)

    def _read_score(self) -> None:
        self.run_flow(partial(flow.results, self.bench), self._show_score, group="score")

    def action_back(self) -> None:
        """Escape."""
        if self.mode == "score":
            self.mode = self._before_score

    def _show_score(self, results: list[Result]) -> None:
        width = max(40, self.query_one("#arena-score").size.width - 4)
        ascii_only = self.workbench.settings.appearance.unicode == "ascii"
        self.query_one("#arena-score-text", Static).update(score_text(results, width, ascii_only=ascii_only))


def _next(bench: Bench, chosen: Round | None) -> tuple[BlindView | None, int]:
    """The next pair of the round, or else of any; and how many wait. For a thread."""
    view = flow.next_blind(bench, a=chosen.a, b=chosen.b) if chosen is not None else None
    return view or flow.next_blind(bench), flow.waiting(bench)


def _undo(bench: Bench) -> tuple[BlindView | None, int]:
    return flow.undo_vote(bench), flow.waiting(bench)


def _prompt_text(view: BlindView) -> Text:
    text = Text()
    for turn in view.prompt:
        label = {"user": "you", "assistant": "model"}.get(turn.role, cell(turn.role, 20))
        text.append(f"{label}  ", "bold").append(clean(turn.content) + "\n")
    text.rstrip()
    return text


def score_text(results: Sequence[Result], width: int, *, ascii_only: bool = False) -> Text:
    """The standing of each pair of models: votes, share with Wilson's interval, and whether it is decided."""
    if not results:
        return Text("No vote counts yet. n asks two models the same prompts; every vote is kept.")
    text = Text()
    for result in results:
        score, rate = result.score, result.win_rate
        text.append(f"{cell(score.a)} against {cell(score.b)}\n", "bold")
        ties = f"ties {score.ties}   both bad {score.both_bad}"
        text.append(f"  {score.a_wins} to {score.b_wins} in {score.decided} decided votes   {ties}\n")
        if rate.value is not None:
            share, low, high = (round(100 * v) for v in (rate.value, rate.low, rate.high))
            few = "   few votes: a rough figure" if score.decided < FEW_VOTES else ""
            text.append(f"  {cell(score.a)} wins {share} %   95 % interval {low} to {high} %{few}\n")
            text.append(f"  {interval_bar(rate.low, rate.value, rate.high, min(60, width - 4), ascii_only)}\n")
        text.append(f"  {verdict_line(result)}\n\n", "bold" if result.verdict != "undecided" else "")
    text.append("The interval is Wilson's. The verdict holds however often you look: e of 20 decides.")
    return text


def verdict_line(result: Result) -> str:
    """Whether it is decided, and if not, about how many votes are missing."""
    score = result.score
    evidence = f"e {e_value(score.a_wins, score.b_wins):.3g} of 20"
    if result.verdict != "undecided":
        better = cell(score.a if result.verdict == "a" else score.b)
        return f"DECIDED: {better} is better ({evidence})"
    more = f"about {result.more_votes:,} more decided votes if the share holds" if result.more_votes else "keep voting"
    return f"NOT DECIDED ({evidence}): {more}"


def interval_bar(low: float, value: float, high: float, width: int, ascii_only: bool) -> str:
    """0 to 100 % as a line with the interval, the share and the middle on it."""
    line, edge, dot, middle, between = ("-", "|", "o", "+", "=") if ascii_only else ("─", "┤", "●", "┼", "━")
    cells = [line] * width
    cells[(width - 1) // 2] = middle
    at_low, at, at_high = (round(share * (width - 1)) for share in (low, value, high))
    cells[at_low : at_high + 1] = [between] * (at_high - at_low + 1)
    cells[at_low], cells[at_high], cells[at] = ("|" if ascii_only else "├"), edge, dot
    return f"0 {''.join(cells)} 100 %"
