"""What Curate asks in a dialog: edit, note, tags, split, each of which ends in one decision; and which dataset.

They know what to ask. Which rows are meant, and what happens around a decision, is the pane's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.domain.examples import Example, Kind, Split
from workbench.flows import curate as flow
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, TextDialog

if TYPE_CHECKING:
    from workbench.tui.screens.curate import CuratePane


class CurateAsks:
    """One method for each question; a decision is one undo."""

    def __init__(self, pane: CuratePane) -> None:
        self._pane = pane

    def edit(self) -> None:
        """The answer, or with a choice between parts the prompt or the rejected answer."""
        example = self._pane.example
        if example is None or self._pane.is_guarded():
            return
        parts = ["chosen", "prompt"]
        if example.content.kind is Kind.PREFERENCE:
            parts.append("rejected")
        labels = {"chosen": "the chosen answer" if len(parts) > 2 else "the answer", "prompt": "the prompt"}
        labels["rejected"] = "the rejected answer"

        def chosen(part: str | None) -> None:
            if part:
                self._edit_part(example, part)

        choices = [Choice(part, labels[part]) for part in parts]
        self._pane.app.push_screen(ChooseDialog("Edit what?", choices, current="chosen"), chosen)

    def _edit_part(self, example: Example, part: str) -> None:
        pane, content = self._pane, example.content
        turns = {"chosen": content.chosen, "prompt": content.prompt, "rejected": content.rejected}
        before = turns[part][-1].content

        def edited(text: str | None) -> None:
            if text is not None and text != before:
                pane.decide_on((example.id,), lambda _: flow.edit(pane.bench, example.id, text=text, part=part))

        pane.app.push_screen(TextDialog(f"{part} of {example.id}", value=before, lines=True), edited)

    def note(self) -> None:
        """A note; an empty one removes it."""
        pane = self._pane
        if (targets := pane.targets()) is None:
            return
        before = pane.example.note if pane.example and len(targets) == 1 else ""

        def noted(text: str | None) -> None:
            if text is not None and text != before:
                pane.decide_on(targets, lambda ids: flow.note(pane.bench, ids, text))

        pane.app.push_screen(TextDialog("Note", value=before), noted)

    def tag(self) -> None:
        """Words are added as tags, words with a minus are removed."""
        pane = self._pane
        if (targets := pane.targets()) is None:
            return

        def tagged(text: str | None) -> None:
            words = (text or "").replace(",", " ").split()
            add = [word for word in words if not word.startswith("-")]
            remove = [word[1:] for word in words if word.startswith("-") and len(word) > 1]
            if add or remove:
                pane.decide_on(targets, lambda ids: flow.tag(pane.bench, ids, add=add, remove=remove))

        now = ", ".join(pane.example.tags) if pane.example else ""
        pane.app.push_screen(TextDialog("Tags", text=f"now: {now or 'none'}", placeholder="new -old"), tagged)

    def split(self) -> None:
        """One of the splits, or none."""
        pane = self._pane
        if (targets := pane.targets()) is None:
            return

        def chosen(value: str | None) -> None:
            if value:
                pane.decide_on(targets, lambda ids: flow.split(pane.bench, ids, Split(value)))

        details = {"none": "dealt when a run is made", "test": "never trained on"}
        choices = [Choice(split.value, split.value, details.get(split.value, "")) for split in Split]
        current = pane.example.split.value if pane.example else ""
        pane.app.push_screen(ChooseDialog("Split", choices, current=current), chosen)

    def dataset(self) -> None:
        """Which dataset is shown; this one decides nothing."""
        pane = self._pane
        store = pane.bench.store

        def read() -> list[Choice]:
            named = [Choice(d.name, d.name, f"{d.total:,} rows, {d.pending:,} pending") for d in store.datasets.list()]
            return [Choice("", "all datasets"), *named]

        def chosen(name: str | None) -> None:
            if name is not None:
                pane.show_dataset(name)

        def ask(choices: list[Choice]) -> None:
            pane.app.push_screen(ChooseDialog("Dataset", choices, current=pane.dataset or ""), chosen)

        pane.run_flow(read, ask)
