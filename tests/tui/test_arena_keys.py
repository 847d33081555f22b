"""What a key in the Arena costs: only what it changes is laid out and styled again."""

from __future__ import annotations

from textual.messages import Layout

from pilots import app_at, until_shown
from samples import candidate, user
from workbench.flows.bench import Bench
from workbench.tui.screens.arena import ArenaPane


async def test_the_screen_is_laid_out_and_styled_again_only_where_a_key_needs_it(bench: Bench) -> None:
    for number in range(2):
        answers = candidate("pip", f"plain {number}"), candidate("tuned", f"fancy {number}")
        bench.store.comparisons.add(user(f"question {number}"), *answers, draw_seed=number)
    app, laid_out, styled = app_at(bench, "arena"), [0], list[str]()

    def hear(message: object) -> None:
        laid_out[0] += isinstance(message, Layout)

    async with app.run_test(size=(80, 24), message_hook=hear) as pilot:
        await until_shown(pilot, "← h left")
        pane = app.query_one(ArenaPane)
        pane.update_node_styles = lambda *_, **__: styled.append("pane")  # type: ignore[method-assign]
        await pilot.pause()
        laid_out[0] = 0
        for key, shown in (("o", "most different first"), ("+", "strength much"), ("o", "strength much")):
            await pilot.press(key)
            await until_shown(pilot, shown)
        assert laid_out == [0], "each says something on lines that stay where they are"
        await pilot.press("h")
        await until_shown(pilot, "Enter goes on")
        await pilot.press("enter")
        await until_shown(pilot, "← h left")
        assert styled == []
