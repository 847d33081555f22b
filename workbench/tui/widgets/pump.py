"""One ticker for all streams of the app: text that arrived is shown together, ten times a second at most.

Owns the buffers between the threads that receive text and the widgets that show it. Knows neither models nor Markdown.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from textual.timer import Timer

if TYPE_CHECKING:
    from textual.app import App

FLUSHES_PER_SECOND = 10


class Sink(Protocol):
    """Something that shows text as it grows."""

    def append_text(self, text: str) -> None:
        """Show ``text`` after what is shown already; called in the event loop."""
        ...


class Pump:
    """Buffers by sink. ``feed`` may be called from any thread; sinks are called in the event loop only."""

    def __init__(self, app: App[int], *, rate: float = FLUSHES_PER_SECOND) -> None:
        self._app = app
        self._rate = rate
        self._lock = threading.Lock()
        self._buffers: dict[int, tuple[Sink, list[str]]] = {}
        self._timer: Timer | None = None

    def feed(self, sink: Sink, text: str) -> None:
        """Take ``text`` for ``sink``; it is shown with the next flush."""
        with self._lock:
            self._buffers.setdefault(id(sink), (sink, []))[1].append(text)

    def start(self) -> None:
        """Begin to tick; call it in the event loop when a stream begins. Ticks end by themselves when all is shown."""
        if self._timer is None:
            self._timer = self._app.set_interval(1 / self._rate, self.flush)

    def stop(self) -> None:
        """Show what is left and stop ticking."""
        self.flush()
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def flush(self) -> None:
        """Show everything that has arrived, all sinks in one repaint."""
        with self._lock:
            full, self._buffers = self._buffers, {}
        if not full:
            return
        with self._app.batch_update():
            for sink, pieces in full.values():
                sink.append_text("".join(pieces))
