"""Chat, the home pane: talk to a model, and turn what it says into training data by single keys.

Owns which chat is shown, which answers are on their way, and the drafts. What a gesture means is the flow's business.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from workbench.domain.chats import Chat, ChatTree, Message, Role
from workbench.domain.decisions import Undone
from workbench.domain.serving import EngineStatus
from workbench.flows import chat as flow
from workbench.tui.messages import ChatsChanged, EngineReported, ExamplesChanged, ModelChosen, News
from workbench.tui.pane import Pane
from workbench.tui.safety import cell, safe
from workbench.tui.screens.chat_entries import (
    Setup,
    entries_of,
    facts_of,
    headline,
    last_answer,
    setup_fields,
    setup_from,
)
from workbench.tui.screens.chat_stream import AnswerOver, EngineSpoke, LiveAnswer, failure_text, status_text
from workbench.tui.widgets.composer import Composer
from workbench.tui.widgets.dialogs import Choice, ChooseDialog, FormDialog, TextDialog
from workbench.tui.widgets.rows import Column, RowTable
from workbench.tui.widgets.transcript import Entry, Transcript

DRAFT_S = 2.0
ENGINE_POLL_S = 5.0
STOP_WAIT_S = 2.0
NOTICE_KEY = -1
LIVE_KEY = -2
_IN_TRANSCRIPT = frozenset({"gesture", "sibling", "to_composer"})


class ChatPane(Pane):
    """Chats with models. The composer has the focus; Escape goes to the transcript, where single keys act."""

    title = "Chat"
    letter = "c"
    BINDINGS: ClassVar = [
        Binding(
            "escape",
            "leave_or_stop",
            "Read/Stop",
            id="chat.stop",
            tooltip="Stop the answer; else to and from the transcript",
        ),
        Binding("e", "gesture('edit')", "Edit", id="chat.edit", tooltip="Edit; the original stays, a pair is made"),
        Binding("s", "gesture('keep')", "Save", id="chat.keep", tooltip="Save as a demonstration"),
        Binding("plus", "gesture('up')", "Good", id="chat.up", tooltip="Thumbs up: a judgement, true"),
        Binding("minus", "gesture('down')", "Bad", id="chat.down", tooltip="Thumbs down: a judgement, false"),
        Binding("p", "gesture('pick')", "Pick", id="chat.pick", tooltip="Better than its alternatives: pairs"),
        Binding("left", "sibling(-1)", "Other", id="chat.previous", tooltip="Previous alternative", show=False),
        Binding("right", "sibling(1)", "Other", id="chat.next", tooltip="Next alternative", key_display="← →"),
        Binding("b", "gesture('branch')", "Branch", id="chat.branch", tooltip="Go on from here"),
        Binding("y", "gesture('copy')", "Copy", id="chat.copy", tooltip="Copy this message"),
        Binding("u", "gesture('undo')", "Undo", id="chat.undo", tooltip="Undo the last gesture"),
        Binding("U", "gesture('redo')", "Redo", id="chat.redo", tooltip="Redo", show=False),
        Binding("i,enter", "to_composer", "Write", id="chat.write", tooltip="Back to writing", show=False),
        Binding("ctrl+r", "regenerate", "Regen", id="chat.regenerate", tooltip="Another answer, kept beside this one"),
        Binding("ctrl+s", "keep_last", "Save", id="chat.save", tooltip="Save the last answer as a demonstration"),
        Binding("ctrl+t", "tune", "Tune", id="chat.sampling", tooltip="System prompt and sampling"),
        Binding("ctrl+g", "choose_model", "Model", id="chat.model", tooltip="Talk to another model"),
        Binding("ctrl+n", "new", "New", id="chat.new", tooltip="New chat"),
        Binding("ctrl+l", "sessions", "Chats", id="chat.sessions", tooltip="Earlier chats"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.chat: Chat | None = None
        self.chat_tree: ChatTree | None = None
        self.setup: Setup | None = None
        self.live: dict[int, LiveAnswer] = {}
        self._chats: dict[int, Chat] = {}
        self._marks: dict[int, str] = {}
        self._notice: Entry | None = None
        self._default_model = ""
        self._saved_draft = ""
        self._was_shown = False
        self._engine: EngineStatus | None = None

    def compose(self) -> ComposeResult:
        """Sessions, transcript over composer, facts."""
        columns = [Column[Chat]("Chats", 0, lambda chat: chat.title or "(no title)")]
        columns += [Column[Chat]("", 5, lambda chat: chat.updated_utc[5:10].replace("-", "/"))]
        yield RowTable(columns, self._chat_rows, empty="none yet", id="chat-sessions")
        with Vertical(id="chat-centre"):
            yield Static("opening the workspace…", id="chat-headline", markup=False)
            yield Transcript(id="chat-transcript", empty="Nothing said yet. Write below, Enter sends.")
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
        return self.query_one(Transcript)

    @property
    def composer(self) -> Composer:
        """Where messages are written."""
        return self.query_one(Composer)

    @property
    def sessions(self) -> RowTable[Chat]:
        """The list at the left."""
        return self.query_one("#chat-sessions", RowTable)

    def first_focus(self) -> Widget:
        """Writing comes first."""
        return self.composer

    def text_to_copy(self) -> str:
        """The message under the cursor."""
        message = self._message()
        return message.content if message else ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Single letters work in the transcript only, and gestures on an answer that is finished."""
        if action in _IN_TRANSCRIPT:
            return self.is_attached and self.transcript.has_focus
        return True

    # --- opening and showing -----------------------------------------------------------------------------------

    def _opened(self) -> None:
        self.set_interval(DRAFT_S, self._save_draft)
        self.set_interval(1.0, self._tick)
        self.set_interval(ENGINE_POLL_S, self._poll_engine)
        self._poll_engine()
        bench = self.bench

        def first() -> tuple[list[Chat], ChatTree | None, str]:
            chats = bench.store.chats.list()
            tree = bench.store.chats.tree(chats[0].id) if chats else None
            return chats, tree, bench.settings.chat.model or bench.store.models.default().name

        def show(found: tuple[list[Chat], ChatTree | None, str]) -> None:
            chats, tree, self._default_model = found
            self._list_chats(chats)
            self._show_tree(tree) if tree else self.action_new()

        self.run_flow(first, show, group="open")

    def _chat_rows(self, ids: Sequence[int]) -> list[Chat | None]:
        return [self._chats.get(chat_id) for chat_id in ids]

    def _list_chats(self, chats: Sequence[Chat]) -> None:
        self._chats = {chat.id: chat for chat in chats}
        self.sessions.set_ids(array("q", self._chats), keep=self.chat.id if self.chat else None)

    def _reload_sessions(self) -> None:
        self.run_flow(self.bench.store.chats.list, self._list_chats, group="sessions", exclusive=True)

    def open_chat(self, chat_id: int) -> None:
        """Show a chat; what is being written stays behind as that other chat's draft."""
        self._save_draft()
        self._marks, self._notice = {}, None
        self.run_flow(lambda: self.bench.store.chats.tree(chat_id), self._show_tree, group="chat", exclusive=True)

    def _reload(self, cursor: int | None = None) -> None:
        if self.chat is None:
            return
        chat_id = self.chat.id

        def show(tree: ChatTree) -> None:
            if self.chat is not None and self.chat.id == chat_id:
                self._show_tree(tree, cursor=cursor)

        self.run_flow(lambda: self.bench.store.chats.tree(chat_id), show, group="chat", exclusive=True)

    def _show_tree(self, tree: ChatTree, *, cursor: int | None = None) -> None:
        other = self.chat is None or self.chat.id != tree.chat.id
        self.chat, self.chat_tree, self.setup = tree.chat, tree, Setup.of(tree.chat)
        live = self.live.get(tree.chat.id)
        tip = live.parent_id if live else tree.chat.tip_id
        entries = entries_of(tree, tip, self._marks)
        if self._notice is not None and live is None:
            entries.append(self._notice)
        self.transcript.set_entries(entries, cursor=cursor)
        if live is not None:
            self.transcript.begin(self._live_entry(live))
        if other:
            self._restore_draft()
            self.sessions.cursor = self.sessions.index_of(tree.chat.id) or 0
        self._refresh_headline()

    def _live_entry(self, live: LiveAnswer) -> Entry:
        return Entry(LIVE_KEY, live.model or self._default_model, live.text, live.state, "answer")

    def _refresh_headline(self) -> None:
        if self.setup is not None:
            text = headline(self.chat, self.setup, self._default_model)
            self.query_one("#chat-headline", Static).update(cell(text, max(20, self.size.width - 2)))
        self._refresh_facts()

    def on_resize(self) -> None:
        """The headline is cut to the width."""
        self._refresh_headline()

    @on(Transcript.Moved)
    def _refresh_facts(self) -> None:
        message = self._message()
        text = facts_of(self.chat_tree, message, self.setup) if message and self.chat_tree and self.setup else ""
        self.query_one("#chat-facts-text", Static).update(safe(text))

    def heard(self, news: News) -> None:
        """A model was chosen elsewhere; chats or examples changed there."""
        match news:
            case ModelChosen(model=model):
                self._use_model(model)
            case ExamplesChanged() if self.workbench.front is not self:
                self._marks = {}
            case _:
                pass

    # --- drafts ------------------------------------------------------------------------------------------------

    @property
    def _draft_key(self) -> str:
        return f"chat:{self.chat.id}" if self.chat else "chat:new"

    def _save_draft(self) -> None:
        text = self.composer.text
        if text != self._saved_draft:
            self._saved_draft = text
            key, drafts = self._draft_key, self.bench.store.drafts
            self.decide(lambda: drafts.save(key, text) if text else drafts.delete(key))

    def _restore_draft(self) -> None:
        key = self._draft_key
        if self._was_shown:  # before that, it is what was typed while the workspace opened
            self.composer.load_text("")
        self._was_shown, self._saved_draft = True, ""

        def restore(text: str) -> None:
            if key == self._draft_key:
                self.composer.restore(text)
                self._saved_draft = text

        self.run_flow(lambda: self.bench.store.drafts.get(key), restore, group="draft", exclusive=True)

    # --- sending and streaming ---------------------------------------------------------------------------------

    @on(Composer.Sent)
    def _send(self, event: Composer.Sent) -> None:
        if self.setup is None or (self.chat is not None and self.chat.id in self.live):
            self.composer.restore(event.text)
            self.notice("the answer is still on its way; Esc stops it" if self.setup else "the workspace is opening")
            return
        chat, setup, bench, key, text = self.chat, self.setup, self.bench, self._draft_key, event.text
        self._saved_draft, self._notice = "", None

        def say() -> tuple[ChatTree, Message]:
            target = chat or flow.new_chat(bench, model=setup.model, system=setup.system, sampling=setup.sampling)
            message = flow.say(bench, target.id, text)
            bench.store.drafts.delete(key)
            return bench.store.chats.tree(target.id), message

        def said(result: tuple[ChatTree, Message]) -> None:
            tree, message = result
            if self.chat is chat or (self.chat is not None and self.chat.id == tree.chat.id):
                self.chat = tree.chat
                self._show_tree(tree)
            self._ask(tree.chat.id, message.id, setup.model)
            self._reload_sessions()
            self.tell(ChatsChanged(tree.chat.id))

        def failed(error: BaseException) -> None:
            if key == self._draft_key:  # else the text is still that chat's draft
                self.composer.restore(text)
            self.workbench.report(error)

        self.run_flow(say, said, group="send", failed=failed)

    def _ask_below(self, question: Message) -> None:
        def ask(tree: ChatTree) -> None:
            if self.chat is not None and self.chat.id == tree.chat.id:
                self._show_tree(tree)
            self._ask(question.chat_id, question.id, tree.chat.model)

        self.run_flow(lambda: self.bench.store.chats.tree(question.chat_id), ask, group="chat", exclusive=True)

    def _ask(self, chat_id: int, parent_id: int | None, model: str) -> None:
        """Ask in a chat that need not be the shown one; ``model`` is that chat's, "" the default."""
        if chat_id in self.live:
            self.notice("the answer is still on its way; Esc stops it")
            return
        name = model or self._default_model
        live = self.live[chat_id] = LiveAnswer(chat_id, parent_id, name, self._show_piece)
        self._notice = None
        if self.chat is not None and self.chat.id == chat_id and self.chat_tree is not None:
            self.transcript.set_entries(entries_of(self.chat_tree, parent_id, self._marks))
            self.transcript.begin(self._live_entry(live))
        self.workbench.pump.start()
        self._stream(live)

    @work(thread=True, group="stream", exit_on_error=False)
    def _stream(self, live: LiveAnswer) -> None:
        live.run(self.bench, self.workbench.pump, self.post_message)

    def _show_piece(self, live: LiveAnswer, text: str) -> None:
        if self.chat is not None and self.chat.id == live.chat_id and self.transcript.is_growing:
            self.transcript.append_text(text)

    @on(EngineSpoke)
    def _engine_spoke(self, event: EngineSpoke) -> None:
        self._show_engine(event.status)
        for live in self.live.values():
            live.waits_for = status_text(event.status) if not live.text else live.waits_for
        self._tick()

    @on(AnswerOver)
    def _answer_over(self, event: AnswerOver) -> None:
        live = event.live
        self.workbench.pump.flush()
        self.live.pop(live.chat_id, None)
        if not self.live:
            self.workbench.pump.stop()
        self._poll_engine()
        if event.error is not None:
            head, text = failure_text(event.error)
            self._notice = Entry(NOTICE_KEY, head, text, tone="bad", markdown=False)
            self.notice(event.error.message, "warning")
        if self.chat is not None and self.chat.id == live.chat_id:
            self._reload(cursor=event.message.id if event.message else None)
        self._reload_sessions()

    def _tick(self) -> None:
        live = self.live.get(self.chat.id) if self.chat else None
        if live is not None:
            self.transcript.retitle(live.state)

    def _poll_engine(self) -> None:
        self.run_flow(self.bench.engine.status, self._show_engine, group="engine", exclusive=True)

    def _show_engine(self, status: EngineStatus) -> None:
        self.workbench.set_fact("engine", status_text(status))
        if status != self._engine:
            self._engine = status
            self.tell(EngineReported(status))

    def can_stop(self) -> bool:
        """True while this chat's answer is on its way."""
        return self.chat is not None and self.chat.id in self.live

    def stop(self) -> None:
        """Stop it; what has arrived stays."""
        if self.chat is not None and (live := self.live.get(self.chat.id)):
            live.cancelled.set()
            self._tick()

    def closing(self) -> Sequence[Callable[[], object]]:
        """Before the bench closes: stop every answer, keep the draft, and give them a moment to be stored."""
        lives = list(self.live.values())
        for live in lives:
            live.cancelled.set()
        key, text, drafts = self._draft_key, self.composer.text, self.bench.store.drafts
        return [
            partial(drafts.save, key, text) if text else partial(drafts.delete, key),
            *(partial(live.over.wait, STOP_WAIT_S) for live in lives),
        ]

    # --- keys --------------------------------------------------------------------------------------------------

    def action_leave_or_stop(self) -> None:
        """Escape: stop what streams, else switch between writing and reading."""
        if self.can_stop():
            self.stop()
        elif self.transcript.has_focus:
            self.composer.focus()
        else:
            self.transcript.focus()

    @on(Composer.Left)
    def _left_composer(self) -> None:
        self.action_leave_or_stop()

    def action_to_composer(self) -> None:
        """Back to writing."""
        self.composer.focus()

    def action_new(self) -> None:
        """An empty chat; it is stored with its first message."""
        if self.chat_tree is not None:
            self._save_draft()
        defaults = self.bench.settings.chat
        if self.setup is None:
            self.setup = Setup(defaults.model, "", defaults.sampling)
        self.chat = self.chat_tree = self._notice = None
        self._marks = {}
        self.transcript.set_entries([])
        self._restore_draft()
        self._refresh_headline()
        if self.workbench.front is self:  # the workspace may open when another pane already has the keys
            self.composer.focus()

    def action_sessions(self) -> None:
        """The list when it is shown, else a dialog."""
        if self.sessions.display and self.sessions.region:
            self.sessions.focus()
            return
        choices = [
            Choice(str(chat.id), chat.title or "(no title)", f"{chat.model}  {chat.updated_utc[:10]}")
            for chat in self._chats.values()
        ]

        def chosen(answer: str | None) -> None:
            if answer:
                self.open_chat(int(answer))

        current = str(self.chat.id) if self.chat else ""
        self.app.push_screen(ChooseDialog("Chats", choices, current=current), chosen)

    @on(RowTable.Chosen, "#chat-sessions")
    def _session_chosen(self, event: RowTable.Chosen) -> None:
        self.open_chat(event.row_id)
        self.composer.focus()

    def action_regenerate(self) -> None:
        """Another answer to the same question; both stay, as siblings."""
        if self.chat is None or self.chat_tree is None:
            return
        message = self._message() if self.transcript.has_focus else None
        if message is None:
            path = self.chat_tree.path()
            message = path[-1] if path else None
        if message is not None:
            parent = message.id if message.role is Role.USER else message.parent_id
            self._ask(self.chat.id, parent, self.setup.model if self.setup else "")

    def action_tune(self) -> None:
        """System prompt and sampling of this chat."""
        if (setup := self.setup) is None:
            return

        def tuned(changed: Setup | None) -> None:
            if changed is not None:
                self._change_setup(changed)

        dialog = FormDialog(
            "System prompt and sampling", setup_fields(setup), lambda values: setup_from(values, setup.model)
        )
        self.app.push_screen(dialog, tuned)

    def action_choose_model(self) -> None:
        """Another model for this chat, from now on."""

        def ask(choices: list[Choice]) -> None:
            current = (self.setup.model if self.setup else "") or self._default_model
            self.app.push_screen(ChooseDialog("Model", choices, current=current), self._use_model)

        store = self.bench.store
        self.run_flow(
            lambda: [Choice(m.name, m.name, f"{m.kind.value} {m.base}".strip()) for m in store.models.speakers()], ask
        )

    def _use_model(self, name: str | None) -> None:
        if name and self.setup is not None:
            self._change_setup(Setup(name, self.setup.system, self.setup.sampling))

    def _change_setup(self, setup: Setup) -> None:
        self.setup = setup
        self._refresh_headline()
        if (chat := self.chat) is not None:
            update = self.bench.store.chats.update
            self.decide(
                lambda: update(chat.id, system=setup.system, model=setup.model, sampling=setup.sampling),
                lambda _: self._reload(),
            )

    # --- gestures ----------------------------------------------------------------------------------------------

    def path(self) -> tuple[Message, ...]:
        """The messages that are shown, without what is on its way."""
        return self.chat_tree.path() if self.chat_tree is not None else ()

    def _message(self) -> Message | None:
        key = self.transcript.current_key
        return self.chat_tree.messages.get(key) if self.chat_tree is not None and key is not None else None

    def action_keep_last(self) -> None:
        """Save the answer under the cursor, or from the composer the last one."""
        if self.chat_tree is None:
            self.notice("there is no answer yet", "warning")
            return
        message = self._message() if self.transcript.has_focus else last_answer(self.chat_tree.path())
        if message is not None:
            self._gesture(lambda: flow.keep(self.bench, message.id), message, "kept")

    def action_gesture(self, name: str) -> None:
        """One of the transcript's single keys, on the message under the cursor."""
        bench, message = self.bench, self._message()
        if name in {"undo", "redo"}:
            self._undo(flow.undo if name == "undo" else flow.redo, "undone" if name == "undo" else "done again")
        elif message is None:
            self.notice("move to a message first (j, k)")
        elif name == "edit":
            self._edit(message)
        elif name == "keep":
            self._gesture(lambda: flow.keep(bench, message.id), message, "kept")
        elif name in {"up", "down"}:
            self._gesture(lambda: flow.thumb(bench, message.id, up=name == "up"), message, "+" if name == "up" else "-")
        elif name == "pick":
            self._gesture(lambda: flow.pick(bench, message.id), message, "picked")
        elif name == "branch":
            self._branch(message)
        elif name == "copy":
            self.app.copy_to_clipboard(message.content)

    def _gesture(self, act: Callable[[], flow.Gesture], message: Message, mark: str) -> None:
        def made(gesture: flow.Gesture) -> None:
            self._marks[message.id] = mark
            said, bracket, aside = gesture.said.partition(" (")
            self.notice(f"{said}; u undoes{bracket}{aside}" if gesture.examples else gesture.said)
            self.tell(ExamplesChanged(tuple(example.id for example in gesture.examples)))
            about = gesture.message or message
            self._reload(cursor=about.id)
            if gesture.message is not None and about.id != message.id and about.role is Role.USER:
                self._ask_below(about)  # an edited question wants its answer

        self.decide(act, made)

    def _edit(self, message: Message) -> None:
        def edited(text: str | None) -> None:
            if text is not None and text != message.content:
                self._gesture(lambda: flow.edit(self.bench, message.id, text), message, "")

        what = "answer" if message.role is Role.ASSISTANT else "message"
        self.app.push_screen(
            TextDialog(f"Edit this {what} (the original stays)", value=message.content, lines=True), edited
        )

    def _undo(self, act: Callable[..., Undone | None], word: str) -> None:
        def done(result: Undone | None) -> None:
            if result is None:
                self.notice(f"nothing left to be {word}")
                return
            self._marks = {}
            self.notice(f"{word}: {result.text}")
            self.tell(ExamplesChanged(result.example_ids))
            self._reload()

        self.decide(lambda: act(self.bench), done)

    def action_sibling(self, steps: int) -> None:
        """Show the next or previous alternative, with what was said below it."""
        message = self._message()
        if message is None or self.chat_tree is None:
            return
        siblings = self.chat_tree.siblings(message.id)
        if len(siblings) < 2:
            self.notice("there is no other answer here; Ctrl+R asks for one")
            return
        other = siblings[(siblings.index(message) + steps) % len(siblings)]
        self._move_tip(lambda: flow.show_sibling(self.bench, other.id), other.id, "")

    def _branch(self, message: Message) -> None:
        """Go on from an answer, or ask a question differently: its text comes back into an empty composer."""
        cursor: int | None = message.id
        said = "the next message goes on from here"
        if message.role is Role.USER:
            cursor, said = message.parent_id, "ask differently: the next message takes this one's place in a branch"
            self.composer.restore(message.content)
        self._move_tip(lambda: flow.branch(self.bench, message.id), cursor, said)
        self.composer.focus()

    def _move_tip(self, act: Callable[[], object], cursor: int | None, said: str) -> None:
        def moved(_result: object) -> None:
            if said:
                self.notice(said)
            self._reload(cursor=cursor)

        self.decide(act, moved)
