"""The Models pane: what is registered and where it came from; adding, forgetting, and the engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.widgets import Input

from endpoints import FakeServer
from fakes import FakeEngine
from pilots import app_at, screen_text, until, until_shown
from samples import IMPORTED, candidate, demo, user
from workbench.domain.comparisons import Verdict
from workbench.domain.examples import Status
from workbench.domain.models import ModelKind
from workbench.domain.serving import EngineState, EngineStatus
from workbench.flows import train as training
from workbench.flows.bench import Bench
from workbench.paths import shipped
from workbench.tui.messages import EngineReported, ModelChosen, ModelsChanged
from workbench.tui.model_view import engine_text
from workbench.tui.screens.arena_form import ArenaForm
from workbench.tui.widgets.listing import Listing
from workbench.tui.widgets.picker import Picker


@pytest.fixture
def tuned(bench: Bench) -> Bench:
    """A bench with an adapter that a run made from thirty examples, and one vote on it."""
    for number in range(30):
        bench.store.examples.add("answers", demo(number), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
    plan = training.plan(bench, method="sft", dataset="answers", name="tuned")
    run = training.launch(bench, plan, start_runner=lambda _: None)
    bench.store.models.add(
        "tuned", ModelKind.ADAPTER, f"{run.directory}/adapter", base="pip", run_id=run.id, sha256="ab" * 32
    )
    made = bench.store.comparisons.add(user("q"), candidate("pip", "x"), candidate("tuned", "y"), draw_seed=1)
    bench.store.comparisons.rate(made.id, Verdict.LEFT if made.left.model == "tuned" else Verdict.RIGHT, rater="rater")
    return bench


async def test_a_model_is_shown_with_its_way_back_to_the_rows(tuned: Bench) -> None:
    app = app_at(tuned, "models")
    rows = training.spec(tuned.store.runs.list()[0]).train_rows
    async with app.run_test(size=(160, 45)) as pilot:
        await until_shown(pilot, "pip base", "tuned adapter pip tuned")
        await pilot.press("down")
        await until_shown(pilot, "made by run tuned: sft", f"trained on answers, {rows} examples", "ab" * 32)
        await until_shown(pilot, "wins 100 % of 1 decided votes against pip: undecided")


async def test_the_embedded_models_files_speak_for_themselves(bench: Bench) -> None:
    app = app_at(bench, "models")
    folder = shipped("sample_data") / "model"
    bytes_ = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    context = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
    async with app.run_test(size=(160, 45)) as pilot:
        await until_shown(pilot, f"{bytes_ / 1e6:.1f} MB", f"context {context}, chat", str(folder))


async def test_a_model_whose_folder_is_gone_is_missing(tuned: Bench) -> None:
    app = app_at(tuned, "models")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "MISSING")


async def test_a_folder_is_added_and_stood_upon(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in (shipped("sample_data") / "model").iterdir():
        (folder / path.name).symlink_to(path)
    app = app_at(bench, "models")
    heard: list[object] = []
    async with app.run_test(size=(160, 45), message_hook=heard.append) as pilot:
        await until_shown(pilot, "pip base")
        await pilot.press("plus")
        await until_shown(pilot, "Add a model")
        path, name = app.screen.query(Input)
        path.value, name.value = str(folder), "second"
        await pilot.press("ctrl+s")
        await until_shown(pilot, "added base second")
        await until(pilot, lambda: app.query_one(Listing).key == "second")
        assert any(isinstance(message, ModelsChanged) for message in heard)


async def test_a_refused_model_keeps_the_form_with_reason_and_advice(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    app = app_at(bench, "models")
    async with app.run_test(size=(160, 45)) as pilot:
        await until_shown(pilot, "pip base")
        await pilot.press("plus")
        await until_shown(pilot, "Add a model")
        app.screen.query(Input).first().value = str(tmp_path)
        await pilot.press("ctrl+s")
        await until_shown(pilot, "✗ the weights are pickled", "get the .safetensors version")
        assert app.screen.query(Input).first().value == str(tmp_path)
        await pilot.press("escape")
        await until_shown(pilot, "the model was not added")
        assert [model.name for model in bench.store.models.list()] == ["pip"]


async def test_a_model_is_forgotten_once_its_name_was_typed(tuned: Bench) -> None:
    app = app_at(tuned, "models")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "tuned adapter")
        await pilot.press("down", "D")
        await until_shown(pilot, "Forget tuned?")
        await pilot.press(*"no", "enter")
        await until_shown(pilot, "that is not the name")
        await pilot.press("backspace", "backspace", *"tuned", "enter")
        await until(pilot, lambda: [model.name for model in tuned.store.models.list()] == ["pip"])
        await until_shown(pilot, "tuned is forgotten")


async def test_a_base_that_is_needed_is_not_forgotten(tuned: Bench) -> None:
    app = app_at(tuned, "models")
    async with app.run_test(size=(160, 45)) as pilot:
        await until_shown(pilot, "tuned adapter")
        await pilot.press("D")
        await until_shown(pilot, "Forget pip?")
        await pilot.press(*"pip", "enter")
        await until_shown(pilot, "pip is the base of tuned")


async def test_c_hands_the_model_to_chat(tuned: Bench) -> None:
    app = app_at(tuned, "models")
    heard: list[object] = []
    async with app.run_test(size=(120, 30), message_hook=heard.append) as pilot:
        await until_shown(pilot, "tuned adapter")
        await pilot.press("down", "c")
        await until_shown(pilot, "[(C)HAT]")
        assert any(isinstance(message, ModelChosen) and message.model == "tuned" for message in heard)


@pytest.mark.parametrize("keys", [("A",), ("down", "A")])
async def test_capital_a_offers_base_and_adapter_in_the_arena(tuned: Bench, keys: tuple[str, ...]) -> None:
    app = app_at(tuned, "models")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "tuned adapter")
        await pilot.press(*keys)
        await until(pilot, lambda: isinstance(app.screen, ArenaForm))
        chosen = [app.screen.query_one(f"#round-{side}", Picker).value for side in ("a", "b")]
        assert chosen == ["pip", "tuned"]


async def test_the_engine_is_started_and_emptied_by_keys(bench: Bench, engine: FakeEngine) -> None:
    app = app_at(bench, "models")
    heard: list[object] = []
    async with app.run_test(size=(120, 30), message_hook=heard.append) as pilot:
        await until_shown(pilot, "engine off; it starts with the first question")
        await pilot.press("e")
        await until_shown(pilot, "engine ready")
        await pilot.press("U")
        await until_shown(pilot, "engine on, no model loaded")
        states = [message.status.state for message in heard if isinstance(message, EngineReported)]
        assert {EngineState.STARTING, EngineState.READY, EngineState.IDLE} <= set(states)


async def test_an_engine_that_does_not_start_says_why(bench: Bench, engine: FakeEngine) -> None:
    engine.fail_to_start("no room for the model")
    app = app_at(bench, "models")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "pip base")
        await pilot.press("e")
        await until_shown(pilot, "no room for the model (start it again)", "engine FAILED")


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (160, 45), (240, 60)])
async def test_nothing_is_cut_at_any_size(tuned: Bench, size: tuple[int, int]) -> None:
    app = app_at(tuned, "models")
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "tuned", "engine", "c Chat", "F1 Help")
        for widget in app.screen.query("ModelsPane *").exclude("VerticalScroll *"):
            assert app.screen.region.contains_region(widget.region), widget


async def test_a_hostile_path_is_only_looked_at(bench: Bench) -> None:
    bench.store.models.add("odd", ModelKind.BASE, "/x/\x1b]0;t\x07[/b]", note="[@click=app.quit]n")
    app = app_at(bench, "models")
    async with app.run_test(size=(160, 45)) as pilot:
        await until_shown(pilot, "odd base")
        await pilot.press("down")
        await until_shown(pilot, "/x/␛]0;t␇[/b]", "[@click=app.quit]n")
        assert "\x1b" not in screen_text(app)


def test_the_engines_line_names_what_is_loaded() -> None:
    status = EngineStatus(
        EngineState.READY, "warm", "pip", ("tuned",), "cpu", "float32", pid=7, active=2, memory_bytes=2_100_000_000
    )
    text = engine_text(status).plain
    for piece in ("ready", "pip, tuned", "cpu float32", "2.1 GB", "pid 7", "2 answering", "warm"):
        assert piece in text


async def test_a_model_on_another_server_is_added_by_a_form_that_takes_no_key(bench: Bench) -> None:
    app = app_at(bench, "models")
    with FakeServer().running() as server:
        async with app.run_test(size=(160, 45)) as pilot:
            await until_shown(pilot, "pip base")
            await pilot.press("E")
            await until_shown(pilot, "A model on another server")
            url, model, key, _ = app.screen.query(Input)
            url.value, model.value, key.value = server.url, "tuned", "sk-not-a-name"
            await pilot.press("enter")
            await until_shown(pilot, "not the name of an environment variable")
            key.value = "$SOME_KEY"
            await pilot.press("enter")
            await until_shown(pilot, "tuned endpoint", "remote", "name there tuned", "key $SOME_KEY")
    assert bench.store.models.get("tuned").key_source == "env:SOME_KEY"


async def test_a_key_for_the_keyring_is_typed_unseen_and_goes_nowhere_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = pytest.importorskip("keyring")
    kept: dict[tuple[str, str], str] = {}
    monkeypatch.setattr(keyring, "set_password", lambda service, user, key: kept.update({(service, user): key}))
    monkeypatch.setattr(keyring, "get_password", lambda service, user: kept.get((service, user)))
    app = app_at(bench, "models")
    with FakeServer().running() as server:
        async with app.run_test(size=(80, 24)) as pilot:
            await until_shown(pilot, "pip")
            await pilot.press("E")
            await until_shown(pilot, "A model on another server")
            url, model, source, _ = app.screen.query(Input)
            url.value, model.value, source.value = server.url, "tuned", "keyring"
            await pilot.press("enter")
            await until_shown(pilot, "A key for the system's keyring")
            await pilot.press(*"sk-7")
            await until_shown(pilot, "••••")
            assert "sk-7" not in screen_text(app)
            await pilot.press("enter")
            await until_shown(pilot, "tuned", "remote", "added endpoint tuned")
    assert list(kept.values()) == ["sk-7"]
    assert bench.store.models.get("tuned").key_source == "keyring"
