"""One answer on its way: a thread that asks, the text so far, and the news when it is over. Knows no widget.

The thread never touches a widget: text goes through the app's pump, the rest as messages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from textual.message import Message as TextualMessage

from workbench.domain.chats import Message
from workbench.domain.serving import EngineState, EngineStatus
from workbench.errors import WorkbenchError
from workbench.flows import chat as flow
from workbench.flows import several

if TYPE_CHECKING:
    from workbench.flows.bench import Bench
    from workbench.tui.widgets.pump import Pump

Show = Callable[["LiveAnswer", str], None]
Post = Callable[[TextualMessage], object]
_HEAD_CHARACTERS = 72  # a heading's room at 80 columns; longer ones are cut


class EngineSpoke(TextualMessage):
    """The engine said where it stands while an answer waited for it."""

    def __init__(self, status: EngineStatus) -> None:
        super().__init__()
        self.status = status


class AnswerOver(TextualMessage):
    """An answer ended: with its stored message, or with what went wrong (then what had arrived is stored too)."""

    def __init__(self, live: LiveAnswer, message: Message | None, error: WorkbenchError | None) -> None:
        super().__init__()
        self.live, self.message, self.error = live, message, error


class LiveAnswer:
    """An answer that is being made for one chat. ``show`` is called in the event loop with text as it comes.

    Of several (``count``) the text is that of the first, the others are counted as they end. ``goes_on`` names the
    answer that is gone on from, and the text that stands for it: the text begins with that.
    """

    def __init__(
        self,
        chat_id: int,
        parent_id: int | None,
        model: str,
        show: Show,
        *,
        count: int = 1,
        goes_on: tuple[int, str] | None = None,
    ) -> None:
        self.chat_id, self.parent_id, self.model, self.count = chat_id, parent_id, model, count
        self._goes_on = goes_on
        self.done = 0
        self.stored: list[int] = []
        """The ids of the messages that it became."""
        self.when_stored: Callable[[], object] | None = None
        self.again: str | None = None
        """The model to ask anew when it is over; None for no other answer."""
        self.cancelled = threading.Event()
        self.over = threading.Event()
        self.text = goes_on[1] if goes_on else ""
        self.notice = ""
        self.waits_for = "asking"
        self._show = show
        self._began = time.monotonic()

    def append_text(self, text: str) -> None:
        """The pump's flush."""
        self.text += text
        self._show(self, text)

    @property
    def state(self) -> str:
        """What the heading says while it streams."""
        seconds = int(time.monotonic() - self._began)
        noticed = f"⚠ {self.notice}  " if self.notice else ""
        return noticed + self._progress(seconds)

    def _progress(self, seconds: int) -> str:
        if self.cancelled.is_set():
            return "stopping"
        if self.count > 1 and (self.text or self.done):
            return f"{self.done} of {self.count} answers  {seconds} s"
        return f"answering  {seconds} s" if self.text else f"{self.waits_for}  {seconds} s"

    def run(self, bench: Bench, pump: Pump, post: Post) -> None:
        """Ask and pass on, until the end. Runs in a thread; always posts ``AnswerOver``."""
        message: Message | None = None
        failure: WorkbenchError | None = None

        def heard(status: EngineStatus) -> None:
            post(EngineSpoke(status))

        try:
            for one in self._asked(bench, heard):
                match one.news:
                    case flow.AnswerText(text=text) if one.number == 0:
                        pump.feed(self, text)
                    case flow.AnswerNoted(text=notice):
                        self.notice = notice
                    case flow.AnswerEnded(message=ended):
                        self.done += 1
                        self.stored.append(ended.id)
                        message = ended if one.number == 0 or message is None else message
                    case _:
                        pass
        except WorkbenchError as error:
            failure = error
        finally:
            self.over.set()
            post(AnswerOver(self, message, failure))

    def _asked(self, bench: Bench, heard: flow.OnStatus) -> Iterator[several.OneOf]:
        if self._goes_on is not None:
            message_id, text = self._goes_on
            for news in flow.go_on(
                bench, message_id, cancelled=self.cancelled, text=text, model=self.model, on_status=heard
            ):
                yield several.OneOf(0, news)
            return
        yield from several.answers(
            bench,
            self.chat_id,
            parent_id=self.parent_id,
            count=self.count,
            cancelled=self.cancelled,
            model=self.model,
            on_status=heard,
        )


def status_text(status: EngineStatus) -> str:
    """The engine's state in a few words for the status line."""
    words = {
        EngineState.OFF: "engine off",
        EngineState.STARTING: "starting the engine…",
        EngineState.IDLE: "engine idle",
        EngineState.LOADING: "loading weights…",
        EngineState.READY: "engine ready",  # without the model's name: this line also stands under a blind vote
        EngineState.FAILED: "engine failed",
        EngineState.DIED: "engine died",
        EngineState.REMOTE: status.detail,
    }
    place = f" {status.device}" if status.device and status.state is EngineState.READY else ""
    return words[status.state] + place


def failure_text(error: WorkbenchError) -> tuple[str, str]:
    """A heading, which has one line, and a text for the notice in the transcript."""
    head, rest = error.message, ""
    if len(head) > _HEAD_CHARACTERS:
        head, _, rest = head.partition(": ")
        if not rest or len(head) > _HEAD_CHARACTERS:
            head, rest = "no whole answer", error.message
    hint = "" if error.hint in {"", "ask again"} else error.hint
    if rest and hint:
        hint = hint[0].upper() + hint[1:]
    return head, " ".join([*(_ended(one) for one in (rest, hint) if one), "Ctrl+R asks again."])


def _ended(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
