"""The composer's text: a draft of its chat that neither a kill nor another chat takes; and what was said before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from workbench.tui.screens.chat_waiting import draft_key, joined, waiting_key

if TYPE_CHECKING:
    from workbench.tui.screens.chat import ChatPane


class ChatHistory:
    """What was said to models before, in any chat, brought back into the composer one by one."""

    def __init__(self, pane: ChatPane) -> None:
        self._pane = pane
        self._texts: list[str] = []
        self._at = 0

    def forget(self) -> None:
        """Something was said, or another chat is shown: what comes next begins at the newest again."""
        self._texts, self._at = [], 0

    async def step(self, steps: int) -> None:
        """Show the earlier (1) or later (-1) one; before the newest stands what was being written."""
        composer = self._pane.composer
        if not self._texts:
            earlier = await asyncio.to_thread(self._pane.bench.store.chats.prompts)
            self._texts, self._at = [composer.text, *earlier], 0
        if self._at == 0:
            self._texts[0] = composer.text
        at = min(max(self._at + steps, 0), len(self._texts) - 1)
        if at == self._at:
            self._pane.notice("there is no earlier message" if steps > 0 else "this is what you were writing")
            return
        self._at = at
        composer.write(self._texts[at])
        composer.move_cursor(composer.document.end)


class ChatDrafts:
    """Saves what stands in the composer, and brings it back with its chat."""

    def __init__(self, pane: ChatPane) -> None:
        self._pane = pane
        self._saved = ""
        self._was_shown = False

    @property
    def key(self) -> str:
        """Where the draft of the shown chat is kept."""
        return draft_key(self._pane.chat.id if self._pane.chat else None)

    def save(self) -> None:
        """Keep the composer's text, if it is not what was kept last."""
        text = self._pane.composer.text
        if text != self._saved:
            self._saved = text
            self._pane.decide(self._keeping(text))

    def _keeping(self, text: str) -> Callable[[], object]:
        key, chat, pane, store = self.key, self._pane.chat, self._pane, self._pane.bench.store

        def keep() -> None:
            with store.write():
                # what waited is in the text, or was sent; what is being sent is stored in the place of its draft
                if chat is not None and not pane.waiting.has(chat.id) and not pane.talk.is_saying(chat.id):
                    store.drafts.delete(waiting_key(chat.id))
                store.drafts.save(key, text) if text else store.drafts.delete(key)

        return keep

    def sent(self) -> None:
        """The text was sent: its draft goes with the message."""
        self._saved = ""

    def took_back(self) -> None:
        """What waited in the shown chat stands in the composer again: it is that chat's draft at once."""
        self._saved = self._pane.composer.text
        self._pane.decide(self._keeping(self._saved))

    def restore(self) -> None:
        """Show the draft of the shown chat, behind what waited there when the bench died."""
        key, composer, pane = self.key, self._pane.composer, self._pane
        chat_id = pane.chat.id if pane.chat else None
        left_behind = chat_id is not None and not pane.waiting.has(chat_id) and not pane.talk.is_saying(chat_id)
        pane.history.forget()
        if self._was_shown:  # before that, it is what was typed while the workspace opened
            composer.load_text("")
        self._was_shown, self._saved = True, ""

        def read() -> str:
            kept = pane.bench.store.drafts
            return joined(kept.get(waiting_key(chat_id)) if left_behind and chat_id else "", kept.get(key))

        def restored(text: str) -> None:
            if key == self.key:
                composer.restore(text)
                self._saved = text

        pane.run_flow(read, restored, group="draft", exclusive=True)

    def closing(self) -> Sequence[Callable[[], object]]:
        """Before the bench closes."""
        text = self._pane.composer.text
        return [self._keeping(text)] if text != self._saved else []
