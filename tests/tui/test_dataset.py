"""A dataset as a whole, by keys: figures and readiness are shown, and what is done to it can be undone."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from showing import showing, text_of, until, until_text
from textual.widgets import Input

from workbench.domain.chats import Turn
from workbench.domain.decisions import Action
from workbench.domain.examples import Source, SourceKind, Split, Status, demonstration
from workbench.domain.queries import parse_query
from workbench.domain.readiness import RULES
from workbench.errors import WorkbenchError
from workbench.flows.bench import Bench
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens import dataset
from workbench.tui.screens.curate import CuratePane
from workbench.tui.screens.dataset import DatasetDialog
from workbench.tui.widgets.picker import Picker

SOURCE = Source(SourceKind.IMPORT, file="rows.jsonl", line=1)
SIZE = (160, 60)


@pytest.fixture(autouse=True)
def teas(bench: Bench) -> None:
    """Forty accepted questions about tea and ten about coffee, in two datasets."""
    for name, count in (("teas", 40), ("coffees", 10)):
        for n in range(count):
            content = demonstration((Turn("user", f"{name} question {n}"),), f"{name} answer {n} " + "word " * n)
            bench.store.examples.add(name, content, source=SOURCE, status=Status.ACCEPTED, rater="importer")


def pane(app: WorkbenchApp) -> CuratePane:
    """The pane below."""
    return app.query_one(CuratePane)


def count(bench: Bench, query: str, dataset: str) -> int:
    """How many rows of a dataset a query finds."""
    return bench.store.examples.count(parse_query(query), dataset)


def field(app: WorkbenchApp, name: str) -> Input:
    """A line of the form on the screen."""
    return next(one for one in app.screen.query(Input) if one.name == name)


async def figures_of(app: WorkbenchApp, pilot: object, dataset: str) -> DatasetDialog:
    """The dialog on this dataset, once it has counted."""
    await until(pilot, lambda: len(pane(app).rows.ids) == 50)  # type: ignore[arg-type]
    pane(app).dataset = dataset or None
    await pilot.press("S")  # type: ignore[attr-defined]
    await until_text(pilot, "repeated prompts")  # type: ignore[arg-type]
    assert isinstance(app.screen, DatasetDialog)
    return app.screen


async def test_the_figures_are_drawn_with_what_each_means(bench: Bench) -> None:
    async with showing(bench, "curate", size=SIZE) as (app, pilot):
        await figures_of(app, pilot, "teas")
        shown = text_of(app)
        assert "rows: 40 (accepted 40)" in shown and "Only the 40 accepted of 40 rows" in shown
        bars = {line.split()[1]: line for line in shown.splitlines() if "█" in line and "-" in line}
        assert bars["16-31"].count("█") > bars["8-15"].count("█") > 0  # answers of 3 to 42 words


async def test_readiness_is_told_with_every_rule_and_its_source(bench: Bench) -> None:
    async with showing(bench, "curate", size=(160, 90)) as (app, pilot):
        await figures_of(app, pilot, "teas")
        await until_text(pilot, "teas: not ready for pip")
        shown = text_of(app)
        assert "missing: collect more accepted rows" in shown
        assert all(rule.name in shown for rule in RULES)
        assert "▶ more-rows" in shown and "▶ base" not in shown and "arXiv:2305.11206" in shown


async def test_on_a_small_terminal_a_key_turns_the_page(bench: Bench) -> None:
    async with showing(bench, "curate", size=(80, 24)) as (app, pilot):
        await until(pilot, lambda: len(pane(app).rows.ids) == 50)
        pane(app).dataset = "teas"
        await pilot.press("S")
        await until_text(pilot, "rows: 40")
        assert "The rules" not in text_of(app)
        await pilot.press("r")
        await until_text(pilot, "not ready for pip")
        assert "rows: 40" not in text_of(app)


async def test_the_filter_of_curate_holds_and_another_dataset_can_be_chosen(bench: Bench) -> None:
    async with showing(bench, "curate", size=SIZE) as (app, pilot):
        await until(pilot, lambda: len(pane(app).rows.ids) == 50)
        await pilot.press("slash", *"question 1", "enter")
        await until(pilot, lambda: pane(app).filter == "question 1")
        await pilot.press("S")
        await until_text(pilot, "rows: 2 ")  # one of each dataset; 10 to 19 are other words
        await pilot.press("D")
        await until_text(pilot, "type to filter")
        await pilot.press(*"teas", "enter")
        await until_text(pilot, "rows: 1 ")
        assert isinstance(app.screen, DatasetDialog) and app.screen.dataset == "teas"


async def test_tokens_are_counted_only_when_asked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.flows import datasets

    asked: list[str] = []
    measure = datasets.statistics

    def watched(over: Bench, dataset: str, *, model: str, **how: object) -> object:
        asked.append(model)
        return measure(over, dataset, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(datasets, "statistics", watched)
    async with showing(bench, "curate", size=SIZE) as (app, pilot):
        await figures_of(app, pilot, "teas")
        assert asked == [""]
        await pilot.press("t")
        await until(pilot, lambda: len(asked) > 1)
        assert asked == ["", "pip"]


async def test_splits_are_dealt_as_asked_and_one_undo_takes_them_back(bench: Bench) -> None:
    locked = bench.store.examples.list(parse_query(""), dataset="teas")[0]
    bench.store.examples.change([locked.id], Action.SPLIT, rater="r", split=Split.TEST)
    async with showing(bench, "curate", size=SIZE) as (app, pilot):
        await figures_of(app, pilot, "teas")
        await pilot.press("s")
        await until_text(pilot, "Deal teas into splits")
        field(app, "validation").value = "0.25"
        await pilot.press("ctrl+s")
        await until_text(pilot, "dealt 39 rows")
        assert count(bench, "split:none", "teas") == 0 and count(bench, "split:validation", "teas") > 0
        assert bench.store.examples.get(locked.id).split is Split.TEST
        await pilot.press("u")
        await until_text(pilot, "undone")
        assert count(bench, "split:none", "teas") == 39 and count(bench, "split:test", "teas") == 1


async def test_a_second_deal_moves_nothing_and_says_so(bench: Bench) -> None:
    async with showing(bench, "curate", size=SIZE) as (app, pilot):
        await figures_of(app, pilot, "teas")
        dealt: list[list[int]] = []
        for said in ("dealt 40 rows", "nothing to deal"):
            await pilot.press("s")
            await until_text(pilot, "Deal teas into splits")
            await pilot.press("ctrl+s")
            await until_text(pilot, said)
            held_out = bench.store.examples.list(parse_query("split:validation"), dataset="teas")
            dealt.append([example.id for example in held_out])
        assert dealt[0] == dealt[1] != []


async def test_a_share_that_is_none_is_said_in_the_form_which_stays(bench: Bench) -> None:
    async with showing(bench, "curate", size=SIZE) as (app, pilot):
        await figures_of(app, pilot, "teas")
        await pilot.press("s")
        await until_text(pilot, "Deal teas into splits")
        field(app, "validation").value = "lots"
        await pilot.press("enter")
        await until_text(pilot, "validation is 'lots', not a number")
        field(app, "validation").value = "1.5"
        await pilot.press("enter")
        await until_text(pilot, "is not from 0 to 1")
        assert count(bench, "split:none", "teas") == 40


async def test_datasets_are_merged_and_the_new_one_is_shown(bench: Bench) -> None:
    async with showing(bench, "curate", size=SIZE) as (app, pilot):
        await figures_of(app, pilot, "teas")
        await pilot.press("m")
        await until_text(pilot, "Merge datasets")
        next(picker for picker in app.screen.query(Picker) if picker.name == "take coffees").focus()
        await pilot.press("right")
        field(app, "into").value = "drinks"
        await pilot.press("ctrl+s")
        await until_text(pilot, "drinks has 50 rows more")
        await until_text(pilot, "rows: 50")
        await pilot.press("escape")
        await until(pilot, lambda: pane(app).dataset == "drinks" and len(pane(app).rows.ids) == 50)


async def test_a_mixture_keeps_to_weights_cap_and_prefix(bench: Bench) -> None:
    async with showing(bench, "curate", size=SIZE) as (app, pilot):
        await figures_of(app, pilot, "teas")
        await pilot.press("w")
        await until_text(pilot, "Mix by weight")
        for name, value in (("into", "mix"), ("cap", "8"), ("weight teas", "3"), ("weight coffees", "1")):
            field(app, name).value = value
        field(app, "prefix coffees").value = "[C]"
        field(app, "tag coffees").value = "coffee"
        await pilot.press("ctrl+s")
        await until_text(pilot, "mix has 8 rows more")
    assert count(bench, "tag:coffee", "mix") == 2 and count(bench, "", "mix") == 8
    prompts = [
        row.content.prompt[0].content for row in bench.store.examples.list(parse_query("tag:coffee"), dataset="mix")
    ]
    assert all(prompt.startswith("[C] coffees question") for prompt in prompts)


async def test_rows_are_made_by_templates_and_a_bad_template_is_named_by_its_line(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "ways.txt"
    file.write_text("Briefly: {prompt}\nno blank\n")
    async with showing(bench, "curate", size=SIZE) as (app, pilot):
        await figures_of(app, pilot, "coffees")
        await pilot.press("p")
        await until_text(pilot, "by templates")
        field(app, "file").value = str(file)
        await pilot.press("enter")
        await until_text(pilot, "ways.txt:2")
        file.write_text("Briefly: {prompt}\n")
        await pilot.press("enter")
        await until_text(pilot, "made 10 rows from 10 rows of coffees, pending")
        await pilot.press("u")
        await until_text(pilot, "undone")
        assert count(bench, "", "coffees") == 10


async def test_a_dataset_is_deleted_only_by_its_very_name_and_comes_back(bench: Bench) -> None:
    async with showing(bench, "curate", size=SIZE) as (app, pilot):
        await figures_of(app, pilot, "coffees")
        await pilot.press("X", *"coffee", "enter")
        await until_text(pilot, "that is not the name")
        assert count(bench, "", "coffees") == 10
        await pilot.press("s", "enter")
        await until_text(pilot, "deleted coffees (10 rows)")
        assert count(bench, "", "coffees") == 0 and "rows: 40" in text_of(app)
        await pilot.press("u")
        await until_text(pilot, "rows: 10 ")
        assert count(bench, "", "coffees") == 10


async def test_what_is_for_one_dataset_says_so_when_all_are_shown(bench: Bench) -> None:
    async with showing(bench, "curate", size=SIZE) as (app, pilot):
        await figures_of(app, pilot, "")
        await pilot.press("X")
        await until_text(pilot, "this is for one dataset")


async def test_letters_behind_a_key_in_one_burst_go_into_the_dialog_that_it_opens(bench: Bench) -> None:
    async with showing(bench, "curate", size=SIZE) as (app, pilot):
        await figures_of(app, pilot, "teas")
        for key in ("X", *"teas", "enter"):  # each of these letters is a key of the screen below
            app.simulate_key(key)
        await until_text(pilot, "deleted teas (40 rows)")
        assert count(bench, "", "teas") == 0


async def test_leaving_the_program_ends_the_counting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[threading.Event] = []

    def endless(*_: object, cancelled: threading.Event, **__: object) -> None:
        given.append(cancelled)
        assert cancelled.wait(20)
        raise WorkbenchError("the counting was cancelled")

    monkeypatch.setattr(dataset.apart, "call", endless)
    async with showing(bench, "curate", size=SIZE) as (app, pilot):
        await until(pilot, lambda: len(pane(app).rows.ids) == 50)
        await pilot.press("S")
        await until(pilot, lambda: len(given) == 1)
        await pilot.press("ctrl+q")
    assert given[0].is_set()
