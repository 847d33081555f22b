"""The table over stored rows: it fetches what is seen, keeps its order, and its cursor stays on its row."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from textual.app import App, ComposeResult

from workbench.tui.widgets.rows import PAGE, PAGES_KEPT, STRIPS_KEPT, Column, RowTable


@dataclass(frozen=True)
class Line:
    """A row of the tests."""

    id: int
    text: str


class Source:
    """Rows made up when they are asked for, which remembers what was."""

    def __init__(self) -> None:
        self.fetched: list[int] = []
        self.texts: dict[int, str] = {}
        self.gone: set[int] = set()

    def page(self, ids: Sequence[int]) -> list[Line | None]:
        """The rows of these ids."""
        self.fetched += ids
        return [None if i in self.gone else Line(i, self.texts.get(i, f"row number {i}")) for i in ids]


class Host(App[None]):
    """A screen with nothing but the table."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        columns = [
            Column[Line]("id", 8, lambda row: str(row.id), right=True),
            Column[Line]("text", 0, lambda r: r.text),
        ]
        self.table = RowTable[Line](columns, source.page, empty="nothing here")
        self.news: list[object] = []

    def compose(self) -> ComposeResult:
        yield self.table

    def on_row_table_highlighted(self, event: RowTable.Highlighted) -> None:
        self.news.append(event.row_id)

    def on_row_table_chosen(self, event: RowTable.Chosen) -> None:
        self.news.append(("chosen", event.row_id))

    def text(self) -> list[str]:
        """The lines on the screen."""
        return ["".join(s.text for s in strip).rstrip() for strip in self.screen._compositor.render_strips()]


async def test_a_million_rows_are_shown_by_fetching_a_few_pages() -> None:
    source = Source()
    app = Host(source)
    async with app.run_test(size=(60, 20)) as pilot:
        app.table.set_ids(array("q", range(1, 1_000_001)))
        await pilot.pause()
        assert app.text()[1].startswith("▶") and "row number 1" in app.text()[1]
        await pilot.press("G")
        await pilot.pause()
        assert "row number 1000000" in app.text()[19]
        assert len(source.fetched) <= 3 * PAGE
        await pilot.press("g", *["pagedown"] * 30)
        await pilot.pause()
        assert f"row number {1 + 30 * 19}" in "\n".join(app.text())
        assert len(source.fetched) <= 10 * PAGE


async def test_memory_is_bounded_while_everything_is_paged_through() -> None:
    app = Host(Source())
    async with app.run_test(size=(60, 20)) as pilot:
        app.table.set_ids(array("q", range(1, 200_001)))
        await pilot.pause()
        for index in range(0, 200_000, 700):
            app.table.cursor = index
            for y in range(1, 20):
                app.table.render_line(y)
        assert len(app.table._pages) <= PAGES_KEPT
        assert len(app.table._strips) <= STRIPS_KEPT


async def test_the_cursor_is_a_mark_in_the_text_and_stays_in_sight() -> None:
    app = Host(Source())
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.set_ids(array("q", range(1, 101)))
        app.table.focus()
        for _ in range(30):
            await pilot.press("j")
        marked = [line for line in app.text() if line.startswith("▶")]
        assert len(marked) == 1 and "row number 31" in marked[0]
        await pilot.press("k", "g")
        assert "row number 1" in next(line for line in app.text() if line.startswith("▶"))


async def test_the_cursor_stays_on_its_row_when_other_ids_come() -> None:
    app = Host(Source())
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.set_ids(array("q", range(1, 101)))
        app.table.cursor = 49
        app.table.set_ids(array("q", range(40, 61)), keep=50)
        await pilot.pause()
        assert app.table.current_id == 50
        app.table.set_ids(array("q", [7]))
        assert app.table.current_id == 7
        app.table.set_ids(array("q"))
        await pilot.pause()
        assert app.table.current_id is None
        assert "nothing here" in "\n".join(app.text())
        assert app.news[-1] is None


async def test_a_changed_row_is_fetched_again_and_a_deleted_one_is_said() -> None:
    source = Source()
    app = Host(source)
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.set_ids(array("q", range(1, 101)))
        await pilot.pause()
        source.texts[3], source.gone = "changed", {4}
        await pilot.pause()
        assert "changed" not in "\n".join(app.text())
        app.table.changed([3, 4])
        await pilot.pause()
        assert "changed" in app.text()[3]
        assert "no longer there" in app.text()[4]


async def test_marks_name_the_targets_in_their_order() -> None:
    app = Host(Source())
    async with app.run_test(size=(60, 10)) as pilot:
        app.table.set_ids(array("q", [9, 7, 5, 3]))
        assert list(app.table.targets()) == [9]
        app.table.cursor = 2
        app.table.toggle_mark()
        app.table.cursor = 0
        app.table.toggle_mark()
        await pilot.pause()
        assert list(app.table.targets()) == [9, 5]
        assert [line[1] for line in app.text()[1:5]] == ["*", " ", "*", " "]
        app.table.mark_all()
        assert list(app.table.targets()) == [9, 7, 5, 3]
        app.table.mark_all()
        assert app.table.marked_count == 0


async def test_enter_chooses_and_a_colon_asks_for_a_row() -> None:
    app = Host(Source())
    async with app.run_test(size=(80, 24)) as pilot:
        app.table.set_ids(array("q", range(1, 5001)))
        app.table.focus()
        await pilot.press("colon", *"4321", "enter")
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert app.news[-1] == ("chosen", 4321)


@pytest.mark.parametrize("width", [40, 80, 200])
async def test_lines_are_exactly_as_wide_as_the_table(width: int) -> None:
    source = Source()
    source.texts = {1: "漢字" * 200, 2: "x" * 999, 3: "", 4: "e\u0301" * 50}
    app = Host(source)
    async with app.run_test(size=(width, 10)) as pilot:
        app.table.set_ids(array("q", range(1, 8)))
        await pilot.pause()
        room = app.table.scrollable_content_region.width
        assert {app.table.render_line(y).cell_length for y in range(10)} == {room}


async def test_a_range_is_marked_from_the_row_that_was_marked_last() -> None:
    app = Host(Source())
    async with app.run_test(size=(40, 12)):
        app.table.set_ids(array("q", range(10, 60)))
        app.table.cursor = 3
        app.table.toggle_mark()
        app.table.cursor = 6
        app.table.mark_to_here()
        assert list(app.table.targets()) == [13, 14, 15, 16]
        app.table.cursor = 1
        app.table.mark_to_here()  # upwards, from the end of the range before
        assert list(app.table.targets()) == [11, 12, 13, 14, 15, 16]
        assert app.table.marked_count == 6


async def test_marks_stay_on_their_rows_when_the_rows_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Host(Source())
    async with app.run_test(size=(40, 12)):
        app.table.set_ids(array("q", [9, 7, 5, 3]))
        app.table.cursor = 1
        app.table.toggle_mark()
        app.table.set_ids(array("q", [1, 3, 5, 7]))
        assert list(app.table.targets()) == [7]
        monkeypatch.setattr("workbench.tui.widgets.rows.MARKS_KEPT", 0)
        app.table.set_ids(array("q", [1, 3, 7]))
        assert app.table.marked_count == 0


async def test_all_marked_in_a_part_of_a_list_is_all_of_it_when_the_rest_comes() -> None:
    app = Host(Source())
    async with app.run_test(size=(40, 12)):
        app.table.set_ids(array("q", [4, 5, 6]), partial=True)
        app.table.mark_all()
        app.table.set_ids(array("q", range(1, 10)), keep=5)
        assert list(app.table.targets()) == [*range(1, 10)]
        app.table.toggle_mark()
        assert list(app.table.targets()) == [1, 2, 3, 4, 6, 7, 8, 9]


async def test_the_row_stays_where_it_is_on_the_screen_when_its_list_becomes_whole() -> None:
    app = Host(Source())
    async with app.run_test(size=(40, 12)) as pilot:
        app.table.set_ids(array("q", range(500, 600)), keep=540, partial=True)
        await pilot.pause()  # only the scrollbar, at the right end of the lines, may change then
        before = [line[:22] for line in app.text()]
        assert any(line.startswith("▶") and "row number 540" in line for line in app.text())
        app.table.set_ids(array("q", range(1000)), keep=540)
        await pilot.pause()
        assert [line[:22] for line in app.text()] == before
        assert app.table.cursor == 540


async def test_a_row_is_found_in_any_order_of_a_list() -> None:
    app = Host(Source())
    async with app.run_test(size=(40, 12)):
        for ids in (range(1000), range(1000, 0, -1), [7, 3, 900, 1, 5]):
            app.table.set_ids(array("q", ids))
            for number in (3, 5, 900):
                at = app.table.index_of(number)
                assert at is not None and app.table.ids[at] == number
            assert app.table.index_of(2000) is None
