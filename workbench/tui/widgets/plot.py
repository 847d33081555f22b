"""A line plot of braille dots for the figures of runs: a few series, honest about what is not a number; it zooms.

Owns the drawing (a pure function from points to rows of text) and a widget that repaints changed rows only. Plotting
libraries for Textual cost numpy in this process, or 0.3 to 0.6 s for 20,000 points; this draws them in a few dozen
milliseconds. Knows nothing of runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor, isfinite, log10

from rich.cells import cell_len
from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from workbench.tui.figures import number
from workbench.tui.safety import cell

Span = tuple[str, str]
"""A piece of a row and what it is: ``axis``, a series by its place (``first`` to ``sixth``), ``mark`` or ``blank``."""

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # by column, then row from the top, of one braille cell
_PARTS = ("first", "second", "third", "fourth", "fifth", "sixth")
MOST = len(_PARTS)
"""So many series can be told apart."""
_NOT_A_NUMBER = "x"
MINIMUM_WIDTH, MINIMUM_HEIGHT = 24, 4
MINIMUM_STEPS = 4.0


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: points of step and value in the order of steps; ``dots`` marks each point (for a sparse curve)."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


@dataclass(slots=True)
class _Canvas:
    """Dots by cell; ``owner`` is the part that a cell's colour comes from, the later series winning."""

    width: int
    height: int
    dots: dict[tuple[int, int], int] = field(default_factory=dict)
    owner: dict[tuple[int, int], str] = field(default_factory=dict)
    marks: dict[tuple[int, int], Span] = field(default_factory=dict)

    def column(self, x: int, top: int, bottom: int, part: str) -> None:
        """Set the dots of dot column ``x`` from ``top`` to ``bottom`` (dot rows, from the top)."""
        for y in range(max(0, top), min(self.height * 4 - 1, bottom) + 1):
            place = (x // 2, y // 4)
            self.dots[place] = self.dots.get(place, 0) | _DOTS[x % 2][y % 4]
            self.owner[place] = part


@dataclass(frozen=True, slots=True)
class _Frame:
    """From values to dots: the range of both axes, and whether the value axis is logarithmic."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    width: int
    height: int
    log_y: bool

    @property
    def x_scale(self) -> float:
        """Dots to a step."""
        return (self.width * 2 - 1) / (self.x_high - self.x_low) if self.x_high > self.x_low else 0.0

    def x(self, step: float) -> int:
        return min(self.width * 2 - 1, max(0, round((step - self.x_low) * self.x_scale)))

    def y(self, value: float) -> int:
        share = (self.y_high - value) / (self.y_high - self.y_low)
        return min(self.height * 4 - 1, max(0, round(share * (self.height * 4 - 1))))

    def label(self, row: int) -> str:
        share = row / max(1, self.height - 1)
        value = self.y_high - share * (self.y_high - self.y_low)
        return number(10**value if self.log_y else value)


def draw_plot(
    series: Sequence[Series],
    width: int,
    height: int,
    *,
    log_y: bool = False,
    ascii_only: bool = False,
    window: tuple[float, float] | None = None,
) -> list[list[Span]]:
    """At most ``MOST`` series as ``height`` rows of exactly ``width`` cells: a heading, the curves, the steps.

    ``window`` shows the steps from its first to its second only, with the axis of the values fitted to them.

    A value that is not a number breaks its curve, stands as an ``x`` on the upper edge, and is counted in the heading
    with its first step. With ``log_y`` values of 0 and below are counted the same way, as they have no place.
    """
    if width < MINIMUM_WIDTH or height < MINIMUM_HEIGHT:
        return [[(cell("too small to plot", width).ljust(width), "axis")] for _ in range(height)]
    series = [_within(one, window) for one in series[:MOST]]
    good = [_drawable(one.points, log_y) for one in series]
    heading = _heading(series, good, width, log_y=log_y, ascii_only=ascii_only)
    values = [value for points in good for _, value in points]
    if not values:
        return [heading, *_message("no numbers yet", width, height - 1)]
    frame = _frame(series, values, height - 2, width, log_y, window)
    canvas = _Canvas(frame.width, frame.height)
    for one, points, part in zip(series, good, _PARTS, strict=False):
        _draw(canvas, frame, one, points, part, log_y=log_y, ascii_only=ascii_only)
    margin = width - frame.width
    rows = [_row(canvas, frame, y, margin, ascii_only) for y in range(frame.height)]
    return [heading, *rows, _steps(frame, margin)]


def _within(one: Series, window: tuple[float, float] | None) -> Series:
    if window is None:
        return one
    return replace(one, points=[point for point in one.points if window[0] <= point[0] <= window[1]])


def _drawable(points: Sequence[tuple[float, float]], log_y: bool) -> list[tuple[float, float]]:
    if log_y:
        return [(x, log10(y)) for x, y in points if isfinite(y) and y > 0]
    return [(x, y) for x, y in points if isfinite(y)]


def _frame(
    series: Sequence[Series],
    values: Sequence[float],
    height: int,
    width: int,
    log_y: bool,
    window: tuple[float, float] | None,
) -> _Frame:
    steps = list(window) if window else [step for one in series for step, _ in one.points]
    low, high = min(values), max(values)
    if high - low < 1e-12 * max(1.0, abs(high)):
        pad = abs(high) * 0.1 or 1.0
        low, high = low - pad, high + pad
    labels = _Frame(min(steps), max(steps), low, high, 1, height, log_y)
    margin = max(cell_len(labels.label(row)) for row in _labelled(height)) + 2
    return _Frame(min(steps), max(steps), low, high, width - margin, height, log_y)


def _labelled(height: int) -> tuple[int, ...]:
    return (0, height // 2, height - 1) if height >= 5 else (0, height - 1)


def _draw(
    canvas: _Canvas,
    frame: _Frame,
    one: Series,
    good: Sequence[tuple[float, float]],
    part: str,
    *,
    log_y: bool,
    ascii_only: bool,
) -> None:
    bad = [step for step, value in one.points if not isfinite(value) or (log_y and value <= 0)]
    for x0, y0, x1, y1 in _strokes(frame, good, bad):
        _line(canvas, x0, y0, x1, y1, part, dashed=one.dots)
    if one.dots and len(good) <= frame.width // 2:
        for step, value in good:
            place = frame.x(step) // 2, frame.y(value) // 4
            canvas.marks[place] = ("o" if ascii_only else "●", part)
    for step in bad:
        canvas.marks[frame.x(step) // 2, 0] = (_NOT_A_NUMBER, "mark")


def _strokes(
    frame: _Frame, good: Sequence[tuple[float, float]], bad: Sequence[float]
) -> Iterable[tuple[int, int, int, int]]:
    """Line pieces in dots: one upright per dot column that has points, joined unless a bad step lies between."""
    breaks = iter([*sorted(bad), float("inf")])
    next_break = next(breaks)
    first, scale, y = frame.x_low, frame.x_scale, frame.y
    column, low, high, last = -1, 0.0, 0.0, 0.0
    for step, value in good:  # every point of every curve, twice a second: only what must be done for each
        x = round((step - first) * scale)
        broken = False
        while next_break < step:
            broken, next_break = True, next(breaks)
        if x == column:
            if value > high:
                high = value
            elif value < low:
                low = value
        else:
            if column >= 0:
                yield column, y(high), column, y(low)
                if not broken:
                    yield column, y(last), x, y(value)
            column, low, high = x, value, value
        last = value
    if column >= 0:
        yield column, y(high), column, y(low)


def _line(canvas: _Canvas, x0: int, y0: int, x1: int, y1: int, part: str, *, dashed: bool) -> None:
    if x0 == x1:
        canvas.column(x0, min(y0, y1), max(y0, y1), part)
        return
    slope = (y1 - y0) / (x1 - x0)
    for x in range(x0, x1 + 1):
        if dashed and x % 4 >= 2:
            continue
        start, end = y0 + slope * max(0.0, x - x0 - 0.5), y0 + slope * min(float(x1 - x0), x - x0 + 0.5)
        top, bottom = min(start, end), max(start, end)
        canvas.column(
            x, round(top) if bottom - top < 1 else ceil(top), round(top) if bottom - top < 1 else floor(bottom), part
        )


def _row(canvas: _Canvas, frame: _Frame, y: int, margin: int, ascii_only: bool) -> list[Span]:
    label = frame.label(y) if y in _labelled(frame.height) else ""
    bar = "|" if ascii_only else "┤" if label else "│"
    spans: list[Span] = [(f"{label:>{margin - 1}}{bar}", "axis")]
    for x in range(canvas.width):
        if (mark := canvas.marks.get((x, y))) is not None:
            spans.append(mark)
        elif dots := canvas.dots.get((x, y), 0):
            spans.append((_ascii(dots) if ascii_only else chr(0x2800 + dots), canvas.owner[x, y]))
        else:
            spans.append((" ", "blank"))
    return _merged(spans)


def _ascii(dots: int) -> str:
    count = dots.bit_count()
    return "." if count <= 2 else ":" if count <= 5 else "|"


def _merged(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for text, part in spans:
        if merged and merged[-1][1] == part:
            merged[-1] = (merged[-1][0] + text, part)
        else:
            merged.append((text, part))
    return merged


def _steps(frame: _Frame, margin: int) -> list[Span]:
    first, last = f"{frame.x_low:.0f}", f"{frame.x_high:.0f}"
    gap = frame.width - len(first) - len(last)
    text = first + " " * gap + last if gap > 0 and first != last else last.rjust(frame.width)
    return [(" " * margin + text[: frame.width], "axis")]


def _heading(
    series: Sequence[Series],
    good: Sequence[Sequence[tuple[float, float]]],
    width: int,
    *,
    log_y: bool,
    ascii_only: bool,
) -> list[Span]:
    spans: list[Span] = [(" log y ", "axis")] if log_y else []
    for one, points, part in zip(series, good, _PARTS, strict=False):
        line = ("-o-" if one.dots else "---") if ascii_only else ("╌●╌" if one.dots else "───")
        last = one.points[-1][1] if one.points else None
        spans.append((f" {line} {cell(one.name)} {number(last)} ", part))
        if lost := [step for step, value in one.points if not isfinite(value)]:
            spans.append((f" {_NOT_A_NUMBER} {len(lost):,} not a number, first at step {lost[0]:.0f} ", "mark"))
        elif log_y and len(points) < len(one.points):
            spans.append((f" {_NOT_A_NUMBER} {len(one.points) - len(points):,} at or below 0 ", "mark"))
    return _fitted(spans, width)


def _fitted(spans: Sequence[Span], width: int) -> list[Span]:
    fitted: list[Span] = []
    left = width
    for text, part in spans:
        if left <= 0:
            break
        fitted.append((cell(text, left), part))
        left -= cell_len(fitted[-1][0])
    return [*fitted, (" " * left, "blank")] if left > 0 else fitted


def _message(text: str, width: int, height: int) -> list[list[Span]]:
    return [[((text if y == height // 2 else "").center(width), "axis")] for y in range(height)]


class LinePlot(Widget):
    """Shows a few series; ``show`` redraws only the rows that changed. It zooms and moves along the steps."""

    COMPONENT_CLASSES = {*(f"plot--{part}" for part in _PARTS), "plot--axis", "plot--mark", "plot--blank"}
    DEFAULT_CSS = """
    LinePlot {
        height: 1fr; width: 1fr;
        & .plot--first { color: $primary; }
        & .plot--second { color: $warning; }
        & .plot--third { color: $success; }
        & .plot--fourth { color: $error; }
        & .plot--fifth { color: $secondary; }
        & .plot--sixth { color: $foreground; }
        & .plot--axis { color: $text-muted; }
        & .plot--mark { color: $error; text-style: bold; }
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._series: tuple[Series, ...] = ()
        self._rows: list[list[Span]] = []
        self.log_y = False
        self.ascii_only = False
        self.window: tuple[float, float] | None = None

    def show(self, series: Iterable[Series], *, log_y: bool | None = None) -> None:
        """Draw these series from now on."""
        self._series = tuple(series)
        self.log_y = self.log_y if log_y is None else log_y
        self._redraw()

    def zoom(self, factor: float) -> None:
        """Show ``factor`` times as many steps: around the middle, or up to the newest where that is seen."""
        if (ends := self._ends()) is None:
            return
        low, high = self.window or ends
        width = max((high - low) * factor, MINIMUM_STEPS)
        middle = (low + high) / 2
        right = high if high >= ends[1] else middle + width / 2
        self._look_at(right - width, right, ends)

    def pan(self, share: float) -> None:
        """Move along the steps by a share of what is shown; to the right above 0."""
        if self.window is not None and (ends := self._ends()) is not None:
            by = (self.window[1] - self.window[0]) * share
            self._look_at(self.window[0] + by, self.window[1] + by, ends)

    def show_all(self) -> None:
        """Every step again."""
        self.window = None
        self._redraw()

    def _ends(self) -> tuple[float, float] | None:
        steps = [step for one in self._series if one.points for step in (one.points[0][0], one.points[-1][0])]
        return (min(steps), max(steps)) if steps else None

    def _look_at(self, low: float, high: float, ends: tuple[float, float]) -> None:
        """Show these steps, pushed back within the ends; all of them where nothing is left out."""
        width = high - low
        low = min(max(low, ends[0]), max(ends[0], ends[1] - width))
        self.window = None if width >= ends[1] - ends[0] else (low, low + width)
        self._redraw()

    @property
    def text(self) -> str:
        """What is drawn, without colours."""
        return "\n".join("".join(text for text, _ in row) for row in self._rows)

    def on_resize(self) -> None:
        """A new size is a new drawing."""
        self._redraw()

    def _redraw(self) -> None:
        old = self._rows
        self._rows = draw_plot(
            self._series,
            self.size.width,
            self.size.height,
            log_y=self.log_y,
            ascii_only=self.ascii_only,
            window=self.window,
        )
        for y, row in enumerate(self._rows):
            if y >= len(old) or old[y] != row:
                self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """One row of the drawing."""
        if y >= len(self._rows):
            return Strip.blank(self.size.width, self.rich_style)
        segments = [
            Segment(text, self.get_component_rich_style(f"plot--{part}")) for text, part in self._rows[y] if text
        ]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)
