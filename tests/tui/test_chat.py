"""Chat by keys: what is stored, what is said, and what the screen shows after each gesture."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chatting import ask, bench_tree, chat_pane, examples
from showing import said, showing, text_of, until, until_text

from fakes import FakeEngine
from workbench.domain.chats import Sampling, StopReason
from workbench.domain.examples import Kind, SourceKind, Status
from workbench.domain.models import ModelKind
from workbench.errors import EngineError
from workbench.flows import chat as chat_flow
from workbench.tui.app import WorkbenchApp
from workbench.tui.screens.chat_stream import failure_text
from workbench.tui.widgets.composer import Composer

if TYPE_CHECKING:
    from workbench.flows.bench import Bench


async def test_enter_sends_and_the_answer_is_stored_and_shown(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("Salt it **first**.")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "How do I cook pasta?")
        shown = text_of(app)
        assert "How do I cook pasta?" in shown and "Salt it first." in shown
        chat = bench.store.chats.list()[0]
        assert chat.title == "How do I cook pasta?"
        question, answer = bench.store.chats.tree(chat.id).path()
        assert (question.content, answer.content) == ("How do I cook pasta?", "Salt it **first**.")
        assert answer.generation is not None and answer.generation.stop_reason is StopReason.STOP


async def test_an_empty_chat_says_what_becomes_of_what_is_done_there(bench: Bench) -> None:
    async with showing(bench, size=(80, 24)) as (app, pilot):
        await until_text(pilot, "becomes training data")
        shown = text_of(app)
        assert all(key in shown for key in ("F3 looks", "F5 n trains", "F6 n compares", "F7 says", "potatoes take."))


async def test_what_was_left_out_of_a_long_chat_stands_under_its_answer(bench: Bench, engine: FakeEngine) -> None:
    engine.notice("the 4 oldest turns were left out of the prompt")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "And what did I say first?")
        await until_text(pilot, "4 oldest turns were left out")
        assert all("oldest turns" not in message.content for message in chat_pane(app).path())


async def test_characters_typed_behind_enter_stay_in_the_next_draft(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        await pilot.press("a", "b", "ctrl+j", "c", "enter", "d")
        await until(pilot, lambda: bool(bench.store.chats.list()))
        await until(pilot, lambda: app.query_one(Composer).text == "d")
        chat = bench.store.chats.list()[0]
        assert bench.store.chats.tree(chat.id).path()[0].content == "ab\nc"


async def test_escape_stops_a_stream_and_keeps_what_came(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("one two three four")
    async with showing(bench) as (app, pilot):
        engine.hold()
        app.query_one(Composer).load_text("count")
        await pilot.press("enter")
        await until(pilot, engine.waiting.is_set)
        assert chat_pane(app).can_stop()
        await pilot.press("escape")
        await until(pilot, lambda: not chat_pane(app).live)
        await until_text(pilot, "stopped")


async def test_ctrl_c_stops_a_stream_too(bench: Bench, engine: FakeEngine) -> None:
    async with showing(bench) as (app, pilot):
        engine.hold()
        app.query_one(Composer).load_text("count")
        await pilot.press("enter")
        await until(pilot, engine.waiting.is_set)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not chat_pane(app).live)
        assert app.is_running


async def test_another_answer_is_a_sibling_and_arrows_walk_them(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("first answer", "second answer")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "say something")
        await pilot.press("ctrl+r")
        await until_text(pilot, "2/2")
        assert "second answer" in text_of(app)
        await pilot.press("escape", "left")
        await until_text(pilot, "1/2")
        assert "first answer" in text_of(app) and "second answer" not in text_of(app)
        await pilot.press("right")
        await until_text(pilot, "2/2")


async def test_picking_makes_a_pair_over_the_other_and_u_takes_it_back(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("worse", "better")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "which?")
        await pilot.press("ctrl+r")
        await until_text(pilot, "2/2")
        await pilot.press("escape", "p")
        await until(pilot, lambda: "u undoes" in said(app))
        (pair,) = examples(bench)
        assert pair.content.kind is Kind.PREFERENCE and pair.source.kind is SourceKind.CHAT_PICK
        assert (pair.content.chosen[0].content, pair.content.rejected[0].content) == ("better", "worse")
        await pilot.press("u")
        await until(pilot, lambda: said(app).startswith("undone"))
        assert examples(bench) == []
        await pilot.press("U")
        await until(pilot, lambda: said(app).startswith("done again"))
        assert [one.id for one in examples(bench)] == [pair.id]


async def test_saving_makes_a_demonstration_and_says_its_number(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("good")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        await pilot.press("escape", "s")
        await until(pilot, lambda: "u undoes" in said(app))
        (one,) = examples(bench)
        assert one.content.kind is Kind.DEMONSTRATION and one.status is Status.ACCEPTED
        assert str(one.id) in said(app) and "chats" in said(app)
        await until_text(pilot, "kept")


async def test_ctrl_s_saves_the_last_answer_from_the_composer(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(examples(bench)) == 1)
        assert examples(bench)[0].content.kind is Kind.DEMONSTRATION
        await until(pilot, lambda: "; Esc u undoes" in said(app))  # here u is a letter


@pytest.mark.parametrize(("key", "label"), [("plus", True), ("minus", False)])
async def test_thumbs_make_judgements(bench: Bench, key: str, label: bool) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        await pilot.press("escape", key)
        await until(pilot, lambda: len(examples(bench)) == 1)
        assert examples(bench)[0].content.label is label


async def test_an_edited_answer_stays_beside_the_original_and_makes_a_pair(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("wrong")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        await pilot.press("escape", "e")
        await until_text(pilot, "Edit this answer")
        await pilot.press(*["backspace"] * 5, *"right", "ctrl+s")
        await until(pilot, lambda: len(examples(bench)) == 1)
        (pair,) = examples(bench)
        assert (pair.content.chosen[0].content, pair.content.rejected[0].content) == ("right", "wrong")
        await until_text(pilot, "edited by you")
        assert "2/2" in text_of(app)


async def test_branching_goes_on_from_an_earlier_answer(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("a1", "a2", "a3")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q1")
        await ask(pilot, app, "q2")
        await pilot.press("escape", "k", "k", "b")
        await until(pilot, lambda: isinstance(app.focused, Composer))
        await ask(pilot, app, "q3")
        assert [m.content for m in chat_pane(app).path()] == ["q1", "a1", "q3", "a3"]


async def test_branching_at_a_question_puts_it_back_to_be_asked_differently(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "one?")
        await pilot.press("escape", "k", "b")
        await until(pilot, lambda: app.query_one(Composer).text == "one?")
        await until(pilot, lambda: chat_pane(app).path() == ())
        await pilot.press("!", "enter")
        await until(pilot, lambda: len(bench_tree(app)) == 4 and not chat_pane(app).live)
        tree = bench.store.chats.tree(bench.store.chats.list()[0].id)
        roots = [message.content for message in tree.messages.values() if message.parent_id is None]
        assert roots == ["one?", "one?!"]


async def test_when_the_engine_dies_the_part_stays_and_ctrl_r_asks_again(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("one two three", "whole answer")
    engine.die_after(2)
    async with showing(bench) as (app, pilot):
        app.query_one(Composer).load_text("q")
        await pilot.press("enter")
        await until_text(pilot, "the engine died while it answered")
        shown = text_of(app)
        assert "one two" in shown and "it starts afresh. Ctrl+R asks again" in shown
        assert "broken off" in shown  # of an answer that came from a server elsewhere, too
        await pilot.press("ctrl+r")
        await until_text(pilot, "whole answer")
        assert "the engine died" not in text_of(app).replace(said(app), "")


async def test_an_engine_that_cannot_start_is_said_and_the_question_is_kept(bench: Bench, engine: FakeEngine) -> None:
    engine.fail_to_start("no memory left")
    async with showing(bench) as (app, pilot):
        app.query_one(Composer).load_text("q")
        await pilot.press("enter")
        await until_text(pilot, "no memory left")
        assert bench.store.chats.tree(bench.store.chats.list()[0].id).path()[0].content == "q"


async def test_a_draft_is_saved_and_restored_with_its_chat(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        await pilot.press(*"half a th")
        chat = chat_pane(app).chat
        assert chat is not None
        await until(pilot, lambda: bench.store.drafts.get(f"chat:{chat.id}") == "half a th", turns=600)
    async with showing(bench) as (app, pilot):
        await until(pilot, lambda: app.query_one(Composer).text == "half a th")


async def test_an_unsent_first_message_is_kept_for_the_next_new_chat(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        await pilot.press(*"hello")
        await pilot.press("ctrl+q")
        await until(pilot, lambda: app._exit)
    assert bench.store.drafts.get("chat:new") == "hello"


async def test_the_system_prompt_and_sampling_are_changed_by_a_form_that_checks(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        await pilot.press("ctrl+t")
        await until_text(pilot, "System prompt and sampling")
        await pilot.press(*"be brief", "tab", "end", "backspace", "backspace", "backspace", *"99", "enter")
        await until_text(pilot, "outside 0 to 5")
        await pilot.press("backspace", "backspace", "0", "enter")
        await until(pilot, lambda: bench.store.chats.list()[0].system == "be brief")
        assert bench.store.chats.list()[0].sampling.temperature == 0


async def test_an_earlier_chat_is_chosen_in_a_dialog_on_a_narrow_screen(bench: Bench) -> None:
    async with showing(bench, size=(80, 24)) as (app, pilot):
        await ask(pilot, app, "about pasta")
        await pilot.press("ctrl+n")
        await ask(pilot, app, "about soup")
        await pilot.press("ctrl+l")
        await until_text(pilot, "Chats")
        await pilot.press(*"pasta", "enter")
        await until(pilot, lambda: chat_pane(app).chat is not None and chat_pane(app).chat.title == "about pasta")
        assert chat_pane(app).path()[0].content == "about pasta"


async def test_an_earlier_chat_is_chosen_in_the_list_on_a_wide_screen(bench: Bench) -> None:
    async with showing(bench, size=(160, 45)) as (app, pilot):
        await ask(pilot, app, "about pasta")
        await pilot.press("ctrl+n")
        await ask(pilot, app, "about soup")
        await pilot.press("ctrl+l", "G", "enter")
        await until(pilot, lambda: chat_pane(app).chat is not None and chat_pane(app).chat.title == "about pasta")
        assert chat_pane(app).path()[0].content == "about pasta"


async def test_an_answer_goes_on_while_another_chat_is_shown(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("quick", "slow answer")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "first")
        first = chat_pane(app).chat
        assert first is not None
        engine.hold()
        app.query_one(Composer).load_text("second")
        await pilot.press("enter")
        await until(pilot, engine.waiting.is_set)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: chat_pane(app).chat is None)
        engine.release()
        await until(pilot, lambda: not chat_pane(app).live)
        assert "slow" not in text_of(app)
        assert bench.store.chats.tree(first.id).path()[-1].content == "slow answer"


async def test_a_question_is_put_to_its_own_chats_model_also_when_another_chat_is_shown_meanwhile(
    bench: Bench, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.store.models.add("other", ModelKind.ADAPTER, "/nowhere/adapter", base="pip")
    elsewhere = bench.store.chats.create(title="elsewhere", system="", model="other", sampling=Sampling())
    bench.store.chats.create(title="here", system="", model="pip", sampling=Sampling())
    stored, say = threading.Event(), chat_flow.say

    def slow(*arguments: Any, **named: Any) -> Any:
        stored.wait(30)
        return say(*arguments, **named)

    async with showing(bench) as (app, pilot):
        await until(pilot, lambda: chat_pane(app).chat is not None and chat_pane(app).chat.title == "here")
        await ask(pilot, app, "first")
        monkeypatch.setattr(chat_flow, "say", slow)
        app.query_one(Composer).load_text("second")
        await pilot.press("enter")
        chat_pane(app).open_chat(elsewhere.id)
        await until(pilot, lambda: chat_pane(app).chat is not None and chat_pane(app).setup.model == "other")
        stored.set()
        await until(pilot, lambda: len(engine.requests) == 2 and not chat_pane(app).live)
        assert [request.model.name for request in engine.requests] == ["pip", "pip"]


async def test_what_is_typed_while_the_workspace_opens_stands_behind_the_draft_that_was_there(bench: Bench) -> None:
    bench.store.drafts.save("chat:new", "an old thought")
    may_open = threading.Event()

    def open_late() -> Bench:
        may_open.wait(30)
        return bench

    app = WorkbenchApp(open_late, None)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: isinstance(app.focused, Composer))
        await pilot.press(*"new")
        may_open.set()
        await until(pilot, lambda: app.query_one(Composer).text == "an old thought\nnew")
        await until(pilot, lambda: bench.store.drafts.get("chat:new") == "an old thought\nnew")
        assert bench.store.chats.list() == []


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ("", "Ctrl+R asks again."),
        ("ask again", "Ctrl+R asks again."),
        ("free some memory", "free some memory. Ctrl+R asks again."),
        ("is there a server?", "is there a server? Ctrl+R asks again."),
    ],
)
def test_what_to_do_after_a_failure_is_told_once_and_in_sentences(hint: str, told: str) -> None:
    assert failure_text(EngineError("it failed", hint=hint)) == ("it failed", told)


def test_a_hint_behind_a_long_reason_begins_as_a_sentence() -> None:
    error = EngineError("server:8000 refuses it (400): " + 9 * "too long ", hint="start a new chat")
    assert failure_text(error)[1].endswith(" Start a new chat. Ctrl+R asks again.")


@pytest.mark.parametrize(
    ("said", "head", "text"),
    [
        ("server:8000 refuses it (400): " + 9 * "too long " + "(value=33)", "server:8000 refuses it (400)",
         9 * "too long " + "(value=33). Ctrl+R asks again."),
        (20 * "words ", "no whole answer", 20 * "words " + ". Ctrl+R asks again."),
    ],
)  # fmt: skip
def test_a_reason_that_is_longer_than_a_heading_is_told_below_it(said: str, head: str, text: str) -> None:
    assert failure_text(EngineError(said)) == (head, text)
