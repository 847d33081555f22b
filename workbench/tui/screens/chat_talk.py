"""How Chat asks: a question sent, answers on their way for any chat, and what the engine says meanwhile.

Owns the answers that stream. What is shown of them, and which chat that is, is the pane's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from workbench.domain.chats import Chat, ChatTree, Message
from workbench.domain.serving import EngineState, EngineStatus
from workbench.flows import chat as flow
from workbench.tui.messages import ChatsChanged, EngineReported
from workbench.tui.screens.chat_entries import Setup, entries_of
from workbench.tui.screens.chat_stream import AnswerOver, EngineSpoke, LiveAnswer, failure_text, status_text
from workbench.tui.screens.chat_waiting import draft_key, joined, waiting_key
from workbench.tui.widgets.transcript import Entry

if TYPE_CHECKING:
    from workbench.flows.bench import Bench
    from workbench.tui.screens.chat import ChatPane

STOP_WAIT_S = 2.0
NOTICE_KEY = -1
LIVE_KEY = -2
_ON_ITS_WAY = "an answer is still on its way; Esc stops it"


class ChatTalk:
    """Sending, streaming, stopping. ``live`` holds what is on its way, by chat."""

    def __init__(self, pane: ChatPane) -> None:
        self._pane = pane
        self.live: dict[int, LiveAnswer] = {}
        self._saying: set[int | None] = set()
        self._is_closing = False
        self._engine: EngineStatus | None = None

    # --- asking ------------------------------------------------------------------------------------------------

    def send(self, text: str) -> None:
        """Say ``text`` in the chat that is shown, or in a new one, and ask for an answer: now, or after this one."""
        pane = self._pane
        if pane.setup is None:
            pane.composer.restore(text)
            pane.notice("the workspace is opening; your message stays below")
            return
        chat_id = self._shown_id
        if chat_id in self._saying or (chat_id is not None and chat_id in self.live):
            pane.waiting.add(chat_id, text)
        else:
            pane.drafts.sent()
            pane.notice("")  # what was said before is about something else
            self._say(chat_id, text, setup=pane.setup, draft=draft_key(chat_id))

    def is_saying(self, chat_id: int) -> bool:
        """True while a message of this chat is on its way into the store: until then its draft is all there is."""
        return chat_id in self._saying

    def _say(
        self,
        chat_id: int | None,
        text: str,
        *,
        setup: Setup | None,
        draft: str = "",
        place: Callable[[], int | flow.Parent] = lambda: flow.Parent.TIP,
    ) -> None:
        """Store ``text`` in a chat (None: a new one with ``setup``) in the place of its ``draft``, and ask.

        ``place`` tells, when it is stored, below which message. What cannot be stored stands in the composer again, or
        stays a draft when another chat is shown.
        """
        pane, bench = self._pane, self._pane.bench
        self._saying.add(chat_id)
        if self._shown_id == chat_id:
            pane.trouble = None

        def say() -> tuple[ChatTree, Message]:
            with bench.store.write():
                stands_in = _new_chat(bench, setup).id if chat_id is None else chat_id
                message = flow.say(bench, stands_in, text, parent_id=place())
                if draft:
                    bench.store.drafts.delete(draft)
                if not pane.waiting.has(stands_in):  # what waited is the text, or in it since a bench died
                    bench.store.drafts.delete(waiting_key(stands_in))
            return bench.store.chats.tree(stands_in), message

        def said(result: tuple[ChatTree, Message]) -> None:
            tree, message = result
            self._saying.discard(chat_id)
            if chat_id is None:
                pane.waiting.began(tree.chat.id)
            if self._shown_id in {chat_id, tree.chat.id}:
                pane.chat = tree.chat
                pane.show_tree(tree)
            self.ask(tree.chat.id, message.id, setup.model if setup else tree.chat.model)
            pane.list.reload()
            pane.tell(ChatsChanged(tree.chat.id))

        def failed(error: BaseException) -> None:
            self._saying.discard(chat_id)
            if self._shown_id == chat_id:
                pane.composer.restore(joined(text, pane.waiting.take(chat_id)))
                pane.reload()  # the answer before it, as it was stored
            elif chat_id is not None:
                pane.waiting.leave(chat_id, joined(text, pane.waiting.take(chat_id)))
            pane.workbench.report(error)

        pane.run_flow(say, said, group="send", failed=failed)

    @property
    def _shown_id(self) -> int | None:
        return self._pane.chat.id if self._pane.chat else None

    def ask_below(self, question: Message) -> None:
        """Ask for an answer to a question that was stored a moment ago."""
        pane = self._pane

        def ask(tree: ChatTree) -> None:
            if pane.shows(tree.chat.id):
                pane.show_tree(tree)
            self.ask(question.chat_id, question.id, tree.chat.model)

        pane.run_flow(lambda: pane.bench.store.chats.tree(question.chat_id), ask, group="chat", exclusive=True)

    def go_on(self, message: Message, text: str, done: Callable[[], object] | None = None) -> None:
        """Have the model go on from ``text``, in the place of an answer; ``done`` is called once there is more."""
        pane = self._pane
        model = pane.setup.model if pane.setup else ""
        self.ask(message.chat_id, message.parent_id, model, goes_on=(message.id, text), done=done)

    def ask(
        self,
        chat_id: int,
        parent_id: int | None,
        model: str,
        *,
        count: int = 1,
        goes_on: tuple[int, str] | None = None,
        done: Callable[[], object] | None = None,
    ) -> None:
        """Ask in a chat that need not be the shown one; ``model`` is that chat's, "" the default."""
        pane = self._pane
        if chat_id in self.live:
            pane.notice(_ON_ITS_WAY)
            return
        name = model or pane.default_model
        live = LiveAnswer(chat_id, parent_id, name, self._show_piece, count=count, goes_on=goes_on)
        live.when_stored = done
        self.live[chat_id] = live
        pane.trouble = None
        if pane.shows(chat_id) and pane.chat_tree is not None:
            pane.transcript.set_entries(entries_of(pane.chat_tree, parent_id, pane.marks))
            pane.transcript.begin(self.entry_of(live))
        pane.workbench.pump.start()
        work = partial(live.run, pane.bench, pane.workbench.pump, pane.post_message)
        pane.run_worker(work, thread=True, group="stream", exit_on_error=False)

    def ask_again(self, chat_id: int, parent_id: int, model: str) -> None:
        """Ask for another answer to a message; one that is on its way to it is stopped first, and stays as it is."""
        self._pane.notice("")  # what was said before may have named keys that stop an answer now
        live = self.live.get(chat_id)
        if live is None or live.parent_id != parent_id:
            self.ask(chat_id, parent_id, model)
            return
        live.again = model
        live.cancelled.set()
        self.tick()

    # --- streaming ---------------------------------------------------------------------------------------------

    def entry_of(self, live: LiveAnswer) -> Entry:
        """The entry that grows."""
        return Entry(LIVE_KEY, live.model or self._pane.default_model, live.text, live.state, "answer")

    def _show_piece(self, live: LiveAnswer, text: str) -> None:
        if self._pane.shows(live.chat_id) and self._pane.transcript.is_growing:
            self._pane.transcript.append_text(text)

    def engine_spoke(self, event: EngineSpoke) -> None:
        """The engine says what an answer waits for."""
        if event.status.state is not EngineState.REMOTE:
            self.show_engine(event.status)
        for live in self.live.values():
            live.waits_for = status_text(event.status) if not live.text else live.waits_for
        self.tick()

    def over(self, event: AnswerOver) -> None:
        """An answer ended, one way or another."""
        pane, live = self._pane, event.live
        pane.workbench.pump.flush()
        self.live.pop(live.chat_id, None)
        if not self.live:
            pane.workbench.pump.stop()
        self.poll_engine()
        if event.message is not None and live.when_stored is not None:
            live.when_stored()
        if event.error is not None:
            head, text = failure_text(event.error)
            if live.when_stored is not None:
                text += " What you began is kept: e on the answer shows it."
            pane.trouble = Entry(NOTICE_KEY, head, text, tone="bad", markdown=False)
            pane.notice(event.error.message, "warning")
        elif live.notice:  # it stands with the answer, too
            pane.notice(live.notice, "warning")
        elif live.done > 1:
            pane.notice(f"{live.done} answers: ← → walk them, r ranks them")
        elif event.message is not None and self._was_said_before(event.message):
            pane.notice("the same answer came again; ^t changes how it is drawn, by temperature and seed")
        if live.again is not None and event.error is None and not self._is_closing:
            self.ask(live.chat_id, live.parent_id, live.again)
            is_kept = event.message is not None and event.message.content
            pane.notice("asking again" + ("; what had arrived is kept beside it" if is_kept else ""))
            if pane.shows(live.chat_id):
                pane.reload()
        elif not self._sent_what_waited(live, event) and pane.shows(live.chat_id):
            pane.reload(cursor=event.message.id if event.message else None)
        pane.list.reload()

    def _was_said_before(self, answer: Message) -> bool:
        """True when the shown chat has another answer with the same text to the same question."""
        tree = self._pane.chat_tree
        if tree is None or not self._pane.shows(answer.chat_id):
            return False
        others = (one for one in tree.children(answer.parent_id) if one.id != answer.id)
        return any(one.role is answer.role and one.content == answer.content for one in others)

    def _sent_what_waited(self, live: LiveAnswer, event: AnswerOver) -> bool:
        """Say what waited for this answer below it; after one that failed it goes back to where it was written.

        Who went elsewhere in the chat meanwhile was told that the next message goes on from there: so it does.
        """
        pane, answer = self._pane, event.message
        if self._is_closing or not pane.waiting.has(live.chat_id):
            return False
        if event.error is not None or answer is None or not answer.content:
            pane.waiting.give_up(live.chat_id)
            return False
        stored, below = frozenset(live.stored), answer.id

        def place() -> int | flow.Parent:
            stands_at = pane.bench.store.chats.get(live.chat_id).tip_id
            return below if stands_at in stored else flow.Parent.TIP

        setup = pane.setup if pane.shows(live.chat_id) else None
        text = pane.waiting.take(live.chat_id)
        self._say(live.chat_id, text, setup=setup, place=place)
        return True

    def tick(self) -> None:
        """Say in the heading how far the answer is."""
        if (live := self.here) is not None:
            self._pane.transcript.retitle(live.state)

    def poll_engine(self) -> None:
        """Look where the engine stands."""
        self._pane.run_flow(self._pane.bench.engine.status, self.show_engine, group="engine", exclusive=True)

    def show_engine(self, status: EngineStatus) -> None:
        """Put the engine's state on the status line."""
        self._pane.workbench.set_fact("engine", status_text(status))
        if status != self._engine:
            self._engine = status
            self._pane.tell(EngineReported(status))

    # --- stopping ----------------------------------------------------------------------------------------------

    @property
    def here(self) -> LiveAnswer | None:
        """The answer that is on its way in the chat that is shown."""
        return self.live.get(self._pane.chat.id) if self._pane.chat else None

    def stop(self) -> None:
        """Stop it; what has arrived stays."""
        if (live := self.here) is not None:
            live.cancelled.set()
            self.tick()

    def closing(self) -> Sequence[Callable[[], object]]:
        """Stop every answer, and give each a moment to be stored."""
        self._is_closing = True
        lives = list(self.live.values())
        for live in lives:
            live.cancelled.set()
        return [partial(live.over.wait, STOP_WAIT_S) for live in lives]


def _new_chat(bench: Bench, setup: Setup | None) -> Chat:
    if setup is None:
        return flow.new_chat(bench)
    return flow.new_chat(bench, model=setup.model, system=setup.system, sampling=setup.sampling)
