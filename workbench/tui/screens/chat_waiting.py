"""What was sent while an answer was still coming: it waits, in sight, and is said when that answer is over.

Owns the waiting texts by chat, and their drafts, so that a kill takes none. Knows no model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Static

from workbench.tui.safety import cell

if TYPE_CHECKING:
    from workbench.tui.screens.chat import ChatPane

LINE_ID = "chat-waiting"
_HINT = "sent after this answer · Esc takes it back"


def draft_key(chat_id: int | None) -> str:
    """Where the text that stands in a chat's composer is kept; None is a chat before its first message."""
    return "chat:new" if chat_id is None else f"chat:{chat_id}"


def waiting_key(chat_id: int) -> str:
    """Where the text that waits in a chat is kept."""
    return f"waiting:{chat_id}"


def joined(*texts: str) -> str:
    """Several texts as one message, each a paragraph."""
    return "\n\n".join(text for text in texts if text.strip())


class ChatWaiting:
    """Texts that wait for the end of an answer, at most one for each chat. The key None is a chat in the making."""

    def __init__(self, pane: ChatPane) -> None:
        self._pane = pane
        self._texts: dict[int | None, str] = {}

    def has(self, chat_id: int | None) -> bool:
        """True while something waits in this chat."""
        return chat_id in self._texts

    def add(self, chat_id: int | None, text: str) -> None:
        """Have ``text`` wait, behind what waits there already."""
        self._texts[chat_id] = joined(self._texts.get(chat_id, ""), text)
        self._keep(chat_id)
        self.show()
        self._pane.notice("your message waits for the end of the answer; Esc takes it back")

    def began(self, chat_id: int) -> None:
        """The chat in the making has its number now."""
        if (text := self._texts.pop(None, None)) is not None:
            self._texts[chat_id] = text
            self._keep(chat_id)
            self.show()

    def _keep(self, chat_id: int | None) -> None:
        if chat_id is None:  # a moment later it has a number
            return
        store, text = self._pane.bench.store, self._texts[chat_id]
        self._pane.drafts.sent()

        def save() -> None:
            with store.write():
                if self._texts.get(chat_id) == text:  # else it was taken from here meanwhile, and so was its draft
                    store.drafts.save(waiting_key(chat_id), text)
                    store.drafts.delete(draft_key(chat_id))

        self._pane.decide(save)  # in its turn: a draft that is kept later is of what was typed later

    def take(self, chat_id: int | None) -> str:
        """The text that waits there, which it does no longer; "" when there is none. Its draft is the taker's."""
        text = self._texts.pop(chat_id, "")
        self.show()
        return text

    def take_back(self) -> bool:
        """What waits in the shown chat stands in the composer again, in front; False when nothing waits."""
        pane = self._pane
        chat_id = pane.chat.id if pane.chat else None
        if not (text := self.take(chat_id)):
            return False
        pane.composer.restore(text)
        pane.drafts.took_back()
        pane.notice("your message is back below; Esc again stops the answer")
        return True

    def give_up(self, chat_id: int) -> None:
        """The answer did not end well: what waited becomes a draft of its chat again."""
        if self._pane.shows(chat_id):
            if text := self.take(chat_id):
                self._pane.composer.restore(text)
                self._pane.drafts.took_back()
        elif text := self._texts.pop(chat_id, ""):
            self.leave(chat_id, text)

    def leave(self, chat_id: int, text: str) -> None:
        """Keep what was not sent as a draft of its chat, which is not shown: it is restored with the chat."""
        drafts = self._pane.bench.store.drafts
        self._pane.decide(lambda: drafts.save(waiting_key(chat_id), text))

    def show(self) -> None:
        """One line over the composer, while something waits in the shown chat."""
        pane = self._pane
        line = pane.query_one(f"#{LINE_ID}", Static)
        text = self._texts.get(pane.chat.id if pane.chat else None, "")
        line.display = bool(text)
        if text:
            room = max(8, pane.composer.size.width - len(_HINT) - 6)
            line.update(f"⏎ {cell(' '.join(text.split()), room)}  {_HINT}")
