"""What a key in the Arena costs: only what it changes is laid out and styled again."""

from __future__ import annotations

from textual.messages import Layout
from textual.widgets import Input

from pilots import app_at, until_shown
from samples import candidate, user
from workbench.domain.chats import Sampling
from workbench.domain.models import ModelKind
from workbench.flows.bench import Bench
from workbench.tui.screens.arena import ArenaPane
from workbench.tui.screens.arena_form import TYPED, Plan
from workbench.tui.widgets.editor import Editor
from workbench.tui.widgets.picker import Picker


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


async def test_up_and_down_go_from_field_to_field_of_the_form(bench: Bench) -> None:
    bench.store.models.add("tuned", ModelKind.ADAPTER, "/nowhere/tuned", base="pip")
    async with app_at(bench, "arena").run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        await pilot.press("n")
        await until_shown(pilot, "Ask models the same", "↑ ↓ move")
        fields = [one for one in pilot.app.screen.query("Picker, Input") if one.region]
        assert len({one.region.x for one in fields}) == 1, "the values stand below one another"
        await pilot.press("down", "down", "right")
        form = pilot.app.screen
        assert form.query_one("#round-source", Picker).value == "questions of chats"
        await pilot.press("down", "down", "up", "end", "backspace", "5")
        assert form.query_one("#round-limit", Input).value == "25"


async def test_the_form_is_as_it_was_left_unless_other_models_are_meant_or_one_is_gone(bench: Bench) -> None:
    for name in ("tuned", "third"):
        bench.store.models.add(name, ModelKind.ADAPTER, f"/nowhere/{name}", base="pip")
    app = app_at(bench, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        pane = app.query_one(ArenaPane)
        pane.plan = Plan(("tuned", "third", "pip"), Sampling(temperature=0.0), source=TYPED, typed="one", limit=3)
        await pilot.press("n")
        await until_shown(pilot, "Ask models the same", "one model", "tuned", "a third", "pip")
        form = app.screen
        assert [form.query_one(f"#round-{side}", Picker).value for side in "abc"] == ["tuned", "third", "pip"]
        assert form.query_one(Editor).text == "one" and form.query_one(Editor).display
        assert form.query_one("#round-limit", Input).value == "3"
        await pilot.press("escape")
        pane.offer("pip", "third")
        await until_shown(pilot, "Ask models the same")
        assert [app.screen.query_one(f"#round-{side}", Picker).value for side in "abc"] == ["pip", "third", "-"]
        await pilot.press("escape")
        bench.store.models.remove("third")
        await pilot.press("n")
        await until_shown(pilot, "Ask models the same")
        assert [app.screen.query_one(f"#round-{side}", Picker).value for side in "ab"] == ["pip", "tuned"]
