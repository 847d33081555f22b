"""Keys stay in their order: one that is slow is waited for, one that will never be done is not."""

from __future__ import annotations

from textual.events import Key

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
