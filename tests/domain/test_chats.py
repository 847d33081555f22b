from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.domain.chats import (
    Chat,
    ChatTree,
    Generation,
    Message,
    Role,
    Sampling,
    StopReason,
    Turn,
    storable,
    title_from,
    turns_from_dicts,
)
from workbench.errors import DataError


def tree(*links: tuple[int, int | None], tip: int | None = None, system: str = "") -> ChatTree:
    """Messages by (id, parent); user and assistant take turns by depth."""
    chat = Chat(1, "t", system, "pip", Sampling(), tip, "", "")
    depth: dict[int | None, int] = {None: 0}
    messages = {}
    for number, parent in links:
        depth[number] = depth[parent] + 1
        role = Role.USER if depth[number] % 2 else Role.ASSISTANT
        messages[number] = Message(number, 1, parent, role, f"text {number}", "")
    return ChatTree(chat, messages)


BRANCHED = ((1, None), (2, 1), (3, 1), (4, 2), (5, 4), (6, 3), (7, 4))


def test_a_path_goes_from_the_first_turn_to_the_tip() -> None:
    branched = tree(*BRANCHED, tip=5)
    assert [m.id for m in branched.path()] == [1, 2, 4, 5]
    assert [m.id for m in branched.path(6)] == [1, 3, 6]
    assert tree().path() == ()


def test_siblings_have_the_same_parent_and_role() -> None:
    branched = tree(*BRANCHED)
    assert [m.id for m in branched.siblings(2)] == [2, 3]
    assert [m.id for m in branched.siblings(5)] == [5, 7]
    assert [m.id for m in branched.siblings(1)] == [1]
    assert [m.id for m in branched.children(None)] == [1]


def test_showing_a_branch_ends_at_its_newest_leaf() -> None:
    branched = tree(*BRANCHED)
    assert (branched.leaf_below(1), branched.leaf_below(2), branched.leaf_below(7)) == (6, 7, 7)


def test_a_prompt_is_all_that_the_model_saw() -> None:
    branched = tree(*BRANCHED, system="be brief")
    assert branched.prompt_for(5) == (
        Turn("system", "be brief"), Turn("user", "text 1"), Turn("assistant", "text 2"), Turn("user", "text 4"),
    )  # fmt: skip
    assert tree(*BRANCHED).prompt_for(1) == ()
    assert branched.turns_to(None) == (Turn("system", "be brief"),)


@given(st.lists(st.integers(0, 30), max_size=30))
def test_every_walk_of_any_tree_is_consistent(parents: list[int]) -> None:
    links: list[tuple[int, int | None]] = [(1, None)]
    for number, parent in enumerate(parents, start=2):
        links.append((number, 1 + parent % (number - 1)))
    grown = tree(*links)
    for number, parent_id in links:
        path = grown.path(number)
        assert path[0].id == 1 and path[-1].id == number
        assert all(a.id == b.parent_id for a, b in pairwise(path))
        assert grown.prompt_for(number) == tuple(m.turn for m in path[:-1])
        assert grown.messages[number] in grown.children(parent_id)
        leaf = grown.leaf_below(number)
        assert not grown.children(leaf) and number in {m.id for m in grown.path(leaf)}


@pytest.mark.parametrize(
    "bad", [{"temperature": -0.1}, {"temperature": 5.1}, {"top_p": 0.0}, {"top_p": 1.1}, {"max_tokens": 0}]
)
def test_sampling_that_cannot_be_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(DataError):
        Sampling(**bad)  # type: ignore[arg-type]


def test_the_rate_is_tokens_over_the_whole_time() -> None:
    made = Generation("m", Sampling(), tokens=50, first_token_ms=100, duration_ms=2000, stop_reason=StopReason.STOP)
    assert made.tokens_per_second == 25.0
    assert Generation("m", Sampling(), 5, 0, 0, StopReason.LOST).tokens_per_second == 0.0


def test_a_title_is_one_line_of_the_first_words() -> None:
    assert title_from("  How\n do I\tcook? ") == "How do I cook?"
    assert title_from("word " * 50) == "word " * 9 + "wo…"
    assert title_from("x" * 46 + " y" * 5) == "x" * 46 + "…", "no space before the sign"
    assert len(title_from("x" * 100)) == 48


def test_turns_are_read_from_role_and_content() -> None:
    assert turns_from_dicts([{"role": "user", "content": "hi"}]) == (Turn("user", "hi"),)
    assert Turn("user", "hi").as_dict() == {"role": "user", "content": "hi"}


@pytest.mark.parametrize("bad", [{}, {"role": "user"}, {"content": "x"}, {"role": 1, "content": "x"}])
def test_a_turn_without_role_or_text_is_named_by_its_place(bad: dict[str, object]) -> None:
    with pytest.raises(DataError, match="turn 2"):
        turns_from_dicts([{"role": "user", "content": "hi"}, bad])


@given(st.text())
def test_stored_text_is_valid_and_only_broken_halves_change(text: str) -> None:
    stored = storable(text)
    stored.encode("utf-8")
    assert storable(stored) == stored
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert stored == text


def test_halves_that_belong_together_are_joined() -> None:
    assert storable("\ud83d\ude42") == "🙂"
    assert storable("a\ude42\ud83db") == "a��b"
    assert storable("end \ud83d") == "end �"
