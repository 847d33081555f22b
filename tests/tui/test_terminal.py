"""The way in and out of a real terminal: signals, crashes, copying, drafts after a kill, and what idleness costs."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver

from terminal import Terminal
from workbench.paths import Workspace, log_folder
from workbench.tui import clipboard
from workbench.tui.clipboard import OSC52_LIMIT, copy_text
from workbench.tui.crash import write_crash_log
from workbench.tui.terminal import endure_hang_up

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from fakes import FakeEngine
from workbench import paths
from workbench.tui.launch import run_tui

def bench():
    from workbench.flows.bench import Bench
    return Bench.open(paths.workspace(), engine=FakeEngine())

if "crash" in sys.argv:
    from workbench.tui.app import WorkbenchApp
    def broken(self):
        token = "sk-secret" + "-in-a-local"
        raise RuntimeError("broken \\x1b]0;PWNED\\x07")
    WorkbenchApp.action_help = broken

sys.exit(run_tui(bench))
"""
MODES_OFF = (b"\x1b[?1049l", b"\x1b[?25h")


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """How to start the TUI with a fake engine."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.format(tests=str(Path(__file__).parent.parent)))
    return [sys.executable, str(path)]


@pytest.fixture
def shown(program: list[str]) -> Iterator[Terminal]:
    """The TUI on a terminal, with its workspace open."""
    with Terminal(program) as terminal:
        terminal.wait_for("Nothing said yet")
        terminal.wait_for("engine off")
        yield terminal


def test_the_size_of_the_terminal_wins_over_one_that_a_parent_left(program: list[str], tmp_path: Path) -> None:
    def fills(text: str, columns: int, rows: int) -> bool:
        lines = text.split("\n")  # also those at the end that are not drawn yet
        return max(map(len, lines)) in range(columns - 2, columns + 1) and "^p Cmds" in lines[rows - 1]

    inherited = {"COLUMNS": "80", "LINES": "24"}
    command = ["sh", "-c", f"exec {shlex.join(program)} > {tmp_path / 'out.txt'}"]
    with Terminal(command, columns=160, rows=45, env=inherited) as terminal:
        terminal.wait_for(lambda text: fills(text, 160, 45))
        terminal.resize(190, 50)
        terminal.wait_for(lambda text: fills(text, 190, 50))


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_restores_the_terminal_and_says_so_in_the_exit_code(shown: Terminal, number: int) -> None:
    shown.kill(number)
    assert shown.wait_for_exit() == 128 + number
    shown.settle(0.1)
    for mode in MODES_OFF:
        assert shown.raw.rfind(mode) > shown.raw.rfind(b"\x1b[?1049h")


class GoneTerminal:
    """A file on a terminal that was taken away."""

    def write(self, _text: str) -> int:
        raise OSError(5, "Input/output error")

    def flush(self) -> None:
        raise OSError(5, "Input/output error")


def test_what_is_written_to_a_terminal_that_is_gone_never_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(linux_driver), "WriterThread", None)  # put back afterwards
    endure_hang_up()
    writer = LinuxDriver.start_application_mode.__globals__["WriterThread"](GoneTerminal())
    writer.start()

    def write_much() -> None:
        for _ in range(200):
            writer.write("text")
        writer.stop()

    writing = threading.Thread(target=write_much, daemon=True)
    writing.start()
    writing.join(20)
    assert not writing.is_alive() and not writer.is_alive()


def test_ctrl_q_leaves_with_zero_and_ctrl_c_does_not_leave(shown: Terminal) -> None:
    shown.send("\x03")
    shown.wait_for("Ctrl+Q quits")
    shown.send("\x11")
    assert shown.wait_for_exit() == 0


def test_a_crash_shows_no_local_variable_and_leaves_a_log(program: list[str]) -> None:
    with Terminal([*program, "crash"]) as terminal:
        terminal.wait_for("Nothing said yet")
        terminal.send("\x1bOP")
        assert terminal.wait_for_exit() == 1
        terminal.settle(0.1)
        assert "workbench stopped because of an error in itself" in terminal.text.replace("\n", " ")
        assert b"sk-secret" not in terminal.raw
        assert b"\x1b]0;PWNED" not in terminal.raw
    (log,) = log_folder().glob("crash-*.log")
    text = log.read_text()
    assert "RuntimeError: broken \\x1b]0;PWNED\\x07" in text
    assert "sk-secret-in-a-local" not in text
    assert log.stat().st_mode & 0o077 == 0


def test_a_draft_survives_a_kill(program: list[str], shown: Terminal) -> None:
    shown.send("half a thought")
    shown.wait_for("half a thought")
    from workbench.store.store import Store

    store = Store.open(Workspace(Path(shown._environment["WORKBENCH_WORKSPACE"])))
    for _ in range(200):
        shown.read(0.05)
        if store.drafts.get("chat:new") == "half a thought":
            break
    store.close()
    shown.kill(signal.SIGKILL)
    with Terminal(program) as again:
        again.wait_for("half a thought")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [('printf " and more" >> "$1"', "a thought and more"), ("exit 1", "ended with status 1")],
    ids=["saves", "fails"],
)
def test_after_the_own_editor_the_app_has_the_terminal_again(
    program: list[str], tmp_path: Path, lines: str, expected: str
) -> None:
    editor = tmp_path / "editor"
    editor.write_text(
        f'#!/bin/sh\nprintf "the editor is here, ${{COLUMNS-free}}" > /dev/tty\nread answer < /dev/tty\n{lines}\n'
    )
    editor.chmod(0o755)
    with Terminal(program, env={"VISUAL": str(editor), "COLUMNS": "77"}) as terminal:
        terminal.wait_for("engine off")
        terminal.send("a thought\x18\x05")
        terminal.wait_for("the editor is here, free")
        terminal.send("\r")
        terminal.wait_for(expected)
        terminal.send(" goes on")
        terminal.wait_for("goes on")
        assert "[(C)HAT]" in terminal.text


def test_nothing_is_sent_while_nothing_happens(shown: Terminal) -> None:
    shown.settle(1.0)
    before = len(shown.raw)
    for _ in range(20):
        shown.read(0.1)
    assert len(shown.raw) == before


def test_inside_tmux_copies_go_through_tmux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMUX", "/tmp/some,1,0")
    calls: list[tuple[list[str], bytes]] = []
    copied = copy_text("grüße", run=lambda argv, **given: calls.append((argv, given["input"])))
    assert calls == [(["tmux", "load-buffer", "-w", "-"], "grüße".encode())]
    assert copied.osc52 == ""


def test_when_tmux_fails_the_terminal_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMUX", "/tmp/some,1,0")

    def fails(*_: object, **__: object) -> None:
        raise OSError

    assert copy_text("text", run=fails).osc52 == "text"


def test_a_text_that_no_terminal_takes_goes_into_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setattr(clipboard.tempfile, "tempdir", str(tmp_path))
    copied = copy_text("x" * (OSC52_LIMIT + 1))
    assert copied.osc52 == ""
    path = Path(copied.said.rpartition(" ")[2])
    assert path.read_text() == "x" * (OSC52_LIMIT + 1)
    assert path.stat().st_mode & 0o077 == 0


def test_a_crash_log_that_cannot_be_written_is_no_second_crash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    assert write_crash_log(ValueError("x")) is None
