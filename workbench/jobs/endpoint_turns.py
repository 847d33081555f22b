"""Servers that end one answer when the next question comes: found out, and then asked one question at a time.

The server of llama-cpp-python does so, unless it is told otherwise (``--interrupt_requests false``). It is told from a
server that breaks down by what else we were asking it at that moment. Knows no protocol.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from workbench.domain.chats import StopReason
from workbench.domain.serving import AnswerEnd, AnswerEvent, TextPiece
from workbench.errors import EngineError

REMEMBERED_SECONDS = 600.0
MOST_TURNS = 4
_TICK_SECONDS = 0.05
_ANOTHER = "asked again, the server gave another answer"


class BrokenOffError(EngineError):
    """The answer ended in its middle; what came of it is shown already."""


class Turns:
    """The questions that one server is being asked by this process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = 0
        self._alone_until = 0.0

    def take(self, cancelled: threading.Event) -> bool:
        """Wait until the server may be asked; False when ``cancelled`` was set before."""
        with self._changed:
            while self._open and time.monotonic() < self._alone_until:
                if cancelled.is_set():
                    return False
                self._changed.wait(_TICK_SECONDS)
            self._open += 1
            return True

    def leave(self) -> None:
        """The answer has ended, in whatever way."""
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def broke_off(self) -> bool:
        """An answer broke off, and has not left yet: True when asking again, alone, may help."""
        with self._changed:
            if self._open > 1:
                self._alone_until = time.monotonic() + REMEMBERED_SECONDS
            return time.monotonic() < self._alone_until


def without(given: str, events: Iterator[AnswerEvent]) -> Iterator[AnswerEvent]:
    """The events of an answer that was asked for again, less the text ``given`` that it begins with.

    Raises ``BrokenOffError`` when it is another answer: what is shown already cannot be taken back.
    """
    seen = ""
    for event in events:
        is_behind = len(seen) < len(given)
        if is_behind and isinstance(event, AnswerEnd) and event.stop_reason is not StopReason.CANCELLED:
            raise BrokenOffError(_ANOTHER, hint="ask again")  # a shorter one: its end is not that of what is shown
        if not is_behind or not isinstance(event, TextPiece):
            yield event
            continue
        seen += event.text
        if not seen.startswith(given[: len(seen)]):
            raise BrokenOffError(_ANOTHER, hint="ask again")
        if len(seen) > len(given):
            yield TextPiece(seen[len(given) :])
