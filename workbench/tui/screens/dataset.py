"""A dataset as a whole: its figures, whether it is ready to train on, and by keys what can be done to it.

Owns what is counted and shown. It is a dialog over Curate, as large as the terminal; counting runs in threads, tokens
in a child process, and leaving ends both.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from workbench.domain.counting import counted
from workbench.domain.datasets import Dataset
from workbench.domain.decisions import Action, Newest, Undone
from workbench.errors import WorkbenchError
from workbench.flows import apart, curate
from workbench.flows import datasets as flow
from workbench.tui.safety import cell, safe
from workbench.tui.screens.dataset_entries import figures_content, readiness_content
from workbench.tui.screens.dataset_forms import (
    Outcome,
    augment_form,
    delete_dialog,
    merge_form,
    mix_form,
    split_form,
)
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, ConfirmDialog, Dialog
from workbench.tui.work import begin

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

LOOK_S = 0.25
KEYS = "D dataset  s split  m merge  w mix  p templates  X delete  b base  t tokens"


class DatasetDialog(Dialog[str]):
    """Shows ``dataset`` ("" is all of them) and what ``query`` finds in it.

    The answer is None when nothing was changed, else the dataset to show now.
    """

    BINDINGS: ClassVar = [
        Binding("q", "leave", "Close", show=False, id="dataset.close"),
        Binding("r,tab", "turn", "Figures, or readiness", id="dataset.turn", tooltip="Figures, or readiness and rules"),
        Binding("D", "choose_dataset", "Dataset", id="dataset.choose", tooltip="Another dataset"),
        Binding("b", "choose_base", "Base model", id="dataset.base", tooltip="For which base model"),
        Binding("t", "tokens", "Tokens", id="dataset.tokens", tooltip="Count in the model's tokens too"),
        Binding("s", "split", "Split", id="dataset.split", tooltip="Deal into train, validation, test"),
        Binding("m", "merge", "Merge", id="dataset.merge", tooltip="Copy datasets into one"),
        Binding("w", "mix", "Mix", id="dataset.mix", tooltip="Mix by weight"),
        Binding("p", "augment", "Templates", id="dataset.augment", tooltip="Augment by templates"),
        Binding("X", "delete", "Delete", id="dataset.delete", tooltip="Hide all its rows"),
        Binding("u", "undo", "Undo", id="dataset.undo", tooltip="Take the last gesture back"),
        Binding("R", "count", "Count again", show=False, id="dataset.reload"),
        Binding("down,j", "scroll(1)", "Down", show=False, id="dataset.down"),
        Binding("up,k", "scroll(-1)", "Up", show=False, id="dataset.up"),
        Binding("pagedown,space", "scroll(12)", "Page down", show=False, id="dataset.page_down"),
        Binding("pageup", "scroll(-12)", "Page up", show=False, id="dataset.page_up"),
    ]
    DEFAULT_CSS = """
    DatasetDialog > Vertical { width: 100%; max-width: 100%; height: 100%; max-height: 100%; }
    DatasetDialog #dataset-head { height: auto; max-height: 3; }
    DatasetDialog #dataset-body { height: 1fr; border-top: solid $border-blurred; }
    DatasetDialog #dataset-body > VerticalScroll { width: 1fr; scrollbar-size-vertical: 1; padding: 0 1 0 0; }
    DatasetDialog #dataset-body Static { height: auto; }
    DatasetDialog #dataset-ready { display: none; }
    DatasetDialog.-turned #dataset-ready { display: block; }
    DatasetDialog.-turned #dataset-figures { display: none; }
    DatasetDialog.-wide #dataset-ready, DatasetDialog.-broad #dataset-ready {
        display: block; border-left: solid $border-blurred; padding: 0 0 0 1;
    }
    DatasetDialog.-wide #dataset-figures, DatasetDialog.-broad #dataset-figures { display: block; }
    DatasetDialog #dataset-keys { height: 1; color: $text-muted; }
    """

    def __init__(self, bench: Bench, dataset: str, query: str = "") -> None:
        super().__init__("Dataset", keys="u undo · r or Tab turns the page · ↑ ↓ PgUp PgDn · Esc closes")
        self.bench = bench
        self.dataset, self.query_text = dataset, query
        self.model = ""
        self._changed = self._wants_tokens = False
        self._said = self._progress = ""
        self._deleted = ""
        self._cancelled = threading.Event()

    def compose_body(self) -> ComposeResult:
        """What is shown, the figures and the verdict, the keys."""
        yield Static(id="dataset-head", markup=False)
        with Horizontal(id="dataset-body"):
            with VerticalScroll(id="dataset-figures", can_focus=False):
                yield Static(id="dataset-numbers", markup=False)
            with VerticalScroll(id="dataset-ready", can_focus=False):
                yield Static(id="dataset-verdict", markup=False)
        yield Static(KEYS, id="dataset-keys", markup=False)

    def on_mount(self) -> None:
        """Count at once."""
        self.set_interval(LOOK_S, self._show_progress)
        self.action_count()

    def on_unmount(self) -> None:
        """The program is left: so is the counting, for which it would wait."""
        self._cancelled.set()

    # --- counting ----------------------------------------------------------------------------------------------

    def action_count(self) -> None:
        """Read the rows again; what was being counted is given up."""
        self._cancelled.set()
        self._cancelled = cancelled = threading.Event()
        self.show_problem("")
        self._show_head()
        begin(self, partial(self._count, cancelled), group="count", exclusive=True)

    async def _count(self, cancelled: threading.Event) -> None:
        bench, dataset = self.bench, self.dataset
        model = self.model or await asyncio.to_thread(_default_model, bench)
        try:
            rows = await asyncio.to_thread(flow.count, bench, dataset, self.query_text)
            hearing: dict[str, Any] = {"rows": rows, "on_progress": self._hear, "cancelled": cancelled}
            asked: dict[str, Any] = {"query": self.query_text, "model": model if self._wants_tokens else ""}
            found = await asyncio.to_thread(lambda: apart.call(flow.statistics, bench, dataset, **hearing, **asked))
            self._put("#dataset-numbers", figures_content(found, self._width))
            if not dataset:
                self._put("#dataset-verdict", safe("Readiness is told for one dataset: choose one (D)."))
            elif not model:
                self._put("#dataset-verdict", safe("There is no model here to be ready for: F8 adds one."))
            else:
                verdict = await asyncio.to_thread(
                    lambda: apart.call(flow.ready, bench, dataset, model=model, **hearing)
                )
                self._put("#dataset-verdict", readiness_content(verdict, dataset, model))
        except WorkbenchError as error:
            if not cancelled.is_set():
                self.show_problem(error.message + (f" ({error.hint})" if error.hint else ""))
        finally:
            if not cancelled.is_set():
                self._progress = ""
                self._show_head()

    def _hear(self, what: str, rows: int, total: int) -> None:
        self._progress = f"counting {what}, {rows:,} of {total:,} rows"

    def _show_progress(self) -> None:
        if self._progress and self.is_attached:
            self._show_head()

    def _show_head(self) -> None:
        if not self.is_attached:
            return
        shown = self.dataset or "all datasets"
        shown += f"  filter: {self.query_text}" if self.query_text else ""
        parts = [(cell(shown, 100), "bold"), (f"  {self._progress}" if self._progress else "", "$text-muted")]
        parts += [("\n" + cell(self._said, 400), "$text-success")] if self._said else []
        self.query_one("#dataset-head", Static).update(Content.assemble(*parts))

    @property
    def _width(self) -> int:
        shown = [box.size.width for box in self.query("#dataset-body > VerticalScroll") if box.display]
        return min(shown, default=40)

    def _put(self, where: str, content: Content) -> None:
        if self.is_attached:
            self.query_one(where, Static).update(content)

    def action_tokens(self) -> None:
        """``t``: a child process loads the model's tokenizer."""
        self._wants_tokens = True
        self.remove_class("-turned")
        self._progress = "asking the tokenizer, some seconds …"
        self.action_count()

    async def action_choose_base(self) -> None:
        """``b``"""

        def chosen(name: str | None) -> None:
            if name:
                self.model = name
                self.action_count()

        models = await asyncio.to_thread(self.bench.store.models.list)
        choices = [Choice(model.name, model.name, model.kind.value) for model in models]
        self.app.push_screen(ChooseDialog("Ready for which model?", choices, current=self.model), chosen)

    async def action_choose_dataset(self) -> None:
        """``D``"""

        def chosen(name: str | None) -> None:
            if name is not None and name != self.dataset:
                self.dataset, self._said = name, ""
                self.action_count()

        found = await asyncio.to_thread(flow.shown, self.bench)
        choices = [Choice("", "all datasets"), *(Choice(d.name, d.name, _counts(d)) for d in found)]
        self.app.push_screen(ChooseDialog("Dataset", choices, current=self.dataset), chosen)

    # --- what is done to it ------------------------------------------------------------------------------------

    async def action_split(self) -> None:
        """``s``"""
        if self._is_one():
            self._open(split_form(self.bench, self.dataset))

    async def action_merge(self) -> None:
        """``m``"""
        self._open(merge_form(self.bench, await asyncio.to_thread(flow.shown, self.bench), self.dataset))

    async def action_mix(self) -> None:
        """``w``"""
        self._open(mix_form(self.bench, await asyncio.to_thread(flow.shown, self.bench), self.dataset))

    async def action_augment(self) -> None:
        """``p``"""
        if self._is_one():
            self._open(augment_form(self.bench, self.dataset))

    async def action_delete(self) -> None:
        """``X``"""

        def answered(yes: bool | None) -> None:
            if yes:
                self._deleted = self.dataset
                self._do(lambda: Outcome(flow.delete(self.bench, self.dataset).said.partition(";")[0], ""))

        if self._is_one():
            dialog = await asyncio.to_thread(delete_dialog, self.bench, self.dataset)
            self.app.push_screen(dialog, answered)

    def _is_one(self) -> bool:
        if not self.dataset:
            self.show_problem("this is for one dataset: choose one (D)")
        return bool(self.dataset)

    def _open(self, form: Screen[Outcome | None]) -> None:
        self.app.push_screen(form, self._was_done)

    def _do(self, act: Callable[[], Outcome]) -> None:
        begin(self, partial(self._doing, act), group="do", exclusive=True)

    async def _doing(self, act: Callable[[], Outcome]) -> None:
        self.show_problem("")
        try:
            self._was_done(await asyncio.to_thread(act))
        except WorkbenchError as error:
            self.show_problem(error.message + (f" ({error.hint})" if error.hint else ""))

    def _was_done(self, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        self._changed = True
        self.dataset, self._said = outcome.dataset, f"{outcome.said}; u undoes"
        self.action_count()

    def action_undo(self) -> None:
        """``u``: the last gesture, wherever it was made; asks before a large one."""
        begin(self, partial(self._undo, curate.undo_if_small), group="do", exclusive=True)

    async def _undo(self, act: Callable[[Bench], Undone | Newest | None]) -> None:
        try:
            undone = await asyncio.to_thread(act, self.bench)
        except WorkbenchError as error:
            self.show_problem(error.message)
            return
        if isinstance(undone, Newest):
            self._ask_to_undo(undone)
            return
        self._changed = self._changed or undone is not None
        self._said = f"undone: {undone.text}" if undone is not None else "nothing is left to be undone"
        if undone is not None and undone.action is Action.DELETE and not self.dataset:
            self.dataset = self._deleted
        if self.dataset and not any(one.name == self.dataset for one in flow.shown(self.bench)):
            self.dataset = ""
        self.action_count()

    def _ask_to_undo(self, newest: Newest) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                begin(self, partial(self._undo, curate.undo), group="do", exclusive=True)

        self.app.push_screen(ConfirmDialog(f"Undo {newest.text}?"), answered)

    # --- moving ------------------------------------------------------------------------------------------------

    def action_turn(self) -> None:
        """``r``: where both do not fit side by side, the other page."""
        self.toggle_class("-turned")

    def action_scroll(self, lines: int) -> None:
        """Move what is shown; side by side, both."""
        for box in self.query("#dataset-body > VerticalScroll"):
            box.scroll_relative(y=lines, animate=False)

    def action_leave(self) -> None:
        """Escape: what is still being counted is given up."""
        self._cancelled.set()
        self.dismiss(self.dataset if self._changed else None)


def _counts(dataset: Dataset) -> str:
    return f"{counted(dataset.total, 'rows')}, {dataset.pending:,} pending"


def _default_model(bench: Bench) -> str:
    return bench.store.models.default().name if bench.store.models.list() else ""
