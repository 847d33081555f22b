"""Chat beyond one answer: several and their ranking, thoughts, branches, searches, files, presets, batches."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chatting import ask, bench_tree, chat_pane, examples
from showing import said, showing, text_of, until, until_text
from textual.widgets import Input

from endpoints import FakeServer, chunk, streams
from fakes import FakeEngine
from workbench.domain.batches import Batch
from workbench.domain.chats import Sampling, Turn
from workbench.flows import batch as batch_flow
from workbench.flows import registry
from workbench.jobs.endpoint import EndpointClient, Patience, RoutedEngine
from workbench.tui.screens import chat_batches
from workbench.tui.widgets.composer import Composer
from workbench.tui.widgets.transcript import Entry

if TYPE_CHECKING:
    from workbench.flows.bench import Bench


THOUGHT = "<think>\nsecret thoughts here\n</think>\n\nThe answer is 4."


async def test_thoughts_are_folded_until_z_shows_them(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue(THOUGHT)
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "2+2?")
        assert (
            "▸ thought, 3 words" in text_of(app) and "secret" not in text_of(app) and "The answer is 4." in text_of(app)
        )
        await pilot.press("escape", "z")
        await until_text(pilot, "secret thoughts here")
        assert "▾ thought" in text_of(app)
        await pilot.press("z")
        await until(pilot, lambda: "secret" not in text_of(app))
        await pilot.press("k", "z")
        await until(pilot, lambda: "no thoughts" in said(app))


async def test_a_thought_is_folded_while_it_streams(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue(THOUGHT)
    async with showing(bench) as (app, pilot):
        app.query_one(Composer).load_text("2+2?")
        await pilot.press("enter")
        await until(pilot, lambda: not chat_pane(app).live and "The answer is 4." in text_of(app))
        transcript = chat_pane(app).transcript
        transcript.set_entries([])
        transcript.begin(Entry(-2, "pip", ""))
        shown = []
        for word in THOUGHT.split(" "):
            transcript.append_text(word + " ")
            await pilot.pause()
            shown.append(text_of(app))
        assert all("secret" not in text for text in shown)
        assert "thinking, 1 word so far" in shown[0] and "▸ thought, 3 words" in shown[-1]
        assert "The answer is 4." in shown[-1]


async def test_four_answers_at_once_are_ranked_by_digits_into_pairs(bench: Bench, engine: FakeEngine) -> None:
    async with showing(bench, size=(80, 24)) as (app, pilot):
        await ask(pilot, app, "which?")
        engine.enqueue("two", "three", "four")
        await pilot.press("escape", "3")
        await until(pilot, lambda: len(bench_tree(app)) == 5 and not chat_pane(app).live)
        assert "r ranks them" in said(app)
        await pilot.press("r")
        await until_text(pilot, "Rank 4 answers")
        await pilot.press("enter")
        await until_text(pilot, "a lower digit")
        await pilot.press("3", "1", "2", "0", "enter")
        await until(pilot, lambda: len(examples(bench)) == 3)
        assert "ranked 3 answers" in said(app) and "u undoes" in said(app)
        await pilot.press("u")
        await until(pilot, lambda: examples(bench) == [])


async def test_a_note_beside_an_edit_is_stored_with_the_pair(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("wrong")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        await pilot.press("escape", "e")
        await until_text(pilot, "Edit this answer")
        await pilot.press(*"!", "tab", *"too short", "enter")
        await until(pilot, lambda: len(examples(bench)) == 1)
        assert examples(bench)[0].note == "too short"


async def test_a_half_made_edit_is_kept_as_a_draft(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("wrong")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        await pilot.press("escape", "e")
        await until_text(pilot, "Edit this answer")
        await pilot.press(*" and more", "escape")
        await until(pilot, lambda: "your draft" in said(app))
        await pilot.press("e")
        await until_text(pilot, "wrong and more")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(examples(bench)) == 1)
        message = bench.store.chats.tree(bench.store.chats.list()[0].id).path()[-1]
        assert message.content == "wrong and more" and message.edited_from is not None
        assert bench.store.drafts.get(f"edit:message:{message.edited_from}") == ""


async def test_the_tree_shows_every_branch_and_goes_to_one(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("first", "second", "third")
    async with showing(bench, size=(80, 24)) as (app, pilot):
        await ask(pilot, app, "which?")
        await pilot.press("ctrl+r")
        await until_text(pilot, "2/2")
        await pilot.press("escape", "t")
        await until_text(pilot, "├ pip: first")
        assert "└ pip: second" in text_of(app)
        await pilot.press("k", "enter")
        await until(pilot, lambda: [m.content for m in chat_pane(app).path()] == ["which?", "first"])
        await until_text(pilot, "1/2")
        await pilot.press("t")
        await until_text(pilot, "Branches")
        await pilot.press("b")
        await until(pilot, lambda: isinstance(app.focused, Composer))


async def test_earlier_messages_come_back_and_the_one_begun_is_not_lost(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "one")
        await ask(pilot, app, "two")
        composer = app.query_one(Composer)
        await pilot.press(*"thr", "alt+up")
        await until(pilot, lambda: composer.text == "two")
        await pilot.press("alt+up")
        await until(pilot, lambda: composer.text == "one")
        await pilot.press("alt+up")
        await until(pilot, lambda: "no earlier" in said(app))
        await pilot.press("alt+down", "alt+down")
        await until(pilot, lambda: composer.text == "thr")
        assert len(bench.store.chats.list()) == 1


async def test_what_is_begun_in_another_chat_is_not_lost_to_earlier_messages_looked_at_before(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "one")
        composer = app.query_one(Composer)
        await pilot.press(*"thr", "alt+up")
        await until(pilot, lambda: composer.text == "one")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: composer.text == "")
        await pilot.press(*"new", "alt+up")
        await until(pilot, lambda: composer.text == "one")
        await pilot.press("alt+down")
        await until(pilot, lambda: composer.text == "new")
        assert len(bench.store.chats.list()) == 1


async def test_a_chat_is_named_put_away_and_deleted_and_u_takes_each_back(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "about pasta")
        await pilot.press("escape", "N")
        await until_text(pilot, "Name this chat")
        await pilot.press("!", "enter")
        await until(pilot, lambda: bench.store.chats.list()[0].title == "about pasta!")
        await pilot.press("Z")
        await until(pilot, lambda: bench.store.chats.list() == [])
        await pilot.press("u")
        await until(pilot, lambda: len(bench.store.chats.list()) == 1)
        await until(pilot, lambda: "undone" in said(app))
        await pilot.press("escape", "escape", "D")
        await until(pilot, lambda: chat_pane(app).chat is None)
        assert bench.store.chats.list() == []
        await until(pilot, lambda: said(app).endswith("; u undoes"))
        await pilot.press("u")  # the keys are still those of the transcript
        await until(pilot, lambda: chat_pane(app).chat is not None)
        assert bench.store.chats.list()[0].title == "about pasta!"


async def test_a_gesture_after_a_deletion_is_what_u_takes_back(bench: Bench) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "about pasta")
        await pilot.press("escape", "Z")
        await until(pilot, lambda: bench.store.chats.list() == [])
        await pilot.press("s")
        await until(pilot, lambda: len(examples(bench)) == 1)
        await pilot.press("u")
        await until(pilot, lambda: examples(bench) == [])
        assert bench.store.chats.list() == []


async def test_a_search_goes_to_the_message_on_its_branch(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("with turnips", "with leeks")
    async with showing(bench, size=(80, 24)) as (app, pilot):
        await ask(pilot, app, "soup?")
        await pilot.press("ctrl+r")
        await until_text(pilot, "2/2")
        await pilot.press("ctrl+n")
        await ask(pilot, app, "else")
        await pilot.press("escape", "slash")
        await until_text(pilot, "Find in all chats")
        await pilot.press(*"turnip", "enter")
        await until(pilot, lambda: chat_pane(app).chat is not None and chat_pane(app).chat.title == "soup?")
        await until(pilot, lambda: chat_pane(app).path()[-1].content != "with leeks")
        assert [m.content for m in chat_pane(app).path()] == ["soup?", "with turnips"]


async def test_the_menu_attaches_a_file_and_refuses_what_is_none(bench: Bench, tmp_path: Path) -> None:
    good, bad = tmp_path / "notes.txt", tmp_path / "image"
    good.write_text("remember the milk\n")
    bad.write_bytes(b"\x89PNG\0")
    async with showing(bench) as (app, pilot):
        for path in (bad, good):
            await pilot.press("f11")
            await until_text(pilot, "Attach a file")
            await pilot.press(*"attach", "enter")
            await until_text(pilot, "Attach a text file")
            app.screen.query_one(Input).value = str(path)
            await pilot.press("enter")
            wanted = "is no text" if path is bad else "attached"
            await until(pilot, lambda wanted=wanted: wanted in said(app))
        assert "remember the milk" in app.query_one(Composer).text and "notes.txt" in app.query_one(Composer).text


async def test_a_preset_is_saved_in_one_chat_and_used_in_another(bench: Bench) -> None:
    bench.store.chats.create(title="brief", system="Be brief.", model="pip", sampling=Sampling(temperature=0))
    async with showing(bench) as (app, pilot):
        await pilot.press("f11", *"presets", "enter")
        await until_text(pilot, "save as a preset")
        await pilot.press("enter")
        await until_text(pilot, "Save this preset as")
        await pilot.press(*"mine", "enter")
        await until(pilot, lambda: bool(bench.store.presets.list()))
        bench.store.chats.create(title="other", system="", model="pip", sampling=Sampling())
        chat_pane(app).open_chat(2)
        await until(pilot, lambda: chat_pane(app).shows(2))
        await pilot.press("f11", *"presets", "enter")
        await until_text(pilot, "mine")
        await pilot.press("enter")
        await until(pilot, lambda: bench.store.chats.get(2).system == "Be brief.")
        assert bench.store.chats.get(2).sampling.temperature == 0


async def test_an_answer_from_a_server_that_breaks_off_is_kept_and_said(bench: Bench) -> None:
    with FakeServer().running() as server:
        registry.add_endpoint(bench, server.url, "far")
        server.default = streams(chunk("half an"))
        bench.engine = RoutedEngine(bench.engine, EndpointClient(Patience(5, 5, 0.001)))
        bench.store.chats.create(title="t", system="", model="far", sampling=Sampling())
        async with showing(bench) as (app, pilot):
            await until(pilot, lambda: chat_pane(app).chat is not None)
            app.query_one(Composer).load_text("q")
            await pilot.press("enter")
            await until_text(pilot, "broke off in the middle")
            assert "half an" in text_of(app)


async def test_a_trimmed_prompt_is_said_in_the_transcript(bench: Bench, engine: FakeEngine) -> None:
    engine.notice("the oldest 4 messages did not fit")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        assert "⚠ the oldest 4 messages did not fit" in text_of(app)


async def test_a_batch_is_begun_by_a_form_and_watched_until_it_is_done(
    bench: Bench, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launch(bench: Bench, batch_id: int, *, retry: bool = False) -> Batch:  # in a thread, for the process
        begun = bench.store.batches.get(batch_id)
        threading.Thread(target=batch_flow.run, args=(bench, batch_id), daemon=True).start()
        return begun

    monkeypatch.setattr(batch_flow, "launch", launch)
    monkeypatch.setattr(chat_batches, "LOOK_S", 0.02)
    path = tmp_path / "questions.txt"
    path.write_text("one\ntwo\n")
    engine.hold()
    async with showing(bench, size=(80, 24)) as (app, pilot):
        await pilot.press("f11", *"run", "enter")
        await until_text(pilot, "Run prompts through a model")
        await pilot.press("enter")
        await until_text(pilot, "which prompts?")
        app.screen.query(Input).first().value = str(path)
        await pilot.press("enter")
        await until_text(pilot, "batch 0/2")
        engine.release()
        await until(pilot, lambda: "2 of 2 answered (done)" in said(app))
        assert "batch 2/2" not in text_of(app)
        await pilot.press("f11", *"batches", "enter")
        await until_text(pilot, "show batch 1")
        await pilot.press("enter")
        await until(pilot, lambda: chat_pane(app).chat is not None and "batch 1" in chat_pane(app).chat.title)


async def test_a_batch_that_was_left_behind_is_said_at_the_start(bench: Bench) -> None:
    batch_flow.begin(bench, ["pip"], [(Turn("user", "q"),)], source="q.txt", sampling=Sampling())
    async with showing(bench) as (app, pilot):
        await until(pilot, lambda: "a batch waits" in said(app))
        assert "0 of 1 answered" in said(app)


async def test_c_has_the_model_go_on_where_an_answer_ends(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("half an", " answer")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        await pilot.press("escape", "c")
        await until_text(pilot, "half an answer")
        await until(pilot, lambda: len(bench_tree(app)) == 3 and not chat_pane(app).live)
        assert "2/2  gone on with" in text_of(app)
        assert examples(bench) == []
        await pilot.press("left")
        await until(pilot, lambda: "half an answer" not in text_of(app))


async def test_c_on_a_question_says_that_models_go_on_with_answers(bench: Bench, engine: FakeEngine) -> None:
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        await pilot.press("escape", "k", "c")
        await until(pilot, lambda: "goes on with answers" in said(app))
        assert len(bench_tree(app)) == 2


async def test_from_the_editor_the_model_goes_on_with_what_a_person_began(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("wrong", " and so on")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        await pilot.press("escape", "e")
        await until_text(pilot, "Edit this answer")
        await pilot.press(*" but then", "ctrl+g")
        await until_text(pilot, "wrong but then and so on")
        await until(pilot, lambda: len(bench_tree(app)) == 3 and not chat_pane(app).live)
        assert "begun by you" in text_of(app) and examples(bench) == []
        message = bench.store.chats.tree(bench.store.chats.list()[0].id).path()[-1]
        assert message.generation is not None and message.content[: message.generation.given] == "wrong but then"
        key = f"edit:message:{message.edited_from}"
        await until(pilot, lambda: bench.store.drafts.get(key) == "")


async def test_what_a_person_began_stays_a_draft_when_the_model_cannot_go_on(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("wrong")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        engine.fail_to_start("no model here")
        await pilot.press("escape", "e")
        await until_text(pilot, "Edit this answer")
        await pilot.press(*" but then", "ctrl+g")
        await until(pilot, lambda: "no model here" in said(app))
        assert len(bench_tree(app)) == 2 and "What you began is kept" in text_of(app)
        await pilot.press("k", "e")
        await until_text(pilot, "wrong but then")


async def test_an_answer_that_comes_again_is_said_to_be_the_same(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("one", "another", "one")
    async with showing(bench) as (app, pilot):
        await ask(pilot, app, "q")
        for count, is_same in ((3, False), (4, True)):
            await pilot.press("ctrl+r")
            await until(pilot, lambda count=count: len(bench_tree(app)) == count and not chat_pane(app).live)
            assert ("the same answer came again" in said(app)) == is_same
