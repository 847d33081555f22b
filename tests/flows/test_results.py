"""The report on a real store: what it counts, filters, agreement only where people share pairs, the fields of JSON."""

from __future__ import annotations

import json

import pytest

from samples import candidate, user
from voting import pair, vote
from workbench.domain.agreement import Agreement, Judged
from workbench.domain.comparisons import Comparison, Score, Verdict, VoteDetails
from workbench.domain.results import VoteFilter
from workbench.flows import compare, results, unseen
from workbench.flows.bench import Bench
from workbench.flows.results_told import check_lines


@pytest.fixture
def voted(bench: Bench) -> Bench:
    """Nine votes by ann on three models, and one by bob on a pair of ann's."""
    shared = None
    for number in range(9):
        a, b = (("pip", "tuned"), ("pip", "other"), ("tuned", "other"))[number % 3]
        made = pair(bench, number, a=a, b=b, tags=("math",) if number < 3 else ())
        shared = shared or made
        duration_ms = 500 if number == 8 else 5000
        vote(bench, made, a, rater="ann", details=VoteDetails(duration_ms=duration_ms, rubric={"clear": (5, 3)}))
    assert shared is not None
    vote(bench, shared, "tuned", rater="bob")
    return bench


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[Judged]]:
    """The child that computes agreement is not started here; what it would be asked."""
    heard: list[list[Judged]] = []

    def agreement(judged: list[Judged]) -> Agreement:
        heard.append(list(judged))
        return Agreement(0.25, 1, ())

    monkeypatch.setattr(results, "agreement", agreement)
    return heard


def test_every_pair_of_models_has_a_standing_and_all_are_ranked(voted: Bench) -> None:
    found = results.report(voted, resamples=50)
    assert found.votes == 10
    assert list(found.scores) == [
        Score("pip", "tuned", 2, 0, 1, 0), Score("pip", "other", 3, 0, 0, 0), Score("tuned", "other", 3, 0, 0, 0),
    ]  # fmt: skip
    assert [rank.model for rank in found.ranking] == ["pip", "tuned", "other"]
    assert found.ranking[0].rating == 0.0, "the base model is the anchor"
    assert found.by_tag["pip", "tuned"]["math"] == Score("pip", "tuned", 0, 0, 1, 0)  # the split pair
    assert (found.tags, found.raters) == (("math",), {"ann": 9, "bob": 1})
    assert {mark.model for mark in found.marks} == {"pip", "tuned", "other"}


def test_one_person_who_votes_on_the_same_answers_again_and_again_moves_nothing(voted: Bench) -> None:
    def figures() -> list[object]:
        found = results.report(voted, resamples=50)
        ranked = [(rank.model, rank.rating, rank.low, rank.high, rank.votes) for rank in found.ranking]
        return [*ranked, *found.scores, found.by_tag, found.comparisons, found.prompts]

    before = figures()
    shared = voted.store.comparisons.get(1)
    for draw_seed in range(20):
        same = voted.store.comparisons.add(shared.prompt, shared.b, shared.a, draw_seed=draw_seed, tags=("math",))
        vote(voted, same, "tuned", rater="ann")
    assert figures() == before
    assert results.report(voted, resamples=5).votes == 30


def test_people_who_crowd_on_one_pair_do_not_move_the_ranking(voted: Bench) -> None:
    before = [(rank.model, rank.rating) for rank in results.report(voted, resamples=5).ranking]
    for number in range(30):
        vote(voted, voted.store.comparisons.get(2), "pip", rater=f"rater {number}")
    assert [(rank.model, rank.rating) for rank in results.report(voted, resamples=5).ranking] == before


def test_one_pair_is_seen_from_the_model_that_is_named_first(voted: Bench) -> None:
    assert list(results.report(voted, "tuned", "pip", resamples=5).scores) == [
        Score("tuned", "pip", 0, 2, 1, 0)
    ]  # split votes on one pair
    assert [s.b for s in results.report(voted, "other", resamples=5).scores] == ["pip", "tuned"]
    unseen.reveal(voted)
    assert [v.rater for v in results.votes_between(voted, "pip", "tuned")[0]] == ["ann", "bob", "ann", "ann"]


def test_all_that_is_said_of_two_models_is_of_their_votes(voted: Bench, asked: list[list[Judged]]) -> None:
    vote(voted, pair(voted, 20, a="pip", b="other"), "pip", rater="bob")
    found = results.report(voted, "tuned", "other", resamples=20)
    assert (found.votes, found.comparisons, found.prompts, found.raters) == (3, 3, 3, {"ann": 3})
    assert found.agreement is None and not asked, "ann and bob share a pair of other models alone"
    assert {mark.model: mark.total for mark in found.marks} == {"tuned": 3, "other": 3}
    assert len(found.ranking) == 3


def test_filters_choose_votes(voted: Bench) -> None:
    assert results.report(voted, which=VoteFilter(rater="bob"), resamples=5).votes == 1
    assert results.report(voted, which=VoteFilter(tag="math"), resamples=5).votes == 4
    assert results.report(voted, which=VoteFilter(hide_fast=True), resamples=5).votes == 9


def test_agreement_is_asked_for_only_when_two_people_share_a_pair(voted: Bench, asked: list[list[Judged]]) -> None:
    assert results.report(voted, resamples=5).agreement == Agreement(0.25, 1, ())
    assert [one for one in asked[0] if one.unit == 1] == [Judged("ann", 1, "a"), Judged("bob", 1, "b")]
    results.report(voted, which=VoteFilter(rater="ann"), resamples=5)
    assert asked[1] == asked[0], "who is looked at does not change who agrees"
    voted.store.comparisons.undo_rating("bob")
    assert results.report(voted, resamples=5).agreement is None


def test_the_report_is_json_with_the_fields_that_scripts_read(voted: Bench) -> None:
    unseen.reveal(voted)
    told = json.loads(json.dumps(results.report(voted, resamples=5).as_dict()))
    assert {
        "pairs",
        "ranking",
        "checks",
        "agreement",
        "by_tag",
        "marks",
        "raters",
        "votes",
        "comparisons",
        "prompts",
        "equal_answers",
        "on_chosen_prompts",
        "less_different_left_out",
        "waiting_for_you",
    } == told.keys()
    assert {"model", "rating", "low", "high", "votes", "group"} == told["ranking"][0].keys()
    assert told["checks"]["left_side"]["total"] == 10 and told["checks"]["fast_votes"] == 1
    assert told["agreement"]["krippendorff_alpha"] == 0.25
    assert told["by_tag"][0]["tag"] == "math"


def test_without_votes_there_is_an_empty_report(bench: Bench) -> None:
    found = results.report(bench)
    assert (found.votes, found.scores, found.ranking, found.agreement) == (0, (), (), None)
    assert found.checks.left.value is None


def test_votes_on_the_most_different_pairs_alone_are_told_as_such(bench: Bench) -> None:
    for number in range(12):
        sides = candidate("pip", f"x {number}"), candidate("tuned", f"y {number}")
        bench.store.comparisons.add(user(f"q{number}"), *sides, draw_seed=number, difference=number / 12)
    for _ in range(6):
        view = compare.next_blind(bench, order="differing")
        assert view is not None
        compare.rate(bench, view.comparison_id, Verdict.LEFT)
    found = results.report(bench, resamples=5)
    assert found.left_out == 6
    assert any("6 pairs wait whose answers differ less" in line for line in check_lines(found))
    while (view := compare.next_blind(bench)) is not None:
        compare.rate(bench, view.comparison_id, Verdict.LEFT)
    assert results.report(bench, resamples=5).left_out == 0


def answered(bench: Bench, number: int, difference: float, *, b: str = "tuned", chosen: str = "") -> Comparison:
    sides = candidate("pip", f"x {number}"), candidate(b, f"y {number}")
    return bench.store.comparisons.add(
        user(f"q{number}"), *sides, draw_seed=number, difference=difference, chosen=chosen
    )


def test_what_waits_is_held_against_what_was_voted_on_of_the_same_models_and_of_what_counts(bench: Bench) -> None:
    for number in range(6):
        vote(bench, answered(bench, number, 0.9), "pip")
        answered(bench, 10 + number, 0.1, b="other")
        vote(bench, answered(bench, 20 + number, 0.1, b="third"), "pip")
        answered(bench, 30 + number, 0.1, b="third")
        vote(bench, answered(bench, 40 + number, 0.9, b="third", chosen="differing"), "pip")
    assert results.report(bench, resamples=5).left_out == 0
    for number in range(6):
        answered(bench, 50 + number, 0.1)
    assert results.report(bench, resamples=5).left_out == 6
    assert results.report(bench, "pip", "third", resamples=5).left_out == 0


def test_marks_on_chosen_prompts_are_in_no_mean(bench: Bench) -> None:
    for number, (chosen, marks) in enumerate((("", (4, 4)), ("differing", (1, 1)))):
        details = VoteDetails(rubric={"clear": marks})
        vote(bench, answered(bench, number, 0.5, chosen=chosen), "pip", details=details)
    assert {(one.model, one.mean, one.total) for one in results.report(bench, resamples=5).marks} == {
        ("pip", 4, 1),
        ("tuned", 4, 1),
    }
