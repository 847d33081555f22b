"""Rounds in the Arena that did not come to their end: what goes on by itself, and what is asked again when wanted."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from fakes import FakeEngine
from pilots import app_at, screen_text, until, until_shown
from samples import user
from workbench.domain.chats import Sampling
from workbench.domain.models import ModelKind
from workbench.domain.rounds import PromptRow
from workbench.errors import EngineError
from workbench.flows import rounds
from workbench.flows.bench import Bench


@pytest.fixture
def models(bench: Bench) -> Bench:
    bench.store.models.add("tuned", ModelKind.ADAPTER, "/nowhere/adapter", base="pip")
    return bench


async def test_a_round_that_a_killed_terminal_left_behind_goes_on_by_itself(models: Bench, engine: FakeEngine) -> None:
    engine.default_answer = "some words"
    rows = [PromptRow(user(f"question {n}")) for n in range(3)]
    begun = rounds.begin(models, ["pip", "tuned"], rows, sampling=Sampling(), seed=1)
    next(rounds.run(models, begun))
    with models.store.write() as db:
        db.execute("UPDATE rounds SET owner_pid = 999999999")
    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(models.store.comparisons.list()) == 3)
        await until_shown(pilot, "the models said the same to all 2 prompts")
        assert models.store.rounds.adopt() is None


async def test_a_round_whose_models_went_away_goes_on_when_they_are_back(
    models: Bench, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> object:
        raise EngineError("server:8000 cannot be reached")

    app = app_at(models, "arena")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No pair waits")
        await pilot.press("R")
        await until_shown(pilot, "no round was left open")
        with monkeypatch.context() as patched:
            patched.setattr(engine, "stream", fails)
            await pilot.press("n")
            await until_shown(pilot, "Ask models the same", "both at once")
            app.screen.query_one("#round-limit", Input).value = "4"
            await pilot.press("ctrl+s")
            await until_shown(pilot, "server:8000 cannot be reached; 0 of 4", "R asks the rest")
        await pilot.press("R")
        await until(pilot, lambda: len(models.store.comparisons.list()) == 4)
        await until_shown(pilot, "the models said the same to all 4 prompts")
        assert "R asks" not in screen_text(app)
