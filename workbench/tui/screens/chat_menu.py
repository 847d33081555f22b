"""What Chat can do beside its keys, as a list to choose from: presets, files, chats of others, what was put away."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.counting import counted
from workbench.errors import DataError
from workbench.flows import chats as flow
from workbench.tui.messages import ChatsChanged
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, TextDialog
from workbench.tui.widgets.editor import LONGEST_LINE

if TYPE_CHECKING:
    from workbench.tui.screens.chat import ChatPane


class ChatMenu:
    """The list, and the questions that some of it asks."""

    def __init__(self, pane: ChatPane) -> None:
        self._pane = pane

    def _entries(self) -> dict[str, tuple[str, str, Callable[[], object]]]:
        """Name, detail and what is done, in the order of the list."""
        pane = self._pane
        return {
            "presets": ("Presets", "system prompt and sampling under a name", pane.asks.presets),
            "attach": ("Attach a file", "its text goes into the message", self._attach),
            "external": ("Write in $EDITOR", "^x ^e in the composer", pane.composer.edit_externally),
            "find": ("Find in all chats", "/", pane.list.find),
            "tree": ("Branches", "t in the transcript", pane.action_tree),
            "rename": ("Name this chat", "N", partial(pane.list.act, "rename")),
            "archive": ("Put this chat away, or back", "Z", partial(pane.list.act, "archive")),
            "delete": ("Delete this chat", "D; u undoes", partial(pane.list.act, "delete")),
            "archived": ("Chats that were put away", "again: the others", pane.list.toggle_archived),
            "batch": ("Run prompts through a model", "in the background", pane.batches.ask),
            "batches": ("Batches", "how far they are; stop, go on", pane.batches.choose),
            "import": ("Import chats", "from a file of another program", self._import),
        }

    def open(self) -> None:
        """Ask what to do."""
        entries = self._entries()
        choices = [Choice(name, label, detail) for name, (label, detail, _) in entries.items()]

        def chosen(name: str | None) -> None:
            if name:
                entries[name][2]()

        self._pane.app.push_screen(ChooseDialog("Chat", choices), chosen)

    def _attach(self) -> None:
        pane = self._pane

        def read(name: str) -> str:
            text = flow.attached(Path(name.strip()).expanduser())
            if max(map(len, text.split("\n"))) > LONGEST_LINE:
                raise DataError(
                    f"{name} has a line of more than {LONGEST_LINE:,} characters", hint="wrap its lines first"
                )
            return text

        def put(text: str) -> None:
            before = pane.composer.text
            pane.composer.write(f"{before}\n\n{text}\n" if before.strip() else f"{text}\n")
            pane.composer.move_cursor(pane.composer.document.end)
            pane.composer.focus()
            pane.notice("attached; Enter sends it with what you write")

        def named(name: str | None) -> None:
            if name and name.strip():
                pane.run_flow(lambda: read(name), put, group="attach")

        pane.app.push_screen(TextDialog("Attach a text file", placeholder="path", path=True), named)

    def _import(self) -> None:
        pane = self._pane

        def taken(made: flow.ImportedChats) -> None:
            others = f"; {counted(made.skipped, 'rows')} made none: {made.reasons[0]}" if made.skipped else ""
            count = len(made.chats)
            pane.notice(f"{count:,} chat{'' if count == 1 else 's'} from {made.format}{others}")
            pane.tell(ChatsChanged())
            pane.list.reload()
            if made.chats:
                pane.open_chat(made.chats[-1].id)

        def named(name: str | None) -> None:
            if name and name.strip():
                pane.notice("reading …")
                path = Path(name.strip()).expanduser()
                pane.run_flow(lambda: flow.import_chats(pane.bench, path), taken, group="import")

        pane.app.push_screen(TextDialog("Import chats from", placeholder="path of a file", path=True), named)
