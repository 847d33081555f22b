"""Curate: tool calls and tools edited as JSON, and lists that are sorted."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from showing import showing, until, until_text

from finished_run import add_rows, finish, launched, nobody
from pilots import screen_text
from workbench.domain.chats import Turn, turn_from_dict
from workbench.domain.examples import Source, SourceKind, Status, demonstration
from workbench.flows import curate as flow
from workbench.flows import train
from workbench.flows.bench import Bench
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.curate import CuratePane
from workbench.tui.widgets.editor import Editor

SOURCE = Source(SourceKind.IMPORT, file="rows.jsonl", line=1)


async def opened(app: WorkbenchApp, pilot: object, count: int) -> CuratePane:
    """The pane once it shows its rows and the example under the cursor."""
    pane = app.query_one(CuratePane)
    await until(pilot, lambda: len(pane.rows.ids) == count and pane.example is not None)  # type: ignore[arg-type]
    return pane


@pytest.fixture
def calling(bench: Bench) -> int:
    """A question that is answered by a tool call."""
    call = {"type": "function", "function": {"name": "search", "arguments": {"query": "tea"}}}
    answer = turn_from_dict({"role": "assistant", "content": None, "tool_calls": [call]})
    tools = '[{"type":"function","function":{"name":"search"}}]'
    content = replace(demonstration([Turn("user", "which tea?")], "x"), chosen=(answer,), tools=tools)
    return bench.store.examples.add("data", content, source=SOURCE, status=Status.PENDING, rater="importer")[0].id


async def test_tool_calls_are_edited_as_json_and_a_mistake_keeps_the_editor_open(bench: Bench, calling: int) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 1)
        before = bench.store.examples.get(calling).answer_text
        await pilot.press("e")
        await until_text(pilot, "the tools that are offered")
        await pilot.press(*"calls", "enter")
        await until_text(pilot, '"query": "tea"')
        editor = app.screen.query_one(Editor)
        editor.write(editor.written.replace('"tea"', '"tea'))
        await pilot.press("ctrl+s")
        await until_text(pilot, "column")
        editor.write('[{"function": {"name": "search", "arguments": {"query": "oolong"}}}]')
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "oolong" in bench.store.examples.get(calling).answer_text)
        await until_text(pilot, 'search({"query": "oolong"})')
        await pilot.press("u")
        await until(pilot, lambda: "oolong" not in bench.store.examples.get(calling).answer_text)
        assert bench.store.examples.get(calling).answer_text == before


async def test_the_tools_that_are_offered_are_shown_and_edited(bench: Bench, calling: int) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 1)
        await until_text(pilot, "TOOLS")
        await pilot.press("enter", "j", "e")
        await until_text(pilot, "the tools that are offered of")
        editor = app.screen.query_one(Editor)
        editor.write(editor.written.replace("search", "look_up"))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "look_up" in bench.store.examples.get(calling).content.tools)
        assert "search" not in bench.store.examples.get(calling).content.tools
        await pilot.press("h")
        await until_text(pilot, "tools")


@pytest.fixture
def rows(bench: Bench) -> list[int]:
    """Seven rows; the last has the most words."""
    contents = [demonstration((Turn("user", "question"),), f"answer {n}") for n in range(6)]
    contents.append(demonstration((Turn("user", "question"),), "a longer answer"))
    return [
        bench.store.examples.add("data", content, source=SOURCE, status=Status.PENDING, rater="importer")[0].id
        for content in contents
    ]


async def test_a_sorted_list_begins_at_its_first_row_and_says_so_while_it_is_sorted(
    bench: Bench, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, sort = threading.Event(), flow.window

    def slow(*given: object, **named: object) -> object:
        waiting.wait(30)
        return sort(*given, **named)  # type: ignore[arg-type]

    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        await pilot.press("G")
        monkeypatch.setattr(flow, "window", slow)
        curate.show_order("-words")
        await until_text(pilot, "sorting…")
        await pilot.press("k", "a")  # the rows that stand there can be worked on
        await until(pilot, lambda: bench.store.examples.get(rows[5]).status is Status.ACCEPTED)
        waiting.set()
        await until_text(pilot, "7 rows  row 1  by -words")
        assert list(curate.rows.ids) == [rows[6], *rows[5::-1]] and curate.rows.cursor == 0


async def test_rows_in_the_order_of_a_score_show_it_and_those_without_one_a_dash(bench: Bench) -> None:
    ids = add_rows(bench, 12)
    run = launched(bench, name="mine")
    finish(bench, run, scores={ids[0]: (3.0, 0.25), ids[5]: (3.0, 1.75)})
    train.sync(bench, start_runner=nobody)
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 12)
        assert "loss" not in screen_text(app).split("src")[0]
        await pilot.press("o")
        await until_text(pilot, "the longest answer first")
        await pilot.press(*"-loss@", "enter")
        await until(pilot, lambda: [*curate.rows.ids][:2] == [ids[5], ids[0]])
        for line in (
            "kind     loss prompt",
            "demo     1.75 Question 5",
            "demo     0.25 Question 0",
            "demo        - Question",
        ):
            await until_text(pilot, line)
        curate.show_order("id")
        await until(pilot, lambda: "  loss" not in screen_text(app).split("src")[0])
