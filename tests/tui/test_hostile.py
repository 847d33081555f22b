"""Text that would like to act, through every widget, on a real pseudo-terminal: nothing reaches it, runs, or dies."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hostile import ALL, ESCAPES, SHORT, UNICODE, leaks
from textual.widget import Widget

import workbench.tui
from terminal import Terminal
from workbench.tui.safety import MAX_LINE_CELLS, cell, clean, safe

RUN = Path(__file__).parent / "hostile_run.py"


def widget_classes() -> set[str]:
    """Every widget (screens and dialogs too) that a module of the TUI defines."""
    found: set[str] = set()
    for module in pkgutil.walk_packages(workbench.tui.__path__, "workbench.tui."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(kind, Widget) and kind.__module__ == module.name:
                found.add(f"{kind.__module__}.{kind.__name__}")
    return found


def crash_logs(raw: bytes) -> list[Path]:
    """The reports that the app names when it goes down; a terminal may have broken their names over two lines."""
    text = re.sub(rb"\s+", b"", raw).decode("utf-8", "replace")
    return [Path(name) for name in re.findall(r"/[\w/.-]+?/crash-[\w-]+\.log", text)]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], bytes]:
    """What the walk through all scenes saw, and every byte that reached the terminal meanwhile."""
    home = tmp_path_factory.mktemp("hostile")
    answer = home / "seen.json"
    places = {name: str(home / name.lower()) for name in ("HOME", "XDG_STATE_HOME", "WORKBENCH_WORKSPACE")}
    env = {**places, "WORKBENCH_CONFIG": str(home / "config.toml"), "TMUX": "", "TEXTUAL_ANIMATIONS": "none"}
    with Terminal([sys.executable, str(RUN), str(answer)], columns=120, rows=40, env=env) as terminal:
        terminal.wait_for_exit(seconds=150)
        terminal.settle(0.1)
        assert answer.is_file(), terminal.text
        return json.loads(answer.read_text()), bytes(terminal.raw)


def test_the_app_lives_through_every_scene(walk: tuple[dict[str, Any], bytes]) -> None:
    seen, raw = walk
    assert seen["code"] == 0, [log.read_text() for log in crash_logs(raw)]
    assert len(seen["scenes"]) > 15


def test_nothing_of_it_reaches_the_terminal(walk: tuple[dict[str, Any], bytes]) -> None:
    _, raw = walk
    assert raw.count("␛]52;c;".encode()) > 20  # it was shown, as pictures of controls
    assert raw.count(b"[@click=app.quit]") > 20  # and as the text that it is
    assert leaks(raw) == []


def test_nothing_of_it_is_parsed_as_an_action_or_a_link(walk: tuple[dict[str, Any], bytes]) -> None:
    seen, _ = walk
    assert seen["acted"] == []


def test_every_widget_class_of_the_tui_was_on_the_screen(walk: tuple[dict[str, Any], bytes]) -> None:
    seen, _ = walk
    missing = widget_classes() - set(seen["classes"])
    assert missing == set(), "add a scene to hostile_run.py that shows hostile text in these"


@pytest.mark.parametrize("text", ESCAPES)
def test_the_check_itself_sees_a_leak(text: str) -> None:
    assert leaks(b"\x1b[1;2H" + text.encode()) != []


def test_the_check_takes_what_textual_sends() -> None:
    assert leaks(b"\x1b[?2026h\x1b[38;2;1;2;3mhello\x1b[0m\x1b[12;1H\r\n\x1b[?25l\x1b[>1u\x1b[?2026l") == []


@pytest.mark.parametrize("text", ALL, ids=range(len(ALL)))
def test_cleaned_text_can_be_sent_to_any_terminal(text: str) -> None:
    for shown in (clean(text), cell(text), safe(text).plain):
        assert leaks(shown.encode("utf-8")) == []
        assert max(len(line) for line in shown.split("\n")) <= MAX_LINE_CELLS


@pytest.mark.parametrize("text", [*SHORT, "x" * 5000, "漢" * 5000, "a\nb"])
def test_a_cell_is_one_line_of_the_width_it_was_given(text: str) -> None:
    from rich.cells import cell_len

    for width in (0, 1, 2, 7, 40):
        shown = cell(text, width)
        assert "\n" not in shown
        assert cell_len(shown) <= width


def test_what_was_replaced_can_be_seen() -> None:
    assert clean("a\x1b]0;x\x07b\u202e") == "a␛]0;x␇b\ufffd"
    assert cell("a\nb") == "a⏎b"


def test_letters_of_other_scripts_are_left_alone() -> None:
    text = "Grüße, 漢字, हिन्दी, עברית, العربية"
    assert clean(text) == text
    assert UNICODE  # the list is not empty
