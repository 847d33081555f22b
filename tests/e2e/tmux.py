"""A tmux server of a test's own: starts a program, types keys by name, reads the screen. It waits for text."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType


class Tmux:
    """One session on one private tmux server; a context manager that ends the server."""

    def __init__(self, folder: Path, *, columns: int, rows: int, env: Mapping[str, str]) -> None:
        self._socket = str(folder / "tmux.sock")
        self._size = (str(columns), str(rows))
        self._environment = dict(os.environ) | dict(env)
        for name in ("TMUX", "COLUMNS", "LINES"):  # of the terminal, or of the test runner, that this was started from
            self._environment.pop(name, None)

    def __enter__(self) -> Tmux:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tmux("kill-server", check=False)

    def _tmux(self, *words: str, check: bool = True) -> str:
        command = ["tmux", "-f", "/dev/null", "-S", self._socket, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment)
        if check and done.returncode:
            raise RuntimeError(f"{command}: {done.stderr}")
        return done.stdout

    def start(self, *argv: str) -> None:
        """Run a program in a new session."""
        columns, rows = self._size
        self._tmux("new-session", "-d", "-x", columns, "-y", rows, *argv)
        self._tmux("set-option", "-s", "escape-time", "0")
        self._tmux("set-option", "-g", "remain-on-exit", "on")

    def kill(self) -> None:
        """Kill the program, which has no time to do anything; ``restart`` starts one in its place."""
        os.kill(int(self._tmux("display-message", "-p", "#{pane_pid}")), signal.SIGKILL)

    def restart(self, *argv: str) -> None:
        """Run a program where one ended or was killed."""
        self._tmux("respawn-pane", "-k", *argv)

    def screen(self) -> str:
        """What is on the screen now."""
        return self._tmux("capture-pane", "-p")

    def beside(self) -> str:
        """What the terminal keeps beside the screen: titles, scrollback, the other screen, what was copied."""
        titles = self._tmux("display-message", "-p", "#{pane_title} #{window_name}")
        scrolled = self._tmux("capture-pane", "-p", "-S", "-") + self._tmux("capture-pane", "-p", "-a", "-q", "-S", "-")
        return titles + scrolled + self._tmux("show-buffer", check=False)

    def keys(self, *names: str) -> None:
        """Press keys by tmux's names (``Enter``, ``F3``, ``C-s``, ``Escape``, ``a``)."""
        self._tmux("send-keys", *names)

    def text(self, text: str) -> None:
        """Type a text as it is."""
        self._tmux("send-keys", "-l", text)

    def wait_for(self, what: str | Callable[[str], bool], *, seconds: float = 90) -> str:
        """Poll until ``what`` is on the screen; gives the screen. Raises ``TimeoutError`` with the last one."""
        found = what if callable(what) else (lambda shown: what in shown)
        deadline = time.monotonic() + seconds
        while not found(shown := self.screen()):
            if time.monotonic() > deadline or "Pane is dead" in shown:
                raise TimeoutError(f"{what!r} did not come within {seconds} s; the screen was:\n{shown}")
            time.sleep(0.05)
        return shown

    def press_until(self, key: str, what: str, *, tries: int = 8, seconds: float = 5) -> None:
        """Press ``key`` until ``what`` is on the screen, waiting after each press: a second one could go past it."""
        for _ in range(tries):
            try:
                self.wait_for(what, seconds=seconds)
            except TimeoutError:
                self.keys(key)
            else:
                return
        raise TimeoutError(f"{what!r} did not come by {key}; the screen was:\n{self.screen()}")
