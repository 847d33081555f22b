"""Import and export by keys: nothing is written before it was shown, an import goes on meanwhile, reports say all."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from showing import said, showing, text_of, until, until_text
from textual.widgets import Input

from workbench.domain.chats import Turn
from workbench.domain.examples import Content, Kind, Source, SourceKind, Status, demonstration
from workbench.domain.queries import parse_query
from workbench.flows import exchange
from workbench.flows.bench import Bench
from workbench.tui.app import WorkbenchApp
from workbench.tui.running_import import ImportAsked, RunningImport
from workbench.tui.screens.curate import CuratePane
from workbench.tui.widgets.picker import Picker


def row(number: int) -> str:
    """One good line."""
    return json.dumps({"prompt": f"question {number}", "completion": f"answer {number}"}) + "\n"


def put(path: Path, text: str) -> Path:
    """A file with this text."""
    path.write_text(text)
    return path


def count(bench: Bench) -> int:
    """How many examples there are."""
    return bench.store.examples.count(parse_query(""))


def unwrapped(shown: str) -> str:
    """A screen's text without line breaks, frames and spaces: a long path may be broken anywhere."""
    return "".join(c for c in shown if not c.isspace() and c not in "│─╭╮╰╯")


async def asked_for(app: WorkbenchApp, pilot: object, file: Path) -> None:
    """The dialog, opened by its key, with this path in it."""
    await pilot.press("i")  # type: ignore[attr-defined]
    await until(pilot, lambda: bool(app.screen.query("#import-path")))  # type: ignore[arg-type]
    app.screen.query_one("#import-path", Input).value = str(file)


def pane(app: WorkbenchApp) -> CuratePane:
    """The pane."""
    return app.query_one(CuratePane)


async def test_the_rows_are_shown_before_anything_is_written_and_the_report_after(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "new.jsonl", row(1) + row(2))
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await asked_for(app, pilot, file)
        await pilot.press("enter")
        await until_text(pilot, "trl in jsonl, 2 rows")
        assert "answer assistant: answer 2" in text_of(app) and count(bench) == 0
        await pilot.press("enter")
        await until_text(pilot, "imported    2 rows into new")
        assert "workbench import" in text_of(app)
        await pilot.press("enter")
        await until(pilot, lambda: pane(app).dataset == "new" and len(pane(app).rows.ids) == 2)


async def test_an_enter_that_comes_before_the_rows_are_shown_imports_nothing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    look = ImportAsked.preview

    def late(asked: ImportAsked, over: Bench) -> exchange.Preview:
        go_on.wait(20)
        return look(asked, over)

    monkeypatch.setattr(ImportAsked, "preview", late)
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await asked_for(app, pilot, put(tmp_path / "new.jsonl", row(1)))
        await pilot.press("enter", "enter", "enter")
        await until_text(pilot, "reading the first rows")
        go_on.set()
        await until_text(pilot, "row 1: demonstration")
        assert count(bench) == 0


async def test_another_path_must_be_shown_again(bench: Bench, tmp_path: Path) -> None:
    put(tmp_path / "one.jsonl", row(1))
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await asked_for(app, pilot, tmp_path / "one.jsonl")
        await until_text(pilot, "question 1")
        app.screen.query_one("#import-path", Input).value = str(put(tmp_path / "two.jsonl", row(2)))
        await pilot.press("enter")
        await until_text(pilot, "question 2")
        assert count(bench) == 0


async def test_columns_that_no_format_knows_are_chosen_and_the_rows_follow(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "a.csv", "frage,antwort\nwhat,that\n")
    async with showing(bench, "curate", size=(80, 24)) as (app, pilot):
        await asked_for(app, pilot, file)
        await until_text(pilot, "no format has such rows")
        await pilot.press("enter")
        await until_text(pilot, "none of the first rows can be taken")
        parts = {picker.name: picker for picker in app.screen.query(Picker) if picker.name}
        parts["prompt"].focus()
        await pilot.press("f")
        parts["completion"].focus()
        await pilot.press("a")
        await until_text(pilot, "answer assistant: that")
        await pilot.press("ctrl+s")
        await until_text(pilot, "imported    1 row into a")
        assert "completion=antwort" in unwrapped(text_of(app))
    found = bench.store.examples.list(parse_query(""))[0].content
    assert (found.prompt[0].content, found.chosen[0].content) == ("what", "that")


async def test_a_column_that_was_guessed_can_be_left_out(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "a.csv", "question,answer,label\nwhat,that,true\n")
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await asked_for(app, pilot, file)
        await until_text(pilot, "judged good")
        next(picker for picker in app.screen.query(Picker) if picker.name == "label").focus()
        await pilot.press("enter", *"-", "enter")
        await until_text(pilot, "row 1: demonstration")
        await pilot.press("ctrl+s")
        await until_text(pilot, "imported    1 row")
    assert bench.store.examples.list(parse_query(""))[0].content.kind is Kind.DEMONSTRATION


async def test_another_format_is_taken_when_the_guess_is_wrong(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "a.jsonl", json.dumps({"text": "q", "prompt": "what", "completion": "that"}) + "\n")
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await asked_for(app, pilot, file)
        await until_text(pilot, "row 1: demonstration")
        app.screen.query_one("#import-format", Picker).focus()
        await pilot.press("enter", *"text", "enter")
        await until_text(pilot, "row 1: text")


async def test_bad_lines_are_all_named_and_the_good_ones_taken_only_when_asked(bench: Bench, tmp_path: Path) -> None:
    file = put(tmp_path / "half.jsonl", row(1) + "{broken\n" + row(2) + "[]\n")
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await asked_for(app, pilot, file)
        await until_text(pilot, "bad lines so far: 2 of 4")
        await pilot.press("enter")
        await until_text(pilot, "nothing was imported: 2 bad lines")
        assert "line 2: it is not JSON" in text_of(app) and "line 4: it is not" in text_of(app)
        assert count(bench) == 0
        await pilot.press("ctrl+t")
        await until_text(pilot, "refused     2 lines")
        assert count(bench) == 2 and "half.jsonl.skipped.jsonl" in unwrapped(text_of(app))


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Imports stop after their first news until this is set."""
    go_on = threading.Event()
    hear = RunningImport._hear

    def heard(running: RunningImport, progress: exchange.Progress) -> None:
        hear(running, progress)
        go_on.wait(20)

    monkeypatch.setattr(RunningImport, "_hear", heard)
    yield go_on
    go_on.set()


async def test_rows_are_decided_while_an_import_goes_on_and_its_end_is_told(
    bench: Bench, tmp_path: Path, held: threading.Event
) -> None:
    content = demonstration((Turn("user", "mine"),), "yes")
    mine, _ = bench.store.examples.add("d", content, source=Source(SourceKind.IMPORT), status=Status.PENDING, rater="r")
    file = put(tmp_path / "new.jsonl", "".join(map(row, range(500))))
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await until(pilot, lambda: len(pane(app).rows.ids) == 1)
        await asked_for(app, pilot, file)
        await until_text(pilot, "row 3")
        await pilot.press("enter")
        await until_text(pilot, "200 rows")
        await pilot.press("escape", "a")
        await until(pilot, lambda: bench.store.examples.get(mine.id).status is Status.ACCEPTED)
        await until_text(pilot, "import reading 200 rows")
        assert count(bench) == 1
        held.set()
        await until(pilot, lambda: said(app).endswith("i shows the report"))
        assert count(bench) == 501 and pane(app).dataset is None
        await pilot.press("i")
        await until_text(pilot, "imported    500 rows into new")


async def test_a_cancelled_import_leaves_no_trace(bench: Bench, tmp_path: Path, held: threading.Event) -> None:
    file = put(tmp_path / "new.jsonl", "".join(map(row, range(500))))
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await asked_for(app, pilot, file)
        await until_text(pilot, "row 3")
        await pilot.press("enter")
        await until_text(pilot, "200 rows")
        await pilot.press("ctrl+k")
        await until_text(pilot, "cancelling")
        held.set()
        await until_text(pilot, "the import was cancelled")
    assert count(bench) == 0 and bench.store.datasets.list() == []


async def test_leaving_the_app_cancels_an_import_and_waits_for_it(
    bench: Bench, tmp_path: Path, held: threading.Event
) -> None:
    file = put(tmp_path / "new.jsonl", "".join(map(row, range(500))))
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await asked_for(app, pilot, file)
        await until_text(pilot, "row 3")
        await pilot.press("enter")
        await until_text(pilot, "200 rows")
        waits = pane(app).closing()
        held.set()
        await asyncio.gather(*(asyncio.to_thread(wait) for wait in waits))
    assert count(bench) == 0


async def test_a_hub_id_without_the_network_is_refused_plainly(bench: Bench) -> None:
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await asked_for(app, pilot, Path("hf:somebody/something"))
        await pilot.press("enter")
        await until(pilot, lambda: "cannot be loaded from the hub" in text_of(app), turns=3000)  # a child looks
        assert "HF_HUB_OFFLINE is set" in text_of(app)


def test_the_command_says_everything_that_was_chosen() -> None:
    asked = ImportAsked("a b.csv", "d", "table", "csv", status=Status.ACCEPTED, skip_bad=True, mapping={"prompt": "x"})
    words = "--dataset d --format table --as csv --status accepted --map prompt=x --skip-bad"
    assert asked.command() == f"workbench import 'a b.csv' {words}"


# Export


@pytest.fixture
def rows(bench: Bench) -> list[int]:
    """Two accepted demonstrations, one of them with two questions, in the dataset "data"."""
    long = (Turn("user", "first"), Turn("assistant", "yes"), Turn("user", "second"))
    contents: list[Content] = [demonstration((Turn("user", "one"),), "ja"), demonstration(long, "nein")]
    source = Source(SourceKind.IMPORT, file="rows.jsonl", line=1)
    add = bench.store.examples.add
    return [add("data", one, source=source, status=Status.ACCEPTED, rater="r")[0].id for one in contents]


async def test_an_export_shows_its_count_replaces_only_when_asked_twice_and_says_where_the_card_is(
    bench: Bench, rows: list[int], tmp_path: Path
) -> None:
    target = put(tmp_path / "out.jsonl", "mine\n")
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await until(pilot, lambda: len(pane(app).rows.ids) == 2)
        await pilot.press("X")
        await until_text(pilot, "2 rows (status:accepted) as trl in jsonl")
        app.screen.query_one("#export-path", Input).value = str(target)
        await pilot.press("enter")
        await until(pilot, lambda: "Enteragainreplacesit" in unwrapped(text_of(app)))
        assert target.read_text() == "mine\n"
        await pilot.press("enter")
        await until_text(pilot, "exported 2 rows")
        assert "out.jsonl.README.md" in unwrapped(text_of(app)) and (tmp_path / "out.jsonl.README.md").is_file()
        assert len(target.read_text().splitlines()) == 2


async def test_what_a_format_cannot_hold_is_counted_and_left_out_only_when_asked(
    bench: Bench, rows: list[int], tmp_path: Path
) -> None:
    target = tmp_path / "out.csv.gz"
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await until(pilot, lambda: len(pane(app).rows.ids) == 2)
        await pilot.press("X")
        await until_text(pilot, "to file")
        app.screen.query_one("#export-path", Input).value = str(target)
        app.screen.query_one("#export-format", Picker).focus()
        await pilot.press("enter", *"table", "enter")
        await until_text(pilot, "1 row with more than table can hold, which is refused")
        assert "csv, packed by gzip" in text_of(app)
        await pilot.press("ctrl+s")
        await until_text(pilot, "cannot hold")
        assert not target.exists()
        app.screen.query_one("#export-flatten", Picker).focus()
        await pilot.press("right")
        await until_text(pilot, "will be left out")
        await pilot.press("ctrl+s")
        await until_text(pilot, "flattened to what table can hold")
        assert target.exists()


async def test_only_what_the_query_finds_is_counted(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await until(pilot, lambda: len(pane(app).rows.ids) == 2)
        await pilot.press("slash", *"second", "enter")
        await until(pilot, lambda: len(pane(app).rows.ids) == 1)
        await pilot.press("X")
        await until_text(pilot, "1 row (second) as trl")
