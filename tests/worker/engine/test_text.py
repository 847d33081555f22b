"""Tokens to text: nothing half, nothing of a stop string, whatever the pieces."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from workbench.paths import shipped
from workbench.worker.engine.text import Detokeniser, StopFinder

EMBEDDED = Tokenizer.from_file(str(shipped("sample_data") / "model" / "tokenizer.json"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=80)


def embedded_decode(tokens: Sequence[int]) -> str:
    return EMBEDDED.decode(list(tokens), skip_special_tokens=True)


def fallback_decode(tokens: Sequence[int]) -> str:
    """As sentencepiece's byte fallback: a run of bytes that is not valid as a whole is all replacement characters."""
    try:
        return bytes(tokens).decode("utf-8")
    except UnicodeDecodeError:
        return "\ufffd" * len(tokens)


@given(TEXTS)
@settings(deadline=None, max_examples=200)
def test_any_text_arrives_whole_and_never_with_half_a_character(text: str) -> None:
    detokeniser = Detokeniser(embedded_decode)
    pieces = [detokeniser.push(token) for token in EMBEDDED.encode(text, add_special_tokens=False).ids]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


@given(st.text(st.sampled_from("é€😀漢ü"), max_size=60))
@settings(deadline=None, max_examples=100)
def test_runs_of_byte_tokens_wait_until_they_are_characters(text: str) -> None:
    detokeniser = Detokeniser(fallback_decode)
    pieces = [detokeniser.push(byte) for byte in text.encode()]
    assert "".join(pieces) == text


def test_a_long_answer_is_not_decoded_from_its_beginning_each_time() -> None:
    longest = 0

    def decode(tokens: Sequence[int]) -> str:
        nonlocal longest
        longest = max(longest, len(tokens))
        return embedded_decode(tokens)

    detokeniser = Detokeniser(decode)
    text = "The rice cooks for ten minutes. " * 50
    tokens = EMBEDDED.encode(text, add_special_tokens=False).ids
    assert "".join(map(detokeniser.push, tokens)) == text
    assert longest < 50 < len(tokens)


def test_special_tokens_are_not_text() -> None:
    tokens = EMBEDDED.encode("<|im_start|>Hi<|im_end|>", add_special_tokens=False).ids
    assert len(tokens) >= 3
    assert "".join(map(Detokeniser(embedded_decode).push, tokens)) == "Hi"


def test_a_character_that_is_never_finished_is_never_given_out() -> None:
    tokens = EMBEDDED.encode("ok 😀", add_special_tokens=False).ids
    assert "".join(map(Detokeniser(embedded_decode).push, tokens[:-1])) == "ok "


@given(st.lists(st.sampled_from(EMBEDDED.encode("ok 😀 \ufffd é", add_special_tokens=False).ids), max_size=60))
def test_with_what_is_held_back_at_the_end_the_pieces_are_what_all_tokens_decode_to(tokens: list[int]) -> None:
    detokeniser = Detokeniser(embedded_decode)
    assert "".join(map(detokeniser.push, tokens)) + detokeniser.flush() == embedded_decode(tokens)
    assert detokeniser.flush() == ""


STOPS = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3)


def pass_through(stops: Sequence[str], pieces: Sequence[str]) -> tuple[str, bool]:
    finder = StopFinder(stops)
    given_out = "".join(map(finder.push, pieces))
    return given_out + finder.flush(), finder.found


@given(st.text("abc", max_size=30), STOPS)
def test_the_stop_that_is_complete_first_ends_the_answer(text: str, stops: list[str]) -> None:
    assert pass_through(stops, text) == (_first_completed(text, stops), any(stop in text for stop in stops))


@given(st.lists(st.text("abc", max_size=6), max_size=12), STOPS)
def test_nothing_of_a_stop_is_given_out_however_the_text_is_cut(pieces: list[str], stops: list[str]) -> None:
    given_out, found = pass_through(stops, pieces)
    text = "".join(pieces)
    assert found == any(stop in text for stop in stops)
    assert text.startswith(given_out) if found else text == given_out
    assert not any(stop in given_out for stop in stops)


def _first_completed(text: str, stops: list[str]) -> str:
    """The text before the stop string that is complete first, the longest of those if several are."""
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)]
    return text


@pytest.mark.parametrize("split", range(1, 8))
def test_a_stop_string_is_found_across_pieces(split: int) -> None:
    text = "ab<end>cd"
    finder = StopFinder(["<end>"])
    assert finder.push(text[:split]) + finder.push(text[split:]) == "ab"
    assert finder.found


def test_what_only_looked_like_a_stop_is_given_out_at_the_end() -> None:
    finder = StopFinder(["<end>"])
    assert finder.push("ab<en") == "ab"
    assert finder.flush() == "<en"


def test_the_space_before_the_first_word_stays_when_it_goes_on_with_a_text() -> None:
    words = {1: "Ten", 2: " minutes", 3: " more"}

    def decode(tokens: Sequence[int]) -> str:
        return "".join(words[token] for token in tokens).lstrip()  # as tokenizers of the sentencepiece kind do

    assert Detokeniser(decode).push(2) == "minutes"
    going_on = Detokeniser(decode, [1])
    assert [going_on.push(token) for token in (2, 3)] == [" minutes", " more"]
