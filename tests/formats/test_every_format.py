"""The contract that every format keeps, whichever files there are."""

from __future__ import annotations

import json
import pkgutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samples import demo, pair, thumb, user
from workbench import formats
from workbench.domain.chats import Turn, canonical_json, turn_from_dict
from workbench.domain.examples import Content, Kind, plain_text
from workbench.domain.formats import Format
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
CASES = [(found, content) for found in FOUND for kind in found.kinds for content in BY_KIND[kind]]


def test_there_is_a_format_for_every_file_of_the_folder() -> None:
    modules = {m.name for m in pkgutil.iter_modules(formats.__path__) if not m.name.startswith("_")}
    assert modules and len(FOUND) == len(modules)


@pytest.mark.parametrize("found", FOUND, ids=lambda f: f.name)
def test_a_format_says_what_it_is(found: Format) -> None:
    assert found.name and found.title and found.summary and found.kinds and found.columns
    assert formats.get(found.name) is found


@pytest.mark.parametrize(("found", "content"), CASES, ids=lambda v: getattr(v, "name", getattr(v, "kind", "")))
def test_a_row_that_was_written_is_read_back_the_same(found: Format, content: Content) -> None:
    row = json.loads(json.dumps(found.write(content)))
    assert found.fits(row)
    assert found.read(row) == content
    assert set(row) <= found.columns
    assert formats.detect(row) is found


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)


@st.composite
def contents(draw: st.DrawFn, kind: Kind) -> Content:
    if kind is Kind.TEXT:
        return plain_text(draw(text))
    system = (Turn("system", draw(text)),) if draw(st.booleans()) else ()
    exchanges = st.tuples(st.builds(Turn, st.just("user"), text), st.builds(Turn, st.just("assistant"), text))
    earlier = tuple(turn for pair in draw(st.lists(exchanges, max_size=2)) for turn in pair)
    prompt = (*system, *earlier, Turn("user", draw(text)))
    chosen, rejected = draw(st.tuples(text, text).filter(lambda both: both[0] != both[1]))
    answers = {
        Kind.PREFERENCE: ((Turn("assistant", chosen),), (Turn("assistant", rejected),)),
        Kind.PROMPT: ((), ()),
    }.get(kind, ((Turn("assistant", chosen),), ()))
    return Content(kind, prompt, *answers, label=draw(st.booleans()) if kind is Kind.JUDGEMENT else None)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_dialogue_goes_out_and_comes_back(data: st.DataObject) -> None:
    for found in FOUND:
        for kind in found.kinds:
            content = data.draw(contents(kind))
            content.check()
            assert found.read(json.loads(json.dumps(found.write(content)))) == content


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
rows = st.dictionaries(
    st.sampled_from(["prompt", "completion", "chosen", "rejected", "label", "messages", "text", "tools"]), json_values
)


@settings(max_examples=300, deadline=None)
@given(row=rows)
def test_any_row_is_a_valid_example_or_a_reason(row: dict[str, object]) -> None:
    for found in FOUND:
        try:
            content = found.read(row)
        except DataError as error:
            assert error.message
        else:
            content.check()


def test_rows_of_no_format_are_refused_with_their_columns() -> None:
    with pytest.raises(DataError, match="'colour', 'size'"):
        formats.detect({"size": 1, "colour": 2})
    with pytest.raises(DataError, match="none"):
        formats.detect({})


def test_a_misspelt_format_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError) as caught:
        formats.get("trll")
    assert "'trl'" in caught.value.hint
