"""Chat, the home pane: talk to a model, and turn what it says into training data by single keys.

Owns which chat is shown and where the keys go. Asking, drafts, gestures, setup and the list of chats have a part each;
what a gesture means is the flow's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from workbench.domain.chats import Chat, ChatTree, Message, Role
from workbench.tui.messages import ExamplesChanged, ModelChosen, News
from workbench.tui.pane import Pane
from workbench.tui.safety import cell, safe
from workbench.tui.screens.chat_batches import ChatBatches
from workbench.tui.screens.chat_drafts import ChatDrafts, ChatHistory
from workbench.tui.screens.chat_entries import Setup, entries_of, facts_of, headline
from workbench.tui.screens.chat_gestures import ChatGestures
from workbench.tui.screens.chat_keys import IN_LIST, IN_TRANSCRIPT, KEYS
from workbench.tui.screens.chat_list import ChatList, columns
from workbench.tui.screens.chat_menu import ChatMenu
from workbench.tui.screens.chat_setup import ChatSetup
from workbench.tui.screens.chat_stream import AnswerOver, EngineSpoke, LiveAnswer
from workbench.tui.screens.chat_talk import ChatTalk
from workbench.tui.screens.chat_waiting import LINE_ID, ChatWaiting
from workbench.tui.widgets.composer import Composer
from workbench.tui.widgets.rows import RowTable
from workbench.tui.widgets.transcript import Entry, Transcript

DRAFT_S = 2.0
ENGINE_POLL_S = 5.0
_NOTHING_YET = """\
Nothing said yet. Write below, Enter sends.

Esc goes up to the answers. What you do there becomes training data:
  e    write it better: a pair, your text over the model's
  ^r   another answer beside it; p picks the better one: a pair
  s    keep it as an example      + -   good, bad

Then F3 looks over the data, F5 n trains on it, F6 n compares the new model
with the old one blind, F7 says which is better.

The model that comes with it, pip, knows a small kitchen shop and no more:
ask it how long potatoes take."""


class ChatPane(Pane):
    """Chats with models. The composer has the focus; Escape goes to the transcript, where single keys act."""

    title = "Chat"
    letter = "c"
    BINDINGS: ClassVar = [*KEYS]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.chat: Chat | None = None
        self.chat_tree: ChatTree | None = None
        self.setup: Setup | None = None
        self.marks: dict[int, str] = {}
        self.trouble: Entry | None = None
        self.default_model = ""
        self.talk, self.drafts, self.list = ChatTalk(self), ChatDrafts(self), ChatList(self)
        self._gestures, self.asks, self._menu = ChatGestures(self), ChatSetup(self), ChatMenu(self)
        self.history, self.batches, self.waiting = ChatHistory(self), ChatBatches(self), ChatWaiting(self)

    def compose(self) -> ComposeResult:
        """Sessions, transcript over composer, facts."""
        yield RowTable(columns(), self.list.rows, empty="none yet", id="chat-sessions")
        with Vertical(id="chat-centre"):
            yield Static("opening the workspace…", id="chat-headline", markup=False)
            yield Transcript(id="chat-transcript", folds=True, empty=_NOTHING_YET)
            yield Static(id=LINE_ID, markup=False)
            yield Composer(placeholder="Type a message (Enter sends, Ctrl+J new line, Esc reads)")
        with VerticalScroll(id="chat-facts", can_focus=False):
            yield Static(id="chat-facts-text", markup=False)

    def on_mount(self) -> None:
        """Paint first; read chats when the store is open."""
        self.workbench.call_when_open(self._opened)

    # --- parts -------------------------------------------------------------------------------------------------

    @property
    def transcript(self) -> Transcript:
        """The column of messages."""
        return self.query_one("#chat-transcript", Transcript)

    @property
    def composer(self) -> Composer:
        """Where messages are written."""
        return self.query_one(Composer)

    @property
    def sessions(self) -> RowTable[Chat]:
        """The list at the left."""
        return self.query_one("#chat-sessions", RowTable)

    @property
    def live(self) -> dict[int, LiveAnswer]:
        """The answers that are on their way, by chat."""
        return self.talk.live

    def first_focus(self) -> Widget:
        """Writing comes first."""
        return self.composer

    def text_to_copy(self) -> str:
        """The message under the cursor."""
        message = self.message_here()
        return message.content if message else ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Single letters work in the transcript only, and gestures on an answer that is finished."""
        if action not in IN_TRANSCRIPT:
            return True
        if not self.is_attached:
            return False
        if self.sessions.has_focus:
            return action in IN_LIST or (action == "gesture" and parameters == ("undo",))
        return self.transcript.has_focus

    # --- opening and showing -----------------------------------------------------------------------------------

    def _opened(self) -> None:
        self.set_interval(DRAFT_S, self.drafts.save)
        self.set_interval(1.0, self.talk.tick)
        self.set_interval(ENGINE_POLL_S, self.talk.poll_engine)
        self.talk.poll_engine()
        self.batches.opened()
        bench = self.bench

        def first() -> tuple[list[Chat], ChatTree | None, str]:
            chats = bench.store.chats.list()
            tree = bench.store.chats.tree(chats[0].id) if chats else None
            return chats, tree, bench.settings.chat.model or bench.store.models.default().name

        def show(found: tuple[list[Chat], ChatTree | None, str]) -> None:
            chats, tree, self.default_model = found
            self.list.show(chats)
            self.show_tree(tree) if tree else self.action_new()

        self.run_flow(first, show, group="open")

    def open_chat(self, chat_id: int, cursor: int | None = None) -> None:
        """Show a chat, with the cursor on a message; what is being written stays behind as that other chat's draft."""
        self.drafts.save()
        self.marks, self.trouble = {}, None
        show = partial(self.show_tree, cursor=cursor)
        self.run_flow(lambda: self.bench.store.chats.tree(chat_id), show, group="chat", exclusive=True)

    @property
    def undo_keys(self) -> str:
        """The keys that undo from where the person stands: in the composer ``u`` is a letter.

        While an answer is on its way Escape stops that, or takes back what waits.
        """
        if not self.composer.has_focus:
            return "u"
        return "Shift+Tab u" if self.can_stop() else "Esc u"

    def shows(self, chat_id: int) -> bool:
        """True while this is the chat on the screen."""
        return self.chat is not None and self.chat.id == chat_id

    def reload(self, cursor: int | None = None) -> None:
        """Read the shown chat again; the cursor goes to the message ``cursor`` if given."""
        if self.chat is None:
            return
        chat_id = self.chat.id

        def show(tree: ChatTree) -> None:
            if self.shows(chat_id):
                self.show_tree(tree, cursor=cursor)

        self.run_flow(lambda: self.bench.store.chats.tree(chat_id), show, group="chat", exclusive=True)

    def _is_behind(self, tree: ChatTree) -> bool:
        """True for a tree that was read before the question whose answer is on its way was stored."""
        live = self.live.get(tree.chat.id)
        return live is not None and live.parent_id is not None and live.parent_id not in tree.messages

    def show_tree(self, tree: ChatTree, *, cursor: int | None = None) -> None:
        """Show the branch where the person stood, and below it what is on its way or went wrong."""
        if self._is_behind(tree):
            if not self.shows(tree.chat.id):  # read again, with that question in it
                self.open_chat(tree.chat.id, cursor)
            return
        other = not self.shows(tree.chat.id)
        self.chat, self.chat_tree, self.setup = tree.chat, tree, Setup.of(tree.chat)
        live = self.talk.here
        tip = live.parent_id if live else tree.chat.tip_id
        entries = entries_of(tree, tip, self.marks)
        if self.trouble is not None and live is None:
            entries.append(self.trouble)
        self.transcript.set_entries(entries, cursor=cursor)
        if live is not None:
            self.transcript.begin(self.talk.entry_of(live))
        self.waiting.show()
        if other:
            self.drafts.restore()
            self.sessions.cursor = self.sessions.index_of(tree.chat.id) or 0
        self.refresh_headline()

    def refresh_headline(self) -> None:
        """Say which chat this is and how it is asked."""
        if self.setup is not None:
            text = headline(self.chat, self.setup, self.default_model)
            self.query_one("#chat-headline", Static).update(cell(text, max(20, self.size.width - 2)))
        self._refresh_facts()

    def on_resize(self) -> None:
        """The headline and what waits are cut to the width."""
        self.refresh_headline()
        self.waiting.show()

    @on(Transcript.Moved)
    def _refresh_facts(self) -> None:
        message = self.message_here()
        text = facts_of(self.chat_tree, message, self.setup) if message and self.chat_tree and self.setup else ""
        self.query_one("#chat-facts-text", Static).update(safe(text))

    def heard(self, news: News) -> None:
        """A model was chosen elsewhere; chats or examples changed there."""
        match news:
            case ModelChosen(model=model):
                self.asks.use_model(model)
            case ExamplesChanged() if self.workbench.front is not self:
                self.marks = {}
            case _:
                pass

    # --- asking, and what comes back ---------------------------------------------------------------------------

    @on(Composer.Sent)
    def _send(self, event: Composer.Sent) -> None:
        self.history.forget()
        self.talk.send(event.text)

    @on(Composer.Recalled)
    async def _recalled(self, event: Composer.Recalled) -> None:
        await self.history.step(event.steps)

    @on(EngineSpoke)
    def _engine_spoke(self, event: EngineSpoke) -> None:
        self.talk.engine_spoke(event)

    @on(AnswerOver)
    def _answer_over(self, event: AnswerOver) -> None:
        self.talk.over(event)

    def can_stop(self) -> bool:
        """True while this chat's answer is on its way."""
        return self.talk.here is not None

    def stop(self) -> None:
        """Stop it; what has arrived stays."""
        self.talk.stop()

    def closing(self) -> Sequence[Callable[[], object]]:
        """Before the bench closes: stop every answer, keep the draft, and give them a moment to be stored."""
        return [*self.drafts.closing(), *self._gestures.closing(), *self.talk.closing()]

    # --- keys --------------------------------------------------------------------------------------------------

    def action_leave_or_stop(self) -> None:
        """Escape: take back what waits, else stop what streams, else switch between writing and reading."""
        if self.waiting.take_back():
            pass
        elif self.can_stop():
            self.stop()
        elif self.transcript.has_focus:
            self.composer.focus()
        else:
            self.transcript.focus()

    @on(Composer.Left)
    def _left_composer(self, event: Composer.Left) -> None:
        if event.upwards:
            self.transcript.focus()
        else:
            self.action_leave_or_stop()

    def action_to_composer(self) -> None:
        """Back to writing."""
        self.composer.focus()

    def action_new(self) -> None:
        """An empty chat; it is stored with its first message."""
        self.show_none()
        if self.workbench.front is self:  # the workspace may open when another pane already has the keys
            self.composer.focus()

    def show_none(self) -> None:
        """An empty chat, and the keys stay where they are: ``u`` brings a deleted one back."""
        if self.chat_tree is not None:
            self.drafts.save()
        defaults = self.bench.settings.chat
        if self.setup is None:
            self.setup = Setup(defaults.model, "", defaults.sampling)
        self.chat = self.chat_tree = self.trouble = None
        self.marks = {}
        self.transcript.set_entries([])
        self.waiting.show()
        self.drafts.restore()
        self.refresh_headline()

    def action_sessions(self) -> None:
        """The list when it is shown, else a dialog."""
        self.list.choose()

    @on(RowTable.Chosen, "#chat-sessions")
    def _session_chosen(self, event: RowTable.Chosen) -> None:
        self.open_chat(event.row_id)
        self.composer.focus()

    def action_regenerate(self) -> None:
        """Another answer to the same question; both stay, as siblings. One that is on its way is stopped first."""
        if self.chat is not None and (question := self._question_here()) is not None:
            self.talk.ask_again(self.chat.id, question, self.setup.model if self.setup else "")

    def action_several(self, count: int) -> None:
        """So many other answers at once."""
        if self.chat is not None and (question := self._question_here()) is not None:
            self.talk.ask(self.chat.id, question, self.setup.model if self.setup else "", count=count)

    def _question_here(self) -> int | None:
        """The message that another answer would be to: where the cursor is, else the last one, else none."""
        message = self.message_here() if self.transcript.has_focus else None
        if message is None and (live := self.talk.here) is not None:
            return live.parent_id
        if message is None:
            message = next(reversed(self.path()), None)
        if message is None or message.role is Role.USER:
            return message.id if message else None
        return message.parent_id

    def action_menu(self) -> None:
        """Everything that has no key of its own."""
        self._menu.open()

    def action_find(self) -> None:
        """Search all chats."""
        self.list.find()

    def action_chats(self, name: str) -> None:
        """Name, put away or delete a chat."""
        self.list.act(name)

    def action_tune(self) -> None:
        """System prompt and sampling of this chat."""
        self.asks.tune()

    def action_choose_model(self) -> None:
        """Another model for this chat, from now on."""
        self.asks.choose_model()

    # --- gestures ----------------------------------------------------------------------------------------------

    def path(self) -> tuple[Message, ...]:
        """The messages that are shown, without what is on its way."""
        return self.chat_tree.path() if self.chat_tree is not None else ()

    def message_here(self) -> Message | None:
        """The message under the cursor; None for none, or for one that is not stored yet."""
        key = self.transcript.current_key
        return self.chat_tree.messages.get(key) if self.chat_tree is not None and key is not None else None

    def action_keep_last(self) -> None:
        """Save the answer under the cursor, or from the composer the last one."""
        self._gestures.keep_last()

    async def action_gesture(self, name: str) -> None:
        """One of the transcript's single keys, on the message under the cursor."""
        await self._gestures.do(name)

    def action_tree(self) -> None:
        """Every branch of this chat."""
        self._gestures.tree()

    def action_fold(self) -> None:
        """Show or fold what the model thought and called, in the message under the cursor."""
        if not self.transcript.fold():
            self.notice("there are no thoughts or tool calls in this message")

    def action_sibling(self, steps: int) -> None:
        """Show the next or previous alternative, with what was said below it."""
        self._gestures.sibling(steps)
