"""Keys one after another: the next key is looked at when everything that the one before it did is done.

Textual runs a binding only after the keys typed behind it have gone to the widget that had the focus. When a slow line
delivers several at once, the letters meant for a field that the first key opens would act as single-key decisions.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from textual.app import App
from textual.dom import DOMNode
from textual.events import Event, Key, Paste
from textual.screen import Screen

PATIENCE_S = 0.5
CHANCES = 2
"""A key that makes no step in so many looks ``PATIENCE_S`` apart is given up; on a busy machine each makes some."""
SETTLE_S = 0.01


class OrderedKeysApp(App[int]):
    """An app that handles typed keys and pastes strictly in their order."""

    def __init__(self, *, ansi_color: bool | None = None) -> None:
        self._typed: deque[Key | Paste] = deque()
        self._turn = 0
        self._since: float | None = None
        self._steps = 0
        super().__init__(ansi_color=ansi_color)

    async def on_event(self, event: Event) -> None:
        """Queue what is typed; everything else goes its usual way."""
        if not isinstance(event, Key | Paste) or event.is_forwarded:
            await super().on_event(event)
            return
        self._typed.append(event)
        if self._since is None:
            await self._take()
        elif len(self._typed) == 1:  # should the one before never be done, as when its widget went away, this gives up
            self._look_again(self._turn, CHANCES, self._steps)

    async def _take(self) -> None:
        if not self._typed:
            return
        event = self._typed.popleft()
        self._turn += 1
        self._since = time.monotonic()
        screen = self.screen
        target: DOMNode = self.focused or screen
        await super().on_event(event)
        if self._typed:  # on this one, too
            self._look_again(self._turn, CHANCES, self._steps)
        # it bubbles from the focused widget to the app, through the queue of each: follow it there
        self._follow([*target.ancestors_with_self], self._turn, screen)

    def _follow(self, nodes: Sequence[DOMNode], turn: int, screen: Screen[Any]) -> None:
        if turn != self._turn:
            return
        self._steps += 1
        for position, node in enumerate(nodes):
            if node.call_later(partial(self._follow, nodes[position + 1 :], turn, screen)):
                return
        self._done(turn, screen)

    def _done(self, turn: int, screen: Screen[Any]) -> None:
        if turn != self._turn or self._since is None:
            return
        now = self.screen
        is_ready = now.is_mounted and (now.focused is not None or not now.focus_chain)
        if now is not screen and not is_ready and time.monotonic() - self._since < PATIENCE_S:
            self.set_timer(SETTLE_S, partial(self._done, turn, screen))  # a dialog that opens will have the focus soon
            return
        self._since = None
        if self._typed:
            self.call_later(self._take)

    def _look_again(self, turn: int, chances: int, steps: int) -> None:
        self.set_timer(PATIENCE_S, partial(self._give_up, turn, chances - 1, steps))

    def _give_up(self, turn: int, chances: int, steps: int) -> None:
        if turn != self._turn or self._since is None or not self._typed:
            return
        if self._steps != steps:  # slow, but on its way
            self._look_again(turn, CHANCES, self._steps)
        elif chances:
            self._look_again(turn, chances, steps)
        else:
            self._since = None
            self.call_later(self._take)
