"""A page as one HTML file that needs nothing else: styles in it, curves as inline SVG, no script, nothing fetched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from workbench.domain.foreign_text import clean
from workbench.domain.pages import Block, Chart, Line, Page, Sample, Section, Table, Text, spaced

_WIDTH, _HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 12, 12, 28
_MOST_POINTS = 1500
_COLOURS = ("#1f6feb", "#d9480f", "#2b8a3e", "#9c36b5", "#0b7285")
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { border-bottom: 1px solid #8884; padding-bottom: .2rem; margin-top: 2rem; }
.sub { color: #777; } .good { color: #2b8a3e; } .bad { color: #c92a2a; font-weight: 600; }
table { border-collapse: collapse; margin: .5rem 0; display: block; overflow-x: auto; }
th, td { border: 1px solid #8884; padding: .2rem .6rem; text-align: left; vertical-align: top; }
pre { border: 1px solid #8884; padding: .6rem; white-space: pre-wrap; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
.key span { margin-right: 1rem; } .label { color: #777; margin-bottom: 0; }
""".strip()
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def as_html(page: Page) -> str:
    """The page as one document. All text is escaped, and the document forbids itself to load anything."""
    sections = "\n".join(_section(section) for section in page.filled)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_safe(page.title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n"
        f'<h1>{_safe(page.title)}</h1>\n<p class="sub">{_safe(page.subtitle)}</p>\n{sections}\n</body>\n</html>\n'
    )


def _safe(text: str) -> str:
    return escape(clean(text))


def _section(section: Section) -> str:
    return "\n".join([f"<h2>{_safe(section.title)}</h2>", *(_block(block) for block in section.blocks)])


def _block(block: Block) -> str:
    match block:
        case Text():
            tone = f' class="{escape(block.tone)}"' if block.tone else ""
            return f"<p{tone}>{_safe(block.said)}</p>"
        case Table():
            head = "".join(f"<th>{_safe(name)}</th>" for name in block.header)
            body = "".join(f"<tr>{''.join(f'<td>{_safe(text)}</td>' for text in row)}</tr>" for row in block.rows)
            return f"<table>{f'<tr>{head}</tr>' if head else ''}{body}</table>"
        case Chart():
            return _chart(block)
        case Sample():
            return f'<p class="label">{_safe(block.label)}</p><pre>{_safe(block.text)}</pre>'


def _chart(chart: Chart) -> str:
    lines = [_finite(line) for line in chart.lines]
    lines = [line for line in lines if line.points]
    if not lines:
        return f"<p>{_safe(chart.title)}: no numbers</p>"
    frame = _Frame(lines)
    drawn = "".join(_drawn(line, frame, _COLOURS[i % len(_COLOURS)]) for i, line in enumerate(lines))
    key = "".join(
        f'<span style="color:{_COLOURS[i % len(_COLOURS)]}">{"●" if line.dots else "━"} {_safe(line.name)}</span>'
        for i, line in enumerate(lines)
    )
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    return (
        f'<p class="label">{_safe(chart.title)}</p><p class="key">{key}</p>'
        f'<svg {size} role="img">{frame.axes()}{drawn}</svg>'
    )


class _Frame:
    """From steps and values to places in the picture."""

    def __init__(self, lines: Sequence[Line]) -> None:
        steps = [step for line in lines for step, _ in line.points]
        values = [value for line in lines for _, value in line.points]
        self._steps = (min(steps), max(max(steps), min(steps) + 1))
        low, high = min(values), max(values)
        margin = (high - low) * 0.05 or max(abs(high) * 0.05, 1e-9)
        self._values = (low - margin, high + margin)

    def x(self, step: float) -> float:
        """How far right a step stands."""
        first, last = self._steps
        return round(_LEFT + (step - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        """How far down a value stands."""
        low, high = self._values
        return round(_TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM), 1)

    def axes(self) -> str:
        """Lines and numbers at the quarters of both axes."""
        drawn = []
        for i in range(5):
            value = self._values[0] + i / 4 * (self._values[1] - self._values[0])
            step = self._steps[0] + i / 4 * (self._steps[1] - self._steps[0])
            y, x = self.y(value), self.x(step)
            drawn.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" stroke="#8883"/>')
            drawn.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{value:.3g}</text>')
            drawn.append(f'<text x="{x}" y="{_HEIGHT - 8}" text-anchor="middle">{step:.0f}</text>')
        return "".join(drawn)


def _finite(line: Line) -> Line:
    points = [point for point in line.points if math.isfinite(point[1])]
    return Line(line.name, tuple(spaced(points, _MOST_POINTS)), line.dots)


def _drawn(line: Line, frame: _Frame, colour: str) -> str:
    places = [(frame.x(step), frame.y(value)) for step, value in line.points]
    path = " ".join(f"{x},{y}" for x, y in places)
    drawn = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>' if len(places) > 1 else ""
    if line.dots or len(places) == 1:
        drawn += "".join(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in places)
    return drawn
