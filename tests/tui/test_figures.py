"""Short numbers, sizes, times and strips."""

from __future__ import annotations

import pytest

from workbench.tui import figures


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.41234, "0.412"),
        (9.8765, "9.88"),
        (612.4, "612"),
        (9812.0, "9812"),
        (98_120.0, "98.1k"),
        (4.1e-6, "4.1e-06"),
        (-0.5, "-0.5"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
    ],
)
def test_numbers_are_short_and_never_hide_what_is_not_one(value: float | None, shown: str) -> None:
    assert figures.number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (42.4, "42s"), (595, "9m 55s"), (3840, "1h 04m"), (90_000, "1d 01h"), (float("inf"), "-")],
)
def test_durations_have_two_units(seconds: float | None, shown: str) -> None:
    assert figures.duration(seconds) == shown


def test_times_with_and_without_a_zone_are_both_utc() -> None:
    assert figures.seconds_between("2026-01-01T00:00:00Z", "2026-01-01T00:01:00") == 60
    assert figures.seconds_between("2026-01-01T01:00:00+01:00", "2026-01-01T00:01:00+00:00") == 60
    assert figures.seconds_between("", "2026-01-01T00:01:00") is None
    assert figures.seconds_between("yesterday", "2026-01-01T00:01:00") is None


def test_a_strip_spans_the_lowest_to_the_highest_bar() -> None:
    assert figures.sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == figures.BARS
    assert figures.sparkline([0, 7], 8) == "▁█"
    assert figures.sparkline([5, 5, 5], 8) == "▁▁▁"
    assert figures.sparkline([], 8) == ""


def test_a_long_history_is_averaged_into_the_width() -> None:
    assert figures.sparkline([0.0] * 50 + [1.0] * 50, 4) == "▁▁██"
    assert len(figures.sparkline(list(range(1000)), 13)) == 13


def test_what_is_not_a_number_stands_out_of_the_strip() -> None:
    assert figures.sparkline([0.0, float("nan"), 1.0], 8) == "▁!█"
    assert figures.sparkline([float("nan")], 8, ascii_only=True) == "!"


def test_a_meter_is_clipped() -> None:
    assert figures.meter(0.5, 4) == "██░░"
    assert figures.meter(7, 4, ascii_only=True) == "####"
    assert figures.meter(-1, 4, ascii_only=True) == "...."
