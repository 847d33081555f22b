"""A terminal for tests: runs a program on a pseudo-terminal, types keys, and reads the screen as a person would see it.

``pyte`` (a well-kept terminal emulator) keeps the screen; this file only moves bytes. The raw bytes are kept too, for
tests that ask what reached the terminal.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import pyte

SYNC_QUESTION = b"\x1b[?2026$p"
SYNC_ANSWER = b"\x1b[?2026;2$y"


class Terminal:
    """One program on one pseudo-terminal; use as a context manager, which kills what is left at the end."""

    def __init__(
        self, argv: Sequence[str], *, columns: int = 80, rows: int = 24, env: Mapping[str, str] | None = None
    ) -> None:
        self.argv = list(argv)
        self.screen = pyte.Screen(columns, rows)
        self.raw = bytearray()
        self.first_output_at: float | None = None
        self.last_read_at = 0.0  # of time.perf_counter
        self._stream = pyte.ByteStream(self.screen)
        self._fed = 0  # bytes of ``raw`` that are on ``screen``; the emulator is slow, and many tests never look
        self._environment = dict(os.environ) | {"TERM": "xterm-256color"} | dict(env or {})
        self._size = (rows, columns)
        self.pid = 0
        self._master = -1

    def __enter__(self) -> Terminal:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.execvpe(self.argv[0], self.argv, self._environment)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", *self._size, 0, 0))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        os.close(self._master)

    @property
    def text(self) -> str:
        """The screen as lines of text."""
        self._stream.feed(bytes(self.raw[self._fed :]))
        self._fed = len(self.raw)
        return "\n".join(line.rstrip() for line in self.screen.display)

    def read(self, seconds: float = 0.05) -> bool:
        """Take in what comes within ``seconds``; False when the program has closed the terminal."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        if not data:
            return False
        self.first_output_at = self.first_output_at or time.monotonic()
        self.last_read_at = time.perf_counter()
        self.raw += data
        if SYNC_QUESTION in data:
            os.write(self._master, SYNC_ANSWER)
        return True

    def resize(self, columns: int, rows: int) -> None:
        """Make the terminal another size; the program is told by SIGWINCH, as by a real one."""
        assert self.text, "what was drawn before belongs on the screen as it was"
        self.screen.resize(rows, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, keys: str) -> None:
        """Type ``keys`` as bytes (escape sequences written out)."""
        os.write(self._master, keys.encode())

    def wait_for(self, what: str | Callable[[str], bool], *, seconds: float = 60) -> str:
        """Read until ``what`` is on the screen (a text, or a test of the screen's text); gives the screen.

        Raises ``TimeoutError`` with the screen when it does not come.
        """
        found = what if callable(what) else (lambda text: what in text)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found(self.text):
                return self.text
            if not self.read(0.05):
                break
        if found(self.text):
            return self.text
        raise TimeoutError(f"{what!r} did not come within {seconds} s; the screen was:\n{self.text}")

    def settle(self, seconds: float = 0.3) -> str:
        """Read until nothing has come for ``seconds``; gives the screen."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < seconds:
            before = len(self.raw)
            if not self.read(0.05):
                break
            if len(self.raw) != before:
                quiet_since = time.monotonic()
        return self.text

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal and, for SIGKILL, wait until the program is gone."""
        if not self.pid:
            return
        try:
            os.kill(self.pid, number)
            if number == signal.SIGKILL:
                os.waitpid(self.pid, 0)
                self.pid = 0
        except (ProcessLookupError, ChildProcessError):
            self.pid = 0

    def wait_for_exit(self, *, seconds: float = 20) -> int:
        """The exit code once the program ends by itself; raises ``TimeoutError`` when it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.read(0.02)
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise TimeoutError(f"still running after {seconds} s; the screen was:\n{self.text}")
