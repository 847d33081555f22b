"""Enter while an answer is still coming: the message waits in sight, is sent behind that answer, and is never lost."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

import pytest
from chatting import ask, chat_pane, examples
from showing import said, showing, text_of, until, until_text
from textual.pilot import Pilot

from fakes import FakeEngine
from workbench.errors import StoreError
from workbench.flows import chat as chat_flow
from workbench.tui.app import WorkbenchApp
from workbench.tui.widgets.composer import Composer

if TYPE_CHECKING:
    from workbench.domain.chats import Message
    from workbench.flows.bench import Bench


def spoken(bench: Bench, chat_id: int = 1) -> list[str]:
    """What was said in a chat, on the branch where the person stands."""
    return [message.content for message in bench.store.chats.tree(chat_id).path()]


async def hold_answer_to(
    pilot: Pilot[int], app: WorkbenchApp, engine: FakeEngine, question: str, *, after: int = 0
) -> None:
    """Ask; the answer stops before its first word, or after some."""
    engine.hold(after=after)
    app.query_one(Composer).load_text(question)
    await pilot.press("enter")
    await until(pilot, engine.waiting.is_set)
    await until(pilot, lambda: chat_pane(app).can_stop())


async def send(pilot: Pilot[int], app: WorkbenchApp, text: str) -> None:
    """Type it over what stands in the composer, and press Enter."""
    app.query_one(Composer).load_text(text)
    await pilot.press("enter")


async def test_a_message_sent_too_early_waits_in_sight_and_is_answered_next(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("first answer", "second answer")
    async with showing(bench, size=(80, 24)) as (app, pilot):
        await hold_answer_to(pilot, app, engine, "one")
        await send(pilot, app, "two")
        await send(pilot, app, "and three")
        await until_text(pilot, "⏎ two and three  sent after this answer · Esc takes it back")
        assert app.query_one(Composer).text == "" and "Esc" in said(app)
        app.query_one(Composer).load_text("being written")
        engine.release()
        await until(pilot, lambda: len(spoken(bench)) == 4 and not chat_pane(app).live)
        assert spoken(bench) == ["one", "first answer", "two\n\nand three", "second answer"]
        await until(pilot, lambda: "sent after" not in text_of(app))
        assert app.query_one(Composer).text == "being written"


async def test_a_second_enter_before_the_new_chat_is_stored_makes_no_second_chat(
    bench: Bench, engine: FakeEngine
) -> None:
    async with showing(bench) as (app, pilot):
        await pilot.press("a", "enter", "b", "enter")
        await until(pilot, lambda: bool(bench.store.chats.list()) and len(spoken(bench)) == 4)
        assert len(bench.store.chats.list()) == 1 and spoken(bench)[::2] == ["a", "b"]
        await until(pilot, lambda: not chat_pane(app).live and len(chat_pane(app).transcript.entries) == 4)


async def test_escape_takes_what_waits_back_and_only_then_stops_the_answer(bench: Bench, engine: FakeEngine) -> None:
    async with showing(bench) as (app, pilot):
        await hold_answer_to(pilot, app, engine, "one")
        await send(pilot, app, "two")
        await pilot.press("x", "escape")
        await until(pilot, lambda: app.query_one(Composer).text == "two\nx")
        assert chat_pane(app).can_stop() and "sent after" not in text_of(app)
        await until(pilot, lambda: bench.store.drafts.get("chat:1") == "two\nx")
        assert bench.store.drafts.get("waiting:1") == ""
        await pilot.press("escape")
        await until(pilot, lambda: not chat_pane(app).live)
        assert app.query_one(Composer).text == "two\nx" and "two" not in spoken(bench)


async def test_what_waits_outlives_the_bench_as_a_draft(bench: Bench, engine: FakeEngine) -> None:
    async with showing(bench) as (app, pilot):
        await hold_answer_to(pilot, app, engine, "one")
        await send(pilot, app, "two")
        await until(pilot, lambda: bench.store.drafts.get("waiting:1") == "two")
        app.query_one(Composer).load_text("three")
        await until(pilot, lambda: bench.store.drafts.get("chat:1") == "three")
    async with showing(bench) as (app, pilot):
        await until(pilot, lambda: app.query_one(Composer).text == "two\n\nthree")
        await pilot.press("exclamation_mark")
        await until(pilot, lambda: bench.store.drafts.get("chat:1") == "two\n\nthree!")
        assert bench.store.drafts.get("waiting:1") == "" and "two" not in spoken(bench)
        engine.release()  # the thread of the bench that is gone


async def test_after_an_answer_that_failed_what_waited_is_not_sent(bench: Bench, engine: FakeEngine) -> None:
    async with showing(bench) as (app, pilot):
        engine.die_after(0)
        await hold_answer_to(pilot, app, engine, "one")
        await send(pilot, app, "two")
        engine.release()
        await until(pilot, lambda: app.query_one(Composer).text == "two")
        assert spoken(bench) == ["one"] and "sent after" not in text_of(app)


async def test_what_waits_in_another_chat_is_sent_there_and_its_draft_stays(bench: Bench, engine: FakeEngine) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "elsewhere")
        await pilot.press("ctrl+n")
        await hold_answer_to(pilot, app, engine, "one")
        await send(pilot, app, "two")
        app.query_one(Composer).load_text("a draft")
        chat_pane(app).open_chat(1)
        await until(pilot, lambda: chat_pane(app).shows(1) and app.query_one(Composer).text == "")
        assert "sent after" not in text_of(app)
        engine.release()
        await until(pilot, lambda: len(spoken(bench, 2)) == 4 and not chat_pane(app).live)
        assert spoken(bench, 2)[2] == "two" and len(spoken(bench, 1)) == 2
        chat_pane(app).open_chat(2)
        await until(pilot, lambda: app.query_one(Composer).text == "a draft")


async def test_what_a_bench_that_died_left_waiting_does_not_come_back_once_it_was_sent(
    bench: Bench, engine: FakeEngine
) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "one")
    bench.store.drafts.save("waiting:1", "two")
    async with showing(bench) as (app, pilot):
        await until(pilot, lambda: app.query_one(Composer).text == "two")
        await pilot.press("enter")
        await until(pilot, lambda: len(spoken(bench)) == 4 and not chat_pane(app).live)
        assert bench.store.drafts.get("waiting:1") == ""
        await pilot.press("ctrl+n")
        await until(pilot, lambda: chat_pane(app).chat is None)
        chat_pane(app).open_chat(1)
        await until(pilot, lambda: chat_pane(app).shows(1))
        await pilot.app.workers.wait_for_complete()
        assert app.query_one(Composer).text == ""


async def test_what_waits_is_sent_where_the_person_went_meanwhile(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("zeroth answer", "first answer", "last answer")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "zero")
        await hold_answer_to(pilot, app, engine, "one")
        chat_pane(app).transcript.focus()
        chat_pane(app).transcript.move_to(1)
        await pilot.press("b")
        await until(pilot, lambda: "the next message goes on from here" in said(app))
        await send(pilot, app, "two")
        engine.release()
        await until(pilot, lambda: len(spoken(bench)) == 4 and not chat_pane(app).live and "one" not in spoken(bench))
        assert spoken(bench) == ["zero", "zeroth answer", "two", "last answer"]


async def test_the_answer_is_shown_whole_when_what_waited_for_it_cannot_be_stored(
    bench: Bench, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with showing(bench) as (app, pilot):
        await hold_answer_to(pilot, app, engine, "one")
        await send(pilot, app, "two")

        def full(*given: object, **named: object) -> Message:
            raise StoreError("the disk is full")

        monkeypatch.setattr(chat_flow, "say", full)
        engine.release()
        await until(pilot, lambda: app.query_one(Composer).text == "two")
        await until(pilot, lambda: not chat_pane(app).transcript.is_growing)
        assert "the disk is full" in said(app) and len(chat_pane(app).transcript.entries) == 2


async def test_a_chat_that_was_read_before_its_newest_question_is_read_again(bench: Bench, engine: FakeEngine) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "elsewhere")
        read_early = bench.store.chats.tree(1)
        await hold_answer_to(pilot, app, engine, "one")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: chat_pane(app).chat is None)
        chat_pane(app).show_tree(read_early)
        await until(pilot, lambda: chat_pane(app).shows(1))
        await until_text(pilot, "one")
        engine.release()
        await until(pilot, lambda: not chat_pane(app).live)


async def test_what_waits_in_a_chat_that_is_not_shown_is_no_less_kept_when_decisions_take_long(
    bench: Bench, engine: FakeEngine
) -> None:
    decided = threading.Event()
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "elsewhere")
        await pilot.press("ctrl+n")
        engine.die_after(0)
        await hold_answer_to(pilot, app, engine, "one")
        chat_pane(app).decide(lambda: decided.wait(20))
        await send(pilot, app, "two")
        chat_pane(app).open_chat(1)
        await until(pilot, lambda: chat_pane(app).shows(1))
        engine.release()
        await until(pilot, lambda: not chat_pane(app).live)
        decided.set()
        await until(pilot, lambda: bench.store.drafts.get("waiting:2") == "two")
        chat_pane(app).open_chat(2)
        await until(pilot, lambda: app.query_one(Composer).text == "two")


async def test_another_answer_may_be_asked_for_while_one_comes_which_is_kept_beside_it(
    bench: Bench, engine: FakeEngine
) -> None:
    engine.enqueue("half an answer", "another answer", "to what waited")
    async with showing(bench) as (app, pilot):
        await hold_answer_to(pilot, app, engine, "one", after=1)
        await send(pilot, app, "two")
        await until_text(pilot, "half")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "what had arrived is kept" in said(app))
        engine.release()
        await until(pilot, lambda: len(spoken(bench)) == 4 and not chat_pane(app).live)
        assert spoken(bench) == ["one", "another answer", "two", "to what waited"], "what waits waits for the new one"
        answers = [m for m in bench.store.chats.tree(1).messages.values() if m.parent_id == 1]
        assert [one.content.strip() for one in answers] == ["half", "another answer"]


async def test_only_the_answer_that_is_coming_is_stopped_for_another_one(bench: Bench, engine: FakeEngine) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "zero")
        await hold_answer_to(pilot, app, engine, "one")
        chat_pane(app).transcript.focus()
        chat_pane(app).transcript.move_to(0)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "Esc stops it" in said(app))
        assert chat_pane(app).can_stop() and not chat_pane(app).talk.here.cancelled.is_set()
        engine.release()
        await until(pilot, lambda: len(spoken(bench)) == 4 and not chat_pane(app).live)


async def test_the_keys_that_undo_are_true_while_an_answer_comes(bench: Bench, engine: FakeEngine) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "zero")
        await hold_answer_to(pilot, app, engine, "one")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Shift+Tab u undoes" in said(app))
        assert examples(bench)
        await pilot.press("shift+tab", "u")
        await until(pilot, lambda: not examples(bench))
        assert chat_pane(app).can_stop()
        engine.release()
        await until(pilot, lambda: not chat_pane(app).live)


async def test_keys_that_undo_are_not_named_any_more_when_an_answer_begins(bench: Bench, engine: FakeEngine) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "zero")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Esc u undoes" in said(app))
        engine.hold()
        await pilot.press("ctrl+r")
        await until(pilot, lambda: chat_pane(app).can_stop() and "undoes" not in said(app))
        engine.release()
        await until(pilot, lambda: not chat_pane(app).live)


async def test_going_up_to_read_does_not_stop_the_answer(bench: Bench, engine: FakeEngine) -> None:
    async with showing(bench) as (app, pilot):
        await hold_answer_to(pilot, app, engine, "one")
        await pilot.press("up")
        await until(pilot, lambda: chat_pane(app).transcript.has_focus)
        assert chat_pane(app).can_stop() and not chat_pane(app).talk.here.cancelled.is_set()
        engine.release()
        await until(pilot, lambda: len(spoken(bench)) == 2 and not chat_pane(app).live)


async def test_a_gesture_on_an_answer_that_is_coming_says_so(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("an answer")
    async with showing(bench) as (app, pilot):
        await hold_answer_to(pilot, app, engine, "one", after=1)
        await pilot.press("shift+tab")
        await until(pilot, lambda: chat_pane(app).transcript.has_focus)
        await pilot.press("p")
        await until(pilot, lambda: "still on its way: again when it is there" in said(app))
        engine.release()
        await until(pilot, lambda: not chat_pane(app).live and len(chat_pane(app).transcript.entries) == 2)
        await pilot.press("s")
        await until(pilot, lambda: len(examples(bench)) == 1)
