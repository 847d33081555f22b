"""Curves made smooth, and the desktop told: what can be said without a screen."""

from __future__ import annotations

import math

import pytest

from workbench.tui.desktop import AUTO, OFF, OSC9, OSC777, notification
from workbench.tui.run_curves import smoothed

NAN = float("nan")


def test_smoothing_is_the_weighted_mean_of_what_came_before() -> None:
    points = [(1, 4.0), (2, 2.0), (3, 8.0)]
    weight = 0.5
    expected = [4.0, (2 + 4 * weight) / (1 + weight), (8 + 2 * weight + 4 * weight**2) / (1 + weight + weight**2)]
    assert [value for _, value in smoothed(points, weight)] == pytest.approx(expected)
    assert smoothed(points, 0.0) == points


def test_a_level_curve_stays_level_however_smooth() -> None:
    assert [v for _, v in smoothed([(step, 3.0) for step in range(50)], 0.97)] == pytest.approx([3.0] * 50)


def test_what_is_no_number_stays_one_and_spoils_nothing() -> None:
    found = [value for _, value in smoothed([(1, 1.0), (2, NAN), (3, 1.0)], 0.9)]
    assert found[0] == found[2] == 1.0 and math.isnan(found[1])


def test_the_desktop_is_told_in_the_way_that_the_terminal_knows() -> None:
    assert notification("workbench", "r1 finished", OSC9, {}) == "\x1b]9;workbench: r1 finished\x07"
    told = "\x1b]777;notify;workbench;r1 finished\x07"
    assert notification("workbench", "r1 finished", OSC777, {}) == told
    assert notification("workbench", "r1 finished", AUTO, {"TERM": "foot"}) == told
    assert notification("workbench", "r1 finished", AUTO, {"TERM": "xterm-kitty"}).startswith("\x1b]9;")
    assert notification("workbench", "r1 finished", OFF, {"TERM": "foot"}) == ""


def test_a_hostile_name_ends_no_sequence_and_adds_no_field() -> None:
    for how in (OSC9, OSC777):
        sequence = notification("t", "a\x07\x1b]52;c;eA==\x07;b\x9c", how, {})
        assert sequence.count("\x07") == 1 and sequence.endswith("\x07")
        assert sequence.count("\x1b") == 1 and "\x9c" not in sequence
        assert ";c;" not in sequence


def test_inside_tmux_the_sequence_is_handed_on() -> None:
    assert notification("t", "x", OSC9, {"TMUX": "/tmp/t"}) == "\x1bPtmux;\x1b\x1b]9;t: x\x07\x1b\\"
