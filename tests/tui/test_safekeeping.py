"""Backups from the palette, the daily one behind everything else, and a restore that the app is left for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from finished_run import add_rows
from pilots import app_at, until, until_shown
from workbench.flows import apart, backups
from workbench.flows.bench import Bench
from workbench.tui import launch, safekeeping
from workbench.tui.app import WorkbenchApp
from workbench.tui.commands import WorkbenchCommands
from workbench.tui.widgets.dialogs import ConfirmDialog, TextDialog


def command(app: WorkbenchApp, name: str) -> Callable[[], object]:
    found = {one: run for one, _, run in WorkbenchCommands(app.screen)._commands()}
    return found[name]


async def name_file(pilot: Pilot[int], app: WorkbenchApp, asked: str, file: Path) -> None:
    """Choose a command that asks for a file, and answer."""
    await until(pilot, lambda: app._bench is not None)
    command(app, asked)()
    await until(pilot, lambda: isinstance(app.screen, TextDialog) and app.screen.query(Input))
    app.screen.query_one(Input).value = str(file)
    await pilot.press("enter")


async def test_a_backup_is_written_from_the_palette(bench: Bench, tmp_path: Path) -> None:
    add_rows(bench, 2)
    app = app_at(bench, "chat")
    async with app.run_test(size=(200, 24)) as pilot:  # the folder's name may be long
        await name_file(pilot, app, "Back up the workspace", tmp_path / "b.zip")
        await until_shown(pilot, "b.zip: 1", " kB", "1 dataset, 2 examples, 1 model")
    assert backups.examine(tmp_path / "b.zip").counts["examples"] == 2


async def test_the_app_is_left_for_a_restore_after_the_word_was_typed(bench: Bench, tmp_path: Path) -> None:
    add_rows(bench, 2)
    file = backups.back_up(bench, tmp_path / "b.zip").file
    add_rows(bench, 1, said="Later")
    app = app_at(bench, "chat")
    async with app.run_test(size=(80, 24)) as pilot:
        await name_file(pilot, app, "Restore a backup", file)
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog) and app.screen.query(Input))
        await until_shown(pilot, "2 examples")
        await pilot.press(*"restore", "enter")
        await until(pilot, lambda: app.safekeeping.wanted is not None)
    assert app.safekeeping.wanted == (bench.workspace, file)
    said = launch._restored(*app.safekeeping.wanted)
    assert said.startswith("restored; what was there is in")
    with closing(sqlite3.connect(bench.workspace.database)) as connection:
        assert connection.execute("SELECT count(*) FROM examples").fetchone() == (2,)


async def test_no_backup_is_said_in_words(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_text("no")
    app = app_at(bench, "chat")
    async with app.run_test(size=(80, 24)) as pilot:
        await name_file(pilot, app, "Restore a backup", tmp_path / "no.zip")
        await until_shown(pilot, "it is no backup that can be read")
        assert app.safekeeping.wanted is None


async def test_verify_shows_what_is_wrong(bench: Bench) -> None:
    with bench.store.write() as db:
        db.execute("UPDATE models SET sha256 = 'abc'")
    app = app_at(bench, "models")
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "pip")
        command(app, "Verify the workspace")()
        await until_shown(pilot, "the weights of model pip have changed", "not everything is as it was written")
        await pilot.press("escape")
        await pilot.press("v")
        await until_shown(pilot, "the weights of model pip have changed")


async def test_today_s_backup_is_made_and_a_damaged_database_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safekeeping, "FIRST_LOOK_S", 0.05)
    add_rows(bench, 2)
    app = app_at(bench, "chat")
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "today's backup: daily-")
        monkeypatch.setattr("workbench.store.snapshots.page_faults", lambda *_, **__: ["page 7 is torn"])
        bench.workspace.unchecked.touch()
        app.safekeeping.look_after()
        await until_shown(pilot, "the database is damaged: page 7 is torn")
    assert bench.workspace.unchecked.exists()


async def test_a_large_workspace_is_backed_up_and_verified_by_a_process_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safekeeping, "FIRST_LOOK_S", 0.05)
    monkeypatch.setattr(safekeeping, "LARGE_BYTES", 0)
    children: list[tuple[str, bool]] = []
    real = apart.call

    def call(function: Callable[..., object], *given: object, **named: Any) -> object:
        children.append((function.__name__, named["is_asked"]))
        return real(function, *given, **named)

    monkeypatch.setattr(apart, "call", call)
    add_rows(bench, 2)
    bench.workspace.unchecked.touch()
    app = app_at(bench, "chat")
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "today's backup: daily-")
        command(app, "Verify the workspace")()
        await until_shown(pilot, "everything is as it was written")
    assert children == [("after_unclean_stop", False), ("daily", False), ("verify", True)]
    assert not bench.workspace.unchecked.exists()


async def test_leaving_breaks_a_backup_off_and_leaves_no_half(bench: Bench, tmp_path: Path) -> None:
    add_rows(bench, 2)
    app = app_at(bench, "chat")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app._bench is not None)
        app.safekeeping.end()
        with pytest.raises(safekeeping.Left):
            backups.back_up(bench, tmp_path / "b.zip", on_progress=app.safekeeping._told)
    assert [path.name for path in tmp_path.iterdir() if "b.zip" in path.name] == []
