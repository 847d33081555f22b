"""Times as other programs write them, and as a clock on the wall shows them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from workbench.domain.moments import moment, on_the_wall


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
def test_a_time_is_shown_as_the_clock_on_the_wall_shows_it() -> None:
    assert on_the_wall("2026-01-31T16:30:05.000Z") == "2026-02-01 01:30:05"
    assert on_the_wall("") == ""


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (1_700_000_000.5, "2023-11-14T22:13:20.500Z"),
        ("2025-05-01T10:00:00Z", "2025-05-01T10:00:00.000Z"),
        ("2025-05-01T10:00:00+02:00", "2025-05-01T08:00:00.000Z"),
        ("2025-05-01 10:00", "2025-05-01T10:00:00.000Z"),
        (1e15, ""), (float("nan"), ""), (-5, ""), (True, ""), (None, ""), ("yesterday", ""),
    ],
)  # fmt: skip
def test_a_time_is_read_as_seconds_or_text_and_anything_else_is_none(told: object, expected: str) -> None:
    assert moment(told) == expected
