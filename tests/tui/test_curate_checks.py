"""Findings in Curate: in sight beside the row, mended by a key, taken back by another, and a filter to come to them."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from showing import said, showing, text_of, until, until_text

from workbench.domain.chats import Turn
from workbench.domain.examples import Source, SourceKind, Split, Status, demonstration
from workbench.flows import check
from workbench.flows.bench import Bench
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.curate import CuratePane

SOURCE = Source(SourceKind.IMPORT, file="rows.jsonl", line=1)
MAIL = "Write to ann.meyer@firma-meyer.de today."
ROW_CHECKS = ("template_tokens", "personal_data", "exact_duplicates")


@pytest.fixture
def rows(bench: Bench) -> list[int]:
    """One row without and two with findings, looked at already."""
    contents = [
        demonstration((Turn("user", "q0"),), "Tea."),
        demonstration((Turn("user", "q1"),), f"{MAIL}<|im_end|>"),
        demonstration((Turn("user", "q2"),), MAIL),
    ]
    add = partial(bench.store.examples.add, "d", source=SOURCE, status=Status.PENDING, rater="setup")
    ids = [add(content)[0].id for content in contents]
    check.run(bench, only=ROW_CHECKS)
    return ids


async def at(app: WorkbenchApp, pilot: object, row: int) -> CuratePane:
    """The pane once the example is shown."""
    pane = app.query_one(CuratePane)
    await until(pilot, lambda: pane.example is not None and pane.example.id == row)  # type: ignore[arg-type]
    return pane


def answer(bench: Bench, row: int) -> str:
    """What is stored."""
    return bench.store.examples.get(row).answer_text


async def test_the_findings_of_a_row_are_beside_it_with_place_and_reason(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate", size=(160, 45)) as (app, pilot):
        await at(app, pilot, rows[0])
        assert "ERROR" not in text_of(app)
        await pilot.press("j")
        await until_text(pilot, "✗ ERROR template_tokens")
        await until_text(pilot, "F: remove the tokens")
        await until_text(pilot, "(chosen turn 1, characters 41-50)")
        await until_text(pilot, "⚠ WARNING personal_data")


async def test_one_key_mends_the_row_and_one_undo_brings_it_back_with_its_findings(
    bench: Bench, rows: list[int]
) -> None:
    async with showing(bench, "curate", size=(160, 45)) as (app, pilot):
        await at(app, pilot, rows[0])
        await pilot.press("j", "F")
        await until(pilot, lambda: answer(bench, rows[1]) == "Write to [EMAIL] today.")
        await until(pilot, lambda: "mended" in said(app))
        await until(pilot, lambda: "template_tokens" not in text_of(app))
        await pilot.press("u")
        await until_text(pilot, "✗ ERROR template_tokens")
        assert answer(bench, rows[1]) == f"{MAIL}<|im_end|>"


async def test_in_the_detail_only_the_finding_under_the_cursor_is_mended(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate", size=(160, 45)) as (app, pilot):
        await at(app, pilot, rows[0])
        await pilot.press("j")
        await until_text(pilot, "template_tokens")
        await pilot.press("enter", "j", "F")
        await until(pilot, lambda: answer(bench, rows[1]) == MAIL)
        await until(pilot, lambda: "1 left" in said(app))


async def test_a_redaction_is_brought_back_by_a_key(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate", size=(160, 45)) as (app, pilot):
        await at(app, pilot, rows[0])
        await pilot.press("G", "F")
        await until(pilot, lambda: "[EMAIL]" in answer(bench, rows[2]))
        await pilot.press("B")
        await until(pilot, lambda: answer(bench, rows[2]) == MAIL)


async def test_a_row_without_a_finding_and_one_that_is_locked_say_so(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate", size=(160, 45)) as (app, pilot):
        await at(app, pilot, rows[0])
        await pilot.press("F")
        await until(pilot, lambda: "nothing that was found" in said(app))
        await pilot.press("l", *"test", "enter")
        await until(pilot, lambda: bench.store.examples.get(rows[0]).split is Split.TEST)
        await pilot.press("F")
        await until(pilot, lambda: "locked" in said(app))


async def test_the_rows_of_one_check_are_shown_by_a_choice(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate", size=(160, 45)) as (app, pilot):
        pane = await at(app, pilot, rows[0])
        await pilot.press("C", *"template", "enter")
        await until(pilot, lambda: pane.filter == "check:template_tokens" and list(pane.rows.ids) == [rows[1]])


async def test_the_checks_run_behind_the_work_and_then_say_what_they_found(
    bench: Bench, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    real = check.run

    def quick(bench: Bench, query: str = "", **given: object) -> check.Report:
        ran.append(query)
        return real(bench, query, **{**given, "only": ROW_CHECKS})  # type: ignore[arg-type]

    monkeypatch.setattr(check, "run", quick)
    bench.store.findings.replace(rows, ROW_CHECKS, ())
    async with showing(bench, "curate", size=(160, 45)) as (app, pilot):
        await at(app, pilot, rows[0])
        await pilot.press("C", *"run", "enter", "j", "a")
        await until(pilot, lambda: "C shows the rows" in said(app) or "accepted" in said(app))
        await until(pilot, lambda: check.by_check(bench) == {"personal_data": 2, "template_tokens": 1})
        assert ran and bench.store.examples.get(rows[1]).status is Status.ACCEPTED


async def test_a_run_of_the_checks_is_stopped_by_choice(
    bench: Bench, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(_bench: Bench, **given: object) -> check.Report:
        stop = given["cancelled"]
        assert stop.wait(20)  # type: ignore[attr-defined]
        return real(_bench, **given)  # type: ignore[arg-type]

    real = check.run
    monkeypatch.setattr(check, "run", endless)
    async with showing(bench, "curate", size=(160, 45)) as (app, pilot):
        await at(app, pilot, rows[0])
        await pilot.press("C", *"run", "enter")
        await until(pilot, lambda: "behind your work" in said(app))
        await pilot.press("C", *"stop", "enter")
        await until(pilot, lambda: "were stopped" in said(app))
