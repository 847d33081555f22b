"""What Curate asks in a dialog: note, tags, flags, split, each of which ends in one decision; and which dataset.

They know what to ask. Which rows are meant, and what happens around a decision, is the pane's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from workbench import checks
from workbench.domain.counting import counted
from workbench.domain.examples import Split
from workbench.domain.queries import View
from workbench.flows import curate as flow
from workbench.flows import datasets, run_scores, views
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, TextDialog

if TYPE_CHECKING:
    from workbench.tui.screens.curate import CuratePane


class CurateAsks:
    """One method for each question; a decision is one undo."""

    def __init__(self, pane: CuratePane) -> None:
        self._pane = pane

    async def note(self) -> None:
        """A note; an empty one removes it."""
        pane = self._pane
        if (targets := pane.targets()) is None:
            return
        example = await pane.current_example()
        before = example.note if example and len(targets) == 1 else ""

        def noted(text: str | None) -> None:
            if text is not None and text != before:
                pane.decide_on(targets, lambda ids: flow.note(pane.bench, ids, text))

        pane.app.push_screen(TextDialog("Note", value=before), noted)

    async def tag(self) -> None:
        """Words are added as tags, words with a minus are removed."""
        example = await self._pane.current_example()
        self._words("Tags", example.tags if example else (), flow.tag)

    async def flag(self) -> None:
        """Words are flags to set, words with a minus those to take away."""
        example = await self._pane.current_example()
        self._words(
            "Flags", [flag for flag in example.flags if flag not in checks.find()] if example else (), flow.flag
        )

    def _words(self, title: str, now: Sequence[str], act: Callable[..., flow.Done]) -> None:
        pane = self._pane
        if (targets := pane.targets()) is None:
            return

        def said(text: str | None) -> None:
            words = (text or "").replace(",", " ").split()
            add = [word for word in words if not word.startswith("-")]
            remove = [word[1:] for word in words if word.startswith("-") and len(word) > 1]
            if add or remove:
                pane.decide_on(targets, lambda ids: act(pane.bench, ids, add=add, remove=remove))

        text = f"now: {', '.join(now) or 'none'}"
        pane.app.push_screen(TextDialog(title, text=text, placeholder="new -old"), said)

    async def split(self) -> None:
        """One of the splits, or none."""
        pane = self._pane
        if (targets := pane.targets()) is None:
            return

        def chosen(value: str | None) -> None:
            if value:
                pane.decide_on(targets, lambda ids: flow.split(pane.bench, ids, Split(value)))

        details = {"none": "dealt when a run is made", "test": "never trained on"}
        choices = [Choice(split.value, split.value, details.get(split.value, "")) for split in Split]
        example = await pane.current_example()
        current = example.split.value if example else ""
        pane.app.push_screen(ChooseDialog("Split", choices, current=current), chosen)

    def dataset(self) -> None:
        """Which dataset is shown; this one decides nothing."""
        pane = self._pane

        def read() -> list[Choice]:
            found = datasets.shown(pane.bench)  # not those whose rows are all deleted
            named = [Choice(d.name, d.name, f"{counted(d.total, 'rows')}, {d.pending:,} pending") for d in found]
            return [Choice("", "all datasets"), *named]

        def chosen(name: str | None) -> None:
            if name is not None:
                pane.show_dataset(name)

        def ask(choices: list[Choice]) -> None:
            pane.app.push_screen(ChooseDialog("Dataset", choices, current=pane.dataset or ""), chosen)

        pane.run_flow(read, ask)

    def order(self) -> None:
        """In which order the rows are shown; this one decides nothing."""
        pane = self._pane

        def chosen(order: str | None) -> None:
            if order and order != pane.order:
                pane.show_order(order)

        def ask(scored: list[tuple[str, str]]) -> None:
            choices = [Choice(name, name, _first(name)) for name in flow.orders()]
            choices += [Choice(name, name, said) for name, said in scored]
            pane.app.push_screen(ChooseDialog("Order", choices, current=pane.order), chosen)

        pane.run_flow(lambda: run_scores.orders(pane.bench), ask)

    def views(self) -> None:
        """Which saved list is shown; or save this one, or forget one."""
        pane = self._pane
        bench = pane.bench

        def ask(found: list[View]) -> None:
            by_name = {view.name: view for view in found}
            here = f"{pane.filter or 'every row'} in {pane.dataset or 'all datasets'}, by {pane.order}"
            choices = [Choice(name, name, _view_text(view)) for name, view in by_name.items()]
            choices.append(Choice(_SAVE, "save this list", here))
            choices += [Choice(_DELETE + name, f"delete {name}") for name in by_name]
            pane.app.push_screen(ChooseDialog("Views", choices), lambda value: chosen(value, by_name))

        def chosen(value: str | None, by_name: dict[str, View]) -> None:
            if value == _SAVE:
                pane.app.push_screen(TextDialog("Save this list as", placeholder="a name"), save)
            elif value and value.startswith(_DELETE):
                name = value.removeprefix(_DELETE)
                pane.run_flow(lambda: views.delete(bench, name), lambda _: pane.notice(f"deleted the view {name}"))
            elif value:
                pane.show_view(by_name[value])

        def save(name: str | None) -> None:
            query, dataset, order = pane.filter, pane.dataset or "", pane.order
            if name:
                pane.run_flow(
                    lambda: views.save(bench, name, query=query, dataset=dataset, order=order),
                    lambda view: pane.notice(f"saved the view {view.name}; V opens it"),
                )

        pane.run_flow(lambda: views.views(bench), ask)


def _view_text(view: View) -> str:
    return f"{view.query or 'every row'} in {view.dataset or 'all datasets'}, by {view.order}"


# No name of a view begins so.
_SAVE, _DELETE = "+", "-"
_ORDERS = {
    "id": ("the oldest first", "the newest first"),
    "updated": ("long not changed first", "lately changed first"),
    "prompt": ("prompts from A to Z", "prompts from Z to A"),
    "answer": ("answers from A to Z", "answers from Z to A"),
    "words": ("the fewest words of prompt and answer first", "the most words first"),
    "length": ("the shortest answer first", "the longest answer first"),
    "rating": ("the lowest rating first", "the highest rating first"),
    "status": ("accepted, pending, rejected", "rejected, pending, accepted"),
    "loss": ("the answer that the newest run's model knows best first", "the one that it knows least first"),
    "margin": ("the pair that the newest run's model has most wrong first", "the pair that it has most right first"),
}
"""What comes first in an order, and in the same with a minus before it."""


def _first(order: str) -> str:
    return _ORDERS[order.removeprefix("-")][order.startswith("-")]
