"""The frame: jumps, keys, help, palette, what is said, what happens before the store is open, and the way out."""

from __future__ import annotations

import re
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from textual.containers import ScrollableContainer
from textual.strip import Strip
from textual.widgets import Footer, Input, TextArea

sys.path.insert(0, str(Path(__file__).parent))

from showing import SIZES, Lasting, said, showing, text_of, until, until_text

from workbench.config import Settings
from workbench.errors import StoreError, UsageError
from workbench.flows.bench import Bench
from workbench.tui.app import WorkbenchApp
from workbench.tui.launch import check_terminal, frames_per_second
from workbench.tui.panes import PANES
from workbench.tui.screens.chat import ChatPane
from workbench.tui.widgets.composer import Composer
from workbench.tui.widgets.frame import JumpStrip
from workbench.tui.widgets.help import HelpDialog
from workbench.tui.widgets.transcript import Transcript


async def test_the_first_paint_waits_for_neither_the_store_nor_a_model(bench: Bench) -> None:
    may_open = threading.Event()

    def slowly() -> Bench:
        may_open.wait(20)
        return bench

    app = WorkbenchApp(slowly)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_text(pilot, "opening the workspace…")
        assert "[(C)HAT]" in text_of(app)
        with pytest.raises(StoreError):
            _ = app.bench
        called: list[int] = []
        app.call_when_open(lambda: called.append(1))
        assert called == []
        may_open.set()
        await until(pilot, lambda: called == [1])
        assert app.bench is bench


async def test_a_workspace_that_cannot_be_opened_is_said_and_the_app_stays() -> None:
    def broken() -> Bench:
        raise StoreError("the database was written by a newer workbench", hint="update it")

    app = WorkbenchApp(broken)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "newer workbench" in said(app))
        assert "update it" in said(app)
        app.say("")
        await pilot.press("f7")
        await until(pilot, lambda: "newer workbench" in said(app))  # each screen says why it is empty
        assert app.is_running


async def test_each_function_key_leads_to_its_pane(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        for entry in PANES[:2]:
            await pilot.press(entry.key)
            await until(pilot, lambda name=entry.name: app.front is not None and app.front.id == name)
            assert app.query_one(JumpStrip).current == entry.name
            assert f"[{entry.label.upper()}]" in text_of(app)


async def test_ctrl_o_and_a_letter_jump_even_out_of_a_text_field(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        assert isinstance(app.focused, Composer)
        await pilot.press("ctrl+o")
        await until_text(pilot, "Go to:")
        await pilot.press("u")
        await until(pilot, lambda: app.front is not None and app.front.id == "curate")
        assert len(app.screen_stack) == 1


async def test_a_letter_that_is_no_screen_leaves_the_jump_menu(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        await pilot.press("ctrl+o", "z")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert app.front is not None and app.front.id == "chat"


async def test_a_workspace_that_opens_late_leaves_the_keys_where_the_person_went(bench: Bench) -> None:
    may_open = threading.Event()

    def open_late() -> Bench:
        may_open.wait(20)
        return Lasting(bench)  # type: ignore[return-value]

    app = WorkbenchApp(open_late)
    async with app.run_test() as pilot:
        await pilot.press("f3")
        await until(pilot, lambda: app.front is not None and app.front.id == "curate")
        may_open.set()
        await until(pilot, lambda: app.query_one(ChatPane).setup is not None)
        await pilot.pause()
        assert app.front is not None and app.focused is not None and app.front in app.focused.ancestors


async def test_focus_returns_to_where_it_was_in_a_pane(bench: Bench) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await pilot.press("slash")
        focused = app.focused
        assert isinstance(focused, Input)
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.focused, Composer))
        await pilot.press("f3")
        await until(pilot, lambda: app.focused is focused)


async def test_help_lists_live_bindings_and_the_same_key_closes_it(bench: Bench) -> None:
    async with showing(bench, size=(120, 100)) as (app, pilot):
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpDialog))
        await until_text(pilot, "Another answer")
        assert "^r" in text_of(app)
        await pilot.press("f1")
        await until(pilot, lambda: len(app.screen_stack) == 1)


async def test_help_tells_what_a_key_does_and_not_what_it_does_elsewhere(bench: Bench) -> None:
    async with showing(bench, size=(120, 100)) as (app, pilot):
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.focused, Transcript))
        await pilot.press("f1")
        await until_text(pilot, "Next alternative")
        rows = [" ".join(line.split()) for line in text_of(app).splitlines()]
        assert not [row for row in rows if re.search("Scroll Left|Page Left|Focus Next|super|shift", row)]
        assert any("2-9 So many other answers at once" in row for row in rows)


async def test_help_lists_no_key_that_goes_sideways_where_there_is_no_room_to_go(bench: Bench) -> None:
    async with showing(bench, size=(120, 100)) as (app, pilot):
        await pilot.press("f1")  # in the field for the message, which wraps
        await until_text(pilot, "Another answer")
        assert "Page Left" not in text_of(app)
        await pilot.press("escape", "f7")
        await until(pilot, lambda: app.focused is not None and app.focused.id == "results-box")
        await pilot.press("f1")
        await until_text(pilot, "To the beginning")
        assert not re.search("Scroll Left|Page Right|Vertical scroll", text_of(app))


async def test_help_follows_a_changed_keymap(bench: Bench) -> None:
    settings = Settings(keys={"chat.regenerate": "f10"})
    async with showing(bench, size=(120, 50), settings=settings) as (app, pilot):
        await until(pilot, lambda: "f10" in app.screen.active_bindings)
        assert "ctrl+r" not in app.screen.active_bindings
        await pilot.press("f1")
        await until_text(pilot, "F10")


async def test_a_line_of_the_keymap_that_cannot_be_used_is_said(bench: Bench) -> None:
    async with showing(bench, settings=Settings(keys={"chat.regenerat": "f10"})) as (app, pilot):
        await until(pilot, lambda: "chat.regenerat" in said(app))
        assert "f10" not in app.screen.active_bindings


async def test_the_palette_runs_actions_and_escapes_what_it_shows(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        await pilot.press("ctrl+p")
        await pilot.press(*"go to curate")
        await until_text(pilot, "Go to Curate")
        await pilot.press("enter")
        await until(pilot, lambda: app.front is not None and app.front.id == "curate")
        assert len(app.screen_stack) == 1


async def test_the_palette_switches_the_theme(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        await pilot.press("ctrl+p")
        await pilot.press(*"theme workbench-light")
        await until_text(pilot, "Theme workbench-light")
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "workbench-light")
        assert app.current_theme.dark is False


async def test_ctrl_c_copies_a_selection_and_never_quits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    async with showing(bench) as (app, pilot):
        monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: "Ctrl+Q" in said(app))
        field = app.query_one(TextArea)
        field.load_text("some words")
        field.select_all()
        await pilot.press("ctrl+c")
        await until(pilot, lambda: copied == ["some words"])
        assert app.is_running


async def test_ctrl_q_leaves_and_closes_the_bench(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        held = app.bench
        await pilot.press("ctrl+q")
        await until(pilot, lambda: not app.is_running or app._exit)
    assert app.return_code == 0
    assert held.closed == 1  # type: ignore[attr-defined]


async def test_what_comes_while_the_screens_are_taken_down_finds_no_line_to_stand_on(bench: Bench) -> None:
    async with showing(bench) as (app, _):
        pass
    for tell in (app.say, app.set_corner, partial(app.set_fact, "engine")):
        tell("too late")


async def test_an_unexpected_failure_of_a_flow_is_logged_without_locals(bench: Bench) -> None:
    from workbench.paths import log_folder

    def fails() -> None:
        token = "sk-secret-in-a-local"
        raise ZeroDivisionError(f"of {len(token)}")

    async with showing(bench) as (app, pilot):
        assert app.front is not None
        app.front.run_flow(fails)
        await until(pilot, lambda: "unexpected ZeroDivisionError" in said(app))
        logs = list(log_folder().glob("crash-*.log"))
        assert len(logs) == 1
        assert "ZeroDivisionError: of 20" in logs[0].read_text()
        assert "sk-secret" not in logs[0].read_text().replace('token = "sk-secret-in-a-local"', "")
        assert app.is_running


async def test_decisions_run_one_after_another_in_the_order_of_their_keys(bench: Bench) -> None:
    order: list[int] = []
    first_may_go = threading.Event()
    async with showing(bench) as (app, pilot):
        assert app.front is not None
        app.front.decide(lambda: first_may_go.wait(20), lambda _: order.append(1))
        for number in (2, 3, 4):
            app.front.decide(lambda number=number: number, order.append)
        await pilot.pause()
        assert order == []
        first_may_go.set()
        await until(pilot, lambda: order == [1, 2, 3, 4])


async def test_a_terminal_that_is_too_small_is_told_so(bench: Bench) -> None:
    async with showing(bench, size=(79, 24)) as (app, pilot):
        await until_text(pilot, "This terminal is 79x24")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "This terminal" not in text_of(app))
        assert isinstance(app.focused, Composer)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("pane", [entry.name for entry in PANES])
async def test_every_pane_fits_every_size(bench: Bench, pane: str, size: tuple[int, int]) -> None:
    async with showing(bench, pane, size=size) as (app, pilot):
        await pilot.pause()
        screen = app.screen.region
        for widget in app.screen.walk_children():
            scrolls = any(isinstance(node, ScrollableContainer) for node in widget.ancestors)
            if not widget.display or not widget.region.area or widget.id == "textual-tooltip" or scrolls:
                continue  # what lies in a scrolling container is cut off by it
            assert screen.contains_region(widget.region), f"{widget} reaches outside: {widget.region}"
            assert not widget.show_horizontal_scrollbar, f"{widget} scrolls sideways"
        lines = text_of(app).split("\n")
        assert "F1 Help" in lines[-1]
        assert lines[0].startswith((" ", "["))


@pytest.mark.parametrize("entry", PANES, ids=lambda entry: entry.name)
def test_a_panes_class_agrees_with_the_strip(entry: object) -> None:
    kind = entry.load()  # type: ignore[attr-defined]
    assert (kind.title, kind.letter) == (entry.title, entry.letter)  # type: ignore[attr-defined]
    assert f"({kind.letter})" in entry.label  # type: ignore[attr-defined]


async def test_the_keys_line_shows_whole_keys_only(bench: Bench) -> None:
    async with showing(bench, "curate", size=(80, 24)) as (app, _pilot):
        line = text_of(app).split("\n")[-1]
        assert line.split()[:2] == ["a", "Ok"]
        assert line.endswith("F1 Help")
        assert not app.query(Footer)


def test_without_a_terminal_the_launch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="terminal"):
        check_terminal()


def test_a_dumb_terminal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Tty())
    monkeypatch.setattr(sys, "__stderr__", Tty())
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(UsageError, match="dumb"):
        check_terminal()
    monkeypatch.setenv("TERM", "xterm")
    check_terminal()


def test_ssh_lines_are_drawn_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    local = frames_per_second(Settings())
    monkeypatch.setenv("SSH_CONNECTION", "1.2.3.4 5 6.7.8.9 22")
    assert frames_per_second(Settings()) < local


def filtered(app: WorkbenchApp, strip: Strip) -> Strip:
    """A strip as it leaves for the terminal."""
    for line_filter in app.get_line_filters():
        if line_filter.enabled:
            strip = strip.apply_filter(line_filter, app.screen.styles.background)
    return strip


async def test_no_color_takes_a_theme_that_sends_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    async with showing(bench) as (app, _pilot):
        assert app.current_theme.ansi
        colours = {
            colour
            for strip in app.screen._compositor.render_strips()
            for segment in filtered(app, strip)
            if segment.style
            for colour in (segment.style.color, segment.style.bgcolor)
            if colour is not None and not colour.is_default
        }
        assert colours == set()


async def test_help_calls_widgets_by_words_and_not_by_their_classes(bench: Bench) -> None:
    async with showing(bench, size=(120, 50)) as (app, pilot):
        await pilot.press("ctrl+l", "escape", "f3")
        await until(pilot, lambda: type(app.focused).__name__ == "RowTable")
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpDialog))
        assert "List" in text_of(app) and "RowTable" not in text_of(app)
