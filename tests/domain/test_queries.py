from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.domain.examples import Status
from workbench.domain.methods import nearest
from workbench.domain.queries import FILTERS, Filter, Query, parse_query
from workbench.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Query()),
        ("   ", Query()),
        ("refund order", Query((), ("refund", "order"))),
        ("status:pending refund", Query((Filter("status", "pending"),), ("refund",))),
        ("-status:rejected", Query((Filter("status", "rejected", negated=True),))),
        ("tag:a tag:b", Query((Filter("tag", "a"), Filter("tag", "b")))),
        ('"two words" one', Query((), ("two words", "one"))),
        ("it's late", Query((), ("it's", "late"))),
        ('tag:"two words"', Query((Filter("tag", "two words"),))),
        ("c++ 3:4 a-b -", Query((), ("c++", "3:4", "a-b", "-"))),
        ("source:chat", Query((Filter("source", "chat"),))),
    ],
)
def test_a_query_is_filters_and_words(text: str, expected: Query) -> None:
    assert parse_query(text) == expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("colour:red", "no filter 'colour'", "known:"),
        ("statsu:pending", "no filter 'statsu'", "'status'"),
        ("status:acepted", "matches nothing", "'accepted'"),
        ("tag:", "needs a value", "tag:name"),
        ('"open', "cannot be read", "close the quote"),
        ("import:x", "not an import's number", "import:3"),
    ],
)
def test_a_query_that_cannot_be_read_says_what_to_write(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_query(text)
    assert hint in caught.value.hint


@given(
    st.text(max_size=40) | st.lists(st.sampled_from([*FILTERS, ":", "-", '"', "'", "\\", " ", "x", "<"])).map("".join)
)
def test_any_text_is_a_query_or_a_usage_error(text: str) -> None:
    try:
        found = parse_query(text)
    except UsageError as error:
        assert error.message and error.hint
    else:
        assert all(part.field in FILTERS and part.value for part in found.filters)


def test_a_misspelt_value_is_answered_with_plain_words() -> None:
    for text, hint in (
        ("status:acceptd", "did you mean 'accepted'?"),
        ("status:x", "known: accepted, pending, rejected"),
    ):
        with pytest.raises(UsageError) as caught:
            parse_query(text)
        assert hint in caught.value.hint
    assert nearest("acceptd", Status) == "did you mean 'accepted'?"
