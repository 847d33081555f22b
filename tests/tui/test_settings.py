"""Settings in place: shown with their source, written at once, used at once; keys checked before they are taken."""

from __future__ import annotations

import pytest
from textual.widgets import Input

from pilots import app_at, screen_text, until, until_shown
from workbench import paths
from workbench.config import Appearance, Settings, load_settings, options, set_value
from workbench.flows.bench import Bench
from workbench.paths import shipped
from workbench.tui.messages import ThemeChosen
from workbench.tui.screens.settings import SettingsPane
from workbench.tui.terminal_facts import detected
from workbench.tui.widgets.dialogs import ChooseDialog, TextDialog
from workbench.tui.widgets.listing import Listing


def at(key: str) -> int:
    """How often to press down to stand on ``key``."""
    return [found.key for found in options()].index(key)


async def test_every_option_stands_there_with_value_source_and_help(bench: Bench) -> None:
    set_value("chat.temperature", 0.25)
    app = app_at(bench, "settings", load_settings())
    async with app.run_test(size=(160, 45)) as pilot:
        await until_shown(pilot, "chat.temperature 0.25 config 0 is greedy", str(paths.config_file()))
        shown = screen_text(app)
        for found in options():
            assert found.key in shown
            assert found.help[:30] in shown


async def test_a_theme_is_switched_live_and_written(bench: Bench) -> None:
    app = app_at(bench, "settings")
    heard: list[object] = []
    async with app.run_test(size=(80, 24), message_hook=heard.append) as pilot:
        await until_shown(pilot, "appearance.theme")
        before = app.theme
        await pilot.press("right")
        await until(pilot, lambda: app.theme != before)
        await until(pilot, lambda: load_settings().appearance.theme == app.theme)
        assert any(isinstance(message, ThemeChosen) for message in heard)
        await pilot.press("left")
        await until(pilot, lambda: app.theme == before)


async def test_every_shipped_theme_can_be_chosen_from_the_list(bench: Bench) -> None:
    app = app_at(bench, "settings")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "appearance.theme")
        for path in sorted(shipped("themes").glob("*.toml")):
            await pilot.press("T")
            await until(pilot, lambda: isinstance(app.screen, ChooseDialog))
            app.screen.query_one(Input).value = path.stem
            await pilot.pause()
            await pilot.press("enter")
            await until(pilot, lambda path=path: app.theme == path.stem)


async def test_a_switch_is_turned_by_the_arrows_and_d_brings_the_default_back(bench: Bench) -> None:
    app = app_at(bench, "settings")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "appearance.bell ‹ on › default")
        await pilot.press(*["down"] * at("appearance.bell"), "right")
        await until_shown(pilot, "appearance.bell ‹ off › config", "appearance.bell is off")
        assert app.settings.appearance.bell is False
        assert load_settings().appearance.bell is False
        await pilot.press("d")
        await until_shown(pilot, "appearance.bell ‹ on › default")
        assert load_settings().source("appearance.bell") == "default"


async def test_a_number_is_typed_and_a_wrong_one_is_asked_for_again(bench: Bench) -> None:
    app = app_at(bench, "settings")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "chat.temperature")
        await pilot.press(*["down"] * at("chat.temperature"), "enter")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        app.screen.query_one(Input).value = "9"
        await pilot.press("enter")
        await until_shown(pilot, "✗ chat.temperature = 9.0 is outside 0 to 5")
        assert app.screen.query_one(Input).value == "9"
        app.screen.query_one(Input).value = "0.5"
        await pilot.press("enter")
        await until_shown(pilot, "chat.temperature 0.5 config")
        assert bench.settings.chat.temperature == 0.5


@pytest.mark.parametrize("blinks", [False, True])
async def test_the_cursor_blinks_only_where_it_is_wanted(bench: Bench, blinks: bool) -> None:
    app = app_at(bench, "settings", Settings(appearance=Appearance(cursor_blink=blinks)))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "labelling.rater")
        await pilot.press(*["down"] * at("labelling.rater"), "enter")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await until(pilot, lambda: app.screen.query_one(Input).cursor_blink is blinks)


async def test_the_rater_signs_from_now_on(bench: Bench) -> None:
    app = app_at(bench, "settings")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "labelling.rater")
        await pilot.press(*["down"] * at("labelling.rater"), "enter")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        await pilot.press(*"ana", "enter")
        await until(pilot, lambda: bench.rater == "ana")


async def test_a_setting_from_the_environment_keeps_the_last_word(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_BELL", "off")
    app = app_at(bench, "settings", load_settings())
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "appearance.bell ‹ off › environment")
        await pilot.press(*["down"] * at("appearance.bell"), "right")
        await until_shown(pilot, "WORKBENCH_BELL has the last word")


async def test_a_file_that_cannot_be_written_changes_nothing(bench: Bench) -> None:
    paths.config_file().mkdir(parents=True)
    app = app_at(bench, "settings")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "appearance.theme")
        before = app.theme
        await pilot.press("right")
        await until_shown(pilot, "!!")
        assert app.theme == before


async def test_problems_of_keys_and_themes_are_shown(bench: Bench) -> None:
    paths.user_themes_folder().mkdir(parents=True)
    (paths.user_themes_folder() / "mine.toml").write_text('primary = "bluish"\n')
    set_value("keys.run.stop", "ctrl+b")
    set_value("keys.run.stopp", "x")
    app = app_at(bench, "settings", load_settings())
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: len(app.keymap_problems) == 2)
        app.query_one(SettingsPane).when_shown()
        await until_shown(pilot, 'key "run.stop" = "ctrl+b": ctrl+b is your tmux prefix')
        await until_shown(pilot, "did you mean 'run.stop'", "theme mine.toml: primary must be a colour")


async def test_a_key_is_changed_in_place_and_works_at_once(bench: Bench) -> None:
    app = app_at(bench, "settings")
    async with app.run_test(size=(160, 45)) as pilot:
        pane = app.query_one(SettingsPane)
        await pilot.press("K")
        keys = app.query_one("#settings-keys", Listing)
        await until(pilot, lambda: any(row.key == "settings.default" for row in keys.rows))
        keys.go_to([row.key for row in keys.rows].index("settings.default"))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        app.screen.query_one(Input).value = "T"
        await pilot.press("enter")
        await until_shown(pilot, "✗ T is already settings.theme")
        app.screen.query_one(Input).value = "x"
        await pilot.press("enter")
        await until(pilot, lambda: load_settings().keys == {"settings.default": "x"})
        await until_shown(pilot, "settings.default x *")
        await pilot.press("escape")
        await until(pilot, lambda: pane.view == "options")
        app.settings = app.settings.with_value("appearance.bell", False)
        await pilot.press(*["down"] * at("appearance.bell"), "x")
        await until(pilot, lambda: app.settings.appearance.bell is True)


async def test_the_list_of_keys_has_every_screen(bench: Bench) -> None:
    app = app_at(bench, "settings")
    async with app.run_test(size=(160, 45)) as pilot:
        await pilot.press("K")
        keys = app.query_one("#settings-keys", Listing)
        wanted = {"app.help", "run.new", "label.accept", "pref.left", "model.add", "settings.theme", "chat.regenerate"}
        await until(pilot, lambda: wanted <= {row.key for row in keys.rows})


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (160, 45), (240, 60)])
async def test_nothing_is_cut_at_any_size(bench: Bench, size: tuple[int, int]) -> None:
    app = app_at(bench, "settings")
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "engine.idle_minutes", "cursor", "F1 Help")
        for widget in app.screen.query("SettingsPane *").exclude("VerticalScroll *"):
            assert app.screen.region.contains_region(widget.region), widget


def test_what_was_detected_is_said_in_words() -> None:
    plain = dict(detected("256", (80, 24), environment={"TERM": "xterm-256color", "LANG": "C.UTF-8"}))
    assert plain["terminal"] == "xterm-256color  80x24"
    assert plain["colours"].startswith("256 ")
    assert plain["connection"] == "local"
    assert plain["locale"] == "C.UTF-8"
    remote = dict(detected(None, (80, 24), environment={"TMUX": "x", "SSH_CONNECTION": "y", "NO_COLOR": ""}))
    assert remote["tmux"].startswith("yes")
    assert remote["clipboard"] == "tmux load-buffer"
    assert remote["colours"].startswith("none")
    assert remote["connection"].startswith("SSH")
