"""The transcript: streaming gives the same lines as rendering at once, and only what changed is painted."""

from __future__ import annotations

import itertools
import random

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult

from workbench.tui.widgets.chat_markdown import PLAIN_ABOVE
from workbench.tui.widgets.pump import Pump
from workbench.tui.widgets.transcript import TEXT_WIDTH, Entry, Transcript

MIXED = """# A heading

Some *text* with **bold** and `code`, on
two lines. <b>html stays</b>, [a link](https://example.org/x), ![an image](x.png)

- one
- two
  - nested
  - more

1. first
2. second

```python
def f(x):

    return x
```

| name | value |
|---|---|
| lr | 1e-4 |

> a quote
> of two lines

---

<div>a block of html</div>

The end."""
LIST = "\n".join(f"- item {n} with some words" for n in range(40))
CODE = "```\n" + "\n".join(f"line {n}" for n in range(40)) + "\n```"


class Host(App[None]):
    """A screen with nothing but a transcript."""

    def compose(self) -> ComposeResult:
        yield Transcript(empty="nothing yet")

    @property
    def transcript(self) -> Transcript:
        """The widget."""
        return self.query_one(Transcript)

    def lines(self) -> list[str]:
        """All lines of the transcript, also those outside the window."""
        return ["".join(s.text for s in strip).rstrip() for strip in self.transcript._lines]

    def screen_text(self) -> str:
        """The screen."""
        strips = self.screen._compositor.render_strips()
        return "\n".join("".join(s.text for s in strip).rstrip() for strip in strips)


@pytest.mark.parametrize("text", [MIXED, LIST, CODE, "plain\n\nparagraphs", "one\ntwo\nthree", "```\nopen fence"])
async def test_streamed_text_looks_like_text_that_came_at_once(text: str) -> None:
    app = Host()
    async with app.run_test(size=(80, 24)) as pilot:
        app.transcript.set_entries([Entry(1, "pip", text, tone="answer")])
        await pilot.pause()
        at_once = app.lines()
        app.transcript.set_entries([])
        app.transcript.begin(Entry(1, "pip", "", tone="answer"))
        pieces, at = random.Random(3), 0
        while at < len(text):
            step = pieces.randint(1, 7)
            app.transcript.append_text(text[at : at + step])
            at += step
        assert app.lines() == at_once
        assert app.transcript.entries[-1].text == text


async def test_nothing_that_a_model_wrote_is_hidden() -> None:
    app = Host()
    async with app.run_test(size=(100, 50)) as pilot:
        app.transcript.set_entries([Entry(1, "pip", MIXED)])
        await pilot.pause()
        shown = "\n".join(app.lines())
        for part in ("<b>html stays</b>", "https://example.org/x", "![an image](x.png)", "<div>a block of html</div>"):
            assert part in shown
        assert "on\n" in shown.replace("  ", "")  # a single line break is kept


async def test_only_lines_that_changed_are_painted_while_it_grows() -> None:
    app = Host()
    async with app.run_test(size=(80, 60)) as pilot:
        app.transcript.begin(Entry(1, "pip", "first block\n\nsecond block"))
        await pilot.pause()
        painted: list[tuple[int, int]] = []
        app.transcript.refresh_lines = lambda y, n=1: painted.append((y, n))  # type: ignore[method-assign]
        app.transcript.append_text(" grows")
        assert painted == [(3, 1)]  # heading, first block and the blank line stay


async def test_the_view_follows_by_half_pages() -> None:
    app = Host()
    async with app.run_test(size=(80, 20)) as pilot:
        app.transcript.begin(Entry(1, "pip", ""))
        tops: list[int] = []
        for number in range(100):
            app.transcript.append_text(f"line {number}  \n")
            await pilot.pause()
            tops.append(int(app.transcript.scroll_offset.y))
        steps = [after - before for before, after in itertools.pairwise(tops) if after != before]
        assert min(steps) >= 9 and len(steps) <= 100 // 9
        assert "line 99" in app.screen_text()


async def test_scrolling_up_stops_following_and_the_end_follows_again() -> None:
    app = Host()
    async with app.run_test(size=(80, 20)) as pilot:
        app.transcript.begin(Entry(1, "pip", "\n\n".join(f"block {n}" for n in range(60))))
        app.transcript.focus()
        await pilot.press("pageup", "pageup")
        top = app.transcript.scroll_offset.y
        app.transcript.append_text("\n\nmore\n\nand more")
        await pilot.pause()
        assert app.transcript.scroll_offset.y == top
        await pilot.press("G")
        await pilot.pause()
        assert "and more" in app.screen_text()


async def test_a_long_chat_renders_its_end_first_and_the_rest_when_asked_for() -> None:
    app = Host()
    async with app.run_test(size=(80, 20)) as pilot:
        app.transcript.set_entries([Entry(n, "you", f"message {n}") for n in range(500)])
        await pilot.pause()
        assert "message 499" in app.screen_text()
        assert len(app.transcript._blocks) < 100
        app.transcript.focus()
        await pilot.press("g")
        await pilot.pause()
        assert "message 0" in app.screen_text()
        assert app.transcript.current_key == 0


async def test_the_cursor_keeps_its_entry_when_entries_are_added() -> None:
    app = Host()
    async with app.run_test(size=(80, 20)) as pilot:
        entries = [Entry(n, "you", f"message {n}") for n in (10, 20, 30)]
        app.transcript.set_entries(entries)
        app.transcript.focus()
        await pilot.press("k")
        assert app.transcript.current_key == 20
        app.transcript.set_entries([*entries, Entry(40, "you", "more")])
        assert app.transcript.current_key == 20
        app.transcript.set_entries(entries[:1])
        assert app.transcript.current_key == 10


@pytest.mark.parametrize("size", [(80, 24), (160, 45), (400, 110)], ids=str)
async def test_text_is_never_wider_than_it_should_be(size: tuple[int, int]) -> None:
    app = Host()
    async with app.run_test(size=size) as pilot:
        long = "word " * 300 + "\n\n" + "x" * 3000 + "\n\n```\n" + "y" * 3000 + "\n```\n\n" + "漢" * 900
        app.transcript.set_entries([Entry(1, "w" * 300, long, "m" * 300), Entry(2, "pip", long, markdown=False)])
        await pilot.pause()
        widest = max(cell_len("".join(s.text for s in strip)) for strip in app.transcript._lines)
        assert widest <= min(TEXT_WIDTH, size[0] - 3) + 2


async def test_a_resize_while_it_streams_keeps_all_text() -> None:
    app = Host()
    async with app.run_test(size=(100, 30)) as pilot:
        app.transcript.begin(Entry(1, "pip", "alpha\n\nbeta "))
        await pilot.resize_terminal(60, 20)
        await pilot.pause()
        app.transcript.append_text("gamma")
        await pilot.pause()
        assert "alpha" in app.screen_text() and "beta gamma" in app.screen_text()


async def test_a_monstrous_text_is_shown_without_parsing_it() -> None:
    app = Host()
    async with app.run_test(size=(80, 20)) as pilot:
        app.transcript.set_entries([Entry(1, "pip", "[" * 300 + "\n" + "*a _b " * (PLAIN_ABOVE // 6) + "\n\nend")])
        await pilot.pause()
        assert "end" in "\n".join(app.lines()[-3:])


async def test_one_flush_shows_what_arrived_for_all_streams() -> None:
    shown: list[tuple[str, str]] = []

    class Sink:
        def __init__(self, name: str) -> None:
            self.name = name

        def append_text(self, text: str) -> None:
            shown.append((self.name, text))

    app = Host()
    async with app.run_test(size=(80, 20)):
        pump = Pump(app)  # type: ignore[arg-type]
        left, right = Sink("left"), Sink("right")
        for piece in "abc":
            pump.feed(left, piece)
            pump.feed(right, piece.upper())
        assert shown == []
        pump.flush()
        assert sorted(shown) == [("left", "abc"), ("right", "ABC")]
        pump.flush()
        assert len(shown) == 2
        pump.start()
        pump.feed(left, "d")
        pump.stop()
        assert shown[-1] == ("left", "d")
