"""Thoughts and tool calls told apart from what is said: every part is found, and nothing of a text is lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.tui.widgets.folding import may_fold, parts_of

THOUGHT = "<think>\none two\n</think>\n\nSaid."
CALL = 'Let me see.\n<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "x"}}\n</tool_call>\n'


def kinds(text: str) -> list[tuple[str, str]]:
    return [(part.kind, part.text.strip()) for part in parts_of(text)]


def test_a_text_without_marks_is_one_part() -> None:
    assert kinds("just <b>words</b>") == [("said", "just <b>words</b>")] and not may_fold("a < b > c")


def test_a_thought_stands_before_what_is_said() -> None:
    assert kinds(THOUGHT) == [("thought", "one two"), ("said", "Said.")]
    assert parts_of(THOUGHT)[0].label == "thought, 2 words"


def test_a_thought_that_is_not_over_is_open_and_counts_on() -> None:
    (part,) = parts_of("<think>\none two three")
    assert part.is_open and part.label == "thinking, 3 words so far"


def test_a_thought_whose_opening_was_in_the_prompt_is_found_by_its_end() -> None:
    assert kinds("one two\n</think>\nSaid.") == [("thought", "one two"), ("said", "Said.")]


def test_a_call_is_named_with_its_arguments() -> None:
    said, call = parts_of(CALL)
    assert (said.kind, call.kind) == ("said", "call") and call.label == 'calls add(a=1, b="x")'


@pytest.mark.parametrize(
    ("inside", "label"),
    [
        ("not json", "calls not json"),
        ('[{"name": "a"}, {"function": {"name": "b", "arguments": "x"}}]', "calls a(), b(x)"),
        ("[1]", "calls a tool()"),
        ("", "calls a tool"),
        ("[" * 100_000, "calls " + "[" * 40),
    ],
)
def test_a_call_that_is_odd_is_still_a_line(inside: str, label: str) -> None:
    (part,) = parts_of(f"<tool_call>{inside}</tool_call>")
    assert part.label.startswith(label) and len(part.label) < 120


def test_marks_in_code_are_text() -> None:
    text = "Use this:\n```\n<think>\nno\n</think>\n```\nand `<think>` inline."
    assert [part.kind for part in parts_of(text)] == ["said"]


def test_a_fence_is_closed_by_its_own_sign_only() -> None:
    text = "````\n```\n<think>\n````\n<think>\nyes\n</think>\nend"
    assert [part.kind for part in parts_of(text)] == ["said", "thought", "said"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["<think>", "</think>", "<tool_call>", "</tool_call>", "```", "a", "\n", " b "])))
def test_the_parts_together_are_the_text_but_for_blank_lines(pieces: list[str]) -> None:
    text = "".join(pieces)
    joined = "".join(part.source for part in parts_of(text))
    assert "".join(joined.split()) == "".join(text.split())
