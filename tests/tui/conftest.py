"""For every test of the TUI."""

from __future__ import annotations

import pytest
from textual import _wait

from workbench.tui import safekeeping


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Textual's pilot looks for 20 ms, after each key, whether the app has gone idle; half of it tells as much."""
    monkeypatch.setattr(_wait, "SLEEP_GRANULARITY", _wait.SLEEP_GRANULARITY / 2)
    monkeypatch.setattr(_wait, "SLEEP_IDLE", _wait.SLEEP_IDLE / 2)


@pytest.fixture(autouse=True)
def no_look_after_the_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine the daily backup would speak up in the middle of a test; who wants it sets another time."""
    monkeypatch.setattr(safekeeping, "FIRST_LOOK_S", 3600.0)
