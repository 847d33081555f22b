"""Curate: read examples one after another and decide by single keys. One key, one decision, one commit, next row.

Owns which rows are shown, where the cursor is and how fast the work goes. What a decision means is the flow's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Paste
from textual.widget import Widget
from textual.widgets import Input, Static

from workbench.domain.checks import Finding
from workbench.domain.decisions import Action, Newest, Undone
from workbench.domain.examples import Example, ExampleRow, judged
from workbench.domain.queries import View
from workbench.errors import DataError, WorkbenchError
from workbench.flows import check, run_scores, unseen
from workbench.flows import curate as flow
from workbench.tui.messages import ExamplesChanged, News
from workbench.tui.pane import Pane
from workbench.tui.paste_guard import PasteGuard
from workbench.tui.safety import cell
from workbench.tui.screens.curate_asks import CurateAsks
from workbench.tui.screens.curate_checks import CheckProgress, CurateChecks
from workbench.tui.screens.curate_edit import CurateEdit
from workbench.tui.screens.curate_entries import Pace, Seen, columns, detail, headline, session_line
from workbench.tui.screens.curate_files import CurateFiles
from workbench.tui.screens.curate_keys import KEYS, SINGLE_KEYS
from workbench.tui.screens.curate_list import CurateList
from workbench.tui.screens.curate_looks import CurateLooks
from workbench.tui.screens.dataset import DatasetDialog
from workbench.tui.widgets.dialogs import ConfirmDialog
from workbench.tui.widgets.rows import RowTable
from workbench.tui.widgets.transcript import Transcript

SEARCH_DELAY_S = 0.08
_DECISIONS = frozenset({Action.ACCEPT, Action.REJECT, Action.SKIP, Action.THUMB})


class CuratePane(Pane):
    """Rows at the left or above, the example under the cursor beside or below."""

    title = "Curate"
    letter = "u"
    BINDINGS: ClassVar = [*KEYS]

    def __init__(self, *, id: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(id=id)
        self.dataset: str | None = None
        self.filter = ""
        self.order = "id"
        self.pace = Pace()
        self.example: Example | None = None
        self.findings: Sequence[Finding] = ()
        self._clock = clock
        self.guard = PasteGuard(clock)
        self._last = ""
        self._scores: dict[int, float] = {}
        self._stale = False
        self._asks, self._edit, self._looks = CurateAsks(self), CurateEdit(self), CurateLooks(self)
        self._checks, self.list = CurateChecks(self), CurateList(self)
        self._files = CurateFiles(self, self.show_dataset)

    def compose(self) -> ComposeResult:
        """Headline, filter, rows and detail, session."""
        yield Static("opening the workspace…", id="curate-headline", markup=False)
        hint = "status:pending split:none tag:x kind:preference words (Enter applies, Esc leaves)"
        yield Input(placeholder=hint, id="curate-filter", select_on_focus=False)
        with Container(id="curate-body"):
            yield RowTable(columns(wide=False), self._page, empty="no examples: i imports a file", id="curate-rows")
            yield Transcript(follow=False, id="curate-detail", empty="Nothing is chosen.")
        yield Static(id="curate-session", markup=False)

    def on_mount(self) -> None:
        """Paint first; go on where one was when the store is open."""
        self.workbench.call_when_open(self.list.resume)

    # --- parts -------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> RowTable[ExampleRow]:
        """The list."""
        return self.query_one("#curate-rows", RowTable)

    @property
    def detail(self) -> Transcript:
        """The example under the cursor."""
        return self.query_one("#curate-detail", Transcript)

    @property
    def search(self) -> Input:
        """The filter line."""
        return self.query_one("#curate-filter", Input)

    def first_focus(self) -> Widget:
        """Deciding comes first."""
        return self.rows

    def text_to_copy(self) -> str:
        """The answer under the cursor."""
        return self.example.answer_text if self.example else ""

    def closing(self) -> Sequence[Callable[[], object]]:
        """Wait for an import until it has cleared up behind itself; keep the place and what is in an editor."""
        self._looks.stop()
        self._checks.stop()
        return (*self._files.closing(), *self._edit.closing(), *self.list.closing())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Single letters are for the rows and the detail, not for the filter line."""
        if action in SINGLE_KEYS and self.is_attached:
            return not self.search.has_focus
        return True

    def on_resize(self) -> None:
        """More columns where there is room."""
        self.fit_columns()
        self.show_lines()

    def fit_columns(self) -> None:
        """The columns for this width and this order; a score that rows are ordered by is shown beside them."""
        score = run_scores.ordered_by(self.order)
        self.rows.set_columns(columns(wide=self.size.width >= 120, score=score, scores=self._scores))

    # --- rows --------------------------------------------------------------------------------------------------

    def _page(self, ids: Sequence[int]) -> Sequence[ExampleRow | None]:
        if run_scores.ordered_by(self.order):
            self._scores |= run_scores.values(self.bench, ids, order=self.order)
        return flow.page(self.bench, ids)

    def forget_scores(self) -> None:
        """Read the scores again with the rows: another order, or another run."""
        self._scores.clear()
        self.fit_columns()

    def action_reload(self, keep: int | None = None) -> None:
        """Read which rows the filter finds; the order stays from here on until the next reload."""
        self._stale = False
        self.rows.empty = "nothing matches: Esc drops the filter" if self.filter else "no examples: i imports a file"
        self.list.read(keep if keep is not None else self.rows.current_id)

    def show_lines(self) -> None:
        """The headline and the line about the session, as things are now."""
        if not self.is_attached:
            return
        width, rows = max(20, self.size.width - 2), self.rows
        head = headline(
            self.dataset,
            self.filter,
            self.order,
            rows=len(rows.ids),
            row=rows.cursor + 1,
            marked=rows.marked_count,
            reading="sorting…" if self.list.is_sorting else "reading…" if self.list.is_reading else "",
        )
        self.query_one("#curate-headline", Static).update(cell(head, width))
        line = session_line(self.list.counts, self.pace, self._last)
        self.query_one("#curate-session", Static).update(cell(line, width))

    @on(RowTable.Highlighted, "#curate-rows")
    def _highlighted(self, event: RowTable.Highlighted) -> None:
        self.show_lines()
        self._show_detail(event.row_id)
        self.list.remember_soon()

    @on(RowTable.Chosen, "#curate-rows")
    def _chosen(self) -> None:
        self.detail.focus()

    def _show_detail(self, row_id: int | None) -> None:
        if row_id is None:
            self.example = None
            self.detail.set_entries([])
            return
        bench = self.bench

        def read() -> Seen:
            return Seen(
                unseen.veiled(bench, flow.get(bench, row_id)),
                flow.history(bench, row_id),
                check.of(bench, row_id),
                run_scores.of_example(bench, row_id),
            )

        def show(seen: Seen) -> None:
            if self.rows.current_id == row_id:
                self.example, self.findings = seen.example, seen.findings
                self.detail.set_entries(detail(seen))

        self.run_flow(read, show, group="detail", exclusive=True)

    def heard(self, news: News) -> None:
        """Examples made elsewhere: read them when the pane is next shown."""
        if isinstance(news, ExamplesChanged) and self.workbench.front is not self:
            self._stale = True

    def when_shown(self) -> None:
        """Catch up."""
        if self._stale:
            self.action_reload()

    # --- decisions ---------------------------------------------------------------------------------------------

    def on_paste(self, event: Paste) -> None:
        """What follows a paste may be the rest of it, arriving as single keys: no decisions for a moment."""
        event.stop()
        self.guard.pasted()
        self.notice("pasted text is ignored here; / opens the filter")

    def is_guarded(self) -> bool:
        """Whether single keys are the rest of a paste at this moment, and not meant."""
        return self.guard.is_on()

    def _decide(self, question: str, act: Callable[[Sequence[int]], flow.Done], *, go_on: bool = True) -> None:
        """One gesture on the marked rows or the current one: moves on at once, commits in the order of the keys.

        Many rows are asked about first, by ``question``, in which ``{}`` stands for them.
        """
        if self.is_guarded():
            return
        targets = self._targets()
        if targets is None:
            return
        if len(targets) > flow.ASK_ABOVE:
            self._ask_first(question.format(f"{len(targets):,} marked rows"), targets, act)
            return
        if go_on and len(targets) == 1 and not self.rows.marked_count:
            self.rows.action_move(1)
        self.rows.clear_marks()
        bench, place = self.bench, self.list.place

        def commit() -> flow.Done:
            return flow.with_place(bench, lambda: act(targets), place) if len(targets) == 1 else act(targets)

        def done(made: flow.Done) -> None:
            if go_on:
                self.pace.add(self._clock(), len(targets))
            self._last = made.said
            self._changed(targets, f"{made.said}; u undoes")

        self.decide(commit, done)

    def _ask_first(self, question: str, targets: Sequence[int], act: Callable[[Sequence[int]], flow.Done]) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self.decide_on(targets, act)

        self.app.push_screen(ConfirmDialog(question, text="It is one gesture: one undo takes it back."), answered)

    def _targets(self) -> Sequence[int] | None:
        targets = self.rows.targets()
        if self.rows.is_partial and self.rows.marked_count:
            self.notice("the rows are still being read: a moment, please")
            return None
        if not targets:
            self.notice("there is no row to decide on")
        return targets or None

    def _changed(self, ids: Sequence[int], said: str) -> None:
        self.rows.changed(ids)
        self.list.count_soon()
        self.show_lines()
        self.notice(said)
        if self.rows.current_id in ids:
            self._show_detail(self.rows.current_id)
        self.tell(ExamplesChanged(tuple(ids) if len(ids) <= flow.ASK_ABOVE else ()))

    def action_accept(self) -> None:
        """``a``"""
        self._decide("Accept {}?", lambda ids: flow.accept(self.bench, ids))

    def action_reject(self) -> None:
        """``x``"""
        self._decide("Reject {}?", lambda ids: flow.reject(self.bench, ids))

    def action_skip(self) -> None:
        """Space"""
        self._decide("Skip {}?", lambda ids: flow.skip(self.bench, ids))

    def action_rate(self, rating: int) -> None:
        """``1`` to ``5``; stays on the row, because a rating is often followed by a decision."""
        self._decide(f"Give {{}} the rating {rating}?", lambda ids: flow.rate(self.bench, ids, rating), go_on=False)

    def action_swap(self) -> None:
        """``w``"""
        self._decide("Exchange chosen and rejected in {}?", lambda ids: flow.swap(self.bench, ids), go_on=False)

    def action_thumb(self, up: bool) -> None:
        """``+`` and ``-``: the verdict on an answer that has no rival."""
        if self.example is not None and self.rows.targets() == (self.example.id,):
            try:
                judged(self.example.content, up)
            except DataError as error:  # told before the cursor has gone on
                self.workbench.report(error)
                return
        self._decide("Judge {} good?" if up else "Judge {} bad?", lambda ids: flow.thumb(self.bench, ids, up=up))

    def action_mark(self) -> None:
        """``m``"""
        self.rows.toggle_mark()
        self.show_lines()

    def action_mark_range(self) -> None:
        """``r``"""
        self.rows.mark_to_here()
        self.show_lines()

    def action_mark_all(self) -> None:
        """``M``"""
        self.rows.mark_all()
        self.show_lines()

    def action_undo(self) -> None:
        """Backspace or ``u``: the last gesture, wherever it was made."""
        self._undo(flow.undo_if_small, "undone")

    def action_redo(self) -> None:
        """``U``"""
        self._undo(flow.redo, "done again")

    def _ask_to_undo(self, newest: Newest) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._undo(flow.undo, "undone")

        self.app.push_screen(ConfirmDialog(f"Undo {newest.text}?"), answered)

    def _undo(self, act: Callable[..., Undone | Newest | None], word: str) -> None:
        if self.is_guarded():
            return
        bench = self.bench

        def done(undone: Undone | Newest | None) -> None:
            if isinstance(undone, Newest):
                self._ask_to_undo(undone)
                return
            if undone is None:
                self.notice(f"nothing left to be {word}")
                return
            if word == "undone" and undone.action in _DECISIONS:
                self.pace.take_back(len(undone.example_ids))
            self._last = ""
            if (at := self.rows.index_of(undone.example_ids[0]) if undone.example_ids else None) is not None:
                self.rows.cursor = at
            self._changed(undone.example_ids, f"{word}: {undone.text}")

        self.decide(lambda: act(bench), done)

    async def current_example(self) -> Example | None:
        """The example under the cursor, read now when keys came faster than the detail; None when there is none."""
        row_id = self.rows.current_id
        if row_id is None or (self.example is not None and self.example.id == row_id):
            return self.example
        try:
            return await asyncio.to_thread(flow.get, self.bench, row_id)
        except WorkbenchError as error:
            self.workbench.report(error)
            return None

    def targets(self) -> Sequence[int] | None:
        """The marked rows or the current one, for a gesture that asks first; None (and said) when there is none."""
        return None if self.is_guarded() else self._targets()

    def decide_on(self, targets: Sequence[int], act: Callable[[Sequence[int]], flow.Done]) -> None:
        """One gesture on these rows, whatever is under the cursor by now."""
        self.rows.clear_marks()
        if len(targets) > flow.ASK_ABOVE:
            self.notice(f"at work on {len(targets):,} rows …")

        def done(made: flow.Done) -> None:
            self._last = made.said
            self._changed(targets, f"{made.said}; u undoes")

        self.decide(lambda: act(targets), done)

    async def action_edit(self) -> None:
        """``e``"""
        await self._edit.ask()

    async def action_note(self) -> None:
        """``c``"""
        await self._asks.note()

    async def action_tag(self) -> None:
        """``t``"""
        await self._asks.tag()

    async def action_flag(self) -> None:
        """``f``"""
        await self._asks.flag()

    async def action_split(self) -> None:
        """``l``"""
        await self._asks.split()

    # --- longer looks at the row -------------------------------------------------------------------------------

    async def action_tokens(self) -> None:
        """``v``"""
        await self._looks.tokens()

    async def action_differ(self) -> None:
        """``d``"""
        await self._looks.differ()

    async def action_history(self) -> None:
        """``h``"""
        await self._looks.history()

    # --- checks ------------------------------------------------------------------------------------------------

    async def action_checks(self) -> None:
        """``C``"""
        await self._checks.ask()

    async def action_fix(self) -> None:
        """``F``"""
        await self._checks.fix()

    def action_unredact(self) -> None:
        """``B``"""
        self._checks.unredact()

    @on(CheckProgress)
    def _checked(self, event: CheckProgress) -> None:
        self._checks.show(event)

    def reread(self) -> None:
        """Show again what is in sight, the order as it stands."""
        self.rows.changed([*self.rows.ids])
        self._show_detail(self.rows.current_id)

    def show_filter(self, text: str) -> None:
        """Show the rows that this query finds."""
        self.search.value = text
        if text == self.filter:
            self.action_reload()
        self._apply_filter(text, final=True)

    # --- filter, dataset ---------------------------------------------------------------------------------------

    def action_search(self) -> None:
        """``/``"""
        self.search.add_class("-open")
        self.search.focus()

    @on(Input.Changed, "#curate-filter")
    def _typed(self, event: Input.Changed) -> None:
        def apply() -> None:
            if self.search.value == event.value:
                self._apply_filter(event.value, final=False)

        self.set_timer(SEARCH_DELAY_S, apply)

    @on(Input.Submitted, "#curate-filter")
    def _entered(self, event: Input.Submitted) -> None:
        self._apply_filter(event.value, final=True)

    def _apply_filter(self, text: str, *, final: bool) -> None:
        from workbench.domain.queries import parse_query

        try:
            parse_query(text)
        except WorkbenchError as error:
            if final:  # while typing, half a filter is no mistake
                self.workbench.report(error)
            return
        if text != self.filter:
            self.filter = text
            self.rows.clear_marks()
            self.action_reload()
        if final:
            self._close_search()
            self.list.tell_unfound()

    def _close_search(self) -> None:
        self.search.set_class(bool(self.search.value), "-open")
        self.rows.focus()

    def action_back(self) -> None:
        """Escape: out of the filter line, from the detail to the rows, marks away, filter away."""
        if self.search.has_focus or self.detail.has_focus:
            self._close_search()
        elif self.rows.marked_count:
            self.rows.clear_marks()
            self.show_lines()
        elif self.filter or self.search.value:  # a filter just typed may not be applied yet
            self.search.value = ""
            self._apply_filter("", final=True)

    def action_choose_dataset(self) -> None:
        """``D``"""
        self._asks.dataset()

    def show_dataset(self, name: str) -> None:
        """Show the rows of this dataset; "" shows those of all."""
        self.dataset = name or None
        self.rows.clear_marks()
        self.action_reload()

    def action_sort(self) -> None:
        """``o``"""
        self._asks.order()

    def action_views(self) -> None:
        """``V``"""
        self._asks.views()

    def show_view(self, view: View) -> None:
        """Show a saved list: its dataset, filter and order."""
        self.dataset, self.filter, self.order = view.dataset or None, view.query, view.order
        self.search.value = view.query
        self.search.set_class(bool(view.query), "-open")
        self.rows.clear_marks()
        self.action_reload()

    def show_order(self, order: str) -> None:
        """Show the rows in this order: by number around the one under the cursor, else from the first on."""
        self.order = order
        if order in flow.BY_NUMBER:
            self.action_reload()
        else:
            self.list.read(from_top=True)

    def action_copy(self) -> None:
        """``y``"""
        if text := self.text_to_copy():
            self.app.copy_to_clipboard(text)

    def action_detail(self, direction: int) -> None:
        """``J`` and ``K`` scroll the example without leaving the rows."""
        self.detail.action_scroll_lines(direction * 3)

    # --- files -------------------------------------------------------------------------------------------------

    def action_import_file(self) -> None:
        """``i``"""
        self._files.ask_import(self.dataset or "")

    def action_export_file(self) -> None:
        """``X``"""
        self._files.ask_export(self.filter, self.dataset or "")

    def action_figures(self) -> None:
        """``S``"""

        def closed(dataset: str | None) -> None:
            if dataset is not None:
                self.tell(ExamplesChanged())
                self.show_dataset(dataset)

        self.app.push_screen(DatasetDialog(self.bench, self.dataset or "", self.filter), closed)
