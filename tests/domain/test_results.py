"""What votes say beside who won: each number against a count by hand, or scipy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from workbench.domain.comparisons import Score, Strength, Verdict, Vote, VoteDetails
from workbench.domain.results import (
    Share,
    VoteFilter,
    by_tag,
    checks,
    counted,
    length_matched,
    marks,
    of_comparisons,
    of_random_prompts,
    scores,
    seen_from,
    self_agreement,
    standing,
)
from workbench.domain.statistics import binomial_p, verdict

VOTE = Vote(1, "p", "pip", "tuned", "a", True, 100, 50, rater="ann", duration_ms=5000)


@pytest.mark.parametrize(("hits", "total"), [(0, 0), (0, 1), (5, 10), (57, 100), (3, 40), (333, 700), (1, 2000)])
def test_the_exact_p_value_is_scipys(hits: int, total: int) -> None:
    expected = binomtest(hits, total).pvalue if total else 1.0
    assert binomial_p(hits, total) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("hits", "total"), [(1, 3), (20, 40), (99, 100)])
def test_a_share_has_the_interval_of_statsmodels(hits: int, total: int) -> None:
    assert Share(hits, total).interval == pytest.approx(proportion_confint(hits, total, method="wilson"), abs=1e-9)


def test_a_side_follows_from_the_winner_and_where_it_stood() -> None:
    sides = [replace(VOTE, outcome=outcome, left_is_a=left).side for outcome in "ab" for left in (True, False)]
    assert sides == ["left", "right", "right", "left"]
    assert replace(VOTE, outcome="tie").side == ""


def test_bias_of_sides_and_of_length_are_counted_among_decided_votes() -> None:
    votes = [
        VOTE,  # left, the longer one
        replace(VOTE, outcome="b"),  # right, the shorter one
        replace(VOTE, outcome="a", a_length=10, b_length=90),  # left, the shorter one
        replace(VOTE, a_length=100, b_length=104),  # left, the shorter one, about as long
        replace(VOTE, a_length=70, b_length=70),  # left, equally long
        replace(VOTE, outcome="tie"),
    ]
    found = checks(votes, Share(0, 0))
    assert (found.left.hits, found.left.total) == (4, 5)
    assert (found.longer.hits, found.longer.total) == (1, 4)
    assert length_matched(votes, "pip", "tuned") == Share(2, 2)
    assert length_matched(votes, "tuned", "pip") == Share(0, 2)
    assert length_matched(votes, "pip", "other") == Share(0, 0)


def test_fast_and_watched_votes_are_counted_and_can_be_hidden() -> None:
    votes = [VOTE, replace(VOTE, duration_ms=1999), replace(VOTE, duration_ms=0), replace(VOTE, live=True)]
    found = checks(votes, Share(0, 0))
    assert (found.fast, found.live, found.left_ms, found.right_ms) == (1, 1, 5000, None)
    assert len(counted(votes, VoteFilter(hide_fast=True))) == 3
    assert len(counted(votes, VoteFilter(hide_fast=True, hide_live=True))) == 2


def test_a_filter_keeps_equal_answers_which_are_nobodys_vote() -> None:
    votes = [VOTE, replace(VOTE, rater="bob"), replace(VOTE, rater="", outcome="tie")]
    assert [vote.rater for vote in counted(votes, VoteFilter(rater="bob"))] == ["bob", ""]
    tagged = replace(VOTE, tags=("math",))
    assert counted([tagged, VOTE], VoteFilter(tag="math")) == [tagged]


def test_a_rater_agrees_with_himself_when_he_says_the_same_of_a_repeat() -> None:
    again = replace(VOTE, comparison_id=9, repeat_of=1, left_is_a=False)
    votes = [VOTE, replace(VOTE, comparison_id=2), again, replace(again, repeat_of=2, outcome="b")]
    assert self_agreement(votes) == Share(1, 2)
    assert counted(votes) == votes[:2]
    assert self_agreement([again]) == Share(0, 0), "what was said first was taken back"


def test_scores_put_both_orders_of_two_models_together() -> None:
    flipped = replace(VOTE, a="tuned", b="pip")
    found = scores([VOTE, flipped, replace(flipped, outcome="b"), replace(VOTE, outcome="both-bad")])
    assert found == [Score("pip", "tuned", 2, 1, 0, 1)]
    assert seen_from("tuned", found[0]) == Score("tuned", "pip", 1, 2, 0, 1)


def test_many_raters_of_two_prompts_decide_nothing() -> None:
    votes = [replace(VOTE, comparison_id=n % 2, rater=f"rater {n}", outcome="a") for n in range(40)]
    (score,) = scores(of_comparisons(votes))
    assert (score.a_wins, score.decided, verdict(score)) == (2, 2, "undecided")
    split = [replace(VOTE, rater="ann", outcome="a"), replace(VOTE, rater="bob", outcome="b")]
    assert [vote.outcome for vote in of_comparisons(split)] == ["tie"]
    assert [vote.outcome for vote in of_comparisons([*split, replace(VOTE, rater="eve", outcome="b")])] == ["b"]


def test_answers_that_were_chosen_and_later_drawn_are_not_missing_from_those_drawn() -> None:
    chosen = replace(VOTE, answers="same", chosen="differing")
    drawn = replace(chosen, comparison_id=7, chosen="random", outcome="b")
    assert of_random_prompts(of_comparisons([chosen])) == []
    for votes in ([chosen, drawn], [chosen, replace(drawn, rater="bob", outcome="a")]):
        assert [vote.outcome for vote in of_random_prompts(of_comparisons(votes))] == ["a"]


def test_the_same_answers_asked_for_again_count_once_and_of_one_person_only_the_first_vote() -> None:
    asked_again = [
        replace(VOTE, answers="same", comparison_id=n, a=a, b=b, outcome=outcome)
        for n, (a, b, outcome) in enumerate([("pip", "tuned", "a"), ("tuned", "pip", "a"), ("pip", "tuned", "b")])
    ]
    assert [(vote.a, vote.outcome) for vote in of_comparisons(asked_again)] == [("pip", "a")]
    bob_and_eve = [replace(asked_again[1], rater=name) for name in ("bob", "eve")]  # for the other model
    assert [(vote.a, vote.outcome) for vote in of_comparisons([*asked_again, *bob_and_eve])] == [("pip", "b")]
    assert len(of_comparisons([*asked_again, replace(VOTE, answers="other")])) == 2


def test_each_tag_has_a_standing_of_its_own() -> None:
    votes = [replace(VOTE, tags=("math", "long")), replace(VOTE, outcome="b", tags=("math",)), VOTE]
    assert by_tag(votes, "pip", "tuned") == {
        "long": Score("pip", "tuned", 1, 0, 0, 0),
        "math": Score("pip", "tuned", 1, 1, 0, 0),
    }


def test_a_single_mark_has_no_standard_error() -> None:
    assert [one.error for one in marks([replace(VOTE, rubric={"clear": (5, 3)})])] == [None, None]


def test_marks_belong_to_the_model_that_stood_there() -> None:
    votes = [replace(VOTE, rubric={"clear": (5, 2)}), replace(VOTE, left_is_a=False, rubric={"clear": (1, 4)})]
    pip, tuned = marks(votes)
    assert (pip.model, pip.mean, pip.counts, pip.total) == ("pip", 4.5, (0, 0, 0, 1, 1), 2)
    assert (tuned.model, tuned.mean) == ("tuned", 1.5)
    assert pip.error == pytest.approx(0.5)  # sd of 4 and 5 is sqrt(1/2), over sqrt(2)


def test_a_standing_has_the_fields_that_scripts_read() -> None:
    told = standing(Score("a", "b", 7, 3, 1, 2))
    assert {
        "a",
        "b",
        "a_wins",
        "b_wins",
        "ties",
        "both_bad",
        "win_rate",
        "low",
        "high",
        "verdict",
        "more_votes",
    } <= set(told)
    assert (told["win_rate"], told["verdict"]) == (0.7, "undecided")
    assert told["p_exact"] == pytest.approx(binomtest(7, 10).pvalue)


def test_a_tie_has_no_strength() -> None:
    told = VoteDetails(strength=Strength.MUCH)
    assert told.about(Verdict.TIE).strength is None
    assert told.about(Verdict.LEFT).strength is Strength.MUCH
    assert [Strength.SLIGHT.moved(n) for n in (-1, 1, 9)] == [Strength.SLIGHT, Strength.CLEAR, Strength.MUCH]
