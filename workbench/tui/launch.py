"""Starting the TUI: is there a terminal, how fast may it be drawn, what is its exit code. Imports Textual last."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.config import Settings
from workbench.errors import UsageError, WorkbenchError
from workbench.paths import Workspace
from workbench.tui.heap import keep_small

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.flows.bench import Bench

FRAMES_LOCAL = 30
FRAMES_SSH = 10


def check_terminal() -> None:
    """Raise ``UsageError`` when there is no terminal that can be drawn on: Textual would hang or spray escapes."""
    if not (sys.stdin.isatty() and sys.__stderr__ is not None and sys.__stderr__.isatty()):
        raise UsageError(
            "workbench needs a terminal on standard input and standard error",
            hint="use a command instead: workbench --help lists them",
        )
    if os.environ.get("TERM", "dumb") == "dumb":
        raise UsageError("TERM is 'dumb' or not set", hint="set TERM, for example TERM=xterm-256color")


def frames_per_second(settings: Settings) -> int:
    """The setting, else 10 over SSH and 30 locally."""
    return settings.appearance.fps or (FRAMES_SSH if os.environ.get("SSH_CONNECTION") else FRAMES_LOCAL)


def run_tui(source: Workspace | Callable[[], Bench], settings: Settings | None = None, *, pane: str = "chat") -> int:
    """Show the workbench, ``pane`` first, until the person leaves; returns the exit code.

    Raises ``UsageError`` without a terminal.
    """
    settings = settings or Settings()
    check_terminal()
    keep_small()
    # Textual reads these when it is imported, so this is the first place that imports it.
    os.environ.setdefault("TEXTUAL_FPS", str(frames_per_second(settings)))
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    from workbench.tui.app import WorkbenchApp  # 0.3 s
    from workbench.tui.terminal import endure_hang_up, forget_inherited_size

    endure_hang_up()
    forget_inherited_size()
    said = ""
    while True:
        app = WorkbenchApp(source, settings, first_pane=pane)
        app.safekeeping.first_words = said
        app.run(mouse=settings.appearance.mouse)
        if app.safekeeping.wanted is None:
            return app.return_code or 0
        said = _restored(*app.safekeeping.wanted)


def _restored(workspace: Workspace, file: Path) -> str:
    """Restore a backup between two apps; gives back what the next one says first."""
    from workbench.flows.restore import restore

    print(f"restoring {file.name} …", file=sys.stderr, flush=True)
    try:
        done = restore(workspace, file)
    except WorkbenchError as error:
        return f"nothing was restored: {error.message}" + (f" ({error.hint})" if error.hint else "")
    return f"restored; what was there is in {done.kept}" if done.kept else "restored"
