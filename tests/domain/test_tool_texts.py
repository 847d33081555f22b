"""Tool calls and tools, written by hand as JSON: what is kept, and where a mistake is told to be."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from workbench.domain.chats import Turn, turn_from_dict
from workbench.domain.examples import Content, demonstration, plain_text
from workbench.domain.tool_texts import calls_text, tools_text, with_calls, with_tools
from workbench.errors import DataError

CALL = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": {"query": "tea"}}}
TOOL = {"type": "function", "function": {"name": "search", "parameters": {"properties": {"query": {}}}}}


@pytest.fixture
def calling() -> Content:
    """Search, its result, the answer."""
    caller = turn_from_dict({"role": "assistant", "content": None, "tool_calls": [CALL], "weight": 0})
    turns = (caller, Turn("tool", "green tea"), Turn("assistant", "Green tea."))
    made = replace(demonstration([Turn("user", "which tea?")], "x"), chosen=turns, tools=json.dumps([TOOL]))
    made.check()
    return made


def test_what_is_shown_can_be_written_back_unchanged(calling: Content) -> None:
    assert with_calls(calling, "chosen", calls_text(calling.chosen[0]), turn=0) == calling
    assert json.loads(with_tools(calling, tools_text(calling)).tools) == [TOOL]


def test_calls_are_changed_and_the_other_keys_of_the_turn_stay(calling: Content) -> None:
    text = '[{"function": {"name": "search", "arguments": "{\\"query\\": \\"oolong\\"}"}}]'
    turn = with_calls(calling, "chosen", text, turn=0).chosen[0]
    assert turn.tool_calls == [{"type": "function", "function": {"name": "search", "arguments": {"query": "oolong"}}}]
    assert json.loads(turn.extra)["weight"] == 0


def test_an_empty_text_takes_them_away(calling: Content) -> None:
    spoken = with_calls(replace(calling, chosen=calling.chosen[2:]), "chosen", json.dumps(CALL))
    assert len(spoken.chosen[0].tool_calls) == 1  # one object is a list of one
    assert with_calls(spoken, "chosen", " ").chosen[0] == Turn("assistant", "Green tea.")
    assert with_tools(calling, "").tools == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"function":\n {"name" "search"}}]', "in line 2, column 10"),
        ("[1]", "entry 1 of the list is not an object"),
        ('"search"', "not a list"),
        ('[{"function": {"name": "a"}}, {"function": {}}]', "call 2: a tool call has no function name"),
        ('[{"function": {"name": "a", "arguments": [1]}}]', "call 1: the arguments of the call of 'a'"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_mistake_in_calls_is_told_with_its_place_and_a_hint(calling: Content, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        with_calls(calling, "chosen", text, turn=0)
    assert "a call looks like" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "line 1, column 2"), ('[{"function": {}}]', "tool 1 has no function name"), ("7", "not a list")],
)
def test_a_mistake_in_tools_is_told_with_its_place_and_a_hint(calling: Content, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        with_tools(calling, text)
    assert "a tool looks like" in caught.value.hint


def test_only_answers_make_calls(calling: Content) -> None:
    with pytest.raises(DataError, match="a user turn makes no calls"):
        with_calls(calling, "prompt", json.dumps(CALL))
    with pytest.raises(DataError, match="no turn"):
        with_calls(plain_text("a text"), "chosen", json.dumps(CALL))
    with pytest.raises(DataError, match="empty"):  # neither words nor calls
        with_calls(replace(calling, chosen=calling.chosen[:1]), "chosen", "")
