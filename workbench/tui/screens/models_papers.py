"""What is made of a model, by keys of the Models pane: merged weights, a GGUF file, a card; and
whether its weights are whole.

The pane knows which model is meant. The long work is done by child processes, which end with the pane.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from textual.binding import Binding

from workbench.domain.backups import Flaw
from workbench.domain.counting import an, size
from workbench.domain.models import Model, ModelKind
from workbench.errors import RefusedError
from workbench.flows import gguf_export, merging, model_card, verify
from workbench.tui.messages import ModelsChanged
from workbench.tui.pane import Pane
from workbench.tui.safety import safe
from workbench.tui.widgets.dialogs import ConfirmDialog, TextDialog
from workbench.tui.widgets.reading import ReadingDialog


class ModelPapers(Pane):
    """The keys of a pane with a model under its cursor."""

    BINDINGS = [
        Binding("g", "merge", "Merge", show=False, id="model.merge", tooltip="The adapter as a model of its own"),
        Binding("x", "export", "Export", show=False, id="model.export", tooltip="The model as one GGUF file"),
        Binding("v", "verify", "Verify", show=False, id="model.verify", tooltip="Are its weights those registered?"),
        Binding("i", "card", "Card", show=False, id="model.card", tooltip="Write and show the model's card"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._over = threading.Event()

    @abstractmethod
    def selected_model(self) -> Model | None:
        """The model under the cursor."""

    @abstractmethod
    def look_now(self, name: str = "") -> None:
        """Read and draw again, with the cursor on a model."""

    def closing(self) -> Sequence[Callable[[], object]]:
        """End what is still being written."""
        self._over.set()
        return super().closing()

    def action_merge(self) -> None:
        """Merge the adapter into its base's weights, after a yes."""
        if (model := self.selected_model()) is None:
            return
        if model.kind is not ModelKind.ADAPTER:
            self.notice(f"{model.name} is {an(model.kind.value)}: only adapters are merged", "warning")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.notice(f"merging {model.name}; its answers are compared before and after …")
                merge = partial(merging.merge, self.bench, model.name, cancelled=self._over)
                self.run_flow(merge, self._merged, group="papers")

        text = f"A whole model is written, as large as {model.base}, and kept only if greedy answers stay the same."
        self.app.push_screen(ConfirmDialog(f"Merge {model.name} into {model.base}?", text=text), answered)

    def _merged(self, made: merging.Merged) -> None:
        self.notice(made.said)
        self.tell(ModelsChanged())
        self.look_now(made.model.name)

    def action_export(self) -> None:
        """Ask for a file, and write the model as GGUF."""
        if (model := self.selected_model()) is None:
            return
        if model.kind is not ModelKind.BASE:
            self.notice(f"{model.name} is {an(model.kind.value)}: g merges an adapter first", "warning")
            return
        place = self.bench.workspace.exports / f"{model.name.replace('/', '-')}.gguf"

        def given(text: str | None) -> None:
            if text and text.strip():
                self.notice(f"writing {model.name} as GGUF …")
                to = Path(text.strip()).expanduser()
                export = partial(gguf_export.export, self.bench, model.name, to, cancelled=self._over)
                self.run_flow(export, self._exported, group="papers")

        text = "For llama.cpp and what is built on it; matrices in half precision. A plain Llama only."
        self.app.push_screen(TextDialog("Export as GGUF", value=str(place), text=text, path=True), given)

    def _exported(self, made: gguf_export.Exported) -> None:
        self.notice(f"written: {made.file} ({size(made.bytes)})")

    def action_verify(self) -> None:
        """Read the model's weights and compare their hash."""
        if (model := self.selected_model()) is None:
            return

        def found(flaws: dict[str, Flaw | None]) -> None:
            if model.name not in flaws:
                self.notice(f"{model.name}: no hash was recorded, its weights were not here", "warning")
            elif (flaw := flaws[model.name]) is not None:
                self.notice(f"{flaw.what} ({flaw.hint})", "error")
            else:
                self.notice(f"the weights of {model.name} are those that were registered")

        self.notice(f"reading the weights of {model.name} …")
        self.run_flow(partial(verify.check_models, [model]), found, group="papers")

    def action_card(self) -> None:
        """Write the card beside the weights where they are ours, and show it."""
        if (model := self.selected_model()) is None:
            return
        dialog = ReadingDialog(f"card of {model.name}", waiting="reading …")
        self.app.push_screen(dialog)

        def write() -> str:
            try:
                made = model_card.write_card(self.bench, model.name)
            except RefusedError as error:
                return f"({error.message})\n\n{model_card.card_text(self.bench, model)}"
            return f"(written: {made.file})\n\n{made.text}"

        self.run_flow(
            write,
            lambda said: dialog.show_content(safe(said)),
            group="papers",
            failed=lambda error: dialog.show_failure(str(error)),
        )
