"""Chat flows on a real store with a fake engine: answers kept safe, and the example that each gesture makes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from fakes import FakeEngine, StatusHandler
from workbench.domain.chats import Message, Role, Sampling, StopReason, Turn
from workbench.domain.examples import Kind, SourceKind, Status
from workbench.domain.queries import parse_query
from workbench.domain.serving import AnswerEvent, ChatRequest, TextPiece
from workbench.errors import DataError, EngineError, RefusedError
from workbench.flows import chat, curate
from workbench.flows.bench import Bench, recover_answers

PIP = Sampling(temperature=0.5, max_tokens=20, seed=4)


def ask(bench: Bench, chat_id: int, parent_id: int, **options: object) -> Message:
    news = list(chat.answer(bench, chat_id, parent_id=parent_id, cancelled=threading.Event(), **options))
    assert isinstance(news[0], chat.AnswerStarted)
    assert isinstance(news[-1], chat.AnswerEnded)
    return news[-1].message


@pytest.fixture
def opened(bench: Bench) -> int:
    return chat.new_chat(bench, system="Be brief.", sampling=PIP).id


@pytest.fixture
def question(bench: Bench, opened: int) -> Message:
    return chat.say(bench, opened, "How long does rice cook?")


def texts(turns: Sequence[Turn]) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in turns]


# Talking


def test_the_first_words_become_the_title(bench: Bench, opened: int) -> None:
    chat.say(bench, opened, "  How long\ndoes rice cook? ")
    chat.say(bench, opened, "And beans?")
    assert bench.store.chats.get(opened).title == "How long does rice cook?"


def test_nothing_but_spaces_is_not_said(bench: Bench, opened: int) -> None:
    with pytest.raises(DataError):
        chat.say(bench, opened, " \n ")
    assert bench.store.chats.tree(opened).messages == {}


def test_an_answer_is_stored_with_how_it_was_made(bench: Bench, engine: FakeEngine, opened: int) -> None:
    engine.enqueue("Ten minutes.")
    said = chat.say(bench, opened, "How long does rice cook?")
    message = ask(bench, opened, said.id)
    stored = bench.store.chats.message(message.id)
    assert (stored.content, stored.parent_id, stored.role) == ("Ten minutes.", said.id, Role.ASSISTANT)
    assert stored.generation is not None
    assert stored.generation.sampling == PIP
    assert stored.generation.stop_reason is StopReason.STOP
    assert stored.generation.tokens == 2
    assert bench.store.chats.get(opened).tip_id == message.id
    assert stored.generation.model == bench.store.models.default().name


def test_the_model_sees_the_system_prompt_and_the_path_to_the_question(
    bench: Bench, engine: FakeEngine, question: Message, opened: int
) -> None:
    first = ask(bench, opened, question.id)
    ask(bench, opened, question.id)  # a sibling, which the model must not see
    chat.branch(bench, first.id)
    follow = chat.say(bench, opened, "And beans?")
    ask(bench, opened, follow.id)
    assert texts(engine.requests[-1].turns) == [
        ("system", "Be brief."),
        ("user", "How long does rice cook?"),
        ("assistant", first.content),
        ("user", "And beans?"),
    ]


def test_a_chat_longer_than_the_model_reads_is_cut_with_a_notice(
    bench: Bench, engine: FakeEngine, opened: int, question: Message
) -> None:
    engine.notice("two turns were left out")
    started, noted, *_ = chat.answer(bench, opened, parent_id=question.id, cancelled=threading.Event())
    assert engine.requests[-1].trim
    assert isinstance(started, chat.AnswerStarted)
    assert noted == chat.AnswerNoted("two turns were left out")


def test_without_a_seed_each_answer_draws_its_own_and_keeps_it(bench: Bench, engine: FakeEngine) -> None:
    opened = chat.new_chat(bench, sampling=Sampling()).id
    said = chat.say(bench, opened, "Hello")
    answers = [ask(bench, opened, said.id) for _ in range(3)]
    seeds = [m.generation.sampling.seed for m in answers if m.generation]
    assert [request.sampling.seed for request in engine.requests] == seeds
    assert None not in seeds
    assert len(set(seeds)) == 3


def test_a_question_must_come_before_an_answer(bench: Bench, opened: int, question: Message) -> None:
    with pytest.raises(RefusedError):
        ask(bench, opened, ask(bench, opened, question.id).id)


def test_a_cancelled_answer_keeps_what_had_come(
    bench: Bench, engine: FakeEngine, opened: int, question: Message
) -> None:
    engine.enqueue("one two three")
    cancelled = threading.Event()
    news = []
    for item in chat.answer(bench, opened, parent_id=question.id, cancelled=cancelled):
        news.append(item)
        if isinstance(item, chat.AnswerText):
            cancelled.set()
    assert isinstance(news[-1], chat.AnswerEnded)
    assert news[-1].message.content == "one"
    assert news[-1].message.generation.stop_reason is StopReason.CANCELLED


def test_when_the_engine_dies_the_partial_answer_is_stored_before_the_error(
    bench: Bench, engine: FakeEngine, opened: int, question: Message
) -> None:
    engine.enqueue("one two three")
    engine.die_after(2)
    with pytest.raises(EngineError):
        ask(bench, opened, question.id)
    stored = bench.store.chats.tree(opened).path()[-1]
    assert stored.content == "one two"
    assert stored.generation is not None
    assert stored.generation.stop_reason is StopReason.ERROR


def test_an_engine_that_dies_before_the_first_word_leaves_no_message(
    bench: Bench, engine: FakeEngine, opened: int, question: Message
) -> None:
    engine.die_after(0)
    with pytest.raises(EngineError):
        ask(bench, opened, question.id)
    assert bench.store.chats.get(opened).tip_id == question.id
    assert _pending(bench) == []


def test_a_closed_generator_leaves_the_text_and_nothing_pending(
    bench: Bench, engine: FakeEngine, opened: int, question: Message
) -> None:
    engine.enqueue("one two three")
    news = chat.answer(bench, opened, parent_id=question.id, cancelled=threading.Event())
    while not isinstance(next(news), chat.AnswerText):
        pass
    news.close()
    assert bench.store.chats.tree(opened).path()[-1].content == "one"
    assert _pending(bench) == []


def test_text_is_in_the_store_while_it_streams(
    bench: Bench, engine: FakeEngine, opened: int, question: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "SAVE_SECONDS", 0.0)
    engine.enqueue("one two three")
    news = chat.answer(bench, opened, parent_id=question.id, cancelled=threading.Event())
    started = next(news)
    assert isinstance(started, chat.AnswerStarted)
    for expected in ("one", "one two"):
        next(news)
        assert _pending(bench) == [expected]
    news.close()


def test_text_is_saved_also_while_the_engine_is_silent(
    bench: Bench, engine: FakeEngine, opened: int, question: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[list[str]] = []

    def stream(request: ChatRequest, *, on_status: StatusHandler, **_: object) -> Iterator[AnswerEvent]:
        yield TextPiece("one")
        saved.append(_pending(bench))
        monkeypatch.setattr(chat, "SAVE_SECONDS", 0.0)  # as if time had passed
        on_status(engine.status())
        saved.append(_pending(bench))

    engine.stream = stream  # type: ignore[method-assign, assignment]
    list(chat.answer(bench, opened, parent_id=question.id, cancelled=threading.Event()))
    assert saved == [[""], ["one"]]


def test_the_text_of_a_killed_bench_becomes_a_message(
    bench: Bench, opened: int, question: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    chats = bench.store.chats
    answer_id = chats.begin_answer(opened, parent_id=question.id, model="pip", sampling=PIP)
    chats.save_answer_text(answer_id, "half an ans")
    with bench.store.write() as db:
        db.execute("UPDATE answers SET owner_started = 1.0 WHERE id = ?", [answer_id])
    assert recover_answers(bench.store) == 1
    last = chats.tree(opened).path()[-1]
    assert last.content == "half an ans"
    assert last.generation is not None
    assert last.generation.stop_reason is StopReason.LOST


def test_who_went_elsewhere_while_it_streamed_stays_there(
    bench: Bench, engine: FakeEngine, opened: int, question: Message
) -> None:
    first = ask(bench, opened, question.id)
    follow = chat.say(bench, opened, "And beans?")
    news = chat.answer(bench, opened, parent_id=follow.id, cancelled=threading.Event())
    next(news)
    chat.branch(bench, first.id)
    *_, ended = news
    assert isinstance(ended, chat.AnswerEnded)
    assert bench.store.chats.get(opened).tip_id == first.id


# Gestures


@pytest.fixture
def answers(bench: Bench, engine: FakeEngine, opened: int, question: Message) -> list[Message]:
    engine.enqueue("Ten minutes.", "One hour.", "Ask someone.")
    return [ask(bench, opened, question.id) for _ in range(3)]


def test_a_kept_answer_is_an_accepted_demonstration_that_leads_back(bench: Bench, answers: list[Message]) -> None:
    gesture = chat.keep(bench, answers[0].id)
    example = bench.store.examples.get(gesture.examples[0].id)
    assert example.content.kind is Kind.DEMONSTRATION
    assert texts(example.content.prompt) == [("system", "Be brief."), ("user", "How long does rice cook?")]
    assert texts(example.content.chosen) == [("assistant", "Ten minutes.")]
    assert (example.status, example.dataset, example.rater) == (Status.ACCEPTED, "chats", "rater")
    assert example.source.kind is SourceKind.CHAT_KEEP
    assert (example.source.chat_id, example.source.message_id) == (answers[0].chat_id, answers[0].id)
    assert example.source.models == (answers[0].generation.model,)
    assert str(example.id) in gesture.said


def test_keeping_twice_makes_one_example_and_says_so(bench: Bench, answers: list[Message]) -> None:
    first = chat.keep(bench, answers[0].id)
    again = chat.keep(bench, answers[0].id)
    assert [e.id for e in again.examples] == [e.id for e in first.examples]
    assert "already" in again.said
    assert bench.store.examples.count(parse_query("")) == 1


def test_keeping_an_answer_that_was_cut_off_says_so(bench: Bench, engine: FakeEngine, opened: int) -> None:
    said = chat.say(bench, opened, "Count")
    engine.enqueue("one two three four")
    short = ask(bench, opened, said.id, sampling=Sampling(max_tokens=2))
    assert short.generation.stop_reason is StopReason.LENGTH
    assert "cut off" in chat.keep(bench, short.id).said


def test_an_edit_is_a_sibling_the_tip_and_a_pair_over_the_original(bench: Bench, answers: list[Message]) -> None:
    gesture = chat.edit(bench, answers[1].id, "Twenty minutes.")
    edited = gesture.message
    assert edited is not None
    assert (edited.parent_id, edited.edited_from, edited.generation) == (answers[1].parent_id, answers[1].id, None)
    assert bench.store.chats.get(edited.chat_id).tip_id == edited.id
    content = gesture.examples[0].content
    assert (content.chosen[0].content, content.rejected[0].content) == ("Twenty minutes.", "One hour.")
    source = gesture.examples[0].source
    assert (source.message_id, source.other_message_id) == (edited.id, answers[1].id)


def test_an_edit_that_changes_nothing_is_refused_and_leaves_nothing(bench: Bench, answers: list[Message]) -> None:
    before = len(bench.store.chats.tree(answers[1].chat_id).messages)
    with pytest.raises(DataError):
        chat.edit(bench, answers[1].id, "One hour.")
    assert len(bench.store.chats.tree(answers[1].chat_id).messages) == before


def test_undoing_an_edit_shows_the_original_again_and_redo_the_edited_one(bench: Bench, answers: list[Message]) -> None:
    edited = chat.edit(bench, answers[1].id, "Twenty minutes.").message
    assert edited is not None
    assert chat.undo(bench) is not None
    assert bench.store.chats.get(edited.chat_id).tip_id == answers[1].id
    assert bench.store.examples.count(parse_query("")) == 0
    assert chat.redo(bench) is not None
    assert bench.store.chats.get(edited.chat_id).tip_id == edited.id
    assert bench.store.examples.count(parse_query("")) == 1


def test_undoing_an_edit_does_not_pull_away_another_branch(bench: Bench, answers: list[Message]) -> None:
    chat.edit(bench, answers[1].id, "Twenty minutes.")
    chat.show_sibling(bench, answers[0].id)
    chat.undo(bench)
    assert bench.store.chats.get(answers[0].chat_id).tip_id == answers[0].id


def test_an_undo_in_a_chat_leaves_alone_what_was_done_elsewhere(bench: Bench, answers: list[Message]) -> None:
    kept = chat.keep(bench, answers[0].id).examples[0]
    chat.thumb(bench, answers[0].id, up=True)
    chat.thumb(bench, answers[0].id, up=False)
    curate.accept(bench, [kept.id])
    with pytest.raises(RefusedError, match=f"not done in a chat: accepting example {kept.id}") as caught:
        chat.undo(bench)
    assert "Curate" in caught.value.hint
    curate.undo(bench)
    assert [chat.undo(bench) is not None for _ in range(4)] == [True, True, True, False]


def test_a_branch_at_a_question_stands_before_it_and_gives_it_back(
    bench: Bench, opened: int, question: Message, answers: list[Message]
) -> None:
    follow = chat.say(bench, opened, "And beans?", parent_id=answers[0].id)
    assert chat.branch(bench, follow.id) == follow
    assert chat.say(bench, opened, "And peas?").parent_id == answers[0].id
    chat.branch(bench, question.id)
    assert chat.say(bench, opened, "Anew").parent_id is None


def test_an_edited_question_is_a_branch_without_an_example(bench: Bench, question: Message) -> None:
    gesture = chat.edit(bench, question.id, "How long does pasta cook?")
    assert gesture.examples == ()
    assert gesture.message is not None
    assert (gesture.message.parent_id, gesture.message.role) == (question.parent_id, Role.USER)


def test_preferring_makes_one_pair(bench: Bench, answers: list[Message]) -> None:
    gesture = chat.prefer(bench, answers[2].id, answers[0].id)
    content = gesture.examples[0].content
    assert (content.chosen[0].content, content.rejected[0].content) == ("Ask someone.", "Ten minutes.")


def test_answers_to_different_questions_are_no_pair(bench: Bench, opened: int, answers: list[Message]) -> None:
    other = ask(bench, opened, chat.say(bench, opened, "And beans?").id)
    with pytest.raises(RefusedError):
        chat.prefer(bench, answers[0].id, other.id)


def test_a_pick_is_a_pair_over_every_other_answer_and_one_undo(bench: Bench, answers: list[Message]) -> None:
    chat.keep(bench, answers[0].id)
    gesture = chat.pick(bench, answers[0].id)
    pairs = {(e.content.chosen[0].content, e.content.rejected[0].content) for e in gesture.examples}
    assert pairs == {("Ten minutes.", "One hour."), ("Ten minutes.", "Ask someone.")}
    undone = chat.undo(bench)
    assert undone is not None
    assert set(undone.example_ids) == {e.id for e in gesture.examples}
    assert bench.store.examples.count(parse_query("kind:preference")) == 0
    assert bench.store.examples.count(parse_query("kind:demonstration")) == 1


def test_there_is_nothing_to_pick_from_one_answer(
    bench: Bench, engine: FakeEngine, opened: int, question: Message
) -> None:
    engine.enqueue("The same.", "The same.")
    first = ask(bench, opened, question.id)
    ask(bench, opened, question.id)
    with pytest.raises(RefusedError):
        chat.pick(bench, first.id)


@pytest.mark.parametrize("up", [True, False])
def test_a_thumb_is_a_judgement(bench: Bench, answers: list[Message], up: bool) -> None:
    example = chat.thumb(bench, answers[0].id, up=up).examples[0]
    assert (example.content.kind, example.content.label) == (Kind.JUDGEMENT, up)


def test_the_other_thumb_replaces_the_first_and_one_undo_brings_it_back(bench: Bench, answers: list[Message]) -> None:
    first = chat.thumb(bench, answers[0].id, up=True).examples[0]
    second = chat.thumb(bench, answers[0].id, up=False).examples[0]
    assert bench.store.examples.get(first.id).status is Status.REJECTED
    chat.undo(bench)
    assert bench.store.examples.get(first.id).status is Status.ACCEPTED
    assert bench.store.examples.find("chats", second.content) is None


def test_a_mind_changed_twice_ends_where_it_began(bench: Bench, answers: list[Message]) -> None:
    up = chat.thumb(bench, answers[0].id, up=True).examples[0]
    down = chat.thumb(bench, answers[0].id, up=False).examples[0]
    chat.thumb(bench, answers[0].id, up=True)
    assert bench.store.examples.get(up.id).status is Status.ACCEPTED
    assert bench.store.examples.get(down.id).status is Status.REJECTED


def test_gestures_on_a_question_are_refused(bench: Bench, question: Message) -> None:
    with pytest.raises(RefusedError):
        chat.keep(bench, question.id)


def test_a_gesture_on_an_edited_answer_names_the_model_it_came_from(bench: Bench, answers: list[Message]) -> None:
    edited = chat.edit(bench, answers[1].id, "Twenty minutes.").message
    assert edited is not None
    kept = chat.keep(bench, edited.id).examples[0]
    assert kept.source.models == (answers[1].generation.model,)


def test_a_sibling_is_shown_down_to_its_newest_leaf(bench: Bench, opened: int, answers: list[Message]) -> None:
    chat.branch(bench, answers[0].id)
    follow = chat.say(bench, opened, "And beans?")
    reply = ask(bench, opened, follow.id)
    chat.branch(bench, answers[1].id)
    assert chat.show_sibling(bench, answers[0].id).id == reply.id
    assert bench.store.chats.get(opened).tip_id == reply.id


def _pending(bench: Bench) -> list[str]:
    return [row["text"] for row in bench.store.read().execute("SELECT text FROM answers")]


def test_what_the_engine_left_out_is_said_and_stored_with_the_answer(bench: Bench, engine: FakeEngine) -> None:
    engine.notice("the oldest 4 messages did not fit")
    chat_id = chat.new_chat(bench).id
    question = chat.say(bench, chat_id, "q")
    events = list(chat.answer(bench, chat_id, parent_id=question.id, cancelled=threading.Event()))
    assert chat.AnswerNoted("the oldest 4 messages did not fit") in events
    made = bench.store.chats.tree(chat_id).path()[-1].generation
    assert made is not None and made.notice == "the oldest 4 messages did not fit"


# Going on with an answer


def go_on(bench: Bench, message: Message, **options: object) -> Message:
    *_, last = chat.go_on(bench, message.id, cancelled=threading.Event(), **options)  # type: ignore[arg-type]
    assert isinstance(last, chat.AnswerEnded)
    return last.message


def count(bench: Bench) -> int:
    return bench.store.examples.count(parse_query(""))


def test_a_model_goes_on_where_an_answer_was_stopped(
    bench: Bench, engine: FakeEngine, opened: int, question: Message
) -> None:
    engine.enqueue("Ten", " minutes, then rest.")
    stopped = ask(bench, opened, question.id)
    whole = go_on(bench, stopped)
    assert engine.requests[-1].go_on and texts(engine.requests[-1].turns)[-1] == ("assistant", "Ten")
    assert whole.content == "Ten minutes, then rest."
    assert (whole.parent_id, whole.edited_from) == (stopped.parent_id, stopped.id)
    assert whole.generation is not None and whole.generation.given == len("Ten")
    assert bench.store.chats.message(whole.id) == whole
    assert bench.store.chats.message(stopped.id).content == "Ten"
    assert bench.store.chats.get(opened).tip_id == whole.id
    assert count(bench) == 0


def test_a_model_goes_on_from_what_a_person_began_and_no_pair_says_that_the_person_wrote_it(
    bench: Bench, engine: FakeEngine, opened: int, question: Message
) -> None:
    engine.enqueue("Ask somebody else.", " minutes.")
    bad = ask(bench, opened, question.id)
    better = go_on(bench, bad, text="Ten")
    assert (better.content, better.edited_from) == ("Ten minutes.", bad.id)
    assert better.generation is not None and better.content[: better.generation.given] == "Ten"
    assert count(bench) == 0
    (pair,) = chat.pick(bench, better.id).examples
    source = bench.store.examples.source(pair.id)
    assert source.kind is SourceKind.CHAT_PICK and (source.message_id, source.other_message_id) == (better.id, bad.id)


def test_an_answer_that_two_models_wrote_names_both(
    bench: Bench, engine: FakeEngine, opened: int, question: Message
) -> None:
    first = bench.store.models.default()
    other = bench.store.models.add("other", first.kind, first.path)
    engine.enqueue("Ten", " minutes.")
    whole = go_on(bench, ask(bench, opened, question.id), model=other.name)
    kept = chat.keep(bench, whole.id)
    assert bench.store.examples.source(kept.examples[0].id).models == ("other", first.name)


@pytest.mark.parametrize("text", [None, "Ten"])
def test_nothing_is_stored_of_a_model_that_adds_nothing(
    bench: Bench, engine: FakeEngine, opened: int, question: Message, text: str | None
) -> None:
    engine.enqueue("Ten minutes.", "")
    said = ask(bench, opened, question.id)
    with pytest.raises(RefusedError, match="adds nothing"):
        go_on(bench, said, text=text)
    assert bench.store.chats.tree(opened).siblings(said.id) == (said,)
    assert bench.store.read().execute("SELECT count(*) FROM answers").fetchone()[0] == 0


def test_what_came_before_the_engine_died_is_kept_behind_what_was_given(
    bench: Bench, engine: FakeEngine, opened: int, question: Message
) -> None:
    engine.enqueue("Ten", " minutes and a half")
    said = ask(bench, opened, question.id)
    engine.die_after(2)
    with pytest.raises(EngineError):
        go_on(bench, said)
    _, kept = bench.store.chats.tree(opened).siblings(said.id)
    assert kept.content == "Ten minutes" and kept.edited_from == said.id
    assert kept.generation is not None
    assert (kept.generation.stop_reason, kept.generation.given) == (StopReason.ERROR, 3)


def test_a_lost_bench_leaves_what_was_gone_on_with_and_where_it_came_from(
    bench: Bench, opened: int, question: Message
) -> None:
    said = ask(bench, opened, question.id)
    chats = bench.store.chats
    pending = chats.begin_answer(opened, parent_id=question.id, model="m", sampling=PIP, edited_from=said.id, given=3)
    chats.save_answer_text(pending, "Ten min")
    with bench.store.write() as db:
        db.execute("UPDATE answers SET owner_pid = 1, owner_started = 1.0")
    assert recover_answers(bench.store) == 1
    lost = chats.tree(opened).siblings(said.id)[-1]
    assert (lost.content, lost.edited_from) == ("Ten min", said.id)
    assert lost.generation is not None and lost.generation.given == 3


@pytest.mark.parametrize("text", ["", " \n"])
def test_there_must_be_something_to_go_on_from(bench: Bench, opened: int, question: Message, text: str) -> None:
    said = ask(bench, opened, question.id)
    with pytest.raises(RefusedError, match="nothing to go on from"):
        go_on(bench, said, text=text)
    with pytest.raises(RefusedError, match="not an answer"):
        go_on(bench, question)
