"""The dialogs of Chat: an answer corrected with a note, answers put into order, the tree of branches, a search.

They ask and show; what is done with their answers is decided by whoever opened them.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from functools import partial

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Input

from workbench.domain.chats import ChatTree, Hit, Message, OutlineRow, Role
from workbench.errors import DataError, WorkbenchError
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, Dialog
from workbench.tui.widgets.drafted import DraftedDialog
from workbench.tui.widgets.editor import Editor
from workbench.tui.widgets.folding import said_line
from workbench.tui.widgets.rows import Column, RowTable
from workbench.tui.widgets.transcript import Entry, Transcript
from workbench.tui.work import begin

_SIGNS = {Role.USER: "you", Role.ASSISTANT: "", Role.SYSTEM: "system", Role.TOOL: "tool"}


class CorrectionDialog(DraftedDialog):
    """A better text in the place of an answer, and below it what was wrong with the answer.

    ``goes_on`` is True when the text is a beginning, from which the model is to go on.
    """

    BINDINGS = [Binding("ctrl+g", "go_on", "The model goes on", id="edit.go_on", show=False, priority=True)]

    DEFAULT_CSS = """
    CorrectionDialog Editor { height: 50vh; }
    """

    def __init__(self, title: str, *, value: str, draft: str, keep: Callable[[str], None], notes: bool) -> None:
        super().__init__(title, value=value, draft=draft, check=_check_text, keep=keep)
        self.note, self._notes, self.goes_on = "", notes, False
        if notes:
            self._keys = "^s saves a pair · ^g the model goes on · ^x ^e $EDITOR · Esc cancels"

    def compose_body(self) -> ComposeResult:
        """The editor, and a line for the note."""
        yield from super().compose_body()
        if self._notes:
            yield Input(placeholder="what was wrong (optional; stored with the pair)", id="correction-note")

    def action_go_on(self) -> None:
        """Leave with what stands here as the beginning of an answer."""
        text = self.query_one(Editor).written
        if not self._notes or not text.strip():
            self.show_problem("the model goes on from the beginning of an answer: there is none")
            return
        self.keep_draft()
        self.goes_on = True
        self.dismiss(text)

    def action_accept(self) -> None:
        """The note goes with the text."""
        if self._notes:
            self.note = self.query_one("#correction-note", Input).value
        super().action_accept()


def _check_text(text: str) -> None:
    if not text.strip():
        raise DataError("the edited text is empty")


class RankDialog(Dialog[list[list[int]]]):
    """Answers below one another; a digit is the place of the one under the cursor, and goes on to the next."""

    BINDINGS = [
        *(
            Binding(str(n), f"place({n})", "Place", id=f"rank.place_{n}", show=False, tooltip=f"Put it in place {n}")
            for n in range(1, 10)
        ),
        Binding("0,x", "place(0)", "Leave out", id="rank.leave_out", show=False, tooltip="Leave it out"),
        Binding("z", "fold", "Fold", id="rank.fold", show=False, tooltip="Show thoughts and tool calls, or fold them"),
        Binding("enter,ctrl+s", "accept", "Done", id="rank.accept", priority=True),
    ]
    DEFAULT_CSS = """
    RankDialog > Vertical { width: 108; }
    RankDialog Transcript { height: 72vh; background: $surface; }
    """

    def __init__(self, messages: Sequence[Message], *, prompt: str) -> None:
        keys = "1 best … 9 · the same: a tie · 0 leaves out · Enter makes the pairs"
        super().__init__(f"Rank {len(messages)} answers", text=prompt, keys=keys)
        self._messages = list(messages)
        self._places: dict[int, int] = {}

    def compose_body(self) -> ComposeResult:
        """The answers, without the models' names: they would rank themselves."""
        yield Transcript(follow=False, folds=True, id="rank-answers")

    def on_mount(self) -> None:
        """Show them; the keys go to the list."""
        self._show(0)
        self.query_one(Transcript).focus()

    def _show(self, cursor: int) -> None:
        entries = [
            Entry(message.id, f"answer {number}", message.content, self._place_text(message), self._tone(message))
            for number, message in enumerate(self._messages, start=1)
        ]
        answers = self.query_one(Transcript)
        answers.set_entries(entries)
        answers.move_to(cursor)

    def _place_text(self, message: Message) -> str:
        place = self._places.get(message.id)
        return "" if place is None else "left out" if place == 0 else f"place {place}"

    def _tone(self, message: Message) -> str:
        place = self._places.get(message.id)
        return "quiet" if place is None or place == 0 else "good" if place == 1 else "answer"

    def action_fold(self) -> None:
        """What the model thought."""
        self.query_one(Transcript).fold()

    def action_place(self, place: int) -> None:
        """Put the answer under the cursor there, and go on."""
        answers = self.query_one(Transcript)
        if (key := answers.current_key) is not None:
            self._places[key] = place
            self._show(min(answers.cursor + 1, len(self._messages) - 1))
            self.show_problem("")

    def action_accept(self) -> None:
        """The order, if it is one."""
        order = [
            [m.id for m in self._messages if self._places.get(m.id) == place]
            for place in sorted({place for place in self._places.values() if place})
        ]
        if len(order) < 2:
            self.show_problem("give a better answer a lower digit than a worse one")
        else:
            self.dismiss(order)


class TreeDialog(Dialog[tuple[str, int]]):
    """Every branch of a chat; Enter shows the branch of a message, b goes on from it."""

    BINDINGS = [Binding("b", "choose('branch')", "Branch", id="tree.branch", tooltip="Go on from this message")]
    DEFAULT_CSS = """
    TreeDialog > Vertical { width: 108; }
    TreeDialog RowTable { height: 66vh; background: $surface; }
    """

    def __init__(self, tree: ChatTree, *, cursor: int | None) -> None:
        super().__init__("Branches", keys="● shown · ↑ ↓ · Enter shows it · b goes on from it · Esc closes")
        self._rows = {row.message.id: row for row in tree.outline()}
        self._cursor = cursor

    def compose_body(self) -> ComposeResult:
        """A line for every message."""
        columns = [
            Column[OutlineRow]("", 2, lambda row: "●" if row.on_path else ""),
            Column[OutlineRow]("message", 0, _outline_text),
        ]
        yield RowTable(columns, lambda ids: [self._rows.get(one) for one in ids], id="tree-rows")

    def on_mount(self) -> None:
        """Stand on the message that was under the cursor."""
        self.query_one(RowTable).set_ids(array("q", self._rows), keep=self._cursor)
        self.query_one(RowTable).focus()

    @on(RowTable.Chosen)
    def _chosen(self) -> None:
        self.action_choose("show")

    def action_choose(self, what: str) -> None:
        """Leave with what to do at the message under the cursor."""
        if (message_id := self.query_one(RowTable).current_id) is not None:
            self.dismiss((what, message_id))


def _outline_text(row: OutlineRow) -> str:
    message = row.message
    who = message.generation.model if message.generation else _SIGNS[message.role] or "edited"
    return f"{row.guide}{who}: {said_line(message.content)}"


class FindDialog(ChooseDialog):
    """A search over all chats, done again with every key; Enter goes where the words stand."""

    def __init__(self, find: Callable[[str], list[Hit]]) -> None:
        super().__init__("Find in all chats", [], text="")
        self._find = find
        self._hits: list[Hit] = []
        self._found_for: str | None = None
        self._take_when_found = False

    def hit(self, value: str) -> Hit:
        """The hit that was chosen."""
        return self._hits[int(value)]

    def _fill(self, wanted: str) -> None:
        begin(self, partial(self._look, wanted), exclusive=True, group="find")

    async def _look(self, wanted: str) -> None:
        try:
            self._hits = await asyncio.to_thread(self._find, wanted)
        except WorkbenchError as error:
            self.show_problem(error.message)
            return
        self._found_for = wanted
        self._choices = [Choice(str(at), *_hit_text(hit)) for at, hit in enumerate(self._hits)]
        super()._fill("")
        if self._take_when_found:
            self._take_when_found = False
            super().take()

    def take(self) -> None:
        """Leave with the hit that is highlighted, once what was typed has been looked for."""
        if self._found_for == self.query_one(Input).value:
            super().take()
        else:
            self._take_when_found = True


def _hit_text(hit: Hit) -> tuple[str, str]:
    where = f"{hit.chat.title or '(no title)'}{' (archived)' if hit.chat.archived else ''}"
    return where, "" if hit.message_id is None else " ".join(hit.text.split())
