"""For every test of the TUI."""

from __future__ import annotations

import pytest

from workbench.tui import safekeeping


@pytest.fixture(autouse=True)
def no_look_after_the_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine the daily backup would speak up in the middle of a test; who wants it sets another time."""
    monkeypatch.setattr(safekeeping, "FIRST_LOOK_S", 3600.0)
