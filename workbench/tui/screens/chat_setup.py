"""How the shown chat is asked: its model, system prompt and sampling, changed by dialogs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.tui.screens.chat_entries import Setup, setup_fields, setup_from
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, FormDialog

if TYPE_CHECKING:
    from workbench.tui.screens.chat import ChatPane


class ChatSetup:
    """The questions, and what their answers change."""

    def __init__(self, pane: ChatPane) -> None:
        self._pane = pane

    def tune(self) -> None:
        """System prompt and sampling of this chat."""
        if (setup := self._pane.setup) is None:
            return

        def tuned(changed: Setup | None) -> None:
            if changed is not None:
                self._change(changed)

        dialog = FormDialog(
            "System prompt and sampling", setup_fields(setup), lambda values: setup_from(values, setup.model)
        )
        self._pane.app.push_screen(dialog, tuned)

    def choose_model(self) -> None:
        """Another model for this chat, from now on."""
        pane = self._pane

        def ask(choices: list[Choice]) -> None:
            current = (pane.setup.model if pane.setup else "") or pane.default_model
            pane.app.push_screen(ChooseDialog("Model", choices, current=current), self.use_model)

        store = pane.bench.store
        pane.run_flow(
            lambda: [Choice(m.name, m.name, f"{m.kind.value} {m.base}".strip()) for m in store.models.speakers()], ask
        )

    def use_model(self, name: str | None) -> None:
        """This model, if one is named."""
        if name and (setup := self._pane.setup) is not None:
            self._change(Setup(name, setup.system, setup.sampling))

    def _change(self, setup: Setup) -> None:
        pane = self._pane
        pane.setup = setup
        pane.refresh_headline()
        if (chat := pane.chat) is not None:
            update = pane.bench.store.chats.update
            pane.decide(
                lambda: update(chat.id, system=setup.system, model=setup.model, sampling=setup.sampling),
                lambda _: pane.reload(),
            )
