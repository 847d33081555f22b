"""Several answers at once, and rankings of them: every two in different places make a pair, one undo for all."""

from __future__ import annotations

import threading

import pytest

from fakes import FakeEngine
from workbench.domain.chats import Sampling
from workbench.domain.examples import Kind
from workbench.domain.models import ModelKind
from workbench.domain.queries import parse_query
from workbench.errors import EngineError, RefusedError, UsageError
from workbench.flows import chat, several
from workbench.flows.bench import Bench


def asked(bench: Bench, *, seed: int | None = None) -> tuple[int, int]:
    """A chat with one question."""
    chat_id = chat.new_chat(bench, sampling=Sampling(seed=seed)).id
    return chat_id, chat.say(bench, chat_id, "which?").id


def ask(bench: Bench, count: int, *, seed: int | None = None) -> list[int]:
    """The messages of so many answers, in the order in which they were numbered."""
    chat_id, question = asked(bench, seed=seed)
    found = {}
    for event in several.answers(bench, chat_id, parent_id=question, count=count, cancelled=threading.Event()):
        if isinstance(event.news, chat.AnswerEnded):
            found[event.number] = event.news.message.id
    return [found[number] for number in range(count)]


def texts(bench: Bench) -> list[tuple[str, str]]:
    """Chosen over rejected, of every pair."""
    found = bench.store.examples.list(parse_query(""))
    assert all(one.content.kind is Kind.PREFERENCE for one in found)
    return [(one.content.chosen[0].content, one.content.rejected[0].content) for one in found]


def answered(bench: Bench, engine: FakeEngine, *answers: str) -> dict[str, int]:
    """Messages by their text."""
    engine.enqueue(*answers)
    return {bench.store.chats.message(one).content: one for one in ask(bench, len(answers))}


def test_answers_are_asked_for_at_the_same_time_and_are_alternatives(bench: Bench, engine: FakeEngine) -> None:
    chat_id, question = asked(bench)
    engine.hold()
    events = several.answers(bench, chat_id, parent_id=question, count=3, cancelled=threading.Event())
    started = [next(events) for _ in range(3)]
    assert {one.number for one in started} == {0, 1, 2}
    assert all(isinstance(one.news, chat.AnswerStarted) for one in started)  # none has ended, and all are asked
    engine.release()
    list(events)
    tree = bench.store.chats.tree(chat_id)
    assert len(tree.children(question)) == 3 and tree.chat.tip_id in {m.id for m in tree.children(question)}


def test_each_has_a_seed_of_its_own_also_when_the_chat_has_one(bench: Bench, engine: FakeEngine) -> None:
    ask(bench, 3, seed=2**31 - 1)
    assert sorted(request.sampling.seed or 0 for request in engine.requests) == [0, 1, 2**31 - 1]
    engine.requests.clear()
    ask(bench, 3)
    assert len({request.sampling.seed for request in engine.requests}) == 3


def test_another_answer_has_another_seed_so_that_it_is_another_one(bench: Bench, engine: FakeEngine) -> None:
    chat_id, question = asked(bench, seed=7)
    bench.store.models.add("other", ModelKind.BASE, bench.store.models.get("pip").path)
    for count, model in ((1, ""), (2, ""), (1, "other"), (1, "")):
        list(several.answers(bench, chat_id, parent_id=question, count=count, cancelled=threading.Event(), model=model))
    seeds = [request.sampling.seed or 0 for request in engine.requests]
    assert [seeds[0], *sorted(seeds[1:3]), *seeds[3:]] == [7, 8, 9, 7, 10]


def test_one_that_fails_does_not_end_the_others(bench: Bench, engine: FakeEngine) -> None:
    engine.enqueue("one two", "three four")
    engine.die_after(1)
    chat_id, question = asked(bench)
    with pytest.raises(EngineError):
        list(several.answers(bench, chat_id, parent_id=question, count=2, cancelled=threading.Event()))
    found = bench.store.chats.tree(chat_id).children(question)
    assert len(found) == 2 and {message.content for message in found} & {"one two", "three four"}


def test_leaving_stops_all_of_them(bench: Bench, engine: FakeEngine) -> None:
    chat_id, question = asked(bench)
    engine.hold()
    cancelled = threading.Event()
    events = several.answers(bench, chat_id, parent_id=question, count=3, cancelled=cancelled)
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert cancelled.is_set() and engine.status().active == 0


@pytest.mark.parametrize("count", [0, 10])
def test_none_and_too_many_are_refused(bench: Bench, count: int) -> None:
    chat_id, question = asked(bench)
    with pytest.raises(UsageError):
        list(several.answers(bench, chat_id, parent_id=question, count=count, cancelled=threading.Event()))


def test_a_ranking_makes_a_pair_of_every_two_in_different_places(bench: Bench, engine: FakeEngine) -> None:
    ids = answered(bench, engine, "best", "good", "fair", "bad")
    made = several.rank(bench, [[ids["best"]], [ids["good"], ids["fair"]], [ids["bad"]]])
    assert sorted(texts(bench)) == [
        ("best", "bad"), ("best", "fair"), ("best", "good"), ("fair", "bad"), ("good", "bad"),
    ]  # fmt: skip
    assert made.message is not None and made.message.content == "best" and "ranked 4 answers" in made.said


def test_a_ranking_is_one_undo_and_one_redo(bench: Bench, engine: FakeEngine) -> None:
    ids = answered(bench, engine, "a", "b", "c")
    several.rank(bench, [[ids["a"]], [ids["b"]], [ids["c"]]])
    undone = chat.undo(bench)
    assert undone is not None and len(undone.example_ids) == 3 and texts(bench) == []
    chat.redo(bench)
    assert len(texts(bench)) == 3


def test_answers_that_say_the_same_make_no_pair(bench: Bench, engine: FakeEngine) -> None:
    ids = [*answered(bench, engine, "a").values()]
    tree = bench.store.chats.tree(bench.store.chats.message(ids[0]).chat_id)
    engine.enqueue("a ", "b")
    more = []
    for _ in range(2):
        *_, ended = chat.answer(bench, tree.chat.id, parent_id=tree.path()[0].id, cancelled=threading.Event())
        assert isinstance(ended, chat.AnswerEnded)
        more.append(ended.message.id)
    several.rank(bench, [ids, [more[0]], [more[1]]])
    assert sorted(texts(bench)) == [("a", "b"), ("a ", "b")]
    with pytest.raises(RefusedError, match="say the same"):
        several.rank(bench, [ids, [more[0]]])


def test_a_ranking_needs_two_places_and_alternatives(bench: Bench, engine: FakeEngine) -> None:
    ids = answered(bench, engine, "a", "b")
    (elsewhere,) = ask(bench, 1)
    with pytest.raises(RefusedError, match="a better and a worse"):
        several.rank(bench, [[ids["a"], ids["b"]], []])
    with pytest.raises(RefusedError, match="is no alternative"):
        several.rank(bench, [[ids["a"]], [elsewhere]])
    with pytest.raises(UsageError, match="one place only"):
        several.rank(bench, [[ids["a"]], [ids["a"], ids["b"]]])


def test_a_note_beside_an_edit_is_stored_with_the_pair_and_may_come_later(bench: Bench, engine: FakeEngine) -> None:
    ids = answered(bench, engine, "wrong")
    made = chat.edit(bench, ids["wrong"], "right", note=" the year was 1969\n")
    assert made.examples[0].note == "the year was 1969"
    again = chat.edit(bench, ids["wrong"], "right", note="and the month July")
    assert [one.id for one in again.examples] == [made.examples[0].id]
    assert bench.store.examples.get(made.examples[0].id).note == "and the month July"
