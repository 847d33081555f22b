"""Prefer: two answers side by side without names; one key is one verdict, one commit, and the next pair.

Owns the view of a pair and what is said beside the verdict (strength, reasons, note). Which pairs wait and what a
verdict means is the flow's business; what may be shown before a verdict comes from it as ``BlindPair``.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import Worker, WorkerState

from workbench.domain.comparisons import Strength, Verdict
from workbench.domain.preferences import REASONS, BlindPair, Judgement, Tally, Waiting
from workbench.flows import curate
from workbench.flows import prefer as flow
from workbench.tui.messages import ChatsChanged, ExamplesChanged, News
from workbench.tui.pane import Pane
from workbench.tui.paste_guard import PasteGuard
from workbench.tui.safety import safe, safe_cell
from workbench.tui.screens.curate_entries import Pace
from workbench.tui.screens.prefer_sides import SIDES, Sides
from workbench.tui.screens.verdict_keys import strength_bindings, verdict_bindings
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, Dialog, TextDialog
from workbench.tui.widgets.drafted import DraftedDialog

FEW_VERDICTS = 20
_NOTHING = """No pair waits for a verdict.
Pairs come from files (Curate, i) with pending preferences,
and from chats where a question has two answers (Chat, Ctrl+R).
D chooses the dataset."""


class ReasonsDialog(Dialog[tuple[str, ...]]):
    """Any number of reasons, switched by their digits."""

    BINDINGS: ClassVar = [
        *(Binding(str(n), f"switch({n})", reason, show=False) for n, reason in enumerate(REASONS, start=1)),
        Binding("enter,r", "accept", "Take", show=False),
    ]

    def __init__(self, chosen: tuple[str, ...]) -> None:
        super().__init__("Why is the better one better?", keys="digits switch · Enter takes · Esc cancels")
        self._chosen = set(chosen)

    def compose_body(self) -> ComposeResult:
        """A line for each reason."""
        yield Static(safe(self._lines()), id="reasons", markup=False)

    def _lines(self) -> str:
        return "\n".join(f" {n}  [{'x' if r in self._chosen else ' '}] {r}" for n, r in enumerate(REASONS, start=1))

    def action_switch(self, number: int) -> None:
        """A digit."""
        self._chosen ^= {REASONS[number - 1]}
        self.query_one("#reasons", Static).update(self._lines())

    def action_accept(self) -> None:
        """Enter, or ``r`` again."""
        self.dismiss(tuple(reason for reason in REASONS if reason in self._chosen))


class PreferPane(Pane):
    """Blind verdicts on pairs, one after another."""

    title = "Prefer"
    letter = "p"
    BINDINGS: ClassVar = [
        *verdict_bindings("judge", skip="Not now; it comes again behind the rest"),
        Binding("backspace,u", "undo", "Undo", id="label.undo", tooltip="Undo, as often as you like"),
        *strength_bindings(show=True),
        Binding("r", "reasons", "Why", id="pref.reasons", tooltip="Reasons for the verdict"),
        Binding("d", "differ", "Diff", id="view.diff", tooltip="Underline the words that differ, and back"),
        Binding("z", "zoom", "Zoom", id="view.zoom", tooltip="One side in the whole width, the other, both"),
        Binding("c", "note", "Note", id="pref.note", tooltip="A note to go with the verdict"),
        Binding("e", "edit", "Edit", id="pref.edit", tooltip="Edit the better answer; saving it is the verdict"),
        Binding("f", "flag", "Flag", id="pref.flag", tooltip="Flag the pair by a name, or with a minus no longer"),
        Binding("s", "sync", "Sync", id="view.sync", tooltip="Scroll both sides together, or each by itself"),
        Binding("D", "choose_dataset", "Dataset", id="prefer.dataset", tooltip="Only the pairs of one dataset, or all"),
        Binding("R", "reload", "Reload", id="list.reload", tooltip="Look again which pairs wait", show=False),
    ]

    strength: reactive[Strength] = reactive(Strength.CLEAR)
    reasons: reactive[tuple[str, ...]] = reactive(())
    note: reactive[str] = reactive("")

    def __init__(self, *, id: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(id=id)
        self._clock = clock
        self.dataset = ""
        self._queue = flow.Queue((), 0)
        self._at = 0
        self._pair: BlindPair | None = None
        self._tally = Tally()
        self._pace = Pace()
        self._judged = 0
        self._last = ""
        self._busy = self._stale = self._is_read = False
        self._differing = False
        self._zoomed = ""
        self._shown_at = 0.0
        self.guard = PasteGuard(clock)

    def compose(self) -> ComposeResult:
        """A line about the queue, the prompt, both answers, two lines about the verdict; or why there is none."""
        yield Static(id="prefer-head", markup=False)
        with Vertical(id="prefer-pair"):
            with VerticalScroll(id="prefer-prompt", can_focus=False):
                yield Static(id="prefer-prompt-text", markup=False)
            yield Sides(id="prefer-sides")
        yield Static(_NOTHING, id="prefer-nothing", markup=False)
        yield Static(id="prefer-verdict", markup=False)
        yield Static(id="prefer-session", markup=False)

    # --- showing -----------------------------------------------------------------------------------------------

    def first_focus(self) -> Widget:
        """The answers, which take the keys."""
        return self.query_one(Sides)

    def when_shown(self) -> None:
        """Read what waits, the first time and when something changed; time away is not time spent on a verdict."""
        self._shown_at = self._clock()
        if self._stale or self._pair is None:
            self.workbench.call_when_open(self.action_reload)

    def heard(self, news: News) -> None:
        """Pairs may have come or gone: the queue is read again when the pane is next shown."""
        if isinstance(news, ExamplesChanged | ChatsChanged) and self.workbench.front is not self:
            self._stale = True

    def on_resize(self) -> None:
        """Lines are cut to the width."""
        self._draw()

    def text_to_copy(self) -> str:
        """Prompt and both answers as they are shown."""
        if (pair := self._pair) is None:
            return ""
        return f"{_prompt_text(pair)}\n\n--- left\n{pair.left_text}\n\n--- right\n{pair.right_text}\n"

    def action_reload(self) -> None:
        """Read the queue again, and stay on the pair that is shown if it still waits."""
        self._read(self._pair.waiting if self._pair else None)

    async def action_choose_dataset(self) -> None:
        """``D``"""
        if self._busy or self.guard.is_on():
            return
        found = await asyncio.to_thread(self.bench.store.datasets.list)
        choices = [Choice("", "all of them", "and rival answers of chats"), *(Choice(d.name, d.name) for d in found)]

        def chosen(name: str | None) -> None:
            if name is not None and name != self.dataset:
                self.dataset, self._judged = name, 0
                self._read(None)

        self.app.push_screen(ChooseDialog("Pairs of which dataset?", choices, current=self.dataset), chosen)

    def _read(self, first: Waiting | None) -> None:
        if self._busy:
            return
        self._busy, self._stale = True, False
        bench, dataset = self.bench, self.dataset

        def read() -> tuple[flow.Queue, Tally, int, BlindPair | None]:
            found = flow.queue(bench, dataset=dataset)
            if first is not None and first in found.pairs:
                found = flow.Queue((first, *(one for one in found.pairs if one != first)), found.total)
            return found, flow.verdicts(bench), *flow.next_shown(bench, found, 0)

        def show(found: tuple[flow.Queue, Tally, int, BlindPair | None]) -> None:
            self._busy, self._is_read = False, True
            self._queue, self._tally = found[:2]
            self._show(*found[2:])

        self.run_flow(read, show, group="queue", failed=self._failed)

    def _failed(self, error: BaseException) -> None:
        self._busy = False
        self.workbench.report(error)

    def _show(self, at: int, pair: BlindPair | None) -> None:
        stays = pair is not None and self._pair is not None and _what(pair) == _what(self._pair)
        self._at, self._pair = at, self._pair if stays else pair
        self._shown_at = self._clock()
        if not stays:
            self.strength, self.reasons, self.note = Strength.CLEAR, (), ""
            self._set_zoom("")
            self._draw_pair(rewind=True)
        self._draw()

    def _draw_pair(self, *, rewind: bool) -> None:
        if (pair := self._pair) is None:
            return
        self.query_one("#prefer-prompt-text", Static).update(safe(_prompt_text(pair)))
        self.query_one(Sides).show(pair.left_text, pair.right_text, differing=self._differing, rewind=rewind)
        if rewind:
            self.query_one("#prefer-prompt", VerticalScroll).scroll_home(animate=False)

    def _draw(self) -> None:
        if not self.is_attached:
            return
        self.set_class(self._pair is None, "-empty")
        width = max(20, self.size.width - 2)
        self.query_one("#prefer-nothing", Static).update(_NOTHING if self._is_read else "")
        self.query_one("#prefer-head", Static).update(safe_cell(self._head(), width))
        self.query_one("#prefer-verdict", Static).update(safe_cell(self._verdict(), width))
        self.query_one("#prefer-session", Static).update(safe_cell(self._session(), width))

    def _head(self) -> str:
        if self._pair is None:
            return f"no pair waits{self._where}" if self._is_read else "opening the workspace…"
        parts = [(f"{self._left:,} pairs wait" if self._left != 1 else "the last pair that waits") + self._where]
        parts.append("blind, sides shuffled")
        parts += ["differing words underlined"] if self._differing else []
        parts += [] if self.query_one(Sides).in_step else ["j k scroll left, J K right"]
        parts += [f"{self._zoomed} only"] if self._zoomed else []
        return "  ".join(parts)

    @property
    def _where(self) -> str:
        return f" in {self.dataset}" if self.dataset else ""

    @property
    def _left(self) -> int:
        return max(0, self._queue.total - self._at)

    def _verdict(self) -> str:
        if self._pair is None:
            return ""
        strengths = " ".join(f"{one.value} ({'●' if one is self.strength else ' '})" for one in Strength)
        return f"strength: {strengths}  reasons: {', '.join(self.reasons) or '-'}  note: {self.note or '-'}"

    def _session(self) -> str:
        total = self._judged + self._left
        share = self._judged / total if total else 0.0
        bar = "█" * round(10 * share) + "░" * (10 - round(10 * share))
        parts = [f"{self._judged:,}/{total:,} {bar} {share:.0%}"] if total else []
        if self._pace.per_minute:
            parts.append(f"{self._pace.per_minute:.1f}/min")
        parts.append(_sides_text(self._tally))
        return "  ".join([part for part in parts if part] + ([f"last: {self._last}"] if self._last else []))

    # --- verdicts ----------------------------------------------------------------------------------------------

    def on_paste(self, event: events.Paste) -> None:
        """What follows a paste may be the rest of it, arriving as single keys: no verdicts for a moment."""
        event.stop()
        self.guard.pasted()
        self.notice("pasted text is ignored here")

    def _is_meant(self) -> bool:
        if self.guard.is_on():
            return False
        if self.guard.is_burst():
            self.notice("that looked like a paste: it is ignored; u takes verdicts back", "warning")
            return False
        return True

    def action_judge(self, word: str) -> None:
        """One key: stored at once, then the next pair."""
        pair = self._pair
        if not self._is_meant() or self._busy or pair is None:
            return
        self._store(pair, Verdict(word))

    def _store(self, pair: BlindPair, verdict: Verdict, *, better: str = "", draft: str = "") -> None:
        self._busy = True
        taken_ms = round(1000 * (self._clock() - self._shown_at))
        unread = self.query_one(Sides).unread
        said = Judgement(verdict, self.strength, self.reasons, self.note, taken_ms, unread)
        bench, queue, at = self.bench, self._queue, self._at

        def commit() -> tuple[Verdict, flow.Judged, int, BlindPair | None]:
            judged = flow.judge(bench, pair, said, better=better)
            if draft:
                bench.store.drafts.delete(draft)
            return said.verdict, judged, *flow.next_shown(bench, queue, at + 1)

        self.decide(commit, self._judged_one)

    def _judged_one(self, result: tuple[Verdict, flow.Judged, int, BlindPair | None]) -> None:
        verdict, judged, at, pair = result
        self._tally = self._tally.plus(verdict)
        self._busy = False
        self._judged += 1
        self._pace.add(self._clock())
        self._last = judged.said
        self._pair = None
        self._show(at, pair)
        self.notice(f"{judged.said}; u undoes")
        self.tell(ExamplesChanged((judged.example_id,)))
        if pair is None and self._left:  # more than one queue holds
            self._read(None)

    def action_undo(self) -> None:
        """Backspace or ``u``: the last gesture, wherever it was made; a verdict's pair is shown again."""
        if not (self.guard.is_on() or self._busy):
            self.workbench.call_when_open(self._undo_last)

    def _undo_last(self) -> None:
        self._busy = True
        bench = self.bench
        self.decide(lambda: flow.undo(bench), self._undone)

    def _undone(self, back: flow.TakenBack | None) -> None:
        self._busy = False
        if back is None:
            self.notice("nothing left to be undone")
            return
        self._pace.take_back()
        self._last = ""
        if back.pair is not None:
            self._judged = max(0, self._judged - 1)
            self._pair = None
            self._read(back.pair)
        self.notice(f"undone: {back.undone.text}")
        self.tell(ExamplesChanged(back.undone.example_ids))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A verdict that could not be stored leaves its pair on the screen."""
        if event.state is WorkerState.ERROR:
            self._busy = False
        super().on_worker_state_changed(event)

    # --- beside the verdict ------------------------------------------------------------------------------------

    def action_strength(self, steps: int) -> None:
        """``+`` and ``-``: how much better the winner is; it goes back to clear with the next pair."""
        if not self.guard.is_on():
            self.strength = self.strength.moved(steps)
            self._draw()

    def action_reasons(self) -> None:
        """``r``"""

        def chosen(reasons: tuple[str, ...] | None) -> None:
            if reasons is not None:
                self.reasons = reasons
                self._draw()

        if self._pair is not None and not self.guard.is_on():
            self.app.push_screen(ReasonsDialog(self.reasons), chosen)

    def action_note(self) -> None:
        """``c``"""

        def noted(text: str | None) -> None:
            if text is not None:
                self.note = text.strip()
                self._draw()

        if self._pair is not None and not self.guard.is_on():
            self.app.push_screen(TextDialog("Note", value=self.note, text="It goes with the verdict."), noted)

    async def action_edit(self) -> None:
        """``e``: the winner, made better still; saving it is the verdict."""
        pair = self._pair
        if pair is None or self._busy or self.guard.is_on():
            return
        if not await asyncio.to_thread(flow.can_be_edited, self.bench, pair):
            self.notice("an answer of several turns is edited in Curate")
            return

        def chosen(side: str | None) -> None:
            if side:
                self._edit_side(pair, side)

        if self._zoomed:
            chosen(self._zoomed)
            return
        choices = [Choice(side, f"the {side} one", "is better; edit it") for side in SIDES]
        self.app.push_screen(ChooseDialog("Which one wins, edited?", choices), chosen)

    def _edit_side(self, pair: BlindPair, side: str) -> None:
        before = pair.left_text if side == "left" else pair.right_text
        drafts, key = self.bench.store.drafts, f"edit:answer:{hashlib.sha256(before.encode()).hexdigest()[:16]}"

        def check(text: str) -> None:
            flow.check_edited(pair, Verdict(side), text)

        def keep(text: str) -> None:
            self.decide(lambda: drafts.save(key, text) if text else drafts.delete(key))

        def edited(text: str | None) -> None:
            if text is not None and self._pair is pair:
                self._store(pair, Verdict(side), better=text, draft=key)

        title = f"the {side} answer: ^s makes it the winner"
        dialog = DraftedDialog(title, value=before, draft=drafts.get(key), check=check, keep=keep)
        self.app.push_screen(dialog, edited)

    def action_flag(self) -> None:
        """``f``"""
        pair = self._pair
        if pair is None or self.guard.is_on():
            return
        if not (example_id := pair.waiting.example_id):
            self.notice("two answers of a chat are no example yet: a verdict makes one, or skips them")
            return

        def said(text: str | None) -> None:
            words = (text or "").split()
            add = [word for word in words if not word.startswith("-")]
            remove = [word[1:] for word in words if word.startswith("-") and len(word) > 1]
            if add or remove:
                flag = partial(curate.flag, self.bench, [example_id], add=add, remove=remove)
                self.decide(flag, lambda done: self.notice(f"{done.said}; u undoes"))

        self.app.push_screen(TextDialog("Flags", text="The pair stays where it is.", placeholder="new -old"), said)

    # --- looking -----------------------------------------------------------------------------------------------

    def action_differ(self) -> None:
        """``d``"""
        self._differing = not self._differing
        self._draw_pair(rewind=False)
        self._draw()

    def action_sync(self) -> None:
        """``s``"""
        sides = self.query_one(Sides)
        sides.in_step = not sides.in_step
        self._draw()

    def action_zoom(self) -> None:
        """``z``: left, right, both."""
        self._set_zoom({"": "left", "left": "right"}.get(self._zoomed, ""))
        self._draw()

    def _set_zoom(self, side: str) -> None:
        self._zoomed = side
        self.query_one(Sides).zoom(side)


def _what(pair: BlindPair) -> tuple[Waiting, object, frozenset[str]]:
    """What a pair is, whichever way its sides were drawn."""
    return pair.waiting, pair.prompt, frozenset((pair.left_text, pair.right_text))


def _prompt_text(pair: BlindPair) -> str:
    if len(pair.prompt) == 1:
        return pair.prompt[0].shown
    return "\n".join(f"{turn.role}: {turn.shown}" for turn in pair.prompt)


def _sides_text(tally: Tally) -> str:
    if not tally.total:
        return ""
    few = " (few)" if tally.decided < FEW_VERDICTS else ""
    sides = f"left won {tally.left / tally.decided:.0%} of {tally.decided:,}{few}" if tally.decided else "none decided"
    return f"{sides}  tie {tally.tie / tally.total:.0%}  both bad {tally.both_bad / tally.total:.0%}"
