"""Lists of ids: the same rows however they are read, the first ones at once, and nothing is read that need not be."""

from __future__ import annotations

import random
import sqlite3
import threading
from array import array
from collections import Counter
from collections.abc import Callable

import pytest

from workbench.domain.chats import Turn
from workbench.domain.decisions import Action
from workbench.domain.examples import (
    Example,
    Kind,
    NewExample,
    Source,
    SourceKind,
    Split,
    Status,
    demonstration,
    judgement,
    preference,
)
from workbench.domain.queries import parse_query
from workbench.store import lists
from workbench.store.lists import Window
from workbench.store.store import Store

ROWS = 60
IMPORTED = Source(SourceKind.IMPORT, file="rows.jsonl", line=1)
MODELS = ("pip", "tim")


def _new(number: int, draw: random.Random) -> NewExample:
    prompt = (Turn("user", f"question {number} {draw.choice(['refund', 'oven', 'order'])} 世界"),)
    answer = " ".join(["word"] * draw.randint(1, 30) + [draw.choice(["blue", "red"]), str(number)])
    makers = [
        lambda: demonstration(prompt, answer),
        lambda: preference(prompt, answer, "bad"),
        lambda: judgement(prompt, answer, number % 2 == 0),
    ]
    by_chat = Source(SourceKind.CHAT_KEEP, chat_id=1, message_id=number, models=(draw.choice(MODELS),))
    return NewExample(
        makers[number * 3 // ROWS](),
        draw.choice([IMPORTED, by_chat]),
        draw.choice([*Status]),
        draw.choice([*Split]),
        tags=tuple(tag for tag in ("a", "b") if draw.random() < 0.4),
        note="a note" if draw.random() < 0.3 else "",
        rating=draw.choice([None, 3]),
        rater=draw.choice(["ann", ""]),
        flags=("long",) if draw.random() < 0.3 else (),
    )


@pytest.fixture
def full(store: Store) -> Store:
    """Two datasets of different rows, the second one brought by an import, and two rows that are hidden."""
    draw = random.Random(5)
    rows = [_new(number, draw) for number in range(ROWS)]
    store.examples.add_many("first", rows[: ROWS // 2], rater="ann", status=Status.PENDING)
    with store.imports.stage("second", status=Status.PENDING, rater="bob") as staging:
        for new in rows[ROWS // 2 :]:
            staging.put(new)
        staging.publish(file="rows.jsonl", format="test")
    store.examples.change([3, ROWS - 3], Action.DELETE, rater="ann", hidden=True)
    return store


def _all(store: Store) -> list[Example]:
    """Every visible example, by a look at each one."""
    return store.examples.many(range(1, ROWS + 1))


def _words(example: Example) -> str:
    return f" {example.prompt_text} {example.answer_text} {example.note} ".replace("\n", " ")


MEANINGS: dict[str, Callable[[Example], bool]] = {
    "": lambda e: True,
    "status:pending": lambda e: e.status is Status.PENDING,
    "-status:rejected": lambda e: e.status is not Status.REJECTED,
    "kind:preference": lambda e: e.content.kind is Kind.PREFERENCE,
    "kind:judgement label:true": lambda e: e.content.label is True,
    "-label:true": lambda e: e.content.label is not True,
    "split:test": lambda e: e.split is Split.TEST,
    "source:import": lambda e: e.source.kind is SourceKind.IMPORT,
    "source:chat": lambda e: e.source.kind is SourceKind.CHAT_KEEP,
    "tag:a": lambda e: "a" in e.tags,
    "tag:a tag:b": lambda e: e.tags == ("a", "b"),
    "-tag:a": lambda e: "a" not in e.tags,
    "flag:long": lambda e: "long" in e.flags,
    "model:pip": lambda e: "pip" in e.source.models,
    "-model:pip": lambda e: "pip" not in e.source.models,
    "model:nobody": lambda e: False,
    "rater:ann": lambda e: e.rater == "ann",
    "has:note": lambda e: bool(e.note),
    "-has:note": lambda e: not e.note,
    "has:rating": lambda e: e.rating is not None,
    "has:tag": lambda e: bool(e.tags),
    "has:flag": lambda e: bool(e.flags),
    "len>20": lambda e: len(f"{e.prompt_text} {e.answer_text}".split()) > 20,
    "dataset:second": lambda e: e.dataset == "second",
    "dataset:nowhere": lambda e: False,
    "import:1": lambda e: e.dataset == "second",
    "import:7": lambda e: False,
    "refund": lambda e: " refund " in _words(e),
    "refund blue": lambda e: " refund " in _words(e) and " blue " in _words(e),
    "refund tag:a": lambda e: " refund " in _words(e) and "a" in e.tags,
    "refund tag:a model:pip": lambda e: " refund " in _words(e) and "a" in e.tags and "pip" in e.source.models,
    "refund has:note status:accepted": lambda e: " refund " in _words(e) and e.note != "" and e.status == "accepted",
    "refund kind:judgement": lambda e: " refund " in _words(e) and e.content.kind is Kind.JUDGEMENT,
    "refund dataset:second": lambda e: " refund " in _words(e) and e.dataset == "second",
    "世界 tag:b": lambda e: "b" in e.tags,
}


@pytest.mark.parametrize("text", MEANINGS)
@pytest.mark.parametrize("few", [0, 2000])
def test_a_query_finds_what_a_look_at_every_row_finds(
    full: Store, text: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "_FEW", few)  # with 0 no tag is rare, and words are looked up first
    monkeypatch.setattr(lists, "PIECE", 7)
    wanted = [e.id for e in _all(full) if MEANINGS[text](e)]
    query = parse_query(text)
    assert list(full.examples.ids(query)) == wanted
    assert list(full.examples.ids(query, order="-id")) == wanted[::-1]
    assert full.examples.count(query) == len(wanted)
    assert [e.id for e in full.examples.list(query, after=10, limit=3)] == [i for i in wanted if i > 10][:3]
    assert list(full.examples.window(query).ids) == wanted
    counted = Counter(e.status for e in _all(full) if MEANINGS[text](e))
    for order in ("id", "-id", "words"):
        pieces = list(full.examples.pieces(query, order=order))
        assert {status: sum(piece.counts[status] for piece in pieces) for status in Status} == {
            status: counted[status] for status in Status
        }


def test_a_dataset_and_a_query_hold_together(full: Store) -> None:
    wanted = [e.id for e in _all(full) if e.dataset == "second" and "a" in e.tags]
    assert list(full.examples.ids(parse_query("tag:a"), dataset="second")) == wanted
    assert list(full.examples.ids(parse_query("tag:a dataset:first"), dataset="second")) == []


@pytest.mark.parametrize(
    "order", ["words", "-words", "prompt", "updated", "rating", "-rating", "status", "-status", "length"]
)
def test_a_sorted_list_has_the_same_rows_in_pieces_and_whole(
    full: Store, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = full.examples.ids(parse_query(""), order=order)
    monkeypatch.setattr(lists, "PIECE", 7)
    assert full.examples.ids(parse_query(""), order=order) == whole
    assert full.examples.window(parse_query(""), order=order).ids == whole  # this one SQLite has sorted
    tagged = full.examples.ids(parse_query("tag:a"))
    assert list(full.examples.ids(parse_query("tag:a"), order=order)) == [i for i in whole if i in tagged]
    assert sorted(whole) == [e.id for e in _all(full)]


def test_rows_sorted_by_words_are(full: Store) -> None:
    rows = full.examples.many(full.examples.ids(parse_query("")))
    words = {e.id: len(f"{e.prompt_text} {e.answer_text}".split()) for e in rows}
    found = [words[i] for i in full.examples.ids(parse_query(""), order="-words")]
    assert found == sorted(words.values(), reverse=True)


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of two rows before and three from a row on; of one and two where each takes long to find."""
    monkeypatch.setattr(lists, "WINDOW_BEFORE", 2)
    monkeypatch.setattr(lists, "WINDOW_AFTER", 3)
    monkeypatch.setattr(lists, "_SLOW_BEFORE", 1)
    monkeypatch.setattr(lists, "_SLOW_AFTER", 2)


@pytest.mark.usefixtures("small_windows")
def test_a_window_begins_with_the_first_rows_or_lies_around_one(full: Store) -> None:
    window, query = full.examples.window, parse_query("")
    assert window(query) == Window(array("q", [1, 2, 4]), False)
    assert window(query, around=20) == Window(array("q", [18, 19, 20, 21, 22]), False)
    assert window(query, around=20, order="-id") == Window(array("q", [22, 21, 20, 19, 18]), False)
    assert window(query, around=1) == Window(array("q", [1, 2, 4]), False)
    assert window(query, around=3) == Window(array("q", [1, 2, 4]), False)  # a hidden row is not in the list


@pytest.mark.usefixtures("small_windows")
def test_a_window_knows_when_it_is_the_whole_list(full: Store) -> None:
    two = full.examples.ids(parse_query("tag:a"))[:2]
    full.examples.change(two, Action.TAG, rater="ann", add_tags=("two",))
    assert full.examples.window(parse_query("tag:two")) == Window(array("q", two), True)
    assert full.examples.window(parse_query("tag:two"), around=two[1]) == Window(array("q", two), True)
    assert full.examples.window(parse_query("tag:none")) == Window(array("q"), True)


@pytest.mark.usefixtures("small_windows")
def test_a_window_is_smaller_where_each_row_is_looked_up_in_the_texts(full: Store) -> None:
    full.examples.change(full.examples.ids(parse_query("tag:a")), Action.NOTE, rater="ann", note="remarkable")
    window, query = full.examples.window, parse_query("remarkable tag:a")
    found = full.examples.ids(query)
    assert len(found) > 5
    assert window(query) == Window(found[:2], False)
    assert window(query, around=found[3]) == Window(found[2:5], False)
    assert window(parse_query("remarkable")) == Window(found[:3], False)


@pytest.mark.usefixtures("small_windows")
def test_the_place_of_a_row_in_a_sorted_list_is_not_guessed(full: Store) -> None:
    assert full.examples.window(parse_query(""), order="words", around=20) == Window(array("q"), False)
    first = full.examples.ids(parse_query(""), order="words")[:3]
    assert full.examples.window(parse_query(""), order="words", around=3) == Window(first, False)


def test_reading_ends_when_nobody_wants_the_list_any_more(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "PIECE", 5)
    monkeypatch.setattr(lists, "_STEPS", 1)
    cancelled = threading.Event()
    pieces = full.examples.pieces(parse_query(""), cancelled=cancelled)
    assert len(next(pieces).ids) == 5
    cancelled.set()
    assert list(pieces) == []
    assert len(full.examples.ids(parse_query(""))) == ROWS - 2  # the connection can be used again


def test_an_error_of_the_database_is_not_taken_for_a_wish_to_end(full: Store) -> None:
    full.read().execute("PRAGMA query_only = OFF")
    full.read().execute("DROP INDEX examples_facts")
    with pytest.raises(sqlite3.OperationalError):
        list(full.examples.pieces(parse_query(""), cancelled=threading.Event()))


def test_counts_are_those_of_the_rows(full: Store) -> None:
    rows = _all(full)
    for dataset in (None, "second"):
        here = [e.status for e in rows if dataset in (None, e.dataset)]
        assert full.examples.counts(dataset) == {status: here.count(status) for status in Status}
    some = [e for e in rows if e.id % 3]
    wanted = {status: [e.status for e in some].count(status) for status in Status}
    assert full.examples.statuses([3, *(e.id for e in some)]) == wanted  # 3 is hidden


def test_a_model_is_found_by_where_a_row_comes_from_now(full: Store) -> None:
    example = next(e for e in _all(full) if e.dataset == "first" and e.source.models == ("pip",))
    query = parse_query("model:other")
    again = Source(SourceKind.CHAT_KEEP, chat_id=2, models=("other",))
    full.examples.change([example.id], Action.DELETE, rater="ann", hidden=True)
    full.examples.add("first", example.content, source=again, status=Status.PENDING, rater="ann")
    assert list(full.examples.ids(query)) == [example.id]
    assert example.id not in full.examples.ids(parse_query("model:pip"))


PLAIN = ("status:pending", "kind:preference", "split:train", "source:import", "rater:ann", "len>5", "lang:en", "")


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_filter_reads_no_row_and_sorts_nothing(full: Store, text: str) -> None:
    plan = _plan(full, text)
    assert any("COVERING INDEX examples_facts" in step for step in plan)
    assert not any("TEMP B-TREE" in step for step in plan)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("tag:a status:pending", "example_tags_tag"),
        ("model:pip", "example_models_model"),
        ("flag:long", "example_flags_flag"),
        ("refund status:pending", "VIRTUAL TABLE"),
        ("has:note", "examples_noted"),
    ],
)
def test_what_few_rows_have_is_looked_up_and_not_searched_for(full: Store, text: str, first: str) -> None:
    plan = _plan(full, text)
    assert first in plan[0]
    assert not any("TEMP B-TREE" in step for step in plan)


def _plan(store: Store, text: str) -> list[str]:
    """The steps by which SQLite reads the first piece of a list."""
    from workbench.store.queries import reading

    read = reading(parse_query(text))
    sql = f"SELECT {read.id} FROM {read.source} WHERE {read.condition.sql} ORDER BY {read.id}"
    return [row["detail"] for row in store.read().execute(f"EXPLAIN QUERY PLAN {sql}", read.condition.values)]


def test_pairs_made_in_chats_are_found_by_the_narrow_index_and_not_by_reading_every_row(full: Store) -> None:
    connection, asked = full.read(), list[str]()
    connection.set_trace_callback(asked.append)
    assert full.examples.answer_pairs() == set()
    connection.set_trace_callback(None)
    plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {asked[-1]}")]
    assert any("COVERING INDEX examples_facts" in step for step in plan)
    assert not any(step.startswith("SCAN e") for step in plan)
