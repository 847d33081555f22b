from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples import demo, pair, thumb, user
from workbench.domain.chats import Turn
from workbench.domain.examples import (
    Content,
    Kind,
    demonstration,
    judged,
    judgement,
    last_user_text,
    plain_text,
    preference,
    swapped,
    with_system,
    with_text,
)
from workbench.errors import DataError

ANSWER = (Turn("assistant", "a"),)


def test_gestures_make_valid_examples() -> None:
    made = (demo(), pair(), thumb(), thumb(label=False), plain_text("t"), Content(Kind.PROMPT, user("q"), ()))
    assert {content.kind for content in made} == set(Kind)
    assert [content.check() for content in made] == [None] * 6  # each would raise its reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (Content(Kind.DEMONSTRATION, (), ANSWER), "prompt is empty"),
        (Content(Kind.DEMONSTRATION, user("  "), ANSWER), "prompt is empty text"),
        (Content(Kind.DEMONSTRATION, (Turn("system", "s"),), ANSWER), "no user turn"),
        (Content(Kind.DEMONSTRATION, (*user("q"), *ANSWER), ANSWER), "ends with an assistant turn"),
        (Content(Kind.DEMONSTRATION, (*user("q"), Turn("system", "s"), *user("q")), ANSWER), "only come first"),
        (Content(Kind.DEMONSTRATION, (Turn("human", "q"),), ANSWER), "'human' is not a role"),
        (Content(Kind.DEMONSTRATION, user("q"), ()), "answer is empty"),
        (Content(Kind.DEMONSTRATION, user("q"), (Turn("assistant", " \n"),)), "answer is empty"),
        (Content(Kind.DEMONSTRATION, user("q"), (Turn("user", "a"),)), "begins with a user turn"),
        (Content(Kind.DEMONSTRATION, user("q"), (*ANSWER, *user("q"))), "does not end with an assistant turn"),
        (Content(Kind.DEMONSTRATION, user("q"), ANSWER, rejected=ANSWER), "has no rejected"),
        (Content(Kind.DEMONSTRATION, user("q"), ANSWER, label=True), "only a judgement has one"),
        (Content(Kind.JUDGEMENT, user("q"), ANSWER), "needs a label"),
        (Content(Kind.PREFERENCE, user("q"), ANSWER), "rejected answer is empty"),
        (Content(Kind.PREFERENCE, user("q"), ANSWER, ANSWER), "the same"),
        (Content(Kind.TEXT, (), (Turn("text", " "),)), "text is empty"),
        (Content(Kind.TEXT, user("q"), (Turn("text", "t"),)), "nothing but text"),
        (Content(Kind.TEXT, (), ANSWER), "role 'text'"),
        (Content(Kind.PROMPT, user("q"), ANSWER), "no answer"),
    ],
)
def test_what_could_not_be_trained_on_is_refused_with_the_reason(content: Content, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        content.check()


def test_making_an_example_checks_it() -> None:
    for make in (
        lambda: demonstration(user("q"), " "),
        lambda: preference(user("q"), "a", "a"),
        lambda: judgement((), "a", True),
        lambda: plain_text(""),
    ):
        with pytest.raises(DataError):
            make()


def test_equal_contents_have_equal_hashes_and_every_difference_shows() -> None:
    contents = [
        demo(1),
        demo(2),
        pair(1),
        swapped(pair(1)),
        thumb(1),
        thumb(1, label=False),
        replace(demo(1), prompt=(Turn("system", "s"), *demo(1).prompt)),
        replace(demo(1), tools='[{"type":"function"}]'),
        replace(demo(1), chosen=(Turn("assistant", "answer 1", '{"weight":0}'),)),
    ]
    assert len({content.hash() for content in contents}) == len(contents)
    assert demo(1).hash() == demo(1).hash()


def test_a_hash_takes_any_text() -> None:
    assert len({demonstration(user("\ud83d"), "a").hash(), demonstration(user("🙂"), "a").hash()}) == 2


def test_swapping_twice_is_the_same_pair_again() -> None:
    assert swapped(pair()).chosen == pair().rejected
    assert swapped(swapped(pair())) == pair()
    with pytest.raises(DataError):
        swapped(demo())


def test_parts_are_replaced_in_their_last_turn() -> None:
    long = replace(demo(), prompt=(*user("first"), *ANSWER, *user("second")))
    assert with_text(long, "prompt", "new").prompt == (*user("first"), *ANSWER, *user("new"))
    assert with_text(demo(), "chosen", "new").chosen == (Turn("assistant", "new"),)
    assert with_text(pair(), "rejected", "new").rejected == (Turn("assistant", "new"),)
    for change in (
        lambda: with_text(demo(), "chosen", " "),
        lambda: with_text(demo(), "prompt", ""),
        lambda: with_text(demo(), "rejected", "x"),
        lambda: with_text(pair(), "rejected", "good answer 1"),
        lambda: with_text(plain_text("t"), "prompt", "x"),
    ):
        with pytest.raises(DataError):
            change()


def test_any_turn_is_replaced_by_its_number_and_keeps_what_else_it_holds() -> None:
    call = Turn("assistant", "", '{"tool_calls":[]}')
    long = replace(demo(), prompt=(*user("first"), *ANSWER, *user("second")), chosen=(call, *ANSWER))
    assert with_text(long, "prompt", "new", turn=0).prompt == (*user("new"), *ANSWER, *user("second"))
    assert with_text(long, "chosen", "so", turn=0).chosen == (replace(call, content="so"), *ANSWER)
    for turn in (3, -4):
        with pytest.raises(DataError, match="has 3 turns"):
            with_text(long, "prompt", "new", turn=turn)


def test_a_system_turn_is_written_rewritten_and_taken_away() -> None:
    told = with_system(demo(), "Be brief.")
    assert told.prompt == (Turn("system", "Be brief."), *demo().prompt)
    assert with_system(told, "Be kind.").prompt == (Turn("system", "Be kind."), *demo().prompt)
    assert with_system(told, " ") == demo()
    with pytest.raises(DataError, match="a text"):
        with_system(plain_text("t"), "Be brief.")


def test_a_thumb_makes_a_judgement_of_one_answer_and_of_nothing_else() -> None:
    good = judged(demo(), True)
    assert (good.kind, good.label, good.chosen) == (Kind.JUDGEMENT, True, demo().chosen)
    assert judged(good, False) == judged(demo(), False) != good
    for other in (pair(), plain_text("t"), Content(Kind.PROMPT, user("q"), ())):
        with pytest.raises(DataError, match="not judged"):
            judged(other, True)


def test_the_text_of_a_list_is_the_last_user_turn() -> None:
    assert last_user_text((*user("first"), *ANSWER, *user("second"))) == "second"
    assert last_user_text(ANSWER) == ""


@given(
    contents=st.lists(st.text(), min_size=3, max_size=3),
    label=st.sampled_from([None, True, False]),
    tools=st.text(max_size=5),
    extra=st.sampled_from(["", '{"a":"ü","name":"x","zoo":[1,null]}']),
)
def test_the_hash_is_that_of_the_sorted_compact_json(
    contents: list[str], label: bool | None, tools: str, extra: str
) -> None:
    parts = [(Turn("user", text, extra),) for text in contents]
    content = Content(Kind.PREFERENCE, *parts, label=label, tools=tools)  # type: ignore[arg-type]
    names = {"prompt": content.prompt, "chosen": content.chosen, "rejected": content.rejected}
    whole: dict[str, object] = {name: [turn.as_dict() for turn in turns] for name, turns in names.items()}
    whole |= {"kind": "preference", "label": label} | ({"tools": tools} if tools else {})
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    assert content.hash() == hashlib.sha256(text.encode()).hexdigest()
