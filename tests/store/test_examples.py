from __future__ import annotations

from array import array
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samples import IMPORTED, demo, pair, thumb, user
from workbench.domain.chats import Turn
from workbench.domain.decisions import Action
from workbench.domain.examples import (
    Content,
    Example,
    Kind,
    NewExample,
    Source,
    SourceKind,
    Split,
    Status,
    demonstration,
    with_text,
)
from workbench.domain.queries import Query, parse_query
from workbench.errors import NotFoundError, UsageError
from workbench.paths import Workspace
from workbench.store.store import Store


def add(store: Store, content: Content, *, dataset: str = "d", rater: str = "r", **given: object) -> Example:
    values = {"source": IMPORTED, "status": Status.PENDING} | given
    return store.examples.add(dataset, content, rater=rater, **values)[0]  # type: ignore[arg-type]


def found(store: Store, text: str) -> list[int]:
    return list(store.examples.ids(parse_query(text)))


def rows(numbers: range) -> list[NewExample]:
    return [NewExample(demo(n), replace(IMPORTED, line=n)) for n in numbers]


def decide(store: Store, ids: list[int], status: Status, rater: str = "r") -> None:
    action = Action.ACCEPT if status is Status.ACCEPTED else Action.REJECT
    store.examples.change(ids, action, rater=rater, status=status)


def texts_agree(store: Store) -> None:
    """Raises when the full-text index is not what the table says."""
    with store.write() as db:
        db.execute("INSERT INTO examples_fts(examples_fts, rank) VALUES ('integrity-check', 1)")


@pytest.mark.parametrize("content", [demo(), pair(), thumb(label=True), thumb(label=False)])
def test_an_example_of_each_kind_comes_back_as_it_was_added(store: Store, content: Content) -> None:
    source = Source(SourceKind.CHAT_EDIT, chat_id=3, message_id=4, other_message_id=5, models=("pip", "tuned"))
    example, is_new = store.examples.add(
        "d", content, source=source, status=Status.ACCEPTED, rater="ann", split=Split.TEST, tags=("b", "a"), note="why"
    )
    assert is_new
    assert store.examples.get(example.id) == example
    assert (example.content, example.source, example.dataset) == (content, source, "d")
    assert (example.status, example.split, example.tags, example.note) == (
        Status.ACCEPTED,
        Split.TEST,
        ("a", "b"),
        "why",
    )
    assert example.rater == "ann"


def test_the_same_content_is_added_once_per_dataset(store: Store) -> None:
    first = add(store, demo(1), status=Status.REJECTED)
    again, is_new = store.examples.add("d", demo(1), source=IMPORTED, status=Status.ACCEPTED, rater="other")
    assert (again, is_new) == (first, False), "what was decided before stands"
    elsewhere, is_new = store.examples.add("e", demo(1), source=IMPORTED, status=Status.ACCEPTED, rater="r")
    assert is_new and elsewhere.id != first.id


def test_content_with_half_a_surrogate_pair_is_the_same_when_it_comes_again(store: Store) -> None:
    broken = demonstration(user("q"), "answer \ud83d")
    first = add(store, broken)
    assert first.content.chosen[0].content == "answer �"
    assert store.examples.add("d", broken, source=IMPORTED, status=Status.PENDING, rater="r") == (first, False)


def test_notes_and_tags_with_half_a_surrogate_pair_are_stored(store: Store) -> None:
    example = add(store, demo(), note="n \ud83d", tags=("t\ud83d",))
    assert (example.note, example.tags) == ("n �", ("t�",))
    store.examples.change([example.id], Action.NOTE, rater="r", note="\ud83d", add_tags=("\ude42",))
    changed = store.examples.get(example.id)
    assert (changed.note, changed.tags) == ("�", ("t�", "�"))


def test_many_rows_are_one_transaction_and_one_undo(store: Store) -> None:
    add(store, demo(3))
    assert store.examples.add_many("d", rows(range(1, 7)), rater="r", status=Status.ACCEPTED) == (5, 1)
    assert store.examples.counts() == {Status.PENDING: 1, Status.ACCEPTED: 5, Status.REJECTED: 0}
    assert len(found(store, "question")) == 6
    texts_agree(store)
    undone = store.examples.undo("r")
    assert undone is not None and len(undone.example_ids) == 5
    assert store.examples.count(Query()) == 1


def test_an_error_among_many_rows_leaves_none(store: Store) -> None:
    def broken() -> object:
        yield from rows(range(3))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.examples.add_many("d", broken(), rater="r", status=Status.PENDING)  # type: ignore[arg-type]
    assert store.examples.count(Query()) == 0
    assert store.datasets.list() == []


def test_many_rows_bring_their_own_decisions(store: Store) -> None:
    new = NewExample(
        pair(), IMPORTED, Status.REJECTED, Split.VALIDATION, ("x",), "note", rating=2, rater="ann", flags=("odd",)
    )
    store.examples.add_many("d", [new], rater="r", status=Status.ACCEPTED)
    (example,) = store.examples.list(Query())
    assert (example.status, example.split, example.tags, example.note) == (
        Status.REJECTED, Split.VALIDATION, ("x",), "note",
    )  # fmt: skip
    assert (example.rating, example.rater, example.flags) == (2, "ann", ("odd",))


def test_a_page_has_the_rows_asked_for_in_that_order(store: Store) -> None:
    examples = [add(store, demo(n), tags=("t",)) for n in range(3)]
    page = store.examples.page(array("q", [examples[2].id, 99, examples[0].id]))
    assert [row and row.prompt for row in page] == ["question 2", None, "question 0"]
    assert page[0] is not None and (page[0].answer, page[0].tags, page[0].kind) == (
        "answer 2",
        ("t",),
        Kind.DEMONSTRATION,
    )
    assert store.examples.page([]) == []


def test_a_page_may_be_longer_than_one_statement_takes(store: Store) -> None:
    store.examples.add_many("d", rows(range(2500)), rater="r", status=Status.PENDING)
    ids = store.examples.ids(Query())
    page = store.examples.page(ids)
    assert [row.id for row in page if row] == list(ids) and len(ids) == 2500


def test_a_page_shows_the_beginning_of_a_long_text(store: Store) -> None:
    example = add(store, demonstration(user("q" * 1_000_000), "a" * 1_000_000))
    (row,) = store.examples.page([example.id])
    assert row is not None and row.prompt == "q" * len(row.prompt)
    assert 80 <= len(row.prompt) < 1000
    assert store.examples.get(example.id).answer_text == "a" * 1_000_000


def test_a_list_goes_on_after_an_id(store: Store) -> None:
    ids = [add(store, demo(n)).id for n in range(5)]
    first = store.examples.list(Query(), limit=2)
    rest = store.examples.list(Query(), after=first[-1].id)
    assert [e.id for e in (*first, *rest)] == ids


def test_the_order_can_be_chosen(store: Store) -> None:
    one, two, three = (add(store, demonstration(user(q), a)) for q, a in (("b", "xxx"), ("a", "x"), ("c", "xx")))
    store.examples.change([two.id], Action.RATE, rater="r", rating=5)
    store.examples.change([three.id], Action.RATE, rater="r", rating=1)

    def order(name: str) -> list[int]:
        return list(store.examples.ids(Query(), order=name))

    assert order("-id") == [three.id, two.id, one.id]
    assert order("prompt") == [two.id, one.id, three.id]
    assert order("length") == [two.id, three.id, one.id]
    assert order("-rating") == [two.id, three.id, one.id], "without a rating comes last"
    assert order("-updated")[0] == three.id
    with pytest.raises(UsageError, match="no order"):
        order("id; DROP TABLE examples")


def test_counting_agrees_with_listing(store: Store) -> None:
    ids = [add(store, demo(n)).id for n in range(5)]
    add(store, demo(1), dataset="other")
    decide(store, ids[:3], Status.ACCEPTED)
    for text in ("", "status:accepted", "question", "dataset:other", "status:rejected"):
        assert store.examples.count(parse_query(text)) == len(found(store, text))
    assert store.examples.count(Query(), "d") == 5
    assert store.examples.counts("d")[Status.ACCEPTED] == 3
    assert list(store.examples.ids(Query(), dataset="other")) == [6]


def test_a_change_is_one_line_of_history_per_example(store: Store) -> None:
    ids = [add(store, demo(n)).id for n in range(2)]
    group = store.examples.change(ids, Action.TAG, rater="ann", add_tags=("b", "a"), remove_tags=("c",))
    assert [store.examples.get(i).tags for i in ids] == [("a", "b")] * 2
    created, tagged = store.examples.history(ids[0])
    assert (created.action, tagged.action, tagged.group, tagged.rater) == (Action.CREATE, Action.TAG, group, "ann")
    assert '"tags": []' in tagged.before and '"tags": ["a", "b"]' in tagged.after
    assert "status" not in tagged.before, "only what changed"


def test_a_change_of_several_fails_for_all_when_one_is_missing(store: Store) -> None:
    example = add(store, demo())
    with pytest.raises(NotFoundError):
        decide(store, [example.id, 99], Status.ACCEPTED)
    assert store.examples.get(example.id).status is Status.PENDING
    assert len(store.examples.history(example.id)) == 1


def test_an_edited_text_is_found_under_its_new_words_only(store: Store) -> None:
    example = add(store, pair())
    changed = with_text(example.content, "chosen", "completely different")
    store.examples.change([example.id], Action.EDIT, rater="r", content=changed)
    assert store.examples.get(example.id).content == changed
    assert found(store, "completely") == [example.id] and found(store, "good") == []
    assert store.examples.add("d", changed, source=IMPORTED, status=Status.PENDING, rater="r")[1] is False
    texts_agree(store)
    store.examples.undo("r")
    assert store.examples.get(example.id).content == pair()
    assert found(store, "completely") == [] and found(store, "good") == [example.id]
    texts_agree(store)


def test_every_gesture_can_be_undone_down_to_nothing_and_done_again(store: Store) -> None:
    example = add(store, demo())
    changes = [
        {"status": Status.ACCEPTED},
        {"add_tags": ("x",)},
        {"note": "n"},
        {"rating": 4},
        {"split": Split.TRAIN},
        {"content": demo(2)},
        {"status": Status.REJECTED, "remove_tags": ("x",)},
    ]
    states = [store.examples.get(example.id)]
    for change in changes:
        store.examples.change([example.id], Action.EDIT, rater="r", **change)  # type: ignore[arg-type]
        states.append(store.examples.get(example.id))
    assert len({repr(replace(s, updated_utc="")) for s in states}) == len(states), "each change shows"

    def now() -> Example:
        return replace(store.examples.get(example.id), updated_utc="")

    for state in reversed(states[:-1]):
        assert store.examples.undo("r") is not None
        assert now() == replace(state, updated_utc="")
    assert store.examples.undo("r") is not None, "the creation"
    assert store.examples.count(Query()) == 0
    assert store.examples.undo("r") is None
    for state in states:
        assert store.examples.redo("r") is not None
        assert now() == replace(state, updated_utc="")
    assert store.examples.redo("r") is None


def test_undo_works_after_a_restart(workspace: Workspace) -> None:
    store = Store.open(workspace)
    example = add(store, demo())
    decide(store, [example.id], Status.ACCEPTED)
    store.close()
    again = Store.open(workspace)
    undone = again.examples.undo("r")
    assert undone is not None and (undone.action, undone.example_ids) == (Action.ACCEPT, (example.id,))
    assert again.examples.get(example.id).status is Status.PENDING
    again.close()


def test_each_rater_undoes_his_own(store: Store) -> None:
    example = add(store, demo(), rater="ann")
    decide(store, [example.id], Status.ACCEPTED, rater="bob")
    assert store.examples.undo("eve") is None
    assert store.examples.undo("bob") is not None
    assert store.examples.undo("bob") is None
    assert store.examples.get(example.id).status is Status.PENDING


def test_undo_leaves_alone_what_somebody_has_changed_since(store: Store) -> None:
    example = add(store, demo(), rater="setup")
    store.examples.change([example.id], Action.ACCEPT, rater="ann", status=Status.ACCEPTED, note="mine")
    decide(store, [example.id], Status.REJECTED, rater="bob")
    store.examples.undo("ann")
    left = store.examples.get(example.id)
    assert (left.status, left.note, left.rater) == (Status.REJECTED, "", "bob")


def test_a_new_decision_ends_what_could_be_done_again(store: Store) -> None:
    example = add(store, demo())
    decide(store, [example.id], Status.ACCEPTED)
    store.examples.undo("r")
    store.examples.change([example.id], Action.NOTE, rater="r", note="n")
    assert store.examples.redo("r") is None
    store.examples.undo("r")
    redone = store.examples.redo("r")
    assert redone is not None and redone.action is Action.NOTE, "the acceptance stays forgotten"
    assert store.examples.get(example.id).status is Status.PENDING


def test_an_example_whose_adding_was_undone_is_nowhere(store: Store) -> None:
    example = add(store, demo())
    store.examples.undo("r")
    with pytest.raises(NotFoundError):
        store.examples.get(example.id)
    with pytest.raises(NotFoundError):
        decide(store, [example.id], Status.ACCEPTED)
    assert store.examples.page([example.id]) == [None]
    assert found(store, "") == [] and found(store, "question") == []
    assert store.examples.counts() == dict.fromkeys(Status, 0)
    assert store.datasets.get("d").total == 0


def test_adding_it_again_brings_it_back_as_new(store: Store) -> None:
    first = add(store, demo(), tags=("old",), note="old")
    store.examples.undo("r")
    source = Source(SourceKind.CHAT_KEEP, chat_id=1, message_id=2)
    again, is_new = store.examples.add("d", demo(), source=source, status=Status.ACCEPTED, rater="s", tags=("new",))
    assert is_new and again.id == first.id
    assert (again.status, again.tags, again.note, again.source, again.rater) == (
        Status.ACCEPTED, ("new",), "", source, "s",
    )  # fmt: skip
    assert found(store, "tag:new question") == [first.id]
    store.examples.undo("s")
    assert found(store, "") == []
    store.examples.redo("s")
    assert store.examples.get(first.id) == replace(again, updated_utc=store.examples.get(first.id).updated_utc)
    texts_agree(store)


def test_decisions_of_one_group_are_undone_together(store: Store) -> None:
    with store.write():
        group = store.examples.new_group("r")
        for number in range(3):
            add(store, pair(number), group=group)
    undone = store.examples.undo("r")
    assert undone is not None and undone.example_ids == (1, 2, 3)
    assert undone.text == "adding 3 examples"
    assert store.examples.undo("r") is None


QUERIES = {
    "": {1, 2, 3, 4},
    "status:accepted": {2},
    "-status:accepted": {1, 3, 4},
    "kind:preference": {2},
    "split:test": {3},
    "source:import": {1, 4},
    "source:chat": {2, 3},
    "-source:chat": {1, 4},
    "source:chat-edit": {2},
    "tag:refund": {1, 2},
    "tag:refund tag:late": {2},
    "-tag:refund": {3, 4},
    "has:tag": {1, 2},
    "-has:tag": {3, 4},
    "has:note": {3},
    "has:rating": {4},
    "has:flag": set(),
    "flag:odd": set(),
    "label:true": {3},
    "label:false": {4},
    "-label:true": {1, 2, 4},
    "model:tuned": {2},
    "-model:tuned": {1, 3, 4},
    "rater:ann": {3},
    "dataset:d": {1, 2, 3},
    "-dataset:d": {4},
    "dataset:missing": set(),
    "question": {1, 2, 3, 4},
    "QUESTION answer": {1, 2, 3, 4},
    '"good answer"': {2},
    '"answer good"': set(),
    "bad": {2},
    "checked": {3},
    "reminder": {1},
    "status:accepted good": {2},
    "status:pending good": set(),
    "quest": set(),
    "naive": {1},
    "c++": {4},
    "++": {4},
    "🙂": {4},
    "好": {4},
    "answer 好": {4},
    "''": {1, 2, 3, 4},
}


@pytest.mark.parametrize(("text", "expected"), QUERIES.items())
def test_a_query_finds(store: Store, text: str, expected: set[int]) -> None:
    turns = (Turn("system", "a reminder"), Turn("user", "naïve"), Turn("assistant", "so"), Turn("user", "question 1"))
    add(store, Content(Kind.DEMONSTRATION, turns, (Turn("assistant", "answer 1"),)), tags=("refund",))
    edited = Source(SourceKind.CHAT_EDIT, chat_id=1, message_id=1, models=("pip", "tuned"))
    add(store, pair(2), source=edited, status=Status.ACCEPTED, tags=("refund", "late"))
    thumbed = Source(SourceKind.CHAT_THUMB, chat_id=1, message_id=2, models=("pip",))
    add(store, thumb(3), source=thumbed, split=Split.TEST, note="to be checked", rater="ann")
    last = thumb(4, label=False)
    last = replace(last, chosen=(Turn("assistant", "answer c++ 🙂 你好吗"),))
    store.examples.change([add(store, last, dataset="e").id], Action.RATE, rater="r", rating=3)
    assert set(found(store, text)) == expected


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(WORDS | st.sampled_from(['"', "-", "*", "c++", "AND", "NEAR(", "^", "{", "\0", "a:b", "''"])))
def test_no_word_of_a_query_is_an_error(store: Store, words: list[str]) -> None:
    there = add(store, demonstration(user("a"), "b")).id
    assert set(store.examples.ids(Query(words=tuple(words)))) <= {there}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    answer=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
)
def test_any_text_is_stored_exactly(store: Store, text: str, answer: str) -> None:
    content = demonstration(user(text), answer)
    assert add(store, content).content == content


gestures = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 3)),
    st.tuples(st.just("status"), st.sampled_from(Status)),
    st.tuples(st.just("tag"), st.sampled_from(["x", "y"])),
    st.tuples(st.just("untag"), st.sampled_from(["x", "y"])),
    st.tuples(st.just("content"), st.integers(10, 12)),
    st.tuples(st.just("undo"), st.none()),
    st.tuples(st.just("redo"), st.none()),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(gestures, max_size=14))
def test_undo_and_redo_go_through_the_same_states(store: Store, steps: list[tuple[str, object]]) -> None:
    """Against a model: a list of snapshots and a place in it, as in any editor."""
    with store.write() as db:
        for table in ("decisions", "example_tags", "examples"):
            db.execute(f"DELETE FROM {table}")
    snapshots, place = [snapshot(store)], 0
    for verb, value in steps:
        if verb == "undo":
            assert (store.examples.undo("r") is not None) == (place > 0)
            place = max(0, place - 1)
        elif verb == "redo":
            assert (store.examples.redo("r") is not None) == (place < len(snapshots) - 1)
            place = min(len(snapshots) - 1, place + 1)
        elif gesture(store, verb, value):
            snapshots[place + 1 :] = [snapshot(store)]
            place += 1
        assert snapshot(store) == snapshots[place]
    texts_agree(store)


def gesture(store: Store, verb: str, value: object) -> bool:
    """Whether something was done: only then is there a new state."""
    ids = found(store, "")
    if verb == "add":
        taken = {e.content.hash() for e in store.examples.list(Query())}
        content = demo(int(str(value)))
        if content.hash() in taken:
            return False
        add(store, content)
        return True
    if not ids:
        return False
    changes = {
        "status": {"status": value},
        "tag": {"add_tags": (value,)},
        "untag": {"remove_tags": (value,)},
        "content": {"content": demo(int(value)) if isinstance(value, int) else None},
    }
    chosen = ids if verb != "content" else ids[:1]
    store.examples.change(chosen, Action.EDIT, rater="r", **changes[verb])  # type: ignore[arg-type]
    return True


def snapshot(store: Store) -> list[Example]:
    return [replace(e, updated_utc="", created_utc="") for e in store.examples.list(Query())]
