"""The chats there are: the list at the left, or a dialog where there is no room for one."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.domain.chats import Chat
from workbench.tui.widgets.dialogs import Choice, ChooseDialog
from workbench.tui.widgets.rows import Column

if TYPE_CHECKING:
    from workbench.tui.screens.chat import ChatPane


def columns() -> list[Column[Chat]]:
    """Title and day."""
    return [
        Column[Chat]("Chats", 0, lambda chat: chat.title or "(no title)"),
        Column[Chat]("", 5, lambda chat: chat.updated_utc[5:10].replace("-", "/")),
    ]


class ChatList:
    """What the list shows, and how one of it is chosen."""

    def __init__(self, pane: ChatPane) -> None:
        self._pane = pane
        self._chats: dict[int, Chat] = {}

    def rows(self, ids: Sequence[int]) -> list[Chat | None]:
        """A page of the list."""
        return [self._chats.get(chat_id) for chat_id in ids]

    def show(self, chats: Sequence[Chat]) -> None:
        """List these; the cursor stays on the shown chat."""
        pane = self._pane
        self._chats = {chat.id: chat for chat in chats}
        pane.sessions.set_ids(array("q", self._chats), keep=pane.chat.id if pane.chat else None)

    def reload(self) -> None:
        """Read the chats again."""
        self._pane.run_flow(self._pane.bench.store.chats.list, self.show, group="sessions", exclusive=True)

    def choose(self) -> None:
        """The list when it is shown, else a dialog."""
        pane = self._pane
        if pane.sessions.display and pane.sessions.region:
            pane.sessions.focus()
            return
        choices = [
            Choice(str(chat.id), chat.title or "(no title)", f"{chat.model}  {chat.updated_utc[:10]}")
            for chat in self._chats.values()
        ]

        def chosen(answer: str | None) -> None:
            if answer:
                pane.open_chat(int(answer))

        current = str(pane.chat.id) if pane.chat else ""
        pane.app.push_screen(ChooseDialog("Chats", choices, current=current), chosen)
