"""A round in the Arena: answers are made in the background, ahead of the person who votes.

Owns the thread that asks, what is told about it, and that a round which a killed terminal left behind goes on. What is
done with a pair that is ready is for the pane.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from textual.message import Message

from workbench.domain.chats import Turn
from workbench.flows import rounds as flow
from workbench.tui.messages import ComparisonsChanged
from workbench.tui.pane import Pane
from workbench.tui.screens.arena_form import ArenaForm, Plan, load_round

if TYPE_CHECKING:
    from workbench.domain.rounds import Round

Begin = Callable[..., "Round"]
"""Writes a round down, or finds it; called with ``cancelled``."""

CLOSING_S = 5.0
_LOOK_S = 0.05


class Watching(flow.Watcher):
    """Hands a prompt and the answers to it to the pane while they are written, one prompt at a time.

    ``wanted`` is set by the pane when it has room for the next one.
    """

    def __init__(self, pane: RoundPane, cancelled: threading.Event) -> None:
        self._pane, self._cancelled = pane, cancelled
        self.wanted = threading.Event()

    def begin(self, prompt: tuple[Turn, ...]) -> None:
        """Wait for the rater, then show the prompt."""
        while not self.wanted.wait(_LOOK_S):
            if self._cancelled.is_set():
                return
        self.wanted.clear()
        self._pane.post_message(RoundPane.Watched(prompt))

    def hear(self, side: str, piece: str) -> None:
        """Some text of one side."""
        self._pane.hear_piece(side, piece)


class RoundPane(Pane):
    """A pane that can have answers made."""

    class Prepared(Message):
        """A prompt is done: its pair can be voted on, or None when a side failed or both answers are the same."""

        def __init__(self, done: int, total: int, comparison_id: int | None) -> None:
            super().__init__()
            self.done, self.total, self.comparison_id = done, total, comparison_id

    class Drafted(Message):
        """One more draft is there, by which prompts are chosen."""

        def __init__(self, done: int, total: int) -> None:
            super().__init__()
            self.done, self.total = done, total

    class Watched(Message):
        """A prompt is being answered before the rater's eyes."""

        def __init__(self, prompt: tuple[Turn, ...]) -> None:
            super().__init__()
            self.prompt = prompt

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.plan: Plan | None = None
        self.progress = ""
        self.watching: Watching | None = None
        self.making: threading.Event | None = None
        self._round: Round | None = None
        self._idle = threading.Event()
        self._is_closing = False

    def round_changed(self) -> None:
        """A round began, went on or ended: draw it."""

    def hear_piece(self, side: str, piece: str) -> None:
        """Some text of an answer that is watched; called in a thread."""

    def can_stop(self) -> bool:
        """While answers are being made."""
        return self.making is not None

    def stop(self) -> None:
        """Ask for no more answers; what is there stays."""
        if self.making is not None:
            self.making.set()
            if self._round is not None:
                self.run_flow(partial(flow.stop, self.bench, self._round.id), group="stop")
            self.notice("no more answers are asked for; the pairs that are ready stay")

    def closing(self) -> Sequence[Callable[[], object]]:
        """Stop asking; the last pair may still reach the store. The round goes on when the Arena is next opened."""
        if self.making is None:
            return ()
        self._is_closing = True
        self.making.set()
        return (partial(self._idle.wait, CLOSING_S),)

    def offer(self, *models: str) -> None:
        """Open the form with these models; none means those of the last round, else the base and newest adapter."""
        if self.making is not None:
            self.notice("answers are being made already; Ctrl+C stops that", "warning")
            return
        self.workbench.call_when_open(partial(self._open_form, [model for model in models if model]))

    def _open_form(self, models: list[str]) -> None:
        def opened(form: ArenaForm) -> None:
            self.app.push_screen(form, self._begin)

        self.run_flow(partial(load_round, self.bench, models, self.plan), opened, group="form")

    def _begin(self, plan: Plan | None) -> None:
        if plan is not None:
            self.plan = plan
            self._go(partial(plan.begin, self.bench, on_draft=self._drafted), live=plan.live, said="the first pair")

    def go_on(self) -> None:
        """Go on with a round whose terminal was killed, if there is one."""
        if self.making is None:
            self.run_flow(partial(flow.left_behind, self.bench), self._go_on_with, group="left")

    def action_ask_rest(self) -> None:
        """Go on with a round that was given up, for its models did not answer then."""
        if self.making is None:
            self.run_flow(partial(flow.left_behind, self.bench, given_up=True), self._ask_rest_of, group="left")

    def _ask_rest_of(self, found: Round | None) -> None:
        if found is None:
            self.notice("no round was left open; n begins one")
        self._go_on_with(found)

    def _go_on_with(self, found: Round | None) -> None:
        if found is not None and self.making is None:
            self.notice(f"going on with the answers that were left behind: {found.done} of {found.total} are there")
            self._go(lambda **_: found, live=False, said=f"made {found.done} of {found.total}")

    def _drafted(self, done: int, total: int) -> None:
        self.post_message(self.Drafted(done, total))

    def on_round_pane_drafted(self, event: Drafted) -> None:
        """How far the choice of prompts is."""
        if self.making is not None:
            self.progress = f"choosing: {event.done} of {event.total} drafts"
            self.round_drawn()

    def round_drawn(self) -> None:
        """The progress changed: say it."""

    def _go(self, begin: Begin, *, live: bool, said: str) -> None:
        self.making = threading.Event()
        self.watching = Watching(self, self.making) if live else None
        self._idle.clear()
        self.progress = said
        work = partial(self._make, begin, self.making, self.watching)
        self.run_flow(work, self._made, group="prepare", failed=self._not_made)
        self.round_changed()

    def _make(self, begin: Begin, cancelled: threading.Event, watching: Watching | None) -> tuple[int, int]:
        """Ask the models every prompt, ahead of the rater: how many pairs, and how many of them need no vote.

        Runs in a thread.
        """
        made, equal, fresh = 0, 0, list[int]()

        def hear(done: int, total: int) -> None:
            self.post_message(self.Prepared(done, total, fresh.pop() if fresh else None))

        try:
            self._round = begin(cancelled=cancelled)
            if cancelled.is_set() and not self._is_closing:
                flow.stop(self.bench, self._round.id)
            for comparison in flow.run(
                self.bench, self._round, on_progress=hear, cancelled=cancelled, watcher=watching
            ):
                made += 1
                equal += comparison.identical
                fresh[:] = [] if comparison.identical else [comparison.id]
            return made, equal
        finally:
            self._idle.set()

    def _made(self, counts: tuple[int, int]) -> None:
        self._end()
        made, equal = counts
        ready = f"{made} pair{'' if made == 1 else 's'} of answers {'is' if made == 1 else 'are'} ready"
        if made and equal == made:
            self.notice(f"the models said the same to {_all(made)}: ties, and nothing to vote on", severity="warning")
        else:
            self.notice(ready + (f"; {equal} with equal answers: ties without a vote" if equal else ""))
        self.tell(ComparisonsChanged())
        self.round_changed()

    def _not_made(self, error: BaseException) -> None:
        self._end()
        if isinstance(error, flow.GivenUpError):
            self.progress = "R asks the rest"  # the message with its hint is often longer than its line
        self.workbench.report(error)
        self.round_changed()

    def _end(self) -> None:
        self.making, self.watching, self._round, self.progress = None, None, None, ""


def _all(prompts: int) -> str:
    return "the prompt" if prompts == 1 else f"all {prompts} prompts"
