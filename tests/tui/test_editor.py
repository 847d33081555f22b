"""The editor: texts leave it as they came, and the person's own editor may do whatever it likes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from textual.app import App, ComposeResult

from workbench.errors import RefusedError
from workbench.tui.widgets.editor import Editor, edit_text


class Editing(App[None]):
    """An editor and nothing else."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._given = text

    def compose(self) -> ComposeResult:
        """The editor."""
        yield Editor(self._given)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one\n\ntwo\n",
        "a\r\nb\r\n",
        "a\r\nb\nc\rd",
        "page\x0cbreak\vtab",
        "nel\x85ls\u2028ps\u2029end",
        "\x1c\x1d\x1e\r\n\x0c",
    ],
)
async def test_what_is_not_touched_leaves_the_editor_as_it_came(text: str) -> None:
    app = Editing(text)
    async with app.run_test() as pilot:
        editor = app.query_one(Editor)
        assert editor.written == text
        editor.focus()
        await pilot.press("!", "backspace")
        assert editor.written == text


async def test_undo_and_redo_reach_over_a_text_that_was_put_in_whole() -> None:
    app = Editing("before")
    async with app.run_test() as pilot:
        editor = app.query_one(Editor)
        editor.focus()
        editor.write("after\x0call")
        assert editor.written == "after\x0call"
        await pilot.press("ctrl+z")
        assert editor.written == "before"
        await pilot.press("ctrl+y")
        assert editor.written == "after\x0call"


def script(folder: Path, lines: str) -> str:
    """A program that is called as editors are: with the file's path."""
    path = folder / "editor"
    path.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_what_the_own_editor_saved_comes_back_without_the_newline_it_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    monkeypatch.setenv(
        "VISUAL", script(tmp_path, f'stat -c %a "$(dirname "$2")" > {seen}; echo " and more" >> "$2"') + " -n"
    )
    assert edit_text("some\r\ntext") == "some\r\ntext and more"
    assert seen.read_text().strip() == "700", "nobody else reads it"
    assert edit_text("ends with one\n") == "ends with one\n and more\n"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('echo spoilt > "$1"; exit 1', "status 1: the text is as it was"),
        ('rm "$1"', "left no text"),
    ],
)
def test_an_editor_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, said: str
) -> None:
    monkeypatch.setenv("VISUAL", script(tmp_path, lines))
    with pytest.raises(RefusedError, match=said):
        edit_text("kept")


def test_what_was_saved_before_an_editor_was_killed_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", script(tmp_path, 'echo "saved in time" > "$1"; kill -9 $$'))
    assert edit_text("before") == "saved in time"


def test_ctrl_c_belongs_to_the_editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", script(tmp_path, 'kill -INT $PPID; echo "goes on" > "$1"'))
    assert edit_text("before") == "goes on"


@pytest.mark.parametrize(
    ("visual", "editor", "said"),
    [
        ("no-such-editor-here", "true", "could not be started"),
        ("", "'unbalanced", "is no command"),
        ("", "/", "could not"),
    ],
)
def test_an_editor_that_there_is_not_is_told(
    monkeypatch: pytest.MonkeyPatch, visual: str, editor: str, said: str
) -> None:
    monkeypatch.setenv("VISUAL", visual)
    monkeypatch.setenv("EDITOR", editor)
    with pytest.raises(RefusedError, match=said):
        edit_text("kept")
