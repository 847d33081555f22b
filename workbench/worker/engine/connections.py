"""HTTP/1.1 connections that must not take for ever to say what they want.

A client that sends a request's head a byte at a time, or nothing at all, would hold its connection as long as it likes:
uvicorn counts only the time between two requests. Bodies are timed by the guard, which knows what they may be.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 30.0


class TimedConnection(H11Protocol):
    """Closed without a word when a request's head is not there in time. h11 bounds its size; httptools does not."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """The time for the first head begins."""
        super().connection_made(transport)
        self._time_the_head()

    def data_received(self, data: bytes) -> None:
        """A whole head ends the waiting; the beginning of a next one begins it."""
        super().data_received(data)
        self._time_the_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody to wait for."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _time_the_head(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
