from __future__ import annotations

import pytest

from samples import demo, pair, thumb, user
from workbench.domain.chats import Turn
from workbench.domain.examples import Content, demonstration, plain_text
from workbench.domain.mixing import Part, filled, portions, prefixed, templates_from
from workbench.errors import DataError, UsageError

IDS = {"a": range(1, 101), "b": range(101, 201), "c": range(201, 204)}


def test_remainders_go_to_those_who_lose_most_by_rounding() -> None:
    taken = portions([Part("a", 1), Part("b", 2)], IDS, cap=10)
    assert {name: len(ids) for name, ids in taken.items()} == {"a": 3, "b": 7}  # 3.33 and 6.67


def test_a_row_that_is_taken_stays_taken_when_the_cap_grows() -> None:
    parts = [Part("a", 0.5), Part("b", 0.5)]
    few, many = (portions(parts, IDS, cap=cap) for cap in (20, 60))
    assert all(few[name] < many[name] for name in few)
    assert portions(parts, IDS, cap=20, seed=8) != few


def test_the_scarcest_part_bounds_the_whole() -> None:
    taken = portions([Part("a", 0.9), Part("c", 0.1)], IDS)
    assert {name: len(ids) for name, ids in taken.items()} == {"a": 27, "c": 3}


@pytest.mark.parametrize(
    ("parts", "cap"),
    [
        ([], 0),
        ([Part("a", 1), Part("a", 2)], 0),
        ([Part("a", 0)], 0),
        ([Part("a", float("nan"))], 0),
        ([Part("a", 1)], -1),
    ],
)
def test_a_mixture_of_nothing_is_refused(parts: list[Part], cap: int) -> None:
    with pytest.raises(UsageError):
        portions(parts, IDS, cap=cap)


@pytest.mark.parametrize("content", [demo(), pair(), thumb()])
def test_a_prefix_stands_before_the_last_question_only(content: Content) -> None:
    marked = prefixed(content, "[A] ")
    assert marked.prompt[-1].content == "[A] question 1"
    assert (marked.chosen, marked.rejected, marked.label) == (content.chosen, content.rejected, content.label)
    assert prefixed(content, "") == content


def test_a_prefix_leaves_the_turns_before_alone() -> None:
    turns = (Turn("system", "Be kind."), Turn("user", "One"), Turn("assistant", "1"), Turn("user", "Two"))
    assert prefixed(demonstration(turns, "2"), "> ").prompt == (*turns[:-1], Turn("user", "> Two"))


def test_a_text_has_no_question_to_mark() -> None:
    with pytest.raises(DataError):
        prefixed(plain_text("a text"), "> ")


def test_braces_in_a_question_mean_nothing() -> None:
    assert filled(demonstration(user("{x} {0} {prompt}"), "a"), "Say: {prompt}!").prompt == user(
        "Say: {x} {0} {prompt}!"
    )


def test_templates_are_lines_with_a_blank() -> None:
    found = templates_from("# polite\n\nPlease: {prompt}\n  {prompt}\\nBriefly.  \n")
    assert [(t.text, t.line) for t in found] == [("Please: {prompt}", 3), ("{prompt}\nBriefly.", 4)]


@pytest.mark.parametrize(
    ("text", "where"), [("ok {prompt}\nno blank", "t.txt:2"), ("{prompt} {prompt}", "t.txt:1"), ("# no", "t.txt")]
)
def test_a_line_without_its_blank_is_refused_with_its_number(text: str, where: str) -> None:
    with pytest.raises(DataError) as refused:
        templates_from(text, where="t.txt")
    assert refused.value.where == where
