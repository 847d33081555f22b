"""What single keys do with the message under the cursor: gestures that make examples, alternatives, branches.

What a gesture means is the flow's business; which message is meant, and what is shown afterwards, is asked and said
here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from workbench.domain.chats import Message, Role
from workbench.domain.decisions import Undone
from workbench.flows import chat as flow
from workbench.flows import several
from workbench.tui.messages import ExamplesChanged
from workbench.tui.screens.chat_dialogs import CorrectionDialog, RankDialog, TreeDialog
from workbench.tui.screens.chat_entries import last_answer
from workbench.tui.screens.chat_talk import LIVE_KEY
from workbench.tui.widgets.editor import externally_edited

if TYPE_CHECKING:
    from workbench.tui.screens.chat import ChatPane

_NOWHERE = "move to a message first (j, k)"
_COMING = "this answer is still on its way: again when it is there"


class ChatGestures:
    """One method for each kind of gesture."""

    def __init__(self, pane: ChatPane) -> None:
        self._pane = pane
        self._open: tuple[str, CorrectionDialog] | None = None

    def keep_last(self) -> None:
        """Save the answer under the cursor, or from the composer the last one."""
        pane = self._pane
        if pane.chat_tree is None:
            pane.notice("there is no answer yet", "warning")
            return
        message = pane.message_here() if pane.transcript.has_focus else last_answer(pane.chat_tree.path())
        if message is not None:
            self.gesture(lambda: flow.keep(pane.bench, message.id), message, "kept")

    async def do(self, name: str) -> None:
        """One of the transcript's single keys, on the message under the cursor."""
        pane = self._pane
        bench, message = pane.bench, pane.message_here()
        if name in {"undo", "redo"}:
            if name == "undo" and pane.list.undo():
                return
            self._undo(flow.undo if name == "undo" else flow.redo, "undone" if name == "undo" else "done again")
        elif message is None:
            is_coming = pane.transcript.current_key == LIVE_KEY
            pane.notice(_COMING if is_coming else _NOWHERE)
        elif name == "edit":
            await self._edit(message)
        elif name == "go_on":
            self._go_on(message)
        elif name == "external":
            self._edit_externally(message)
        elif name == "rank":
            self._rank(message)
        elif name == "keep":
            self.gesture(lambda: flow.keep(bench, message.id), message, "kept")
        elif name in {"up", "down"}:
            self.gesture(lambda: flow.thumb(bench, message.id, up=name == "up"), message, "+" if name == "up" else "-")
        elif name == "pick":
            self.gesture(lambda: flow.pick(bench, message.id), message, "picked")
        elif name == "branch":
            self._branch(message)
        elif name == "copy":
            pane.app.copy_to_clipboard(message.content)

    def gesture(self, act: Callable[[], flow.Gesture], message: Message, mark: str) -> None:
        """Do it, in the order of the keys; then say what came of it, and show it."""
        pane = self._pane

        def made(gesture: flow.Gesture) -> None:
            pane.list.is_newest = False
            pane.marks[message.id] = mark
            said, bracket, aside = gesture.said.partition(" (")
            pane.notice(f"{said}; {pane.undo_keys} undoes{bracket}{aside}" if gesture.examples else gesture.said)
            pane.tell(ExamplesChanged(tuple(example.id for example in gesture.examples)))
            about = gesture.message or message
            pane.reload(cursor=about.id)
            if gesture.message is not None and about.id != message.id and about.role is Role.USER:
                pane.talk.ask_below(about)  # an edited question wants its answer

        pane.decide(act, made)

    async def _edit(self, message: Message) -> None:
        pane, key, drafts = self._pane, f"edit:message:{message.id}", self._pane.bench.store.drafts
        # read now: a dialog that opened later would miss the keys typed behind its own
        draft = await asyncio.to_thread(drafts.get, key)
        title = f"Edit this {_named(message)} (the original stays)"

        def keep(text: str) -> None:
            pane.decide(lambda: drafts.save(key, text) if text else drafts.delete(key))

        def save(text: str) -> flow.Gesture:
            made = flow.edit(pane.bench, message.id, text, note=dialog.note)
            drafts.delete(key)
            return made

        def edited(text: str | None) -> None:
            self._open = None
            if text is not None and dialog.goes_on:  # the draft stays until there is more than it
                pane.talk.go_on(message, text, lambda: keep(""))
            elif text is not None:
                self.gesture(lambda: save(text), message, "")
            elif dialog.kept:
                pane.notice(f"not saved: e goes on with your draft of this {_named(message)}")

        dialog = CorrectionDialog(
            title, value=message.content, draft=draft, keep=keep, notes=message.role is Role.ASSISTANT
        )
        self._open = (key, dialog)
        pane.app.push_screen(dialog, edited)

    def _go_on(self, message: Message) -> None:
        if message.role is not Role.ASSISTANT:
            self._pane.notice("the model goes on with answers; this is a message", "warning")
            return
        self._pane.talk.go_on(message, message.content)

    def closing(self) -> Sequence[Callable[[], object]]:
        """Keep what stands in the editor when the app is left."""
        if self._open is None or not self._open[1].is_mounted or not self._open[1].draft:
            return ()
        key, dialog = self._open
        return (partial(self._pane.bench.store.drafts.save, key, dialog.draft),)

    def _edit_externally(self, message: Message) -> None:
        pane = self._pane
        text = externally_edited(pane.app, message.content)
        if text is not None and text.strip():
            self.gesture(lambda: flow.edit(pane.bench, message.id, text), message, "")
        elif text is None:
            pane.notice("the text is as it was: nothing to store")

    def _rank(self, message: Message) -> None:
        pane = self._pane
        if pane.chat_tree is None:
            return
        answers = [one for one in pane.chat_tree.siblings(message.id) if one.content.strip()]
        if message.role is not Role.ASSISTANT or len(answers) < 2:
            pane.notice("there is nothing to rank here; 4 asks for four answers at once")
            return
        prompt = pane.chat_tree.prompt_for(message.id)[-1].content

        def ranked(order: list[list[int]] | None) -> None:
            if order:
                self.gesture(lambda: several.rank(pane.bench, order), message, "ranked")

        pane.app.push_screen(RankDialog(answers, prompt=" ".join(prompt.split())[:300]), ranked)

    def tree(self) -> None:
        """Every branch of the chat, to walk to one."""
        pane = self._pane
        if pane.chat_tree is None or not pane.chat_tree.messages:
            pane.notice("nothing was said here yet")
            return
        messages = pane.chat_tree.messages

        def chosen(answer: tuple[str, int] | None) -> None:
            if answer is None:
                return
            what, message_id = answer
            if what == "branch":
                self._branch(messages[message_id])
            else:
                self.move_tip(lambda: flow.show_sibling(pane.bench, message_id), message_id, "")

        pane.app.push_screen(TreeDialog(pane.chat_tree, cursor=pane.transcript.current_key), chosen)

    def _undo(self, act: Callable[..., Undone | None], word: str) -> None:
        pane = self._pane

        def done(result: Undone | None) -> None:
            if result is None:
                pane.notice(f"nothing left to be {word}")
                return
            pane.marks = {}
            pane.notice(f"{word}: {result.text}")
            pane.tell(ExamplesChanged(result.example_ids))
            pane.reload()

        pane.decide(lambda: act(pane.bench), done)

    def sibling(self, steps: int) -> None:
        """Show the next or previous alternative, with what was said below it."""
        pane = self._pane
        message = pane.message_here()
        if message is None or pane.chat_tree is None:
            return
        siblings = pane.chat_tree.siblings(message.id)
        if len(siblings) < 2:
            pane.notice("there is no other answer here; Ctrl+R asks for one")
            return
        other = siblings[(siblings.index(message) + steps) % len(siblings)]
        self.move_tip(lambda: flow.show_sibling(pane.bench, other.id), other.id, "")

    def _branch(self, message: Message) -> None:
        """Go on from an answer, or ask a question differently: its text comes back into an empty composer."""
        pane = self._pane
        cursor: int | None = message.id
        said = "the next message goes on from here"
        if message.role is Role.USER:
            cursor, said = message.parent_id, "ask differently: the next message takes this one's place in a branch"
            pane.composer.restore(message.content)
        self.move_tip(lambda: flow.branch(pane.bench, message.id), cursor, said)
        pane.composer.focus()

    def move_tip(self, act: Callable[[], object], cursor: int | None, said: str) -> None:
        """Stand elsewhere in the tree of the chat, with the cursor on a message."""
        pane = self._pane

        def moved(_result: object) -> None:
            if said:
                pane.notice(said)
            pane.reload(cursor=cursor)

        pane.decide(act, moved)


def _named(message: Message) -> str:
    return "answer" if message.role is Role.ASSISTANT else "message"
