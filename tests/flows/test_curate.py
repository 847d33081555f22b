from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from samples import IMPORTED, demo, pair, thumb
from workbench.domain.chats import Turn
from workbench.domain.decisions import Action
from workbench.domain.examples import Content, Kind, Source, Split, Status, judged, preference, swapped
from workbench.errors import DataError, NotFoundError, RefusedError, UsageError
from workbench.flows import curate
from workbench.flows.bench import Bench


def add(bench: Bench, *contents: Content, source: Source = IMPORTED, dataset: str = "d") -> list[int]:
    """Added by somebody else, so that the bench's own undo does not reach them."""
    return [
        bench.store.examples.add(dataset, content, source=source, status=Status.PENDING, rater="setup")[0].id
        for content in contents
    ]


def test_accepting_and_rejecting_set_the_status_and_say_so(bench: Bench) -> None:
    one, two, three = add(bench, demo(1), demo(2), demo(3))
    assert curate.accept(bench, [one, two]).said == "accepted 2 examples"
    assert curate.reject(bench, [three]).said == f"rejected example {three}"
    assert list(curate.ids(bench, "status:accepted")) == [one, two]
    assert curate.counts(bench) == {Status.PENDING: 0, Status.ACCEPTED: 2, Status.REJECTED: 1}
    assert curate.get(bench, one).rater == "rater"


def test_skipping_leaves_the_status_and_is_remembered(bench: Bench) -> None:
    (one,) = add(bench, demo())
    curate.skip(bench, [one])
    assert curate.get(bench, one).status is Status.PENDING
    assert [d.action.value for d in curate.history(bench, one)] == ["create", "skip"]


def test_one_undo_takes_one_gesture_back_whatever_its_size(bench: Bench) -> None:
    ids = add(bench, demo(1), demo(2), demo(3))
    curate.accept(bench, ids)
    curate.tag(bench, ids[:2], add=("good", "short"))
    undone = curate.undo(bench)
    assert undone is not None and undone.text == "tagging 2 examples"
    assert all(curate.get(bench, i).tags == () and curate.get(bench, i).status is Status.ACCEPTED for i in ids)
    assert curate.undo(bench) is not None
    assert curate.counts(bench)[Status.PENDING] == 3
    assert curate.undo(bench) is None, "what others did is theirs"
    assert curate.redo(bench) is not None
    assert curate.counts(bench)[Status.ACCEPTED] == 3


def test_tags_are_added_and_removed(bench: Bench) -> None:
    (one,) = add(bench, demo())
    assert curate.tag(bench, [one], add=("a", "b")).said == f"tagged example {one} +a +b"
    curate.tag(bench, [one], add=("c",), remove=("a",))
    assert curate.get(bench, one).tags == ("b", "c")
    assert list(curate.ids(bench, "tag:c")) == [one]


@pytest.mark.parametrize("tag", ["", "  ", "two words", "x" * 65, 'quo"te', "new\nline"])
def test_a_tag_that_no_query_could_find_is_refused(bench: Bench, tag: str) -> None:
    (one,) = add(bench, demo())
    with pytest.raises(UsageError):
        curate.tag(bench, [one], add=(tag,))
    assert curate.get(bench, one).tags == ()


def test_notes_ratings_and_splits_are_kept(bench: Bench) -> None:
    (one,) = add(bench, demo())
    curate.note(bench, [one], "  check the price \n")
    curate.rate(bench, [one], 4)
    curate.split(bench, [one], Split.TEST)
    example = curate.get(bench, one)
    assert (example.note, example.rating, example.split) == ("check the price", 4, Split.TEST)
    assert list(curate.ids(bench, "has:note price")) == [one]
    curate.note(bench, [one], "")
    assert curate.get(bench, one).note == "" and list(curate.ids(bench, "price")) == []


@pytest.mark.parametrize("rating", [0, 6, -1])
def test_a_rating_outside_one_to_five_is_refused(bench: Bench, rating: int) -> None:
    with pytest.raises(UsageError):
        curate.rate(bench, add(bench, demo()), rating)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("chosen", preference((Turn("user", "question 1"),), "new", "bad answer 1")),
        ("rejected", preference((Turn("user", "question 1"),), "good answer 1", "new")),
        ("prompt", preference((Turn("user", "new"),), "good answer 1", "bad answer 1")),
    ],
)
def test_each_part_can_be_edited_and_the_text_before_comes_back(bench: Bench, part: str, expected: Content) -> None:
    (one,) = add(bench, pair())
    curate.edit(bench, one, part=part, text="new")
    assert curate.get(bench, one).content == expected
    curate.undo(bench)
    assert curate.get(bench, one).content == pair()


def test_an_edit_that_spoils_an_example_is_refused(bench: Bench) -> None:
    a_pair, a_demo = add(bench, pair(), demo(2))
    with pytest.raises(DataError, match="empty"):
        curate.edit(bench, a_pair, text="  ")
    with pytest.raises(DataError, match="the same"):
        curate.edit(bench, a_pair, text="bad answer 1")
    with pytest.raises(UsageError, match="no rejected answer"):
        curate.edit(bench, a_demo, part="rejected", text="x")
    with pytest.raises(UsageError, match="same as before"):
        curate.edit(bench, a_demo, text="answer 2")
    with pytest.raises(UsageError, match="no part"):
        curate.edit(bench, a_demo, part="tags", text="x")
    assert curate.get(bench, a_pair).content == pair() and len(curate.history(bench, a_pair)) == 1


def test_a_turn_is_edited_by_its_number_and_the_system_turn_by_name(bench: Bench) -> None:
    asked = (Turn("system", "Be brief."), Turn("user", "one"), Turn("assistant", "two"), Turn("user", "three"))
    (one,) = add(bench, preference(asked, "good", "bad"))
    curate.edit(bench, one, part="prompt", turn=3, text="second")
    curate.edit(bench, one, part="system", text="Be kind.")
    assert [turn.content for turn in curate.get(bench, one).content.prompt] == ["Be kind.", "one", "second", "three"]
    curate.edit(bench, one, part="system", text="")
    assert [turn.role for turn in curate.get(bench, one).content.prompt] == ["user", "assistant", "user"]
    with pytest.raises(DataError, match="no turn 4"):
        curate.edit(bench, one, part="prompt", turn=4, text="x")
    with pytest.raises(UsageError, match="count from 1"):
        curate.edit(bench, one, part="prompt", turn=0, text="x")


def test_the_original_is_what_stood_before_the_first_edit_that_was_not_undone(bench: Bench) -> None:
    (one,) = add(bench, demo(1))
    assert curate.original(curate.history(bench, one)) is None
    curate.edit(bench, one, text="an answer that is undone")
    curate.undo(bench)
    curate.accept(bench, [one])
    curate.edit(bench, one, text="a second answer")
    curate.edit(bench, one, text="a third answer")
    assert curate.original(curate.history(bench, one)) == demo(1)
    changed = [curate.rewritten(decision) for decision in curate.history(bench, one)]
    answers = [(before.chosen[0].content, after.chosen[0].content) for before, after in filter(None, changed)]
    assert answers[1:] == [("answer 1", "a second answer"), ("a second answer", "a third answer")]


def test_a_thumb_accepts_a_judgement_and_leaves_pairs_alone(bench: Bench) -> None:
    one, two, a_pair = add(bench, demo(1), thumb(2), pair(3))
    assert curate.thumb(bench, [one, two], up=False).said == "judged 2 examples bad"
    assert [curate.get(bench, i).content.label for i in (one, two)] == [False, False]
    assert curate.counts(bench)[Status.ACCEPTED] == 2
    with pytest.raises(DataError, match="not judged"):
        curate.thumb(bench, [one, a_pair], up=True)
    assert curate.get(bench, one).content.label is False
    curate.undo(bench)
    assert [curate.get(bench, i).content for i in (one, two)] == [demo(1), thumb(2)]


def test_flags_by_hand_come_and_go_and_are_not_those_of_checks(bench: Bench) -> None:
    (one,) = add(bench, demo(1))
    assert curate.flag(bench, [one], add=("odd", "rude")).said == f"flagged example {one} +odd +rude"
    curate.flag(bench, [one], remove=("odd",))
    assert curate.get(bench, one).flags == ("rude",) and list(curate.ids(bench, "flag:rude")) == [one]
    curate.undo(bench)
    assert set(curate.get(bench, one).flags) == {"odd", "rude"}
    with pytest.raises(UsageError, match="the check of that name"):
        curate.flag(bench, [one], add=("template_tokens",))


def test_what_checks_flag_and_what_a_person_flags_stay_apart(bench: Bench) -> None:
    (one,) = add(bench, demo(1))
    curate.flag(bench, [one], add=("odd",))
    curate.edit(bench, one, text="So be it.<|im_end|>")
    assert set(curate.get(bench, one).flags) == {"odd", "template_tokens"}
    curate.edit(bench, one, text="So be it.")
    assert curate.get(bench, one).flags == ("odd",), "an edit is looked at again"
    curate.undo(bench)
    assert set(curate.get(bench, one).flags) == {"odd", "template_tokens"}, "an undo too"
    curate.undo(bench)
    curate.undo(bench)
    assert curate.get(bench, one).flags == ()


def test_swapping_exchanges_the_answers_of_all_pairs_or_of_none(bench: Bench) -> None:
    one, two, other = add(bench, pair(1), pair(2), demo(3))
    with pytest.raises(DataError, match="nothing to swap"):
        curate.swap(bench, [one, other])
    assert curate.get(bench, one).content == pair(1)
    curate.swap(bench, [one, two])
    content = curate.get(bench, two).content
    assert (content.chosen, content.rejected) == (pair(2).rejected, pair(2).chosen)
    curate.undo(bench)
    assert [curate.get(bench, i).content for i in (one, two)] == [pair(1), pair(2)]


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows are a piece of a gesture that writes texts anew."""
    from workbench.store import bulk

    monkeypatch.setattr(curate, "_AT_ONCE", 2)
    monkeypatch.setattr(bulk, "next_count", lambda count, seconds: 2)


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("gesture", ["swap", "thumb"])
def test_texts_of_many_are_written_anew_in_pieces_between_which_others_write(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, gesture: str
) -> None:
    ids = add(bench, *map(pair if gesture == "swap" else demo, range(5)))
    before = [curate.get(bench, i).content for i in ids]
    locked: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "give_way", lambda: locked.append(bench.store._local.depth))
        if gesture == "swap":
            curate.swap(bench, ids)
            wanted = [swapped(content) for content in before]
        else:
            curate.thumb(bench, ids, up=True)
            wanted = [judged(content, True) for content in before]
    assert locked == [0, 0]
    assert [curate.get(bench, i).content for i in ids] == wanted
    undone = curate.undo(bench)
    assert undone is not None and sorted(undone.example_ids) == ids
    assert [curate.get(bench, i).content for i in ids] == before


@pytest.mark.usefixtures("few_at_once")
def test_one_of_many_that_cannot_be_written_anew_stops_all_before_the_first(bench: Bench) -> None:
    ids = add(bench, *map(pair, range(4)), demo(9))
    with pytest.raises(DataError, match="nothing to swap"):
        curate.swap(bench, ids)
    curate.split(bench, ids[3:4], Split.TEST)
    with pytest.raises(RefusedError, match=f"example {ids[3]}"):
        curate.swap(bench, ids[:4])
    with pytest.raises(NotFoundError, match="99"):
        curate.swap(bench, [*ids[:3], 99])
    assert [curate.get(bench, i).content for i in ids[:4]] == [pair(number) for number in range(4)]


@pytest.mark.usefixtures("few_at_once")
def test_one_that_somebody_changes_on_the_way_is_passed_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = add(bench, *map(pair, range(4)))

    def lock() -> None:
        bench.store.examples.change(ids[3:], Action.SPLIT, rater="bob", split=Split.TEST)

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "give_way", lock)
        curate.swap(bench, ids)
    assert [curate.get(bench, i).content == pair(number) for number, i in enumerate(ids)] == [False] * 3 + [True]


def test_a_gesture_on_nothing_is_refused(bench: Bench) -> None:
    for gesture in (curate.accept, curate.reject, curate.skip, curate.swap):
        with pytest.raises(UsageError, match="no example"):
            gesture(bench, [])
    with pytest.raises(NotFoundError):
        curate.accept(bench, [99])


def test_a_page_shows_what_ids_found_in_that_order(bench: Bench) -> None:
    add(bench, demo(1), demo(2), thumb(3))
    ids = curate.ids(bench, "", order="-id")
    rows = curate.page(bench, ids)
    assert [row and row.prompt for row in rows] == ["question 3", "question 2", "question 1"]
    assert rows[0] is not None and rows[0].kind is Kind.JUDGEMENT
    with pytest.raises(NotFoundError):
        curate.ids(bench, "", dataset="missing")


def test_the_test_split_is_locked_and_one_row_of_it_stops_a_whole_gesture(bench: Bench) -> None:
    held, free = add(bench, pair(1), pair(2))
    curate.split(bench, [held], Split.TEST)
    before = curate.get(bench, held)
    gestures: list[Callable[..., object]] = [
        partial(curate.split, bench, [free, held], Split.TRAIN),
        partial(curate.edit, bench, held, text="another"),
        partial(curate.swap, bench, [free, held]),
    ]
    for gesture in gestures:
        with pytest.raises(RefusedError, match=f"example {held} is in the test split"):
            gesture()
        now = curate.get(bench, held)
        assert (now.content, now.split) == (before.content, Split.TEST)
        assert curate.get(bench, free).split is Split.NONE
        gesture(unlock=True)
        now = curate.get(bench, held)
        assert (now.content, now.split) != (before.content, Split.TEST)
        curate.undo(bench)


def test_a_locked_row_can_still_be_tagged_noted_and_rejected(bench: Bench) -> None:
    (held,) = add(bench, demo())
    curate.split(bench, [held], Split.TEST)
    curate.tag(bench, [held], add=["seen"])
    curate.note(bench, [held], "odd")
    curate.split(bench, [held], Split.TEST)
    curate.reject(bench, [held])
    assert (curate.get(bench, held).status, curate.get(bench, held).tags) == (Status.REJECTED, ("seen",))


def test_a_large_gesture_is_taken_back_without_keeping_others_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.store import decisions

    monkeypatch.setattr(decisions, "FIRST_ROWS", 2)
    monkeypatch.setattr(decisions, "next_count", lambda count, seconds: 2)
    curate.accept(bench, add(bench, *map(demo, range(5))))
    held: list[object] = []
    monkeypatch.setattr(bench.store, "give_way", lambda: held.append(bench.store._local.depth))
    assert curate.undo(bench) is not None and held == [0, 0]
    assert curate.redo(bench) is not None and held == [0, 0, 0, 0]
