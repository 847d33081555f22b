"""The composer's text as a draft of the chat that is shown, so that neither a kill nor another chat takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.tui.screens.chat import ChatPane


class ChatDrafts:
    """Saves what stands in the composer, and brings it back with its chat."""

    def __init__(self, pane: ChatPane) -> None:
        self._pane = pane
        self._saved = ""
        self._was_shown = False

    @property
    def key(self) -> str:
        """Where the draft of the shown chat is kept."""
        return f"chat:{self._pane.chat.id}" if self._pane.chat else "chat:new"

    def save(self) -> None:
        """Keep the composer's text, if it is not what was kept last."""
        text = self._pane.composer.text
        if text != self._saved:
            self._saved = text
            self._pane.decide(self._keeping(text))

    def _keeping(self, text: str) -> Callable[[], object]:
        drafts = self._pane.bench.store.drafts
        return partial(drafts.save, self.key, text) if text else partial(drafts.delete, self.key)

    def sent(self) -> None:
        """The text was sent: its draft goes with the message."""
        self._saved = ""

    def restore(self) -> None:
        """Show the draft of the shown chat."""
        key, composer = self.key, self._pane.composer
        if self._was_shown:  # before that, it is what was typed while the workspace opened
            composer.load_text("")
        self._was_shown, self._saved = True, ""

        def restored(text: str) -> None:
            if key == self.key:
                composer.restore(text)
                self._saved = text

        self._pane.run_flow(lambda: self._pane.bench.store.drafts.get(key), restored, group="draft", exclusive=True)

    def closing(self) -> Sequence[Callable[[], object]]:
        """Before the bench closes."""
        return [self._keeping(self._pane.composer.text)]
