from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest

from samples import candidate, user
from workbench.domain.comparisons import (
    BlindView,
    Comparison,
    Score,
    Verdict,
    blind,
    draw_left_is_a,
    pair_from_vote,
    winner,
)
from workbench.errors import DataError, RefusedError

BASE, TUNED = candidate("base-model", "first answer"), candidate("tuned-model", "second answer")


def comparison(*, left_is_a: bool) -> Comparison:
    return Comparison(1, user("question"), BASE, TUNED, left_is_a, 0)


@pytest.mark.parametrize("left_is_a", [True, False])
def test_the_sides_follow_the_draw(left_is_a: bool) -> None:
    drawn = comparison(left_is_a=left_is_a)
    assert (drawn.left, drawn.right) == ((BASE, TUNED) if left_is_a else (TUNED, BASE))
    assert winner(drawn, Verdict.LEFT) == drawn.left
    assert winner(drawn, Verdict.RIGHT) == drawn.right


@pytest.mark.parametrize("left_is_a", [True, False])
def test_the_blind_view_holds_texts_by_side_and_nothing_that_tells_them_apart(left_is_a: bool) -> None:
    view = blind(comparison(left_is_a=left_is_a))
    assert {field.name for field in dataclasses.fields(BlindView)} == {
        "comparison_id", "prompt", "left_text", "right_text",
    }  # fmt: skip
    assert view.left_text == ("first answer" if left_is_a else "second answer")
    assert "model" not in repr(view)


def test_draws_are_fair_and_can_be_repeated() -> None:
    draws = [draw_left_is_a(seed) for seed in range(2000)]
    assert draws == [draw_left_is_a(seed) for seed in range(2000)]
    assert 900 < sum(draws) < 1100  # 4.5 standard deviations


@pytest.mark.parametrize("verdict", [Verdict.TIE, Verdict.BOTH_BAD, Verdict.SKIP])
def test_a_tie_is_not_promoted_to_a_pair(verdict: Verdict) -> None:
    assert not verdict.is_decided and winner(comparison(left_is_a=True), verdict) is None
    with pytest.raises(RefusedError, match=verdict.value):
        pair_from_vote(comparison(left_is_a=True), verdict)


@pytest.mark.parametrize("left_is_a", [True, False])
@pytest.mark.parametrize("verdict", [Verdict.LEFT, Verdict.RIGHT])
def test_a_decided_vote_is_a_pair_of_the_winner_over_the_loser(left_is_a: bool, verdict: Verdict) -> None:
    drawn = comparison(left_is_a=left_is_a)
    pair = pair_from_vote(drawn, verdict)
    first_won = (verdict is Verdict.LEFT) == left_is_a
    texts = ("first answer", "second answer") if first_won else ("second answer", "first answer")
    assert (pair.chosen[0].content, pair.rejected[0].content) == texts
    assert pair.prompt == user("question")


def test_the_same_candidate_twice_is_still_two_sides() -> None:
    drawn = replace(comparison(left_is_a=True), b=replace(BASE, text="other"))
    assert pair_from_vote(drawn, Verdict.RIGHT).rejected[0].content == "first answer"


def test_equal_answers_are_identical_and_no_pair() -> None:
    same = replace(comparison(left_is_a=True), b=replace(TUNED, text=" first answer\n"))
    assert same.identical and not comparison(left_is_a=True).identical
    exactly = replace(same, b=replace(TUNED, text="first answer"))
    with pytest.raises(DataError, match="the same"):
        pair_from_vote(exactly, Verdict.LEFT)


def test_decided_votes_are_the_wins_of_both() -> None:
    assert Score("a", "b", 3, 4, 5, 6).decided == 7
