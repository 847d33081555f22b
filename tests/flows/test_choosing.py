"""Which prompts are asked: where drafts differ, with a random half for the rate, the same again with the same seed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from fakes import FakeEngine
from samples import user
from voting import side_of
from workbench.domain.chats import Sampling
from workbench.domain.comparisons import Score
from workbench.domain.models import ModelKind
from workbench.domain.rounds import CANDIDATES, Choosing, PromptRow, drawn
from workbench.domain.serving import AnswerEvent, ChatRequest
from workbench.errors import EngineError, UsageError
from workbench.flows import choosing, compare, results, rounds
from workbench.flows.bench import Bench

ROWS = [PromptRow(user(f"question {n}"), n) for n in range(60)]
SPLIT_EVERY = 5
"""Both models say the same, but on every fifth prompt."""


@pytest.fixture
def models(bench: Bench, engine: FakeEngine) -> Bench:
    bench.store.models.add("tuned", ModelKind.ADAPTER, "/nowhere/adapter", base="pip")
    plain = engine.stream

    def stream(request: ChatRequest, *, cancelled: threading.Event, **options: object) -> Iterator[AnswerEvent]:
        number = int(request.turns[-1].content.split()[-1])
        is_other = request.model.name != "pip" and number % SPLIT_EVERY == 0
        engine.default_answer = f"{'other words' if is_other else 'the same'} on {number}"
        return iter(list(plain(request, cancelled=cancelled)))

    serial = threading.Lock()

    def one_at_a_time(request: ChatRequest, *, cancelled: threading.Event, **options: object) -> Iterator[AnswerEvent]:
        with serial:
            return stream(request, cancelled=cancelled)

    engine.stream = one_at_a_time  # type: ignore[method-assign, assignment]
    return bench


def choose(bench: Bench, how: Choosing, *, limit: int = 8, seed: int = 3) -> list[PromptRow]:
    return choosing.choose(bench, ["pip", "tuned"], ROWS, how, limit=limit, seed=seed)


def numbers(rows: list[PromptRow], chosen: str) -> list[int]:
    return [row.example_id or 0 for row in rows if row.chosen == chosen]


def test_half_is_drawn_at_random_and_the_rest_is_where_drafts_differ(models: Bench, engine: FakeEngine) -> None:
    found = choose(models, Choosing.DIFFERING)
    assert len({row.turns for row in found}) == 8
    assert sorted(numbers(found, "random")) == sorted(numbers(drawn(ROWS, 4, seed=3), "random"))
    differing = numbers(found, "differing")
    by_chance = {row.example_id for row in drawn(ROWS, 4 + CANDIDATES * 4, seed=3)[4:]}
    wanted = [n for n in by_chance if n is not None and n % SPLIT_EVERY == 0]
    assert len(wanted) > len(differing) == 4 and set(differing) <= set(wanted), "the drafts differ on each of them"
    assert len(engine.requests) == 2 * CANDIDATES * 4
    assert {(r.sampling.temperature, r.sampling.max_tokens) for r in engine.requests} == {(0.0, choosing.DRAFT_TOKENS)}
    assert [row.chosen for row in found] != sorted(row.chosen for row in found), "they come mixed"


def test_the_same_seed_chooses_the_same_and_another_one_others(models: Bench) -> None:
    for how in (Choosing.RANDOM, Choosing.DIFFERING):
        assert choose(models, how) == choose(models, how)
        assert choose(models, how) != choose(models, how, seed=4)


def test_nothing_is_chosen_where_all_can_be_asked_or_the_first_are_wanted(models: Bench, engine: FakeEngine) -> None:
    assert choose(models, Choosing.FIRST) == ROWS[:8]
    assert choose(models, Choosing.DIFFERING, limit=60) == ROWS
    assert engine.requests == []
    assert numbers(choose(models, Choosing.RANDOM), "random") != list(range(8))


def test_one_model_is_refused_before_it_is_asked(models: Bench, engine: FakeEngine) -> None:
    with pytest.raises(UsageError):
        choosing.choose(models, ["pip", "pip"], ROWS, Choosing.DIFFERING, limit=8, seed=1)
    assert engine.requests == []


def refusing(bench: Bench, numbers: set[int]) -> list[int]:
    """The engine refuses these questions; those that were asked."""
    plain, asked = bench.engine.stream, list[int]()

    def stream(request: ChatRequest, *, cancelled: threading.Event, **options: object) -> Iterator[AnswerEvent]:
        asked.append(int(request.turns[-1].content.split()[-1]))
        if asked[-1] in numbers:
            raise EngineError("the conversation is too long")
        yield from plain(request, cancelled=cancelled)

    bench.engine.stream = stream  # type: ignore[method-assign, assignment]
    return asked


def test_a_prompt_that_cannot_be_answered_is_not_chosen(models: Bench) -> None:
    differing = set(numbers(choose(models, Choosing.DIFFERING), "differing"))
    refused = {max(differing)}
    asked = refusing(models, refused)
    found = numbers(choose(models, Choosing.DIFFERING), "differing")
    assert refused <= set(asked) and not refused & set(found) and len(found) == 4
    assert differing - refused <= set(found)


@pytest.mark.parametrize(("rows", "limit"), [(60, 8), (3, 2)])
def test_a_choice_ends_when_prompt_after_prompt_fails(models: Bench, rows: int, limit: int) -> None:
    refusing(models, {*range(60)})
    with pytest.raises(EngineError, match="too long"):
        choosing.choose(models, ["pip", "tuned"], ROWS[:rows], Choosing.DIFFERING, limit=limit, seed=3)


def test_a_choice_that_is_stopped_leaves_the_random_half(models: Bench) -> None:
    stopped = threading.Event()

    def hear(done: int, total: int) -> None:
        assert total == 2 * CANDIDATES * 4
        if done == 3:
            stopped.set()

    found = choosing.choose(
        models, ["pip", "tuned"], ROWS, Choosing.DIFFERING, limit=8, seed=3, on_draft=hear, cancelled=stopped
    )
    assert found == drawn(ROWS, 4, seed=3)


def test_votes_on_chosen_prompts_are_told_apart_and_move_no_rate(models: Bench) -> None:
    rows = [PromptRow(user(f"question {n}"), n, chosen="random" if n < 3 else "differing") for n in range(8)]
    rows = [PromptRow(user(f"question {row.example_id * 5}"), row.example_id, chosen=row.chosen) for row in rows]  # type: ignore[operator]
    made = list(rounds.run(models, rounds.begin(models, ["pip", "tuned"], rows, sampling=Sampling(), seed=1)))
    assert [one.chosen for one in made] == [row.chosen for row in rows], "it comes through a stored round"
    for one in made:
        compare.rate(models, one.id, side_of(one, "pip" if one.chosen == "random" else "tuned"))
    found = results.report(models, "tuned", resamples=20)
    assert found.scores == (Score("tuned", "pip", 0, 3, 0, 0),)
    assert found.chosen_between("tuned", "pip") == Score("tuned", "pip", 5, 0, 0, 0)
    assert [rank.votes for rank in found.ranking] == [3, 3]
    assert compare.results(models, "pip")[0].score == Score("pip", "tuned", 3, 0, 0, 0)
    (told,) = found.as_dict()["on_chosen_prompts"]  # type: ignore[misc]
    assert (told["a_wins"], told["b_wins"]) == (5, 0)


def test_models_with_votes_on_chosen_prompts_alone_have_an_empty_standing(models: Bench) -> None:
    rows = [PromptRow(user("question 5"), chosen="differing")]
    (made,) = rounds.run(models, rounds.begin(models, ["pip", "tuned"], rows, sampling=Sampling(), seed=1))
    compare.rate(models, made.id, side_of(made, "tuned"))
    found = results.report(models, resamples=5)
    assert found.scores == (Score("pip", "tuned", 0, 0, 0, 0),)
    assert found.chosen_between("pip", "tuned") == Score("pip", "tuned", 0, 1, 0, 0)
