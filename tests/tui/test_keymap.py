"""Keys that a person may choose, and what is said about those that cannot work."""

from __future__ import annotations

import subprocess
from itertools import combinations

import pytest
from textual.binding import Binding
from textual.widget import Widget

from workbench.tui import keymap
from workbench.tui.app import WorkbenchApp
from workbench.tui.keymap import Bound, bound_by, check_keymap, known_bindings

KNOWN = [
    Bound("app.help", ("f1",), "help", "App"),
    Bound("app.jump", ("ctrl+o",), "jump", "App"),
    Bound("run.stop", ("s",), "stop", "TrainPane", "train", around=True),
    Bound("run.kill", ("k",), "kill", "TrainPane", "train", around=True),
    Bound("run.logy", ("y",), "log scale", "TrainPane", "train", around=True),
    Bound("list.down", ("down",), "next row", "Listing", "train"),
    Bound("label.accept", ("a",), "accept", "CuratePane", "curate", around=True),
    Bound("label.undo", ("backspace", "u"), "undo", "CuratePane", "curate", around=True),
    Bound("list.down", ("down", "j"), "next row", "Rows", "curate"),
    Bound("message.edit", ("e",), "edit", "Transcript", "chat"),
    Bound("composer.end", ("ctrl+e",), "end", "Composer", "chat"),
]


def reasons(wanted: dict[str, str]) -> list[str]:
    return [problem.reason for problem in check_keymap(wanted, KNOWN).problems]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("x", "x"),
        ("x, enter", "x,enter"),
        ("?", "question_mark"),
        ("+", "plus"),
        ("ctrl+r", "ctrl+r"),
        ("Ctrl+R", "ctrl+r"),
        ("R", "R"),
        ("F8", "f8"),
        ("shift+up", "shift+up"),
        ("question_mark", "question_mark"),
        ("left_square_bracket,[", "left_square_bracket"),
        ("é", "é"),
    ],
)
def test_a_good_line_is_taken_in_textuals_names(text: str, keys: str) -> None:
    found = check_keymap({"run.stop": text}, KNOWN)
    assert found.problems == ()
    assert found.keys == {"run.stop": keys}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ctrl+b", "tmux prefix"),
        ("alt+enter", "does not arrive"),
        ("ctrl+enter", "does not arrive"),
        ("shift+enter", "does not arrive"),
        ("alt+1", "does not arrive"),
        ("ctrl+i", "write tab"),
        ("ctrl+m", "write enter"),
        ("ctrl+h", "write backspace"),
        ("entre", "is no key"),
        ("cntrl+r", "is no key"),
        ("", "no key is named"),
        (" , ", "no key is named"),
    ],
)
def test_a_key_that_never_arrives_is_refused_with_the_reason(text: str, reason: str) -> None:
    found = check_keymap({"run.stop": text}, KNOWN)
    assert found.keys == {}
    assert reason in found.problems[0].reason
    assert str(found.problems[0]).startswith(f'"run.stop" = "{text}"')


def test_an_unknown_id_is_refused_with_the_nearest() -> None:
    assert reasons({"run.stopp": "x"}) == ["there is no such binding; did you mean 'run.stop'?"]


def test_a_key_of_the_same_screen_or_of_every_screen_is_taken() -> None:
    assert reasons({"run.stop": "k"}) == ["k is already run.kill (kill)"]
    assert reasons({"run.stop": "f1"}) == ["f1 is already app.help (help)"]
    assert reasons({"app.help": "y"}) == ["y is already run.logy (log scale)"]


def test_a_key_of_a_list_in_the_pane_is_taken() -> None:
    assert reasons({"run.stop": "down"}) == ["down is already list.down (next row)"]
    assert reasons({"list.down": "a"}) == ["a is already label.accept (accept)"]


def test_two_widgets_side_by_side_may_use_one_key() -> None:
    assert reasons({"message.edit": "ctrl+e"}) == []


def test_a_key_of_another_screen_is_free() -> None:
    assert reasons({"run.stop": "a"}) == []


def test_two_keys_can_be_exchanged() -> None:
    found = check_keymap({"run.stop": "k", "run.kill": "s"}, KNOWN)
    assert found.problems == ()
    assert found.keys == {"run.stop": "k", "run.kill": "s"}


def test_of_two_lines_with_one_key_the_later_one_stays() -> None:
    found = check_keymap({"run.stop": "x", "run.kill": "x"}, KNOWN)
    assert found.keys == {"run.kill": "x"}
    assert [problem.id for problem in found.problems] == ["run.stop"]


def test_a_wrong_line_leaves_the_right_ones() -> None:
    found = check_keymap({"run.stop": "nonsense", "label.undo": "z"}, KNOWN)
    assert found.keys == {"label.undo": "z"}


def test_the_prefix_is_the_one_that_tmux_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, stdout="C-a\n")

    monkeypatch.setenv("TMUX", "/tmp/tmux-1/default,1,0")
    monkeypatch.setattr(keymap.subprocess, "run", answer)
    assert keymap.tmux_prefix() == "ctrl+a"
    monkeypatch.delenv("TMUX")
    assert keymap.tmux_prefix() == "ctrl+b"


def test_bindings_without_an_id_cannot_be_named() -> None:
    class Sample(Widget):
        BINDINGS = [Binding("a,?", "go", "Go", id="sample.go", tooltip="Goes"), Binding("b", "stay"), ("c", "x", "X")]

    assert bound_by(Sample) == [Bound("sample.go", ("a", "question_mark"), "Goes", "Sample")]


def test_every_shipped_key_arrives_in_a_terminal(app: WorkbenchApp) -> None:
    known = known_bindings(app)
    assert {"app.help", "run.kill", "arena.new", "model.add", "settings.keys", "list.down"} <= {b.id for b in known}
    for bound in known:
        assert check_keymap({bound.id: ",".join(bound.keys)}, [bound]).problems == ()


def test_no_shipped_key_has_two_meanings_in_one_place(app: WorkbenchApp) -> None:
    clashes = {
        f"{a.id} and {b.id}: {set(a.keys) & set(b.keys)}"
        for a, b in combinations(known_bindings(app), 2)
        if a.id != b.id and (a.owner == b.owner or "app" in {a.context, b.context}) and set(a.keys) & set(b.keys)
    }
    assert clashes == set()


@pytest.fixture
def app() -> WorkbenchApp:
    def never() -> None:
        raise AssertionError("the bench is not opened here")

    return WorkbenchApp(never)  # type: ignore[arg-type]
