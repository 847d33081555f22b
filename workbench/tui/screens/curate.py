"""Curate: read examples one after another and decide by single keys. One key, one decision, one commit, next row.

Owns which rows are shown, where the cursor is and how fast the work goes. What a decision means is the flow's business.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.events import Paste
from textual.widget import Widget
from textual.widgets import Input, Static

from workbench.domain.decisions import Action, Decision, Newest, Undone
from workbench.domain.examples import Example, ExampleRow, Kind, Split, Status
from workbench.errors import WorkbenchError
from workbench.flows import curate as flow
from workbench.flows import tokens
from workbench.tui.messages import ExamplesChanged, News
from workbench.tui.pane import Pane
from workbench.tui.safety import cell
from workbench.tui.screens.curate_entries import Pace, columns, detail, session_line
from workbench.tui.screens.curate_files import ExportDialog, ImportDialog
from workbench.tui.screens.curate_views import history_content, tokens_content
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, ConfirmDialog, TextDialog
from workbench.tui.widgets.reading import ReadingDialog
from workbench.tui.widgets.rows import RowTable
from workbench.tui.widgets.transcript import Transcript
from workbench.tui.word_diff import inline

SEARCH_DELAY_S = 0.25
PASTE_GUARD_S = 0.15
_DECISIONS = frozenset({Action.ACCEPT, Action.REJECT, Action.SKIP})
_SINGLE_KEYS = frozenset(
    {"accept", "reject", "skip", "rate", "undo", "redo", "swap", "edit", "note", "tag", "split", "mark", "mark_all"}
    | {"tokens", "differ", "history"}
)


class CuratePane(Pane):
    """Rows at the left or above, the example under the cursor beside or below."""

    title = "Curate"
    letter = "u"
    BINDINGS: ClassVar = [
        Binding("a", "accept", "Ok", id="label.accept", tooltip="Accept, and go on"),
        Binding("x", "reject", "Reject", id="label.reject", tooltip="Reject, and go on"),
        Binding("space", "skip", "Skip", id="label.skip", tooltip="Skip, and go on"),
        Binding("backspace,u", "undo", "Undo", id="label.undo", tooltip="Undo, as often as you like"),
        Binding("U", "redo", "Redo", id="label.redo", tooltip="Redo", show=False),
        *(
            Binding(
                str(n), f"rate({n})", "Rate", id=f"label.rate_{n}", show=n == 1, key_display="1-5", tooltip=f"Rate {n}"
            )
            for n in range(1, 6)
        ),
        Binding("e", "edit", "Edit", id="label.edit", tooltip="Edit the answer, the prompt or the rejected answer"),
        Binding("slash", "search", "Find", id="list.find", tooltip="Filter and search"),
        Binding("D", "choose_dataset", "Dataset", id="curate.dataset", tooltip="Show another dataset"),
        Binding("c", "note", "Note", id="label.note", tooltip="Write a note"),
        Binding("t", "tag", "Tag", id="label.tag", tooltip="Add tags, or remove them with a minus"),
        Binding("l", "split", "Split", id="label.split", tooltip="Put into train, validation, test, or none"),
        Binding("w", "swap", "Swap", id="label.swap", tooltip="Exchange chosen and rejected"),
        Binding("v", "tokens", "Tokens", id="curate.tokens", tooltip="The row token by token, as training sees it"),
        Binding("d", "differ", "Diff", id="curate.diff", tooltip="Which words differ between chosen and rejected"),
        Binding("h", "history", "History", id="curate.history", tooltip="What was decided about the row, by whom"),
        Binding("m", "mark", "Mark", id="list.mark", tooltip="Mark the row; gestures are for all marked rows"),
        Binding("M", "mark_all", "Mark all", id="list.mark_all", tooltip="Mark every row, or none", show=False),
        Binding("i", "import_file", "Import", id="data.import", tooltip="Import a file"),
        Binding("X", "export_file", "Export", id="data.export", tooltip="Export what the filter shows"),
        Binding("R", "reload", "Reload", id="list.reload", tooltip="Read the rows again", show=False),
        Binding("y", "copy", "Copy", id="label.copy", tooltip="Copy the answer", show=False),
        Binding("J", "detail(1)", "Detail down", id="curate.detail_down", tooltip="Scroll the example", show=False),
        Binding("K", "detail(-1)", "Detail up", id="curate.detail_up", tooltip="Scroll the example", show=False),
        Binding("escape", "back", "Back", id="curate.back", tooltip="Leave the filter, drop marks", show=False),
    ]

    def __init__(self, *, id: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(id=id)
        self.dataset: str | None = None
        self.filter = ""
        self.pace = Pace()
        self.example: Example | None = None
        self._clock = clock
        self._guarded_until = 0.0
        self._counts: dict[Status, int] = {}
        self._last = ""
        self._stale = False
        self._no_tokens = threading.Event()

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
        """Paint first; read rows when the store is open."""
        self.workbench.call_when_open(self.action_reload)

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
        """Wait for no tokenizer."""
        self._no_tokens.set()
        return ()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Single letters are for the rows and the detail, not for the filter line."""
        if action in _SINGLE_KEYS and self.is_attached:
            return not self.search.has_focus
        return True

    def on_resize(self) -> None:
        """More columns where there is room."""
        self.rows.set_columns(columns(wide=self.size.width >= 120))
        self._refresh_lines()

    # --- rows --------------------------------------------------------------------------------------------------

    def _page(self, ids: Sequence[int]) -> Sequence[ExampleRow | None]:
        return flow.page(self.bench, ids)

    def action_reload(self, keep: int | None = None) -> None:
        """Read which rows the filter finds; the order stays from here on until the next reload."""
        bench, text, dataset = self.bench, self.filter, self.dataset
        here = keep if keep is not None else self.rows.current_id
        self._stale = False

        def read() -> tuple[array[int], dict[Status, int]]:
            return flow.ids(bench, text, dataset=dataset), flow.counts(bench, dataset)

        def show(found: tuple[array[int], dict[Status, int]]) -> None:
            ids, self._counts = found
            self.rows.empty = "nothing matches: Esc drops the filter" if text else "no examples: i imports a file"
            self.rows.set_ids(ids, keep=here)
            self._refresh_lines()

        self.run_flow(read, show, group="rows", exclusive=True)

    def _refresh_lines(self) -> None:
        if not self.is_attached:
            return
        width = max(20, self.size.width - 2)
        shown = f"{self.dataset or 'all datasets'}  {len(self.rows.ids):,} rows"
        filtered = f"  filter: {self.filter}" if self.filter else ""
        place = f"  row {self.rows.cursor + 1:,}" if len(self.rows.ids) else ""
        marked = f"  {len(self.rows.marked):,} marked" if self.rows.marked else ""
        self.query_one("#curate-headline", Static).update(cell(shown + place + marked + filtered, width))
        self.query_one("#curate-session", Static).update(cell(session_line(self._counts, self.pace, self._last), width))

    @on(RowTable.Highlighted, "#curate-rows")
    def _highlighted(self, event: RowTable.Highlighted) -> None:
        self._refresh_lines()
        self._show_detail(event.row_id)

    @on(RowTable.Chosen, "#curate-rows")
    def _chosen(self) -> None:
        self.detail.focus()

    def _show_detail(self, row_id: int | None) -> None:
        if row_id is None:
            self.example = None
            self.detail.set_entries([])
            return
        bench = self.bench

        def read() -> tuple[Example, list[Decision]]:
            return flow.get(bench, row_id), flow.history(bench, row_id)

        def show(found: tuple[Example, list[Decision]]) -> None:
            if self.rows.current_id == row_id:
                self.example = found[0]
                self.detail.set_entries(detail(*found))

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
        self._guarded_until = self._clock() + PASTE_GUARD_S
        self.notice("pasted text is ignored here; / opens the filter")

    def _guarded(self) -> bool:
        now = self._clock()
        if now >= self._guarded_until:
            return False
        self._guarded_until = now + PASTE_GUARD_S  # a long paste goes on for longer than one guard
        return True

    def _decide(self, act: Callable[[Sequence[int]], flow.Done], *, go_on: bool = True) -> None:
        """One gesture on the marked rows or the current one: moves on at once, commits in the order of the keys."""
        if self._guarded():
            return
        targets = self.rows.targets()
        if not targets:
            self.notice("there is no row to decide on")
            return
        if go_on and len(targets) == 1 and not self.rows.marked:
            self.rows.action_move(1)
        self.rows.clear_marks()
        bench, dataset = self.bench, self.dataset

        def commit() -> tuple[flow.Done, dict[Status, int]]:
            return act(targets), flow.counts(bench, dataset)

        def done(result: tuple[flow.Done, dict[Status, int]]) -> None:
            made, self._counts = result
            if go_on:
                self.pace.add(self._clock(), len(targets))
            self._last = made.said
            self._changed(targets, f"{made.said}; u undoes")

        self.decide(commit, done)

    def _changed(self, ids: tuple[int, ...], said: str) -> None:
        self.rows.changed(ids)
        self._refresh_lines()
        self.notice(said)
        if self.rows.current_id in ids:
            self._show_detail(self.rows.current_id)
        self.tell(ExamplesChanged(ids))

    def action_accept(self) -> None:
        """``a``"""
        self._decide(lambda ids: flow.accept(self.bench, ids))

    def action_reject(self) -> None:
        """``x``"""
        self._decide(lambda ids: flow.reject(self.bench, ids))

    def action_skip(self) -> None:
        """Space"""
        self._decide(lambda ids: flow.skip(self.bench, ids))

    def action_rate(self, rating: int) -> None:
        """``1`` to ``5``; stays on the row, because a rating is often followed by a decision."""
        self._decide(lambda ids: flow.rate(self.bench, ids, rating), go_on=False)

    def action_swap(self) -> None:
        """``w``"""
        self._decide(lambda ids: flow.swap(self.bench, ids), go_on=False)

    def action_mark(self) -> None:
        """``m``"""
        self.rows.toggle_mark()
        self._refresh_lines()

    def action_mark_all(self) -> None:
        """``M``"""
        self.rows.mark_all()
        self._refresh_lines()

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
        if self._guarded():
            return
        bench, dataset = self.bench, self.dataset

        def take_back() -> tuple[Undone | Newest | None, dict[Status, int]]:
            return act(bench), flow.counts(bench, dataset)

        def done(result: tuple[Undone | Newest | None, dict[Status, int]]) -> None:
            undone, self._counts = result
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

        self.decide(take_back, done)

    # --- decisions that ask something --------------------------------------------------------------------------

    def action_edit(self) -> None:
        """``e``: the answer, or with a choice between parts the prompt or the rejected answer."""
        if self.example is None or self._guarded():
            return
        example, parts = self.example, ["chosen", "prompt"]
        if example.content.kind is Kind.PREFERENCE:
            parts.append("rejected")
        labels = {"chosen": "the chosen answer" if len(parts) > 2 else "the answer", "prompt": "the prompt"}
        labels["rejected"] = "the rejected answer"

        def chosen(part: str | None) -> None:
            if part:
                self._edit_part(example, part)

        choices = [Choice(part, labels[part]) for part in parts]
        self.app.push_screen(ChooseDialog("Edit what?", choices, current="chosen"), chosen)

    def _edit_part(self, example: Example, part: str) -> None:
        turns = {
            "chosen": example.content.chosen,
            "prompt": example.content.prompt,
            "rejected": example.content.rejected,
        }
        before = turns[part][-1].content

        def edited(text: str | None) -> None:
            if text is not None and text != before:
                self._decide_on((example.id,), lambda _: flow.edit(self.bench, example.id, text=text, part=part))

        self.app.push_screen(TextDialog(f"{part} of {example.id}", value=before, lines=True), edited)

    def action_note(self) -> None:
        """``c``"""
        if (targets := self._asked_targets()) is None:
            return
        before = self.example.note if self.example and len(targets) == 1 else ""

        def noted(text: str | None) -> None:
            if text is not None and text != before:
                self._decide_on(targets, lambda ids: flow.note(self.bench, ids, text))

        self.app.push_screen(TextDialog("Note", value=before), noted)

    def action_tag(self) -> None:
        """``t``: words are added, words with a minus are removed."""
        if (targets := self._asked_targets()) is None:
            return

        def tagged(text: str | None) -> None:
            words = (text or "").replace(",", " ").split()
            add = [word for word in words if not word.startswith("-")]
            remove = [word[1:] for word in words if word.startswith("-") and len(word) > 1]
            if add or remove:
                self._decide_on(targets, lambda ids: flow.tag(self.bench, ids, add=add, remove=remove))

        now = ", ".join(self.example.tags) if self.example else ""
        self.app.push_screen(TextDialog("Tags", text=f"now: {now or 'none'}", placeholder="new -old"), tagged)

    def action_split(self) -> None:
        """``l``"""
        if (targets := self._asked_targets()) is None:
            return

        def chosen(value: str | None) -> None:
            if value:
                self._decide_on(targets, lambda ids: flow.split(self.bench, ids, Split(value)))

        details = {"none": "dealt when a run is made", "test": "never trained on"}
        choices = [Choice(split.value, split.value, details.get(split.value, "")) for split in Split]
        current = self.example.split.value if self.example else ""
        self.app.push_screen(ChooseDialog("Split", choices, current=current), chosen)

    def _asked_targets(self) -> tuple[int, ...] | None:
        if self._guarded():
            return None
        targets = self.rows.targets()
        if not targets:
            self.notice("there is no row to decide on")
        return targets or None

    def _decide_on(self, targets: tuple[int, ...], act: Callable[[Sequence[int]], flow.Done]) -> None:
        self.rows.clear_marks()

        def done(made: flow.Done) -> None:
            self._last = made.said
            self._changed(targets, f"{made.said}; u undoes")

        self.decide(lambda: act(targets), done)

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

    def _close_search(self) -> None:
        self.search.set_class(bool(self.search.value), "-open")
        self.rows.focus()

    def action_back(self) -> None:
        """Escape: out of the filter line, from the detail to the rows, marks away, filter away."""
        if self.search.has_focus or self.detail.has_focus:
            self._close_search()
        elif self.rows.marked:
            self.rows.clear_marks()
            self._refresh_lines()
        elif self.filter:
            self.search.value = ""
            self._apply_filter("", final=True)

    def action_choose_dataset(self) -> None:
        """``D``"""
        store = self.bench.store

        def read() -> list[Choice]:
            every = Choice("", "all datasets")
            return [
                every,
                *(Choice(d.name, d.name, f"{d.total:,} rows, {d.pending:,} pending") for d in store.datasets.list()),
            ]

        def ask(choices: list[Choice]) -> None:
            self.app.push_screen(ChooseDialog("Dataset", choices, current=self.dataset or ""), chosen)

        def chosen(name: str | None) -> None:
            if name is not None:
                self.dataset = name or None
                self.rows.clear_marks()
                self.action_reload()

        self.run_flow(read, ask)

    def action_copy(self) -> None:
        """``y``"""
        if text := self.text_to_copy():
            self.app.copy_to_clipboard(text)

    def action_detail(self, direction: int) -> None:
        """``J`` and ``K`` scroll the example without leaving the rows."""
        self.detail.action_scroll_lines(direction * 3)

    # --- longer looks at the row -------------------------------------------------------------------------------

    def action_tokens(self) -> None:
        """``v``: a child process loads the tokenizer, which takes some seconds; the dialog waits for it."""
        if (example := self.example) is None:
            return
        bench = self.bench
        dialog = ReadingDialog(f"Tokens of {example.id}", waiting="asking the tokenizer, some seconds …")

        def failed(error: BaseException) -> None:
            if not isinstance(error, WorkbenchError):
                self.workbench.report(error)
            hint = f" ({error.hint})" if isinstance(error, WorkbenchError) and error.hint else ""
            said = error.message if isinstance(error, WorkbenchError) else type(error).__name__
            dialog.show_failure(f"The tokens cannot be shown: {said}{hint}")

        self._no_tokens = cancelled = threading.Event()
        self.app.push_screen(dialog, lambda _: cancelled.set())
        self.run_flow(
            lambda: tokens.view(bench, example.id, cancelled=cancelled),
            lambda view: dialog.show_content(tokens_content(view)),
            group="tokens",
            failed=failed,
        )

    def action_differ(self) -> None:
        """``d``"""
        if (example := self.example) is None:
            return
        if not example.content.rejected:
            self.notice("only a pair has two answers to compare")
            return
        before = "\n".join(turn.shown for turn in example.content.rejected)
        content = inline(before, example.answer_text)
        legend = "Struck out: only in the rejected answer. Underlined: only in the chosen one."
        self.app.push_screen(ReadingDialog(f"Rejected to chosen, {example.id}", content, text=legend))

    def action_history(self) -> None:
        """``h``"""
        if (example := self.example) is None:
            return
        bench = self.bench

        def show(decisions: list[Decision]) -> None:
            self.app.push_screen(ReadingDialog(f"History of {example.id}", history_content(decisions)))

        self.run_flow(lambda: flow.history(bench, example.id), show)

    # --- files -------------------------------------------------------------------------------------------------

    def action_import_file(self) -> None:
        """``i``"""

        def imported(dataset: str | None) -> None:
            if dataset is not None:
                self.dataset = dataset or self.dataset
                self.action_reload()
                self.tell(ExamplesChanged())

        self.app.push_screen(ImportDialog(self.bench, self.dataset or ""), imported)

    def action_export_file(self) -> None:
        """``X``"""

        def exported(said: str | None) -> None:
            if said:
                self.notice(said)

        name = f"{self.dataset or 'examples'}.jsonl"
        target = Path(self.bench.workspace.exports) / name
        self.app.push_screen(ExportDialog(self.bench, self.filter, self.dataset or "", target), exported)
