"""Curate by keys: one key, one decision, one commit, next row; and everything can be taken back."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from showing import said, showing, text_of, until, until_text
from textual import events

import voting
from workbench.domain.chats import Turn
from workbench.domain.decisions import Action
from workbench.domain.examples import (
    NewExample,
    Source,
    SourceKind,
    Split,
    Status,
    demonstration,
    preference,
    turns_of,
)
from workbench.domain.queries import parse_query
from workbench.flows import curate as flow
from workbench.flows import votes
from workbench.flows.bench import Bench
from workbench.tui.app import WorkbenchApp
from workbench.tui.paste_guard import PASTE_GUARD_S
from workbench.tui.screens.curate import CuratePane
from workbench.tui.screens.curate_entries import Pace, session_line

SOURCE = Source(SourceKind.IMPORT, file="rows.jsonl", line=1)


@pytest.fixture
def rows(bench: Bench) -> list[int]:
    """Six pending demonstrations and one pair in the dataset "data"."""
    contents = [demonstration((Turn("user", f"question {n}"),), f"answer {n}") for n in range(6)]
    contents.append(preference((Turn("user", "which is better"),), "good", "bad"))
    return [
        bench.store.examples.add("data", content, source=SOURCE, status=Status.PENDING, rater="importer")[0].id
        for content in contents
    ]


def pane(app: WorkbenchApp) -> CuratePane:
    """The pane."""
    return app.query_one(CuratePane)


async def opened(app: WorkbenchApp, pilot: object, count: int) -> CuratePane:
    """The pane once it shows its rows and the example under the cursor."""
    await until(pilot, lambda: len(pane(app).rows.ids) == count and pane(app).example is not None)  # type: ignore[arg-type]
    return pane(app)


def status(bench: Bench, row: int) -> Status:
    """What is stored."""
    return bench.store.examples.get(row).status


async def test_one_key_is_one_decision_and_the_next_row(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        await pilot.press("a", "x", "space")
        await until(pilot, lambda: curate.rows.current_id == rows[3])
        await until(pilot, lambda: said(app).startswith("skipped"))
        assert [status(bench, row) for row in rows[:3]] == [Status.ACCEPTED, Status.REJECTED, Status.PENDING]
        assert len(bench.store.examples.history(rows[0])) == 2  # its creation, and one decision
        line = next(line for line in text_of(app).split("\n") if "question 0" in line)
        assert " ok " in line


async def test_every_decision_can_be_taken_back_one_by_one_and_done_again(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        await pilot.press("a", "a", "x")
        await until(pilot, lambda: status(bench, rows[2]) is Status.REJECTED)
        await pilot.press("backspace", "u")
        await until(pilot, lambda: status(bench, rows[1]) is Status.PENDING)
        assert (status(bench, rows[0]), status(bench, rows[2])) == (Status.ACCEPTED, Status.PENDING)
        await until(pilot, lambda: curate.rows.current_id == rows[1])
        await pilot.press("U")
        await until(pilot, lambda: status(bench, rows[1]) is Status.ACCEPTED)


async def test_many_keys_typed_at_once_are_all_stored_in_order(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 7)
        await pilot.press(*"axaxax")
        wanted = [Status.ACCEPTED, Status.REJECTED] * 3
        await until(pilot, lambda: [status(bench, row) for row in rows[:6]] == wanted)


async def test_marked_rows_are_decided_together_and_taken_back_together(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        await pilot.press("m", "m", "j", "m")
        await until_text(pilot, "3 marked")
        await pilot.press("a")
        chosen = (rows[0], rows[1], rows[3])
        await until(pilot, lambda: all(status(bench, row) is Status.ACCEPTED for row in chosen))
        assert status(bench, rows[2]) is Status.PENDING
        assert curate.rows.marked_count == 0
        await pilot.press("u")
        await until(pilot, lambda: all(status(bench, row) is Status.PENDING for row in chosen))


async def test_rating_stays_on_the_row(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        await pilot.press("4")
        await until(pilot, lambda: bench.store.examples.get(rows[0]).rating == 4)
        assert curate.rows.current_id == rows[0]


async def test_the_filter_narrows_and_escape_drops_it(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        await pilot.press("slash", *"kind:preference", "enter")
        await until(pilot, lambda: list(curate.rows.ids) == [rows[6]])
        assert "filter: kind:preference" in text_of(app)
        await pilot.press("slash", "home", *"xyz ", "enter")
        await until(pilot, lambda: len(curate.rows.ids) == 0)
        await pilot.press("escape")
        await until(pilot, lambda: len(curate.rows.ids) == 7)


async def test_a_filter_that_cannot_be_read_is_said_on_enter(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 7)
        await pilot.press("slash", *"status:pendin", "enter")
        await until(pilot, lambda: "status:pendin" in said(app))
        assert "pending" in said(app)


async def test_letters_typed_into_the_filter_decide_nothing(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 7)
        await pilot.press("slash", *"axu")
        await pilot.pause()
        assert {status(bench, row) for row in rows} == {Status.PENDING}


async def test_keys_right_after_a_paste_decide_nothing(bench: Bench, rows: list[int]) -> None:
    now = [100.0]
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        curate.guard.clock = lambda: now[0]
        curate.rows.post_message(events.Paste("aaa"))
        await until(pilot, lambda: "pasted" in said(app))
        await pilot.press("a", "x", "u")
        now[0] += PASTE_GUARD_S * 0.9
        await pilot.press("a")  # the rest of a long paste goes on guarding
        now[0] += PASTE_GUARD_S * 0.9
        await pilot.press("a")
        assert {status(bench, row) for row in rows} == {Status.PENDING}
        now[0] += PASTE_GUARD_S * 1.1
        await pilot.press("a")
        await until(pilot, lambda: status(bench, rows[0]) is Status.ACCEPTED)


async def test_the_prompt_the_answer_and_the_rejected_answer_can_be_edited(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        await pilot.press("G")
        await until(pilot, lambda: curate.example is not None and curate.example.id == rows[6])
        await pilot.press("e")
        await until_text(pilot, "Edit what?")
        await pilot.press(*"rejected", "enter")
        await until_text(pilot, "^s saves")
        await pilot.press(*" indeed", "ctrl+s")
        await until(pilot, lambda: bench.store.examples.get(rows[6]).content.rejected[0].content == "bad indeed")
        await until_text(pilot, "bad indeed")


@pytest.fixture
def talk(bench: Bench) -> int:
    """A pair with a system turn, a prompt of three turns, and an answer of two."""
    asked = (Turn("system", "Be brief."), Turn("user", "first"), Turn("assistant", "hm"), Turn("user", "second"))
    answer = (Turn("assistant", "a part"), Turn("tool", "42"), Turn("assistant", "the rest"))
    content = replace(preference(asked, "good", "bad"), chosen=answer)
    return bench.store.examples.add("data", content, source=SOURCE, status=Status.PENDING, rater="importer")[0].id


@pytest.mark.parametrize(
    ("filtered", "part", "turn"),
    [("system", "prompt", 0), ("turn 3 hm", "prompt", 2), ("turn 1 part", "chosen", 0), ("rejected", "rejected", 0)],
)
async def test_every_turn_can_be_edited(bench: Bench, talk: int, filtered: str, part: str, turn: int) -> None:
    before = turns_of(bench.store.examples.get(talk).content, part)[turn].content
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 1)
        await pilot.press("e")
        await until_text(pilot, "Edit what?")
        await pilot.press(*["space" if letter == " " else letter for letter in filtered], "enter")
        await until_text(pilot, "^s saves")
        await pilot.press(*" indeed", "ctrl+s")
        await until(
            pilot, lambda: turns_of(bench.store.examples.get(talk).content, part)[turn].content == f"{before} indeed"
        )


async def test_in_the_detail_the_turn_under_the_cursor_is_edited_at_once(bench: Bench, talk: int) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 1)
        await pilot.press("enter", "j", "j", "j", "e")
        await until_text(pilot, "the prompt, turn 3 of 4")
        await pilot.press(*"!", "ctrl+s")
        await until(pilot, lambda: bench.store.examples.get(talk).content.prompt[2].content == "hm!")


async def test_escape_keeps_a_draft_that_the_next_edit_goes_on_with(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 7)
        await pilot.press("e", "enter")
        await until_text(pilot, "^s saves")
        await pilot.press(*" half", "escape")
        await until_text(pilot, "e goes on with your draft")
        assert bench.store.examples.get(rows[0]).answer_text == "answer 0"
        await pilot.press("e", "enter")
        await until_text(pilot, "your draft from before")
        await pilot.press(*" done", "ctrl+s")
        await until(pilot, lambda: bench.store.examples.get(rows[0]).answer_text == "answer 0 half done")
        await until(pilot, lambda: bench.store.drafts.get(f"edit:example:{rows[0]}:chosen:1") == "")


async def test_a_draft_can_be_given_up_for_the_stored_text(bench: Bench, rows: list[int]) -> None:
    bench.store.drafts.save(f"edit:example:{rows[0]}:chosen:1", "something else")
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 7)
        await pilot.press("e", "enter")
        await until_text(pilot, "something else")
        await pilot.press("ctrl+r", "ctrl+s")
        await until(pilot, lambda: bench.store.drafts.get(f"edit:example:{rows[0]}:chosen:1") == "")
        assert bench.store.examples.get(rows[0]).answer_text == "answer 0"


async def test_what_stands_in_the_editor_when_the_app_is_left_is_a_draft(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 7)
        await pilot.press("e", "enter")
        await until_text(pilot, "^s saves")
        await pilot.press(*" half", "ctrl+q")
        await pilot.pause()
    assert bench.store.drafts.get(f"edit:example:{rows[0]}:chosen:1") == "answer 0 half"


async def test_an_edit_that_spoils_the_row_is_told_where_it_is_typed(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 7)
        await pilot.press("e", "enter")
        await until_text(pilot, "^s saves")
        await pilot.press("ctrl+u", "ctrl+s")
        await until_text(pilot, "answer is empty")
        await pilot.press(*"again", "ctrl+s")
        await until(pilot, lambda: bench.store.examples.get(rows[0]).answer_text == "again")


async def test_thumbs_judge_an_answer_and_go_on_but_not_a_pair(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        await pilot.press("plus", "minus")
        await until(pilot, lambda: bench.store.examples.get(rows[1]).content.label is False)
        assert bench.store.examples.get(rows[0]).content.label is True and curate.rows.current_id == rows[2]
        await pilot.press("u", "G")
        await until(pilot, lambda: curate.example is not None and curate.example.id == rows[6])
        assert bench.store.examples.get(rows[1]).content.label is None
        await pilot.press("plus")
        await until(pilot, lambda: "is not judged" in said(app))
        assert curate.rows.current_id == rows[6]


async def test_a_row_is_flagged_by_a_name_and_unflagged(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 7)
        await pilot.press("f", *"odd", "enter")
        await until(pilot, lambda: bench.store.examples.get(rows[0]).flags == ("odd",))
        await pilot.press("f")
        await until_text(pilot, "now: odd")
        await pilot.press(*"-odd", "enter")
        await until(pilot, lambda: bench.store.examples.get(rows[0]).flags == ())


async def test_swap_note_tag_and_split(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate", size=(160, 45)) as (app, pilot):
        curate = await opened(app, pilot, 7)
        await pilot.press("G")
        await until(pilot, lambda: curate.example is not None and curate.example.id == rows[6])

        def stored() -> object:
            return bench.store.examples.get(rows[6])

        await pilot.press("w")
        await until(pilot, lambda: bench.store.examples.get(rows[6]).answer_text == "bad")
        await pilot.press("c", *"look again", "enter")
        await until(pilot, lambda: bench.store.examples.get(rows[6]).note == "look again")
        await pilot.press("t", *"hard math", "enter")
        await until(pilot, lambda: set(bench.store.examples.get(rows[6]).tags) == {"hard", "math"})
        await pilot.press("t", *"-hard", "enter")
        await until(pilot, lambda: bench.store.examples.get(rows[6]).tags == ("math",))
        await pilot.press("l", *"test", "enter")
        await until(pilot, lambda: bench.store.examples.get(rows[6]).split is Split.TEST)


async def test_a_row_of_the_locked_test_split_is_not_changed_by_a_key_and_that_is_told(
    bench: Bench, rows: list[int]
) -> None:
    bench.store.examples.change([rows[6]], Action.SPLIT, rater="importer", split=Split.TEST)
    before = bench.store.examples.get(rows[6])
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        curate = await opened(app, pilot, 7)
        await pilot.press("G")
        await until(pilot, lambda: curate.example is not None and curate.example.id == rows[6])
        await pilot.press("w")
        await until_text(pilot, "is in the test split")
        await pilot.press("l", *"train", "enter")
        await pilot.press("c", *"odd", "enter")
        await until(pilot, lambda: bench.store.examples.get(rows[6]).note == "odd")
        now = bench.store.examples.get(rows[6])
        assert (now.content, now.split) == (before.content, Split.TEST)


async def test_the_dataset_is_chosen_from_those_there_are(bench: Bench, rows: list[int]) -> None:
    other = demonstration((Turn("user", "elsewhere"),), "yes")
    bench.store.examples.add("other", other, source=SOURCE, status=Status.PENDING, rater="importer")
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 8)
        await pilot.press("D")
        await until_text(pilot, "all datasets")
        await pilot.press(*"other", "enter")
        await until(pilot, lambda: len(curate.rows.ids) == 1 and curate.dataset == "other")


async def test_what_another_pane_made_is_there_when_curate_is_shown_again(bench: Bench, rows: list[int]) -> None:
    from workbench.tui.messages import ExamplesChanged

    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        await pilot.press("f2")
        await until(pilot, lambda: app.front is not curate)
        extra = demonstration((Turn("user", "more"),), "rows")
        bench.store.examples.add("data", extra, source=SOURCE, status=Status.PENDING, rater="r")
        app.post_message(ExamplesChanged())
        await pilot.press("f3")
        await until(pilot, lambda: len(curate.rows.ids) == 8)


def test_the_pace_counts_the_last_decisions_and_leaves_pauses_out() -> None:
    pace = Pace()
    for second in (0, 10, 20):
        pace.add(float(second))
    assert pace.per_minute == pytest.approx(6.0)  # two gaps of ten seconds
    pace.add(500.0)
    pace.add(530.0)
    assert pace.per_minute == pytest.approx(2.0)
    assert pace.decided == 5


def test_progress_counts_decided_rows_of_all() -> None:
    counts = {Status.ACCEPTED: 30, Status.REJECTED: 20, Status.PENDING: 50}
    line = session_line(counts, Pace(), "accepted example 3")
    assert "50/100" in line and "50%" in line and "ok 30 no 20" in line and "accepted example 3" in line
    assert "0/0" in session_line({}, Pace(), "")


async def test_letters_that_come_in_one_burst_behind_the_key_of_a_field_go_into_the_field(
    bench: Bench, rows: list[int]
) -> None:
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        for key in ("slash", *"axa"):  # all in the app's queue before the first is looked at
            app.simulate_key(key)
        await until(pilot, lambda: curate.search.value == "axa")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: curate.filter == "" and len(curate.rows.ids) == 7)
        for key in ("c", *"axu", "enter"):
            app.simulate_key(key)
        await until(pilot, lambda: any(bench.store.examples.get(row).note == "axu" for row in rows))
        assert {status(bench, row) for row in rows} == {Status.PENDING}
        for key in ("ctrl+o", "c"):
            app.simulate_key(key)
        await until(pilot, lambda: app.front is not None and app.front.id == "chat")
        for key in ("h", "i", "enter", "y", "o"):
            app.simulate_key(key)
        await until(pilot, lambda: bool(bench.store.chats.list()))
        assert bench.store.chats.list()[0].title == "hi"


async def test_undo_of_many_examples_asks_first(bench: Bench) -> None:
    new = [NewExample(demonstration((Turn("user", f"q{n}"),), "a"), Source(SourceKind.IMPORT)) for n in range(51)]
    bench.store.examples.add_many("d", new, rater=bench.rater, status=Status.PENDING)
    async with showing(bench, "curate", size=(140, 40)) as (app, pilot):
        await opened(app, pilot, 51)
        await pilot.press("backspace")
        await until_text(pilot, "Undo adding 51 examples?")
        await pilot.press("n", "backspace")
        await until_text(pilot, "Undo adding 51 examples?")
        assert bench.store.examples.count(parse_query("")) == 51
        await pilot.press("y")
        await until(pilot, lambda: bench.store.examples.count(parse_query("")) == 0)


@pytest.fixture
def slow_list(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Windows of a few rows; the rest of a list comes when the event is set."""
    from workbench.store import lists

    monkeypatch.setattr(lists, "WINDOW_BEFORE", 1)
    monkeypatch.setattr(lists, "WINDOW_AFTER", 2)
    may_come, pieces = threading.Event(), lists.Lists.pieces

    def late(self: lists.Lists, *args: object, **options: object) -> Iterator[lists.Piece]:
        may_come.wait(20)
        yield from pieces(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(lists.Lists, "pieces", late)
    yield may_come
    may_come.set()


async def test_the_first_rows_are_there_before_the_list_is_whole(
    bench: Bench, rows: list[int], slow_list: threading.Event
) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await until_text(pilot, "2+ rows, reading")
        await pilot.press("a")  # a decision need not wait for the rest
        await until(pilot, lambda: status(bench, rows[0]) is Status.ACCEPTED)
        slow_list.set()
        await until_text(pilot, "7 rows")
        assert pane(app).rows.current_id == rows[1]


async def test_a_gesture_on_all_rows_waits_until_all_are_known(
    bench: Bench, rows: list[int], slow_list: threading.Event
) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await until_text(pilot, "2+ rows, reading")
        await pilot.press("M", "a")
        await until(pilot, lambda: "still being read" in said(app))
        slow_list.set()
        await until_text(pilot, "7 rows")
        await until_text(pilot, "7 marked")
        await pilot.press("a")
        await until(pilot, lambda: {status(bench, row) for row in rows} == {Status.ACCEPTED})


async def test_the_pane_opens_where_its_rater_was(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 7)
        await pilot.press("slash", *"kind:demonstration", "enter")
        await until(pilot, lambda: len(pane(app).rows.ids) == 6)
        await pilot.press("j", "j", "a")
        await until(pilot, lambda: status(bench, rows[2]) is Status.ACCEPTED)
    async with showing(bench, "curate") as (app, pilot):
        await until(pilot, lambda: len(pane(app).rows.ids) == 6)
        assert pane(app).rows.current_id == rows[3]
        assert "filter: kind:demonstration" in text_of(app)
        await pilot.press("backspace")  # what was done before the restart
        await until(pilot, lambda: status(bench, rows[2]) is Status.PENDING)


async def test_a_place_in_a_dataset_that_is_gone_is_forgotten(bench: Bench, rows: list[int]) -> None:
    flow.remember(bench, flow.Place(dataset="gone", row=rows[3]))
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        assert curate.rows.current_id == rows[0]


async def test_progress_is_that_of_the_rows_in_the_list(bench: Bench, rows: list[int]) -> None:
    flow.accept(bench, rows[:2])
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 7)
        await until_text(pilot, "2/7 ")
        await pilot.press("slash", *"status:pending", "enter")
        await until_text(pilot, "0/5 ")
        await pilot.press("a", "x")
        await until_text(pilot, "2/5 ")
        await pilot.press("u")
        await until_text(pilot, "1/5 ")


async def test_the_order_is_chosen_and_shown(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        await pilot.press("o")
        await until_text(pilot, "Order")
        await pilot.press(*"-id", "enter")
        await until(pilot, lambda: list(curate.rows.ids) == rows[::-1])
        await until_text(pilot, "by -id")
        assert curate.rows.current_id == rows[0]


async def test_a_list_is_saved_opened_and_deleted_as_a_view(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 7)
        await pilot.press("slash", *"kind:preference", "enter")
        await until(pilot, lambda: list(curate.rows.ids) == [rows[6]])
        await pilot.press("V")
        await until_text(pilot, "save this list")
        await pilot.press("enter")
        await until_text(pilot, "Save this list as")
        await pilot.press(*"pairs", "enter")
        await until(pilot, lambda: "saved the view pairs" in said(app))
        await pilot.press("escape")
        await until(pilot, lambda: len(curate.rows.ids) == 7)
        await pilot.press("V")
        await until_text(pilot, "kind:preference in all datasets")
        await pilot.press("enter")
        await until(pilot, lambda: list(curate.rows.ids) == [rows[6]])
        await until_text(pilot, "filter: kind:preference")
        await pilot.press("V")
        await until_text(pilot, "delete pairs")
        await pilot.press(*"delete", "enter")
        await until(pilot, lambda: bench.store.views.list() == [])


async def test_a_range_is_marked_and_decided_as_one(bench: Bench, rows: list[int]) -> None:
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 7)
        await pilot.press("m", "j", "j", "r")
        await until_text(pilot, "4 marked")
        await pilot.press("x")
        await until(pilot, lambda: [status(bench, row) for row in rows[:5]].count(Status.REJECTED) == 4)
        await pilot.press("u")
        await until(pilot, lambda: all(status(bench, row) is Status.PENDING for row in rows))


async def test_a_gesture_on_many_rows_asks_first_and_is_one_undo(
    bench: Bench, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "ASK_ABOVE", 3)
    async with showing(bench, "curate") as (app, pilot):
        await opened(app, pilot, 7)
        await pilot.press("M", "a")
        await until_text(pilot, "Accept 7 marked rows?")
        await pilot.press("n", "4")
        await until_text(pilot, "Give 7 marked rows the rating 4?")
        await pilot.press("n")
        await pilot.press("a")
        await until_text(pilot, "Accept 7 marked rows?")
        assert {status(bench, row) for row in rows} == {Status.PENDING}
        await pilot.press("y")
        await until(pilot, lambda: {status(bench, row) for row in rows} == {Status.ACCEPTED})
        await until(pilot, lambda: "accepted 7 examples" in said(app))
        await pilot.press("u")
        await until_text(pilot, "Undo accepting 7 examples?")
        await pilot.press("y")
        await until(pilot, lambda: {status(bench, row) for row in rows} == {Status.PENDING})


async def test_a_filter_by_model_says_that_rows_wait_for_a_blind_vote(bench: Bench) -> None:
    waiting = voting.pair(bench, 1)
    voting.vote(bench, waiting, "pip", rater="ann")
    mine, bench.rater = bench.rater, "ann"
    votes.collect(bench, votes.Shape.LABELS)
    bench.rater = mine
    async with showing(bench, "curate") as (app, pilot):
        curate = await opened(app, pilot, 2)
        await pilot.press("slash", *"model:tuned", "enter")
        await until(pilot, lambda: "1 row on pairs that wait for you is left out" in said(app))
        assert len(curate.rows.ids) == 0
