"""Driving the TUI in tests: what is on the screen as text, and waiting for something without sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.pilot import Pilot

from workbench.config import Settings
from workbench.flows.bench import Bench
from workbench.tui.app import WorkbenchApp

PATIENCE_S = 20.0


def app_at(bench: Bench, pane: str, settings: Settings | None = None) -> WorkbenchApp:
    """The app on an open bench, with ``pane`` in front."""
    return WorkbenchApp(lambda: bench, settings or Settings(), first_pane=pane)


def screen_lines(app: WorkbenchApp) -> list[str]:
    """The screen as it is drawn, without colours."""
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip) for strip in strips]


def screen_text(app: WorkbenchApp) -> str:
    """The screen as one text, runs of blanks as one."""
    return " ".join("\n".join(screen_lines(app)).split())


async def until(pilot: Pilot[int], ready: Callable[[], object], what: str = "") -> None:
    """Let the app work until ``ready`` is true; fails with the screen after twenty seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        if time.monotonic() > deadline:
            app = pilot.app
            assert isinstance(app, WorkbenchApp)
            raise AssertionError(f"{what or 'it'} did not come; the screen was:\n" + "\n".join(screen_lines(app)))
        await pilot.pause(0.02)


async def until_shown(pilot: Pilot[int], *texts: str) -> None:
    """Wait until all ``texts`` stand on the screen (blanks and line ends do not count)."""
    app = pilot.app
    assert isinstance(app, WorkbenchApp)
    for text in texts:
        await until(pilot, lambda text=text: text in screen_text(app), repr(text))
