"""A page for keeping: sections of text, tables, curves and samples, as Markdown. As HTML it is in ``page_html``.

Everything on a page may be foreign text: it is cleaned of controls, and can neither end a table nor become markup.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.domain.foreign_text import cell, clean

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 48
_SHOWN_POINTS = 8
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~$&])")


@dataclass(frozen=True, slots=True)
class Text:
    """One paragraph; ``tone`` is "", ``good`` or ``bad``."""

    said: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a header; of an empty header the table has none."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve by step; ``dots`` for few measurements that are no continuous curve."""

    name: str
    points: tuple[tuple[int, float], ...]
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves over the same steps."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """A text word for word under a label, such as an answer or a file."""

    label: str
    text: str


Block = Text | Table | Chart | Sample


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A title, a line under it, and sections; those without a block are left out."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]

    @property
    def filled(self) -> list[Section]:
        """The sections that have something to show."""
        return [section for section in self.sections if section.blocks]


def as_markdown(page: Page) -> str:
    """The page as GitHub's Markdown."""
    parts = [f"# {plain(page.title)}", plain(page.subtitle)]
    for section in page.filled:
        parts.append(f"## {plain(section.title)}")
        parts += [_block(block) for block in section.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: str) -> str:
    """One line of foreign text with nothing in it that Markdown or HTML would take for markup."""
    return _MARKUP.sub(r"\\\1", " ".join(clean(text).split()))


def fenced(text: str) -> str:
    """Text word for word as a code block, whatever is in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{clean(text)}\n{fence}"


def table_lines(table: Table) -> list[str]:
    """A table, or a list of ``name: value`` when it has no header."""
    if not table.header:
        return [f"- {' '.join([f'**{plain(row[0])}**', *map(plain, row[1:])])}" for row in table.rows]
    head = f"| {' | '.join(map(plain, table.header))} |"
    return [head, "|" + "---|" * len(table.header), *(f"| {' | '.join(map(plain, row))} |" for row in table.rows)]


def _block(block: Block) -> str:
    match block:
        case Text():
            return f"**{plain(block.said)}**" if block.tone == "bad" else plain(block.said)
        case Table():
            return "\n".join(table_lines(block))
        case Chart():
            return "\n\n".join([f"**{plain(block.title)}**", *(_curve(line) for line in block.lines if line.points)])
        case Sample():
            return f"{plain(block.label)}:\n\n{fenced(block.text)}"


def _curve(line: Line) -> str:
    """A curve as a strip of bars and some of its points."""
    points = [point for point in line.points if math.isfinite(point[1])]
    if not points:
        return f"{plain(line.name)}: no number"
    some = spaced(points, _SHOWN_POINTS)
    header = (line.name, *(f"step {step}" for step, _ in some))
    figures = "\n".join(table_lines(Table(header, (("", *(f"{value:.4g}" for _, value in some)),))))
    return figures if line.dots else f"`{_strip([value for _, value in spaced(points, _WIDTH)])}`\n\n{figures}"


def spaced(points: Sequence[tuple[int, float]], count: int) -> list[tuple[int, float]]:
    """At most ``count`` of the points, the first and the last among them."""
    if len(points) <= count:
        return list(points)
    return [points[round(i * (len(points) - 1) / (count - 1))] for i in range(count)]


def _strip(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, int((value - low) / span * len(_BARS)))] for value in values)


def short(text: str, width: int = 80) -> str:
    """A text in one line of at most ``width`` cells."""
    return cell(text, width)
