"""The line plot as a pure drawing: what a reader can rely on in it."""

from __future__ import annotations

import math
import random

import pytest
from rich.cells import cell_len

from workbench.tui.widgets.plot import LinePlot, Series, Span, draw_plot

NAN = float("nan")


def text(rows: list[list[Span]]) -> list[str]:
    return ["".join(piece for piece, _ in row) for row in rows]


def dots(rows: list[list[Span]]) -> dict[tuple[int, int], str]:
    """Braille cells by column and row of the drawing."""
    return {(x, y): c for y, row in enumerate(text(rows)) for x, c in enumerate(row) if 0x2800 < ord(c) < 0x2900}


@pytest.mark.parametrize("width", [24, 40, 80, 160, 390])
@pytest.mark.parametrize("height", [4, 5, 11, 40])
@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("log_y", [False, True])
def test_the_drawing_fills_its_rectangle_exactly(width: int, height: int, ascii_only: bool, log_y: bool) -> None:
    chance = random.Random(3)
    train = [(step, math.exp(chance.gauss(0, 3)) if step % 50 else NAN) for step in range(1, 400)]
    held_out = [(step, chance.gauss(0, 1)) for step in range(0, 401, 100)]
    both = [Series("train", train), Series("held-out 漢字", held_out, dots=True)]
    rows = draw_plot(both, width, height, log_y=log_y, ascii_only=ascii_only)
    assert len(rows) == height
    assert {cell_len(row) for row in text(rows)} == {width}


def test_a_falling_loss_falls_from_the_upper_left_to_the_lower_right() -> None:
    rows = draw_plot([Series("train", [(step, 10.0 - step) for step in range(11)])], 40, 12)
    cells = dots(rows)
    columns = sorted({x for x, _ in cells})
    heights = [min(y for x, y in cells if x == column) for column in columns]
    assert heights == sorted(heights)
    assert heights[0] == 1
    assert heights[-1] == 10
    assert columns[-1] == 39


def test_every_column_between_two_points_has_a_dot() -> None:
    cells = dots(draw_plot([Series("train", [(1, 5.0), (2, 1.0)])], 50, 8))
    columns = {x for x, _ in cells}
    assert columns == set(range(min(columns), 50))


def test_a_spike_among_many_points_is_kept() -> None:
    points = [(step, 1.0) for step in range(5000)]
    points[2500] = (2500, 9.0)
    cells = dots(draw_plot([Series("train", points)], 60, 10))
    spike = [x for x, y in cells if y == 1]
    assert len(spike) == 1
    assert {y for x, y in cells if x == spike[0]} == set(range(1, 9))


def test_the_ends_of_both_axes_are_written() -> None:
    lines = text(draw_plot([Series("train", [(3, 0.25), (120, 4.0)])], 50, 9))
    assert lines[1].startswith("    4┤")
    assert "0.25┤" in lines[7]
    assert lines[8].split() == ["3", "120"]


def test_a_log_axis_puts_the_geometric_mean_in_the_middle() -> None:
    lines = text(draw_plot([Series("train", [(0, 100.0), (1, 0.01)])], 50, 9, log_y=True))
    assert lines[1].strip().startswith("100")
    assert "0.01┤" in lines[7]
    middle = next(line for line in lines[2:7] if "┤" in line)
    assert float(middle.split("┤")[0]) == pytest.approx(math.sqrt(100.0 * 0.01))
    assert "log y" in lines[0]


def test_what_is_not_a_number_is_a_mark_and_words_and_a_gap() -> None:
    points = [(float(step), 1.0) for step in range(1, 11)]
    points[4] = (5.0, NAN)
    points[5] = (6.0, float("inf"))
    rows = draw_plot([Series("train", points)], 60, 8)
    lines = text(rows)
    assert "2 not a number, first at step 5" in lines[0]
    assert lines[1].count("x") == 2
    columns = {x for x, _ in dots(rows)}
    gap = set(range(min(columns), max(columns) + 1)) - columns
    assert len(gap) > 5
    assert [part for row in rows for piece, part in row if piece == "x"] == ["mark", "mark"]


def test_a_run_of_nothing_but_nan_says_so_instead_of_drawing() -> None:
    lines = text(draw_plot([Series("train", [(1, NAN), (2, NAN)])], 60, 8))
    assert "train nan" in lines[0]
    assert "2 not a number, first at step 1" in lines[0]
    assert any("no numbers yet" in line for line in lines)


def test_values_at_or_below_zero_are_counted_on_a_log_axis() -> None:
    lines = text(draw_plot([Series("margin", [(1, -1.0), (2, 0.0), (3, 2.0), (4, 3.0)])], 60, 8, log_y=True))
    assert "2 at or below 0" in lines[0]
    assert lines[1].count("x") == 2


def test_a_flat_curve_lies_in_the_middle() -> None:
    cells = dots(draw_plot([Series("train", [(step, 2.0) for step in range(20)])], 40, 11))
    assert {y for _, y in cells} == {5}


def test_a_single_point_is_drawn() -> None:
    assert len(dots(draw_plot([Series("train", [(1, 2.5)])], 40, 8))) == 1


def test_the_sparse_series_is_told_apart_without_colour() -> None:
    train = Series("train", [(step, 1.0 + step / 9) for step in range(10)])
    held_out = Series("held-out", [(0, 1.5), (9, 1.6)], dots=True)
    rows = draw_plot([train, held_out], 60, 10)
    lines = text(rows)
    assert "".join(lines[1:]).count("●") == 2
    assert "─── train 2" in lines[0]
    assert "╌●╌ held-out 1.6" in lines[0]
    plain = text(draw_plot([train, held_out], 60, 10, ascii_only=True))
    assert "".join(plain[1:]).count("o") == 2
    assert all(c.isascii() for line in plain for c in line)


def test_a_place_too_small_says_so() -> None:
    assert text(draw_plot([Series("train", [(1, 1.0)])], 20, 6))[0] == "too small to plot   "
    assert len(draw_plot([], 80, 2)) == 2


def test_a_hostile_name_cannot_act() -> None:
    line = text(draw_plot([Series("\x1b]0;x\x07[/b]", [(1, 1.0)])], 60, 6))[0]
    assert "\x1b" not in line
    assert "[/b]" in line


def test_six_runs_are_drawn_each_in_its_own_colour_and_named() -> None:
    series = [Series(f"run{i}", [(0, float(i)), (10, i + 1.0)]) for i in range(7)]
    rows = draw_plot(series, 120, 20)
    parts = {part for row in rows for _, part in row}
    assert {"first", "second", "third", "fourth", "fifth", "sixth"} <= parts
    assert "run5" in text(rows)[0] and "run6" not in text(rows)[0]


def test_a_window_shows_its_steps_only_with_the_axis_fitted_to_them() -> None:
    points = [(step, 1000.0 if step < 50 else step / 100) for step in range(101)]
    whole, part = (draw_plot([Series("train", points)], 60, 10, window=window) for window in (None, (50, 100)))
    assert "1000" in "".join(text(whole)) and "1000" not in "".join(text(part))
    assert text(part)[-1].split() == ["50", "100"]


def test_a_window_without_points_says_so() -> None:
    assert "no numbers yet" in "".join(text(draw_plot([Series("train", [(1, 1.0)])], 60, 10, window=(5, 9))))


def test_the_plot_zooms_to_the_newest_steps_and_moves_within_the_ends() -> None:
    plot = LinePlot()
    plot.show([Series("train", [(step, 1.0) for step in range(101)])])
    plot.zoom(2)
    assert plot.window is None
    plot.zoom(0.5)
    assert plot.window == (50, 100)
    plot.pan(0.5)
    assert plot.window == (50, 100)
    plot.pan(-0.5)
    assert plot.window == (25, 75)
    plot.zoom(0.5)
    assert plot.window == (37.5, 62.5)
    plot.pan(-9)
    assert plot.window == (0, 25)
    plot.zoom(4)
    assert plot.window is None
    plot.zoom(0.01)
    assert plot.window is not None and plot.window[1] - plot.window[0] == 4
    plot.show_all()
    assert plot.window is None
