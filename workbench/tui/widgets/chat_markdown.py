"""Markdown of a chat, as lines of cells: nothing a model wrote is hidden, followed or run.

Differs from Rich's own renderer where a reader of model output needs it: HTML is shown as the text it is, single line
breaks are kept, code is not coloured (cheap while it streams, readable in 16 colours), links show their address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from rich.theme import Theme

if TYPE_CHECKING:
    from markdown_it.token import Token

PLAIN_ABOVE = 200_000
"""Texts with more characters than this are shown as they are: parsing them would hold up the keys."""

_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_BAR = "▏ "


class _Code(CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = Text(str(self.text).rstrip("\n"), style="markdown.code_block")
        width = max(1, options.max_width - len(_BAR))
        for line in lines.wrap(console, width, overflow="fold"):
            yield Text(_BAR, style="markdown.hr").append_text(line)


class _Heading(Heading):
    LEVEL_ALIGN = dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), "left")


class ChatMarkdown(Markdown):
    """Rich's renderer over tokens that were parsed already."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "fence": _Code,
        "code_block": _Code,
        "heading_open": _Heading,
    }

    def __init__(self, tokens: list[Token]) -> None:
        # not super().__init__: it would parse again, with HTML switched on
        self.markup = ""
        self.parsed = tokens
        self.code_theme = self.inline_code_theme = "ansi_dark"
        self.justify = None
        self.style = "none"
        self.hyperlinks = False
        self.inline_code_lexer = None


def parse(text: str) -> list[Token]:
    """The blocks of ``text``; a single line break inside a paragraph stays one."""
    tokens = _PARSER.parse(text)
    for token in tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"
            elif child.type == "image":
                child.type, child.tag = "text", ""
                child.content, child.children = f"![{child.content}]({child.attrs.get('src', '')})", None
    return tokens


def last_block_start(tokens: Iterable[Token]) -> int:
    """The line on which the last top-level block begins: everything before it is final while text is appended."""
    start = 0
    for token in tokens:
        if token.level == 0 and token.map and token.nesting >= 0:
            start = token.map[0]
    return start


def theme_from(accent: Style, muted: Style, code: Style) -> Theme:
    """Rich's names for the parts of Markdown, in the colours of the app's theme."""
    quiet = Style(color=muted.color)
    strong = Style(color=accent.color, bold=True)
    return Theme(
        {
            **{f"markdown.h{level}": strong for level in range(1, 7)},
            "markdown.code": Style(color=code.color, bold=True),
            "markdown.code_block": Style(color=code.color),
            "markdown.block_quote": quiet,
            "markdown.hr": quiet,
            "markdown.item.bullet": strong,
            "markdown.item.number": strong,
            "markdown.link": Style(color=accent.color),
            "markdown.link_url": Style(color=muted.color, underline=True),
            "markdown.list": Style.null(),
            "markdown.table.border": quiet,
            "markdown.table.header": strong,
        }
    )


def markdown_lines(console: Console, tokens: list[Token], width: int) -> list[list[Segment]]:
    """The rendered lines, each padded to ``width`` cells, one blank line between top-level blocks."""
    options = console.options.update(width=width, height=None)
    lines: list[list[Segment]] = []
    # block by block, so that a text looks the same whether it was rendered at once or while it streamed
    for block in _blocks(tokens):
        rendered = _trimmed(console.render_lines(ChatMarkdown(block), options, pad=True))
        if lines and rendered:
            lines.append([Segment(" " * width)])
        lines.extend(rendered)
    return lines


def plain_lines(console: Console, text: str, width: int) -> list[list[Segment]]:
    """``text`` as it stands, wrapped."""
    options = console.options.update(width=width, height=None)
    return console.render_lines(Text(text, overflow="fold"), options, pad=True)


def _blocks(tokens: list[Token]) -> Iterator[list[Token]]:
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


def _trimmed(lines: list[list[Segment]]) -> list[list[Segment]]:
    def blank(line: list[Segment]) -> bool:
        return not "".join(segment.text for segment in line).strip()

    first, last = 0, len(lines)
    while first < last and blank(lines[first]):
        first += 1
    while last > first and blank(lines[last - 1]):
        last -= 1
    return lines[first:last]
