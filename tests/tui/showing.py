"""What pilot tests need: an app on a bench, the text of its screen, and waiting for a condition rather than a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from textual.pilot import Pilot

from workbench.config import Settings
from workbench.tui.app import WorkbenchApp
from workbench.tui.widgets.frame import StatusLine

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

SIZES = ((80, 24), (100, 30), (160, 45), (400, 110))


class Lasting:
    """A bench that stays open when the app closes it, because the test's fixture closes it."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.closed = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._bench, name)

    def close(self) -> None:
        """Count only."""
        self.closed += 1


def text_of(app: WorkbenchApp) -> str:
    """The screen as lines of text (the compositor is private; ``test_private_names`` pins it)."""
    return "\n".join("".join(s.text for s in strip).rstrip() for strip in app.screen._compositor.render_strips())


def said(app: WorkbenchApp) -> str:
    """What the status line says."""
    return app.screen_stack[0].query_one(StatusLine).said


async def until(pilot: Pilot[int], holds: Callable[[], bool], *, turns: int = 400) -> None:
    """Let the app work until ``holds``; fails with the screen when it never does."""
    for _ in range(turns):
        await pilot.pause()
        if holds():
            return
        await asyncio.sleep(0.01)
    app = pilot.app
    assert isinstance(app, WorkbenchApp)
    raise AssertionError(f"it never came to that; the screen:\n{text_of(app)}")


async def until_text(pilot: Pilot[int], text: str) -> None:
    """Wait until ``text`` is on the screen."""
    app = pilot.app
    assert isinstance(app, WorkbenchApp)
    await until(pilot, lambda: text in text_of(app))


@asynccontextmanager
async def showing(
    bench: Bench, pane: str = "chat", *, size: tuple[int, int] = (100, 30), settings: Settings | None = None
) -> AsyncIterator[tuple[WorkbenchApp, Pilot[int]]]:
    """The app on ``bench`` with ``pane`` in front and the bench open."""
    app = WorkbenchApp(lambda: Lasting(bench), settings, first_pane=pane)  # type: ignore[arg-type,return-value]
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app._bench is not None and app.front is not None)
        await pilot.pause()
        yield app, pilot
        app.pump.stop()
