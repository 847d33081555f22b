"""A column of entries (turns of a chat, parts of an example), drawn line by line, the last of which may grow.

While an answer streams only its last Markdown block is rendered again and only changed lines are painted; the view
follows in steps of half a page, because each scroll step repaints everything. Knows entries, not chats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.tui.safety import cell, clean
from workbench.tui.widgets.chat_markdown import (
    PLAIN_ABOVE,
    last_block_start,
    markdown_lines,
    parse,
    plain_lines,
    theme_from,
)
from workbench.tui.widgets.folding import Part, may_fold, parts_of

TEXT_WIDTH = 100
GUTTER = 2
INDENT = "  "
RENDERED_AT_FIRST = 24
RENDERED_MORE = 24


@dataclass(frozen=True, slots=True)
class Entry:
    """One part of a column: a heading line (``who`` left, ``meta`` right) and a text.

    ``key`` names it for gestures (a message id); ``markdown`` False shows the text exactly as it is. ``tone`` names
    the component class of the heading: ``user``, ``answer``, ``quiet``, ``good`` or ``bad``. ``aside`` is a remark
    between heading and text.
    """

    key: int
    who: str
    text: str
    meta: str = ""
    tone: str = "quiet"
    markdown: bool = True
    aside: str = ""


@dataclass(slots=True)
class _Live:
    """The entry that grows: finished strips, and the source of the last block."""

    done: list[Strip] = field(default_factory=list)
    tail: str = ""


class Transcript(ScrollView, can_focus=True, inherit_bindings=False):  # nothing here scrolls sideways
    """Entries from top to bottom; keys move over them. ``follow`` keeps the end in sight while it grows.

    ``bare`` gives the texts the whole width: no mark at the cursor, nothing indented.
    """

    ALLOW_SELECT: ClassVar[bool] = False
    BINDINGS = [
        Binding("j,down", "step(1)", "Next message", show=False, id="transcript.down"),
        Binding("k,up", "step(-1)", "Previous message", show=False, id="transcript.up"),
        Binding("g,home", "edge(False)", "First message", show=False, id="transcript.first"),
        Binding("G,end", "edge(True)", "Last message", show=False, id="transcript.last"),
        Binding("pagedown,ctrl+d", "scroll_page(1)", "Scroll down", show=False, id="transcript.page_down"),
        Binding("pageup,ctrl+u", "scroll_page(-1)", "Scroll up", show=False, id="transcript.page_up"),
        Binding("J", "scroll_lines(1)", "One line down", show=False, id="transcript.line_down"),
        Binding("K", "scroll_lines(-1)", "One line up", show=False, id="transcript.line_up"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "entry--user",
        "entry--answer",
        "entry--quiet",
        "entry--good",
        "entry--bad",
        "entry--meta",
        "entry--code",
        "entry--here",
        "entry--here-blurred",
        "entry--fold",
    }
    DEFAULT_CSS = """
    Transcript { scrollbar-size: 1 1; scrollbar-gutter: stable; overflow-x: hidden; overflow-y: auto; }
    Transcript > .entry--user { color: $text-primary; text-style: bold; }
    Transcript > .entry--answer { color: $text-accent; text-style: bold; }
    Transcript > .entry--quiet { color: $text-muted; text-style: bold; }
    Transcript > .entry--good { color: $text-success; text-style: bold; }
    Transcript > .entry--bad { color: $text-error; text-style: bold; }
    Transcript > .entry--meta { color: $text-muted; }
    Transcript > .entry--code { color: $text-secondary; }
    Transcript > .entry--fold { color: $text-muted; text-style: italic; }
    Transcript > .entry--here { color: $accent; text-style: bold; }
    Transcript > .entry--here-blurred { color: $secondary; }
    """

    class Moved(Message):
        """The cursor came to another entry (None: there is none)."""

        def __init__(self, transcript: Transcript, key: int | None) -> None:
            super().__init__()
            self.transcript, self.key = transcript, key

        @property
        def control(self) -> Transcript:
            """The transcript."""
            return self.transcript

    def __init__(
        self,
        *,
        follow: bool = True,
        folds: bool = False,
        bare: bool = False,
        empty: str = "",
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.follow = follow
        self._gutter_width, self._indent = (0, "") if bare else (GUTTER, INDENT)
        self.folds = folds
        self._unfolded: set[int] = set()
        self.empty = empty
        self._follows = follow
        self.entries: list[Entry] = []
        self.cursor = 0
        self._first = 0
        self._blocks: list[list[Strip]] = []
        self._starts: list[int] = []
        self._lines: list[Strip] = []
        self._live: _Live | None = None
        self._drawer: Console | None = None
        self._width = 0

    # --- what is shown -----------------------------------------------------------------------------------------

    def set_entries(self, entries: Sequence[Entry], *, cursor: int | None = None) -> None:
        """Show these. What did not change is not rendered again; the cursor goes to the key ``cursor`` if given."""
        old = dict(zip(self.entries[self._first :], self._blocks, strict=False))
        if self._live is not None and self.entries:
            old.pop(self.entries[-1], None)
        here = self.current_key if cursor is None else cursor
        same_start = bool(entries and self.entries and entries[0] == self.entries[0])
        self._live = None
        self.entries = list(entries)
        keys = [entry.key for entry in self.entries]
        self.cursor = keys.index(here) if here in keys else max(0, len(keys) - 1) if self.follow else 0
        if not same_start:
            self._first = max(0, len(self.entries) - RENDERED_AT_FIRST) if self.follow else 0
        self._first = min(self._first, self.cursor)
        self._blocks = [old.get(entry) or self._render_entry(entry) for entry in self.entries[self._first :]]
        self._join()
        self._settle(top=not self.follow and not same_start)
        self._moved()

    def begin(self, entry: Entry) -> None:
        """Add an entry that will grow by ``append_text``; the view follows it when it stood at the end."""
        self._unfolded.discard(entry.key)
        self.entries.append(replace(entry, text=""))
        self.cursor = len(self.entries) - 1
        self._follows = True
        self._live = _Live()
        self._blocks.append([])
        self.append_text(entry.text)

    def append_text(self, text: str) -> None:
        """Grow the last entry: renders its last block only, paints changed lines only."""
        live = self._live
        if live is None or not self.entries:
            return
        entry = self.entries[-1] = replace(self.entries[-1], text=self.entries[-1].text + text)
        if not self._width:
            return
        live.tail += text
        if self.folds and entry.markdown and may_fold(live.tail):
            self._append_parts(live, entry)
            return
        shown = clean(live.tail)
        if entry.markdown and len(shown) < PLAIN_ABOVE and (start := last_block_start(parse(shown))):
            raw = live.tail.replace("\r\n", "\n").replace("\r", "\n").split("\n")
            live.done = self._spaced(live.done, self._body("\n".join(raw[:start]), markdown=True))
            live.tail = "\n".join(raw[start:])
        body = self._spaced(live.done, self._body(live.tail, markdown=entry.markdown)) if live.tail else live.done
        self._replace_last(self._headed(entry, body))

    def _append_parts(self, live: _Live, entry: Entry) -> None:
        """What is over of thoughts and calls is final; the part that grows is rendered again."""
        *final, last = parts_of(live.tail)
        if not last.is_open and last.kind != "said":
            final.append(last)
            last = Part("said", "", "")
        for part in final:
            live.done = self._spaced(live.done, self._part(entry, part))
        live.tail = last.source
        body = self._spaced(live.done, self._part(entry, last)) if live.tail else live.done
        self._replace_last(self._headed(entry, body))

    def fold(self) -> bool:
        """Show the thoughts and calls of the entry under the cursor, or fold them; False when it has none."""
        key = self.current_key
        if key is None or not may_fold(self.entries[self.cursor].text):
            return False
        self._unfolded ^= {key}
        if self._live is not None and self.cursor == len(self.entries) - 1:
            self._render_all()
            return True
        self._blocks[self.cursor - self._first] = self._render_entry(self.entries[self.cursor])
        self._join()
        self.virtual_size = Size(self._width, len(self._lines))
        self.refresh()
        return True

    def retitle(self, meta: str) -> None:
        """Change what stands at the right of the growing entry's heading (tokens, speed)."""
        if self._live is None or not self.entries or self.entries[-1].meta == meta:
            return
        self.entries[-1] = replace(self.entries[-1], meta=meta)
        if self._blocks and self._blocks[-1]:
            self._blocks[-1][0] = self._lines[self._starts[-1]] = self._heading(self.entries[-1])
            self.refresh_lines(self._starts[-1], 1)

    @property
    def is_growing(self) -> bool:
        """True between ``begin`` and the next ``set_entries``."""
        return self._live is not None

    @property
    def current_key(self) -> int | None:
        """The key of the entry under the cursor."""
        return self.entries[self.cursor].key if 0 <= self.cursor < len(self.entries) else None

    # --- rendering ---------------------------------------------------------------------------------------------

    def _text_width(self) -> int:
        spare = self._gutter_width + 1 if self._gutter_width else 0
        return max(8, min(TEXT_WIDTH, self.scrollable_content_region.width - spare))

    def _rich_console(self) -> Console:
        if self._drawer is None:
            accent, muted, code = (self._style(name) for name in ("entry--answer", "entry--meta", "entry--code"))
            theme = theme_from(accent, muted, code)
            self._drawer = Console(width=80, color_system="truecolor", force_terminal=True, theme=theme)
        return self._drawer

    def _body(self, text: str, *, markdown: bool) -> list[Strip]:
        shown = clean(text)
        indent = self._indent
        console, width = self._rich_console(), self._text_width() - len(indent)
        as_markdown = markdown and len(shown) < PLAIN_ABOVE
        lines = markdown_lines(console, parse(shown), width) if as_markdown else plain_lines(console, shown, width)
        return [Strip([Segment(indent), *line] if indent else line, width + len(indent)) for line in lines]

    def _aside(self, text: str) -> list[Strip]:
        style, width = self.get_component_rich_style("entry--fold", partial=True), self._text_width()
        lines = plain_lines(self._rich_console(), clean(text), max(4, width - 2))
        return [Strip([Segment("  "), *line], width).apply_style(style) for line in lines]

    def _entry_body(self, entry: Entry) -> list[Strip]:
        if not (self.folds and entry.markdown):
            return self._body(entry.text, markdown=entry.markdown)
        body: list[Strip] = []
        for part in parts_of(entry.text):
            body = self._spaced(body, self._part(entry, part))
        return body

    def _part(self, entry: Entry, part: Part) -> list[Strip]:
        """What is said as Markdown; anything else as a line, with its text below it when it is unfolded."""
        if part.kind == "said":
            return self._body(part.text, markdown=True)
        is_shown = entry.key in self._unfolded
        style, width = self.get_component_rich_style("entry--fold", partial=True), self._text_width()
        label = cell(f"{self._indent}{'▾' if is_shown else '▸'} {part.label}", width)
        head = Strip([Segment(label, style)]).adjust_cell_length(width)
        if not is_shown:
            return [head]
        console = self._rich_console()
        lines = plain_lines(console, clean(part.text), max(4, width - 4))
        bar = Segment(f"{self._indent}│ ", style)
        return [head, *(Strip([bar, *line]).adjust_cell_length(width).apply_style(style) for line in lines)]

    def _spaced(self, above: list[Strip], below: list[Strip]) -> list[Strip]:
        return [*above, Strip.blank(self._text_width()), *below] if above and below else [*above, *below]

    def _heading(self, entry: Entry) -> Strip:
        width = self._text_width()
        meta = cell(entry.meta, width // 2 if len(entry.who) > width // 3 else width - len(entry.who) - 1)
        who_style = self.get_component_rich_style(f"entry--{entry.tone}", partial=True)
        meta_style = self.get_component_rich_style("entry--meta", partial=True)
        right = Strip([Segment(meta, meta_style)])
        left = Strip([Segment(cell(entry.who, max(0, width - right.cell_length - 1)), who_style)])
        gap = Segment(" " * max(0, width - left.cell_length - right.cell_length))
        return Strip([*left, gap, *right], width)

    def _render_entry(self, entry: Entry) -> list[Strip]:
        if not self._width:
            return []
        body = self._entry_body(entry) if entry.text else []
        if entry.aside:
            body = self._spaced(self._aside(entry.aside), body)
        return self._headed(entry, body)

    def _headed(self, entry: Entry, body: list[Strip]) -> list[Strip]:
        return [self._heading(entry), *body] if entry.who or entry.meta else body

    def _join(self) -> None:
        self._lines, self._starts = [], []
        if self._first:
            hidden = cell(f"  … {self._first} earlier (k or PgUp shows them)", self._text_width())
            self._lines.append(Strip([Segment(hidden, self.get_component_rich_style("entry--meta", partial=True))]))
        for block in self._blocks:
            if self._lines:
                self._lines.append(Strip.blank(self._text_width()))
            self._starts.append(len(self._lines))
            self._lines.extend(block)

    def _replace_last(self, block: list[Strip]) -> None:
        self._blocks[-1] = block
        if len(self._starts) < len(self._blocks):
            self._join()
            self._settle()
            return
        start = self._starts[-1]
        old = self._lines[start:]
        del self._lines[start:]
        self._lines.extend(block)
        same = 0
        while same < min(len(old), len(block)) and old[same] == block[same]:
            same += 1
        self._grow()
        self.refresh_lines(start + same, max(len(old), len(block)) - same)

    def _grow(self) -> None:
        """Make room, and when following, scroll by half a page rather than by every line."""
        count, height, top = len(self._lines), self.scrollable_content_region.height, int(self.scroll_offset.y)
        if self._follows and count > top + height:
            padding = height // 2
            self.virtual_size = Size(self._width, count + padding)
            self.scroll_to(y=count - height + padding, animate=False, immediate=True, force=True)
        elif count > max(height, self.virtual_size.height):  # each change paints all: not while there is room
            self.virtual_size = Size(self._width, count + height // 2)

    def _settle(self, *, top: bool = False) -> None:
        """After entries were set: the whole height, the end in sight when following, all painted."""
        self.virtual_size = Size(self._width, len(self._lines))
        if top:
            self.scroll_to(y=0, animate=False, immediate=True, force=True)
        elif self.follow and self._follows:
            bottom = max(0, len(self._lines) - self.scrollable_content_region.height)
            self.scroll_to(y=bottom, animate=False, immediate=True, force=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line: the mark of the entry under the cursor, then the text."""
        width, base = self.scrollable_content_region.width, self.rich_style
        at = int(self.scroll_offset.y) + y
        if at >= len(self._lines):
            said = self.empty.split("\n") if not self.entries else []
            text = f"  {said[y]}" if y < len(said) else ""
            meta = self.get_component_rich_style("entry--meta", partial=True)
            return Strip([Segment(cell(text, width), base + meta)]).adjust_cell_length(width, base)
        here = self._index_at(at) == self.cursor - self._first
        line = self._lines[at].apply_style(base).crop_extend(0, max(0, width - self._gutter_width), base)
        return Strip([self._gutter(here), *line], width) if self._gutter_width else line

    def _gutter(self, here: bool) -> Segment:
        if not here or not self.entries:
            return Segment("  ", self.rich_style)
        name = "entry--here" if self.has_focus else "entry--here-blurred"
        return Segment("▌ " if self.has_focus else "▏ ", self.rich_style + self._style(name))

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True)

    def _index_at(self, line: int) -> int:
        found = -1
        for index, start in enumerate(self._starts):
            if start > line:
                break
            found = index
        if found >= 0 and line >= self._starts[found] + max(1, len(self._blocks[found])):
            return -1
        return found

    # --- sizes, themes, focus ----------------------------------------------------------------------------------

    def _render_all(self) -> None:
        live_text = self.entries[-1].text if self._live is not None and self.entries else None
        self._width = self.scrollable_content_region.width
        shown = self.entries[self._first :]
        if live_text is None:
            self._blocks = [self._render_entry(entry) for entry in shown]
            self._join()
        else:
            self._blocks = [*(self._render_entry(entry) for entry in shown[:-1]), []]
            self._starts = []
            self.entries[-1] = replace(self.entries[-1], text="")
            self._live = _Live()
            self.append_text(live_text)
        self._settle()

    def on_resize(self, _event: Resize) -> None:
        """Another width: wrap again."""
        if self.scrollable_content_region.width != self._width:
            self._render_all()
        else:
            self._settle()

    def notify_style_update(self) -> None:
        """Another theme: what was rendered has the wrong colours."""
        super().notify_style_update()
        self._drawer = None
        if self._width:
            self._render_all()

    def on_focus(self) -> None:
        """The mark at the cursor says where the keys go."""
        self.refresh()

    def on_blur(self) -> None:
        """The mark at the cursor says where the keys go."""
        self.refresh()

    # --- moving ------------------------------------------------------------------------------------------------

    def _moved(self) -> None:
        self.post_message(self.Moved(self, self.current_key))

    def _show_earlier(self) -> None:
        before = len(self._lines)
        more = max(0, self._first - RENDERED_MORE)
        self._blocks = [*(self._render_entry(e) for e in self.entries[more : self._first]), *self._blocks]
        self._first = more
        self._join()
        self.virtual_size = Size(self._width, len(self._lines))
        self.scroll_to(
            y=int(self.scroll_offset.y) + len(self._lines) - before, animate=False, immediate=True, force=True
        )

    def move_to(self, index: int) -> None:
        """Put the cursor on an entry and show its beginning."""
        if not self.entries:
            return
        self.cursor = min(max(index, 0), len(self.entries) - 1)
        while self.cursor < self._first:
            self._show_earlier()
        start = self._starts[self.cursor - self._first]
        end = start + len(self._blocks[self.cursor - self._first])
        top, height = int(self.scroll_offset.y), self.scrollable_content_region.height
        if start < top or end > top + height:
            self.scroll_to(
                y=start if end - start >= height or start < top else end - height,
                animate=False,
                immediate=True,
                force=True,
            )
        self._follows = self.follow and self.cursor == len(self.entries) - 1
        self.refresh()
        self._moved()

    def action_step(self, entries: int) -> None:
        """To the next or previous entry; inside one that is taller than the window, scroll first."""
        top, height = int(self.scroll_offset.y), self.scrollable_content_region.height
        if self._starts and self.cursor >= self._first:
            start = self._starts[self.cursor - self._first]
            end = start + len(self._blocks[self.cursor - self._first])
            if entries > 0 and start <= top + height <= end - 1:
                return self.action_scroll_lines(height // 2)
            if entries < 0 and start < top < end:
                return self.action_scroll_lines(-(height // 2))
        return self.move_to(self.cursor + entries)

    def action_edge(self, last: bool) -> None:
        """The beginning of the first entry, or the end of the last."""
        self.move_to(len(self.entries) - 1 if last else 0)
        if last:
            self._follows = self.follow
            bottom = max(0, len(self._lines) - self.scrollable_content_region.height)
            self.scroll_to(y=bottom, animate=False, immediate=True, force=True)

    def action_scroll_page(self, pages: int) -> None:
        """Scroll a page without moving the cursor."""
        self.action_scroll_lines(pages * max(1, self.scrollable_content_region.height - 2))

    def action_scroll_lines(self, lines: int) -> None:
        """Scroll some lines; scrolling up stops following, reaching the end follows again."""
        top, height = int(self.scroll_offset.y), self.scrollable_content_region.height
        if lines < 0 and top + lines <= 0 and self._first:
            self._show_earlier()
            top = int(self.scroll_offset.y)
        self.scroll_to(y=top + lines, animate=False, immediate=True, force=True)
        self._follows = self.follow and int(self.scroll_offset.y) + height >= len(self._lines)

    def on_mouse_scroll_up(self) -> None:
        """The wheel stops following, too."""
        self._follows = False

    def on_click(self, event: Click) -> None:
        """A click moves the cursor."""
        index = self._index_at(int(self.scroll_offset.y) + event.y)
        if index >= 0:
            self.cursor = self._first + index
            self.refresh()
            self._moved()
