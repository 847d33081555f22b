"""Keys that keep, compare and remove runs, and that make something of models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from finished_run import add_rows, finish, launched, nobody
from pilots import app_at, screen_text, until, until_shown
from workbench.domain.decisions import Action
from workbench.domain.examples import Split
from workbench.flows import merging, run_papers, train
from workbench.flows.bench import Bench
from workbench.flows.merging import Merged
from workbench.tui.widgets.dialogs import ChooseDialog, ConfirmDialog, TextDialog
from workbench.tui.widgets.reading import ReadingDialog

TALL = (120, 40)


@pytest.fixture(autouse=True)
def no_runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No runner is started."""
    for function in (train.launch, train.sync):
        monkeypatch.setitem(function.__kwdefaults__, "start_runner", nobody)
    yield


@pytest.fixture
def runs(bench: Bench) -> Bench:
    """A bench with two finished runs; ``second`` made a model."""
    add_rows(bench)
    finish(bench, launched(bench, name="first"))
    hostile = [("Who?", "Pip.", "[@click=app.quit]x[/] \x1b]52;c;AAAA\x07")]
    finish(bench, launched(bench, name="second", learning_rate="1e-4"), adapter=True, canaries=hostile)
    train.sync(bench)
    return bench


async def test_i_says_what_the_numbers_say_and_shows_the_canaries_as_text(runs: Bench) -> None:
    app = app_at(runs, "train")
    async with app.run_test(size=TALL) as pilot:
        await until_shown(pilot, "second", "first")
        await pilot.press("i")
        await until_shown(pilot, "It forgot: loss on general text 1 → 1.3", "? Who?", "[@click=app.quit]x[/] ␛]52")
        assert isinstance(app.screen, ReadingDialog)


async def test_what_a_finished_run_is_warned_of_stands_before_how_it_ended(runs: Bench) -> None:
    finish(runs, launched(runs, name="third"), general=(1.0, 1.05))
    train.sync(runs)
    for run in runs.store.runs.list():
        run_papers.report(run)
    app = app_at(runs, "train")
    async with app.run_test(size=TALL) as pilot:
        await until_shown(pilot, "third", "finished in 1m")
        assert "forgot" not in screen_text(app)
        await pilot.press("down")
        await until_shown(pilot, "⚠ forgot (i) · finished in 1m")


async def test_x_writes_the_page_packs_the_run_and_queues_it_again(runs: Bench) -> None:
    app = app_at(runs, "train")
    folder = Path(runs.store.runs.get("second").directory)
    async with app.run_test(size=TALL) as pilot:
        await until_shown(pilot, "second")
        for typed, done in (
            ("page", lambda: (folder / "report.html").is_file()),
            ("bundle", lambda: any(runs.workspace.exports.glob("*.tar.gz"))),
            ("again", lambda: len(train.runs(runs)) == 3),
        ):
            await pilot.press("x")
            await until(pilot, lambda: isinstance(app.screen, ChooseDialog))
            await pilot.press(*typed, "enter")
            await until(pilot, done)
        assert train.runs(runs)[0].name == "second-again"


async def test_a_run_that_was_started_with_an_allowance_is_run_again_with_one(runs: Bench) -> None:
    trained = runs.store.examples.get(train.spec(runs.store.runs.get("second")).example_ids[0])
    (asked,) = add_rows(runs, 1, dataset="exam")
    runs.store.examples.change([asked], Action.EDIT, content=trained.content, rater="r")
    runs.store.examples.change([asked], Action.SPLIT, split=Split.TEST, rater="r")
    app = app_at(runs, "train")
    async with app.run_test(size=TALL) as pilot:
        await until_shown(pilot, "second")
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ChooseDialog))
        await pilot.press(*"again", "enter")
        await until_shown(pilot, "must not be trained on", "train on them all the same", "allows leakage")
        assert "reject" not in screen_text(app)  # its rows are frozen
        await pilot.press("enter")
        await until(pilot, lambda: len(train.runs(runs)) == 3)
        assert train.spec(train.runs(runs)[0]).command == "workbench runs rerun second --allow leakage"


async def test_d_asks_for_the_other_run_and_shows_what_differs(runs: Bench) -> None:
    app = app_at(runs, "train")
    async with app.run_test(size=TALL) as pilot:
        await until_shown(pilot, "second")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ChooseDialog))
        await pilot.press("enter")
        await until_shown(pilot, "learning_rate: 0.0001 → 0.0004", "have the same rows")


async def test_a_run_is_deleted_by_its_name_and_not_while_its_model_is_registered(runs: Bench) -> None:
    app = app_at(runs, "train")
    async with app.run_test(size=TALL) as pilot:
        await until_shown(pilot, "second")
        await pilot.press("D")
        await until_shown(pilot, "lie in the folder of second")
        await pilot.press("down")
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press(*"first", "enter")
        await until(pilot, lambda: [run.name for run in train.runs(runs)] == ["second"])


async def test_g_merges_an_adapter_after_a_yes_and_says_how_the_answers_compare(
    runs: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def merge(bench: Bench, name: str, **rest: object) -> Merged:
        return Merged(replace(bench.store.models.get(name), name="second-merged"), 12, 12, 1e-5, "float32")

    monkeypatch.setattr(merging, "merge", merge)
    app = app_at(runs, "models")
    async with app.run_test(size=TALL) as pilot:
        await until_shown(pilot, "second adapter")
        await pilot.press("g")
        await until_shown(pilot, "pip is a base: only adapters are merged")
        await pilot.press("down", "g")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("y")
        await until_shown(pilot, "merged into second-merged (float32): 12 of 12")


async def test_i_writes_and_shows_the_card_of_a_model_and_leaves_folders_of_others_alone(runs: Bench) -> None:
    app = app_at(runs, "models")
    folder = Path(runs.store.models.get("second").path)
    async with app.run_test(size=TALL) as pilot:
        await until_shown(pilot, "second adapter")
        await pilot.press("i")
        await until_shown(pilot, "lies outside the workspace")
        await pilot.press("escape")
        await pilot.press("down", "i")
        await until_shown(pilot, "library_name: peft")
        assert (folder / "README.md").is_file()


async def test_x_asks_where_the_gguf_file_goes_and_says_why_a_shape_is_not_written(runs: Bench) -> None:
    app = app_at(runs, "models")
    async with app.run_test(size=TALL) as pilot:
        await until_shown(pilot, "pip base")
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        assert app.screen.query_one(Input).value.endswith("exports/pip.gguf")
        await pilot.press("escape")
        await pilot.press("down", "x")
        await until_shown(pilot, "g merges an adapter first")
