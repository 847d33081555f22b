"""How Chat asks: a question sent, answers on their way for any chat, and what the engine says meanwhile.

Owns the answers that stream. What is shown of them, and which chat that is, is the pane's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from workbench.domain.chats import ChatTree, Message
from workbench.domain.serving import EngineState, EngineStatus
from workbench.flows import chat as flow
from workbench.tui.messages import ChatsChanged, EngineReported
from workbench.tui.screens.chat_entries import entries_of
from workbench.tui.screens.chat_stream import AnswerOver, EngineSpoke, LiveAnswer, failure_text, status_text
from workbench.tui.widgets.transcript import Entry

if TYPE_CHECKING:
    from workbench.tui.screens.chat import ChatPane

STOP_WAIT_S = 2.0
NOTICE_KEY = -1
LIVE_KEY = -2
_ON_ITS_WAY = "the answer is still on its way; Esc stops it"


class ChatTalk:
    """Sending, streaming, stopping. ``live`` holds what is on its way, by chat."""

    def __init__(self, pane: ChatPane) -> None:
        self._pane = pane
        self.live: dict[int, LiveAnswer] = {}
        self._engine: EngineStatus | None = None

    # --- asking ------------------------------------------------------------------------------------------------

    def send(self, text: str) -> None:
        """Say ``text`` in the chat that is shown, or in a new one, and ask for an answer."""
        pane = self._pane
        if pane.setup is None or (pane.chat is not None and pane.chat.id in self.live):
            pane.composer.restore(text)
            pane.notice(_ON_ITS_WAY if pane.setup else "the workspace is opening")
            return
        chat, setup, bench, key = pane.chat, pane.setup, pane.bench, pane.drafts.key
        pane.drafts.sent()
        pane.trouble = None

        def say() -> tuple[ChatTree, Message]:
            target = chat or flow.new_chat(bench, model=setup.model, system=setup.system, sampling=setup.sampling)
            message = flow.say(bench, target.id, text)
            bench.store.drafts.delete(key)
            return bench.store.chats.tree(target.id), message

        def said(result: tuple[ChatTree, Message]) -> None:
            tree, message = result
            if pane.chat is chat or pane.shows(tree.chat.id):
                pane.chat = tree.chat
                pane.show_tree(tree)
            self.ask(tree.chat.id, message.id, setup.model)
            pane.list.reload()
            pane.tell(ChatsChanged(tree.chat.id))

        def failed(error: BaseException) -> None:
            if key == pane.drafts.key:  # else the text is still that chat's draft
                pane.composer.restore(text)
            pane.workbench.report(error)

        pane.run_flow(say, said, group="send", failed=failed)

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
        if pane.shows(live.chat_id):
            pane.reload(cursor=event.message.id if event.message else None)
        pane.list.reload()

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
        lives = list(self.live.values())
        for live in lives:
            live.cancelled.set()
        return [partial(live.over.wait, STOP_WAIT_S) for live in lives]
