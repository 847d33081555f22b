"""Keys stay in their order: one that is slow is waited for, one that will never be done is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from textual.dom import DOMNode
from textual.events import Key
from textual.screen import Screen

from workbench.tui import key_order
from workbench.tui.key_order import CHANCES, OrderedKeysApp


async def test_a_key_that_still_makes_steps_is_waited_for_and_one_that_makes_none_is_given_up() -> None:
    app = OrderedKeysApp()
    async with app.run_test() as pilot:
        behind = Key("x", "x")
        app._typed.append(behind)
        app._turn, app._since = 7, 0.0  # key 7 is not done yet
        app._give_up(7, 0, app._steps - 1)  # it made a step since the last look
        await pilot.pause()
        assert list(app._typed) == [behind] and app._since is not None
        app._give_up(7, CHANCES - 1, app._steps)  # none, for the first time
        await pilot.pause()
        assert list(app._typed) == [behind] and app._since is not None
        app._give_up(7, 0, app._steps)
        await pilot.pause()
        assert not app._typed


class LosingApp(OrderedKeysApp):
    """Never done with its first two keys: as when the widget that had them went away."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        super().__init__()

    def on_key(self, event: Key) -> None:
        self.handled.append(event.key)

    def _follow(self, nodes: Sequence[DOMNode], turn: int, screen: Screen[Any]) -> None:
        if turn > 2:
            super()._follow(nodes, turn, screen)


async def test_two_keys_that_are_never_done_do_not_keep_the_one_behind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_order, "PATIENCE_S", 0.01)
    app = LosingApp()
    async with app.run_test() as pilot:
        for letter in "xya":
            app.post_message(Key(letter, letter))
        for _ in range(400):
            await pilot.pause(0.01)
            if app.handled == ["x", "y", "a"]:
                break
        assert app.handled == ["x", "y", "a"]
