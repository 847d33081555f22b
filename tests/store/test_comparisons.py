from __future__ import annotations

import pytest

from samples import candidate, user
from workbench.domain.comparisons import Comparison, Score, Verdict, VoteDetails
from workbench.domain.models import ModelKind
from workbench.errors import NotFoundError, RefusedError
from workbench.store.store import Store


def ask(store: Store, a: str, b: str, number: int, *, texts: tuple[str, str] = ("one", "two")) -> Comparison:
    first, second = candidate(a, texts[0]), candidate(b, texts[1])
    return store.comparisons.add(user(f"question {number}"), first, second, draw_seed=number)


def vote_for(store: Store, comparison: Comparison, model: str, rater: str = "r") -> None:
    verdict = Verdict.LEFT if comparison.left.model == model else Verdict.RIGHT
    store.comparisons.rate(comparison.id, verdict, rater=rater)


def test_a_comparison_comes_back_with_its_draw(store: Store) -> None:
    made = [ask(store, "pip", "tuned", number) for number in range(20)]
    assert [store.comparisons.get(c.id) for c in made] == made
    assert {c.left_is_a for c in made} == {True, False}
    assert [c.id for c in store.comparisons.list(3)] == [c.id for c in reversed(made)][:3]
    with pytest.raises(NotFoundError):
        store.comparisons.get(99)


def test_each_rater_goes_through_the_queue_once(store: Store) -> None:
    first, same, second = (
        ask(store, "pip", "tuned", 1),
        ask(store, "pip", "tuned", 2, texts=("alike ", "alike")),
        ask(store, "pip", "tuned", 3),
    )
    assert same.identical
    assert store.comparisons.waiting("ann") == 2
    assert store.comparisons.next_unrated("ann") == first
    store.comparisons.rate(first.id, Verdict.SKIP, rater="ann")
    assert store.comparisons.next_unrated("ann") == second
    store.comparisons.rate(second.id, Verdict.TIE, rater="ann")
    assert store.comparisons.next_unrated("ann") is None
    assert store.comparisons.waiting("ann") == 0
    assert store.comparisons.next_unrated("bob") == first


def test_a_queue_can_be_one_pair_of_models_in_either_order(store: Store) -> None:
    ask(store, "pip", "other", 1)
    wanted = ask(store, "tuned", "pip", 2)
    assert store.comparisons.next_unrated("r", a="pip", b="tuned") == wanted
    assert store.comparisons.next_unrated("r", a="tuned") == wanted
    assert store.comparisons.next_unrated("r", a="other", b="tuned") is None


def test_a_vote_taken_back_brings_the_comparison_back(store: Store) -> None:
    comparison = ask(store, "pip", "tuned", 1)
    rating = store.comparisons.rate(comparison.id, Verdict.LEFT, rater="r", details=VoteDetails("clearer", 1234))
    assert store.comparisons.last_rating("r") == rating
    undone = store.comparisons.undo_rating("r")
    assert undone is not None and undone.id == rating.id and undone.undone
    assert store.comparisons.undo_rating("r") is None
    assert store.comparisons.undo_rating("somebody else") is None
    assert store.comparisons.next_unrated("r") == comparison
    assert [r.undone for r in store.comparisons.ratings(comparison.id)] == [True]


def test_a_second_vote_of_the_same_rater_replaces_the_first_and_keeps_it(store: Store) -> None:
    comparison = ask(store, "pip", "tuned", 1)
    vote_for(store, comparison, "pip")
    vote_for(store, comparison, "tuned")
    vote_for(store, comparison, "tuned", rater="other")
    assert store.comparisons.scores("tuned", "pip") == [Score("tuned", "pip", 1, 0, 0, 0)], "the second is not blind"
    assert [(r.rater, r.undone) for r in store.comparisons.ratings(comparison.id)] == [
        ("r", True), ("r", False), ("other", False),
    ]  # fmt: skip


def test_scores_count_by_model_whichever_side_and_order_it_stood_in(store: Store) -> None:
    winners = ["tuned"] * 5 + ["pip"] * 3
    for number, winner in enumerate(winners):
        a, b = ("pip", "tuned") if number % 2 else ("tuned", "pip")
        vote_for(store, ask(store, a, b, number), winner)
    assert store.comparisons.scores("tuned", "pip") == [Score("tuned", "pip", 5, 3, 0, 0)]
    assert store.comparisons.scores("pip", "tuned") == [Score("pip", "tuned", 3, 5, 0, 0)]
    assert store.comparisons.scores("pip") == [Score("pip", "tuned", 3, 5, 0, 0)]
    assert store.comparisons.scores() == [Score("tuned", "pip", 5, 3, 0, 0)], "tuned was asked first"


def test_skips_and_votes_taken_back_do_not_count_and_equal_answers_are_ties(store: Store) -> None:
    ask(store, "pip", "tuned", 1, texts=("alike", "alike"))
    for number, verdict in enumerate([Verdict.SKIP, Verdict.TIE, Verdict.BOTH_BAD, Verdict.LEFT], start=2):
        store.comparisons.rate(ask(store, "pip", "tuned", number).id, verdict, rater="r")
    store.comparisons.undo_rating("r")
    ask(store, "pip", "tuned", 9)
    assert store.comparisons.scores() == [Score("pip", "tuned", 0, 0, 2, 1)]


def test_a_pair_that_was_only_skipped_has_no_score(store: Store) -> None:
    store.comparisons.rate(ask(store, "pip", "tuned", 1).id, Verdict.SKIP, rater="r")
    assert store.comparisons.scores() == []


def test_a_vote_on_equal_answers_stays_a_tie(store: Store) -> None:
    comparison = ask(store, "pip", "tuned", 1, texts=("alike", "alike"))
    store.comparisons.rate(comparison.id, Verdict.LEFT, rater="r")
    store.comparisons.rate(comparison.id, Verdict.RIGHT, rater="other")
    assert store.comparisons.scores() == [Score("pip", "tuned", 0, 0, 1, 0)]


def test_several_pairs_of_models_are_scored_apart(store: Store) -> None:
    vote_for(store, ask(store, "a", "b", 1), "a")
    vote_for(store, ask(store, "c", "b", 2), "c")
    assert store.comparisons.scores() == [Score("a", "b", 1, 0, 0, 0), Score("c", "b", 1, 0, 0, 0)]
    assert store.comparisons.scores("b") == [Score("b", "a", 0, 1, 0, 0), Score("b", "c", 0, 1, 0, 0)]
    assert store.comparisons.scores("a", "c") == []


def test_a_vote_after_the_names_were_told_is_kept_and_does_not_count(store: Store) -> None:
    changed, again = ask(store, "pip", "tuned", 1), ask(store, "pip", "tuned", 2)
    vote_for(store, changed, "pip")
    vote_for(store, changed, "tuned")
    vote_for(store, again, "pip")
    store.comparisons.undo_rating("r")
    vote_for(store, again, "pip")
    assert [r.blind for c in (changed, again) for r in store.comparisons.ratings(c.id)] == [True, False] * 2
    assert store.comparisons.scores() == []


def test_taking_back_a_changed_vote_lets_the_one_before_stand_again(store: Store) -> None:
    first, second = ask(store, "pip", "tuned", 1), ask(store, "pip", "tuned", 2)
    vote_for(store, first, "pip")
    vote_for(store, second, "pip")
    vote_for(store, first, "tuned")
    store.comparisons.undo_rating("r")
    assert store.comparisons.scores() == [Score("pip", "tuned", 2, 0, 0, 0)]
    assert store.comparisons.waiting("r") == 0
    assert [store.comparisons.undo_rating("r"), store.comparisons.undo_rating("r")] != [None, None]
    assert store.comparisons.undo_rating("r") is None and store.comparisons.waiting("r") == 2


def test_a_name_with_comparisons_goes_only_to_the_model_that_had_it(store: Store) -> None:
    store.models.add("pip", ModelKind.BASE, "/models/pip", sha256="a1")
    store.models.add("quiet", ModelKind.BASE, "/models/quiet", sha256="b1")
    ask(store, "pip", "tuned", 1)
    store.models.remove("pip")
    store.models.remove("quiet")
    with pytest.raises(RefusedError, match="was another model"):
        store.models.add("pip", ModelKind.BASE, "/models/pip", sha256="a2")
    assert "pip" in store.models.taken_names("/models/new", "a2")
    assert store.models.add("quiet", ModelKind.BASE, "/models/new", sha256="b2").name == "quiet"
    assert store.models.add("pip", ModelKind.BASE, "/elsewhere/pip", sha256="a1").name == "pip"
