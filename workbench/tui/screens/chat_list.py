"""The chats there are: a list at the left, or a dialog where there is no room; and what is done to one whole."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from workbench.domain.chats import Chat, ChatTree
from workbench.domain.moments import on_the_wall
from workbench.errors import NotFoundError
from workbench.flows import chats as flow
from workbench.tui.messages import ChatsChanged
from workbench.tui.screens.chat_dialogs import FindDialog
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, TextDialog
from workbench.tui.widgets.rows import Column

if TYPE_CHECKING:
    from workbench.tui.screens.chat import ChatPane


def columns() -> list[Column[Chat]]:
    """Title and day."""
    return [
        Column[Chat]("Chats", 0, lambda chat: chat.title or "(no title)"),
        Column[Chat]("", 5, lambda chat: _day(chat.updated_utc)),
    ]


def _day(utc: str) -> str:
    """Month and day; the year of one that is not of this year."""
    day = on_the_wall(utc)
    is_this_year = day[:4] == str(datetime.now().astimezone().year)
    return day[5:10].replace("-", "/") if is_this_year else day[:4]


class ChatList:
    """What the list shows, and how one of it is chosen."""

    def __init__(self, pane: ChatPane) -> None:
        self._pane = pane
        self._chats: dict[int, Chat] = {}
        self._undos: list[tuple[str, Callable[[], Chat]]] = []
        self.is_newest = False
        """True when the last thing done was done to a chat, so that ``u`` takes that back."""
        self.archived = False

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
        read = partial(self._pane.bench.store.chats.list, archived=self.archived)
        self._pane.run_flow(read, self.show, group="sessions", exclusive=True)

    def toggle_archived(self) -> None:
        """List the chats that were put away, or the others again."""
        self.archived = not self.archived
        self._pane.notice("the chats that were put away" if self.archived else "the chats")
        self.reload()
        if not (self._pane.sessions.display and self._pane.sessions.region):
            self._pane.run_flow(
                partial(self._pane.bench.store.chats.list, archived=self.archived), self._choose_of, group="sessions"
            )

    # --- what is done to a chat as a whole ----------------------------------------------------------------------

    def act(self, name: str) -> None:
        """Name, put away or delete the chat under the cursor of the list, else the one that is shown."""
        pane = self._pane
        chat = self._chats.get(pane.sessions.current_id or 0) if pane.sessions.has_focus else pane.chat
        if chat is None:
            pane.notice("this chat is not stored before its first message")
        elif name == "rename":
            self._rename(chat)
        elif name == "archive":
            word = "back in the list" if chat.archived else "put away"
            away = not chat.archived
            self._do(
                lambda: flow.archive(pane.bench, chat.id, away=away),
                lambda: flow.archive(pane.bench, chat.id, away=not away),
                f"{_title(chat)} is {word}",
            )
        else:
            self._delete(chat)

    def _rename(self, chat: Chat) -> None:
        bench = self._pane.bench

        def named(title: str | None) -> None:
            if title and title.strip() and title != chat.title:
                self._do(
                    lambda: flow.rename(bench, chat.id, title),
                    lambda: bench.store.chats.update(chat.id, title=chat.title),
                    "renamed",
                )

        self._pane.app.push_screen(TextDialog("Name this chat", value=chat.title), named)

    def _delete(self, chat: Chat) -> None:
        pane = self._pane
        if chat.id in pane.live:
            pane.notice("the answer is still on its way; Esc stops it")
            return
        self._do(
            lambda: flow.discard(pane.bench, chat.id),
            lambda: flow.restore(pane.bench, chat.id),
            f"deleted {_title(chat)}",
        )

    def _do(self, act: Callable[[], Chat], back: Callable[[], Chat], said: str) -> None:
        """Do it in the order of the keys; ``u`` takes it back as long as nothing else was done."""
        pane = self._pane

        def done(chat: Chat) -> None:
            self._undos.append((said, back))
            self.is_newest = True
            pane.notice(f"{said}; {pane.undo_keys} undoes")
            self._changed(chat)

        pane.decide(act, done)

    def _changed(self, chat: Chat) -> None:
        pane = self._pane
        pane.tell(ChatsChanged(chat.id))
        self.reload()
        if not pane.shows(chat.id):
            return

        def look() -> ChatTree | None:
            try:
                return pane.bench.store.chats.tree(chat.id)
            except NotFoundError:  # it was deleted
                return None

        def show(tree: ChatTree | None) -> None:
            if not pane.shows(chat.id):  # another one was opened meanwhile
                return
            if tree is None:
                pane.show_none()
            else:
                pane.show_tree(tree)

        pane.run_flow(look, show, group="chat")

    def undo(self) -> bool:
        """Take back what was done to a chat last; False when something else was done since."""
        if not self.is_newest or not self._undos:
            return False
        said, back = self._undos.pop()
        self.is_newest = bool(self._undos)

        def done(chat: Chat) -> None:
            self._pane.notice(f"undone: {said}")
            self.reload()
            self._pane.open_chat(chat.id)

        self._pane.decide(back, done)
        return True

    def find(self) -> None:
        """Search all chats, and go where the words stand."""
        pane = self._pane
        dialog = FindDialog(lambda text: flow.search(pane.bench, text))

        def chosen(value: str | None) -> None:
            if value is None:
                return
            hit = dialog.hit(value)
            pane.decide(lambda: flow.show_hit(pane.bench, hit), lambda _: pane.open_chat(hit.chat.id, hit.message_id))

        pane.app.push_screen(dialog, chosen)

    # --- choosing one -------------------------------------------------------------------------------------------

    def choose(self) -> None:
        """The list when it is shown, else a dialog."""
        pane = self._pane
        if pane.sessions.display and pane.sessions.region:
            pane.sessions.focus()
            return
        self._choose_of(list(self._chats.values()))

    def _choose_of(self, chats: Sequence[Chat]) -> None:
        pane = self._pane
        choices = [
            Choice(str(chat.id), chat.title or "(no title)", f"{chat.model}  {on_the_wall(chat.updated_utc)[:10]}")
            for chat in chats
        ]

        def chosen(answer: str | None) -> None:
            if answer:
                pane.open_chat(int(answer))

        current = str(pane.chat.id) if pane.chat else ""
        pane.app.push_screen(ChooseDialog("Chats", choices, current=current), chosen)


def _title(chat: Chat) -> str:
    return chat.title or f"chat {chat.id}"
