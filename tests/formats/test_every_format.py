"""The contract that every format keeps, whichever files there are."""

from __future__ import annotations

import json
import pkgutil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samples import demo, pair, thumb, user
from workbench import formats
from workbench.domain.chats import Turn, canonical_json, turn_from_dict
from workbench.domain.examples import Content, Example, Kind, Source, SourceKind, plain_text
from workbench.domain.formats import Format, LeftOut, Reading, Row
from workbench.errors import DataError, NotFoundError

FOUND = list(formats.find().values())
TOOLS = canonical_json([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}])
CALL = turn_from_dict(
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Bern"}}}
        ],
    }
)
RESULT = turn_from_dict({"role": "tool", "name": "weather", "tool_call_id": "c1", "content": "rain"})
WITH_CALLS = Content(
    Kind.DEMONSTRATION, (*user("How is it?"), CALL, RESULT), (Turn("assistant", "It rains."),), tools=TOOLS
)
BY_KIND = {
    Kind.DEMONSTRATION: [demo(), WITH_CALLS],
    Kind.PREFERENCE: [pair()],
    Kind.JUDGEMENT: [thumb(), thumb(label=False)],
    Kind.TEXT: [plain_text("Once upon a time.\n")],
    Kind.PROMPT: [Content(Kind.PROMPT, user("Tell me"), ())],
}
WRITABLE = list(formats.writable().values())
CASES = [(found, content) for found in WRITABLE for kind in found.kinds for content in BY_KIND[kind]]


def example(content: Content) -> Example:
    return Example(7, "d", content, Source(SourceKind.VOTE, models=("one", "two")), rater="ann")


def written(found: Format, content: Content) -> dict[str, Any]:
    assert found.write is not None
    row: dict[str, Any] = json.loads(json.dumps(found.write(example(content))))
    return row


def read(found: Format, row: Row) -> list[Content]:
    return [part.content for part in found.read(row) if isinstance(part, Reading)]


def test_there_is_a_format_for_every_file_of_the_folder() -> None:
    modules = {m.name for m in pkgutil.iter_modules(formats.__path__) if not m.name.startswith("_")}
    assert modules and len(FOUND) == len(modules)


@pytest.mark.parametrize("found", FOUND, ids=lambda f: f.name)
def test_a_format_says_what_it_is(found: Format) -> None:
    assert found.name and found.title and found.summary and found.columns
    assert formats.get(found.name) is found and formats.get(found.name.replace("_", "-")) is found
    assert bool(found.kinds) == (found.write is not None)


@pytest.mark.parametrize(("found", "content"), CASES, ids=lambda v: getattr(v, "name", getattr(v, "kind", "")))
def test_a_row_that_was_written_is_read_back_the_same_unless_it_says_what_is_lost(
    found: Format, content: Content
) -> None:
    row = written(found, content)
    assert (read(found, row) == [content]) != bool(found.lost(content)), found.lost(content)
    assert set(row) <= found.columns | {"question_id", "tstamp"}


@pytest.mark.parametrize(("found", "content"), CASES, ids=lambda v: getattr(v, "name", getattr(v, "kind", "")))
def test_a_row_is_told_by_its_shape_as_its_format_or_one_that_reads_it_alike(found: Format, content: Content) -> None:
    row = written(found, content)
    assert read(formats.detect([row]), row) == read(found, row)


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)


@st.composite
def contents(draw: st.DrawFn, kind: Kind) -> Content:
    if kind is Kind.TEXT:
        return plain_text(draw(text))
    system = (Turn("system", draw(text)),) if draw(st.booleans()) else ()
    exchanges = st.tuples(st.builds(Turn, st.just("user"), text), st.builds(Turn, st.just("assistant"), text))
    earlier = tuple(turn for pair in draw(st.lists(exchanges, max_size=2)) for turn in pair)
    later = tuple(turn for pair in draw(st.lists(exchanges, max_size=2)) for turn in pair)
    prompt = (*system, *earlier, Turn("user", draw(text)))
    chosen, rejected = draw(st.tuples(text, text).filter(lambda both: both[0] != both[1]))
    answers = {
        Kind.PREFERENCE: ((Turn("assistant", chosen),), (Turn("assistant", rejected),)),
        Kind.PROMPT: ((), ()),
        Kind.DEMONSTRATION: ((Turn("assistant", chosen), *later), ()),
    }.get(kind, ((Turn("assistant", chosen),), ()))
    return Content(kind, prompt, *answers, label=draw(st.booleans()) if kind is Kind.JUDGEMENT else None)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_dialogue_goes_out_and_comes_back(data: st.DataObject) -> None:
    for kind in Kind:
        content = data.draw(contents(kind))
        content.check()
        for found in (one for one in WRITABLE if kind in one.kinds):
            back = read(found, written(found, content))
            assert back == [content] or found.lost(content)


KEYS = ["role", "content", "from", "value", "tool_calls", "function", "name", "arguments", "message", "author", "parts"]
KEYS += [
    "weight",
    "train",
    "children",
    "output",
    "rating",
    "type",
    "messages",
    "roles",
    "rank",
    "answer",
    "content_type",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=6,
)
rows = st.dictionaries(
    st.sampled_from(sorted({name for found in FOUND for name in found.columns} | {"parent", "children"})), json_values
)


@settings(max_examples=300, deadline=None)
@given(row=rows)
def test_any_row_is_a_valid_example_or_a_reason(row: dict[str, object]) -> None:
    for found in FOUND:
        try:
            parts = found.read(row)
        except DataError as error:
            assert error.message
        else:
            for part in parts:
                assert part.reason if isinstance(part, LeftOut) else part.content.check() is None


def test_rows_of_no_format_are_refused_with_their_columns() -> None:
    with pytest.raises(DataError, match="'colour', 'size'"):
        formats.detect([{"size": 1}, {"colour": 2}])
    with pytest.raises(DataError, match="none"):
        formats.detect([{}])


def test_a_misspelt_format_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError) as caught:
        formats.get("trll")
    assert "'trl'" in caught.value.hint
