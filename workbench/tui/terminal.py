"""The app's side of the terminal: what may reach it, how it is left, and what is copied through it. Knows no screen.

Overrides of Textual where its own ways would harm here: its crash screen prints local variables, its signals leave the
terminal in the alternate screen, its clipboard is dropped by tmux.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial

from textual.driver import Driver
from textual.drivers import linux_driver
from textual.drivers._writer_thread import WriterThread
from textual.filter import LineFilter
from textual.widgets import Input, TextArea
from textual.worker import WorkerFailed

from workbench.tui.clipboard import copy_text
from workbench.tui.crash import write_crash_log
from workbench.tui.desktop import AUTO, notification
from workbench.tui.key_order import OrderedKeysApp
from workbench.tui.safety import ControlFilter
from workbench.tui.work import begin

TERMINAL_CHECK_S = 5.0


class EnduringWriter(WriterThread):
    """Textual's thread that writes to the terminal, made to outlive it.

    The thread would end with the first write after the terminal went away; thirty writes later its queue is full, and
    the app waits in it for ever instead of leaving.
    """

    def run(self) -> None:
        """Write; without a terminal, take what comes and drop it."""
        try:
            super().run()
        except OSError:
            while self._queue.get() is not None:
                pass


def endure_hang_up() -> None:
    """Let the driver write through a thread that a lost terminal does not end. A private name, held by a test."""
    vars(linux_driver)["WriterThread"] = EnduringWriter


def own_size() -> tuple[int, int] | None:
    """Columns and rows of the terminal that is drawn on (standard error); None when it does not know them."""
    if sys.__stderr__ is None:
        return None
    try:
        columns, rows = os.get_terminal_size(sys.__stderr__.fileno())
    except (OSError, ValueError):
        return None
    return (columns, rows) if columns and rows else None


def forget_inherited_size() -> None:
    """Drop COLUMNS and LINES where the terminal knows its size: an editor that is started here would keep to them."""
    if own_size() is not None:
        for name in ("COLUMNS", "LINES"):
            os.environ.pop(name, None)


class OwnSizeDriver(linux_driver.LinuxDriver):
    """Textual's driver, which draws as wide as the terminal is.

    Textual's own way asks COLUMNS and LINES first, which programs leave to their children and which no resize changes,
    and then standard output, which may be a file: it writes to standard error. A private name, held by a test.
    """

    def _get_terminal_size(self) -> tuple[int, int]:
        return own_size() or super()._get_terminal_size()


class TerminalApp(OrderedKeysApp):
    """An app that leaves the terminal as it found it. ``desktop_notices`` is how the desktop is told, as set."""

    desktop_notices = AUTO

    def __init__(self) -> None:
        self._net = ControlFilter()
        # Textual picks its filter for NO_COLOR here, by whether colours are the terminal's own; a theme comes later
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)

    def get_driver_class(self) -> type[Driver]:
        """Textual's choice, but the terminal's own size."""
        chosen = super().get_driver_class()
        return OwnSizeDriver if chosen is linux_driver.LinuxDriver else chosen

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own filters, then the net that no control character passes."""
        return [*super().get_line_filters(), self._net]

    def watch_over_terminal(self) -> None:
        """Leave in order on SIGHUP and SIGTERM (exit code 128 + number), and when the terminal goes away unnoticed."""
        if self.is_headless:
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):
            loop.add_signal_handler(number, partial(self.exit, return_code=128 + number))
        self.set_interval(TERMINAL_CHECK_S, self._leave_when_terminal_is_gone)

    def _leave_when_terminal_is_gone(self) -> None:
        # With SIGHUP ignored (nohup) nothing else tells that the terminal went away.
        try:
            os.tcgetpgrp(0)
        except OSError:
            self.exit(return_code=128 + signal.SIGHUP)

    def notify_desktop(self, title: str, text: str) -> None:
        """Tell the desktop, where the terminal can."""
        sequence = notification(title, text, self.desktop_notices, os.environ)
        if sequence and self._driver is not None and not self.is_headless:
            self._driver.write(sequence)

    def said(self, text: str) -> None:
        """Where this class says what it did; the app shows it."""

    def selected_text(self) -> str:
        """What is selected in the focused field, else on the screen."""
        focused = self.screen.focused
        if isinstance(focused, TextArea | Input) and focused.selected_text:
            return focused.selected_text
        return self.screen.get_selected_text() or ""

    def copy_to_clipboard(self, text: str) -> None:
        """Copy off the event loop (tmux may be slow); every copy of Textual's own widgets comes here too."""
        begin(self, partial(self._copy, text), group="copy")

    async def _copy(self, text: str) -> None:
        copied = await asyncio.to_thread(copy_text, text)
        if copied.osc52:
            super().copy_to_clipboard(copied.osc52)
        self.said(copied.said)

    def action_redraw(self) -> None:
        """Paint everything again, for a terminal that something else has written on."""
        self.refresh(repaint=True, layout=True)

    def _fatal_error(self) -> None:
        # Textual's own screen prints local variables, and a token may be in one.
        error: BaseException | None = self._exception
        if isinstance(error, WorkerFailed):
            error = error.error  # it knows where; the wrapper does not
        path = write_crash_log(error) if error is not None else None
        self._exit_renderables.append(f"workbench stopped because of an error in itself; details in {path}")
        self._close_messages_no_wait()
