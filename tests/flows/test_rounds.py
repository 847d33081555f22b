"""Rounds: every prompt to two models, durable, in the order that changes the base least; identities and differences."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest

from fakes import FakeEngine
from samples import user
from workbench.domain.chats import Sampling
from workbench.domain.comparisons import Comparison, ModelIdentity, draw_left_is_a
from workbench.domain.models import ModelKind
from workbench.domain.rounds import PromptRow, Round, pairings
from workbench.domain.serving import AnswerEvent, ChatRequest
from workbench.errors import EngineError, RefusedError, UsageError
from workbench.flows import rounds
from workbench.flows.bench import Bench

SAMPLING = Sampling(max_tokens=50)


@pytest.fixture
def models(bench: Bench) -> Bench:
    for name, kind, base in (("tuned", ModelKind.ADAPTER, "pip"), ("other", ModelKind.BASE, "")):
        bench.store.models.add(name, kind, f"/nowhere/{name}", base=base, sha256=f"hash of {name}")
    return bench


def rows(count: int) -> list[PromptRow]:
    return [PromptRow(user(f"question {n}"), n + 100, ("tag",)) for n in range(count)]


def begin(bench: Bench, *names: str, count: int = 4) -> Round:
    return rounds.begin(bench, names, rows(count), sampling=SAMPLING, seed=7)


def asked(engine: FakeEngine) -> list[str]:
    return [request.model.name for request in engine.requests]


def test_a_round_robin_gives_every_two_models_as_many_prompts() -> None:
    made = pairings(["a", "b", "c"], rows(10), seed=1)
    counts = Counter((pair.a, pair.b) for pair in made)
    assert sorted(counts) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({pair.prompt.turns for pair in made}) == 10, "each prompt is asked once"
    assert made == pairings(["a", "b", "c"], rows(10), seed=1)
    assert [(p.a, p.b) for p in made] != [(p.a, p.b) for p in pairings(["a", "b", "c"], rows(10), seed=2)]


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "b", "a"]])
def test_a_round_needs_different_models(names: list[str]) -> None:
    with pytest.raises(UsageError):
        pairings(names, rows(2), seed=1)


def test_what_a_pair_is_made_of_is_kept(models: Bench, engine: FakeEngine) -> None:
    engine.enqueue("one two three four", model="pip")
    engine.enqueue("one two five six", model="tuned")
    (made,) = rounds.run(models, begin(models, "pip", "tuned", count=1))
    assert (made.example_id, made.tags) == (100, ("tag",))
    assert made.difference == pytest.approx(0.5)  # four of eight words are not in common
    pip = models.store.models.get("pip")
    assert made.a.identity == ModelIdentity(pip.id, pip.sha256)
    assert made.b.identity == ModelIdentity(models.store.models.get("tuned").id, "hash of tuned", "pip", pip.sha256)
    assert made.left_is_a == draw_left_is_a(made.draw_seed)


@pytest.mark.parametrize(
    ("a", "b", "expected"), [("", "", 0.0), ("a b", "a b", 0.0), ("a b", "c d", 1.0), ("a", "", 1.0)]
)
def test_the_difference_is_the_share_of_words_not_in_common(a: str, b: str, expected: float) -> None:
    assert rounds.difference(a, b) == pytest.approx(expected)


def test_three_models_on_two_bases_change_the_base_once(models: Bench, engine: FakeEngine) -> None:
    made = list(rounds.run(models, begin(models, "pip", "tuned", "other", count=9)))
    assert len(made) == 9
    of_other = [name == "other" for name in asked(engine)]
    assert sum(of_other) == 6 and sum(before != after for before, after in pairwise(of_other)) == 1
    assert {frozenset((c.a.model, c.b.model)) for c in made} == {
        frozenset(two) for two in (("pip", "tuned"), ("pip", "other"), ("tuned", "other"))
    }


def test_a_model_on_a_server_is_asked_beside_a_local_one(models: Bench, engine: FakeEngine) -> None:
    models.store.models.add("remote", ModelKind.ENDPOINT, "http://localhost:9/v1 gpt")
    together = threading.Barrier(2, timeout=10)
    plain = engine.stream

    def stream(request: ChatRequest, *, cancelled: threading.Event, **options: object) -> Iterator[AnswerEvent]:
        together.wait()  # raises unless the other side is asked meanwhile
        return plain(request, cancelled=cancelled)

    engine.stream = stream  # type: ignore[method-assign, assignment]
    assert len(list(rounds.run(models, begin(models, "remote", "other", count=2)))) == 2


def killed_after(bench: Bench, begun: Round, count: int) -> list[Comparison]:
    """The first pairs of a round whose process then ends."""
    pairs = rounds.run(bench, begun)
    return [next(pairs) for _ in range(count)]


def forget_owner(bench: Bench) -> None:
    with bench.store.write() as db:
        db.execute("UPDATE rounds SET owner_pid = 999999999")


def test_a_round_left_behind_goes_on_where_it_was(models: Bench, engine: FakeEngine) -> None:
    begun = begin(models, "pip", "tuned", count=5)
    killed_after(models, begun, 2)
    assert rounds.left_behind(models) is None, "its process lives"
    forget_owner(models)
    found = rounds.left_behind(models)
    assert found is not None and (found.id, found.done, found.total) == (begun.id, 2, 5)
    assert rounds.left_behind(models) is None, "it is this process's now"
    heard: list[tuple[int, int]] = []
    made = list(rounds.run(models, found, on_progress=lambda *at: heard.append(at)))
    assert len(made) == 3 and heard == [(3, 5), (4, 5), (5, 5)]
    prompts = [c.prompt[0].content for c in models.store.comparisons.list()]
    assert sorted(prompts) == [f"question {n}" for n in range(5)]
    seeds = {c.a.generation.sampling.seed for c in models.store.comparisons.list()}
    assert seeds == set(range(7, 12)), "each prompt has the seed of its place"
    forget_owner(models)
    assert rounds.left_behind(models) is None, "it is done"


def test_answers_that_wait_for_the_other_base_are_not_asked_again(models: Bench, engine: FakeEngine) -> None:
    begun = begin(models, "tuned", "other", count=3)
    killed_after(models, begun, 1)
    assert asked(engine) == ["tuned"] * 3 + ["other"]
    forget_owner(models)
    found = rounds.left_behind(models)
    assert found is not None
    assert len(list(rounds.run(models, found))) == 2
    assert asked(engine)[4:] == ["other"] * 2


def test_a_round_that_was_stopped_stays_stopped(models: Bench) -> None:
    begun = begin(models, "pip", "tuned")
    killed_after(models, begun, 1)
    rounds.stop(models, begun.id)
    forget_owner(models)
    assert rounds.left_behind(models) is None


def test_a_round_that_keeps_failing_is_given_up(models: Bench, engine: FakeEngine) -> None:
    def stream(request: ChatRequest, **options: object) -> Iterator[AnswerEvent]:
        raise EngineError("no memory")
        yield

    engine.stream = stream  # type: ignore[method-assign, assignment]
    begun = begin(models, "pip", "tuned", count=6)
    with pytest.raises(EngineError, match="no memory"):
        list(rounds.run(models, begun))
    forget_owner(models)
    assert rounds.left_behind(models) is None
    assert models.store.rounds.get(begun.id).done == rounds.FAILURES_IN_A_ROW


def test_a_round_that_was_given_up_goes_on_when_it_is_wanted_with_what_failed(
    models: Bench, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(request: ChatRequest, **options: object) -> Iterator[AnswerEvent]:
        raise EngineError("server:8000 cannot be reached")
        yield

    begun = begin(models, "pip", "tuned", count=6)
    making = rounds.run(models, begun)
    made = [next(making)]
    with monkeypatch.context() as patched:
        patched.setattr(engine, "stream", fails)
        with pytest.raises(EngineError, match="cannot be reached; 1 of 6 prompts were answered") as caught:
            next(making)
    assert "compare --resume" in caught.value.hint
    assert rounds.left_behind(models) is None, "nobody asks a server by himself that does not answer"
    found = rounds.left_behind(models, given_up=True)
    assert found is not None and (found.id, found.done, found.total) == (begun.id, 1, 6)
    made += rounds.run(models, found)
    assert sorted(one.prompt[0].content for one in made) == [f"question {n}" for n in range(6)]
    assert rounds.left_behind(models, given_up=True) is None, "it is done"


def test_a_round_that_a_person_stopped_is_not_gone_on_with_as_one_that_failed(models: Bench) -> None:
    begun = begin(models, "pip", "tuned")
    killed_after(models, begun, 1)
    rounds.stop(models, begun.id)
    assert rounds.left_behind(models, given_up=True) is None


def test_the_same_model_twice_is_refused_before_anything_is_written(models: Bench) -> None:
    with pytest.raises(RefusedError):
        begin(models, "pip", "tuned", "pip")
    forget_owner(models)
    assert rounds.left_behind(models) is None


class Listening(rounds.Watcher):
    """Writes down what is shown while answers are written."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        self.begun: list[str] = []

    def begin(self, prompt: tuple[object, ...]) -> None:
        self.begun.append(prompt[-1].content)  # type: ignore[attr-defined]
        self.said = {"left": "", "right": ""}

    def hear(self, side: str, piece: str) -> None:
        self.said[side] += piece


def test_who_watches_sees_each_answer_on_the_side_that_was_drawn(
    models: Bench, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.enqueue(*(f"plain {n}" for n in range(8)), model="pip")
    engine.enqueue(*(f"fancy {n}" for n in range(8)), model="tuned")
    listening = Listening()
    sides = set()
    draws = iter(range(8))  # the seeds of the draw, instead of random ones
    monkeypatch.setattr(rounds.secrets, "randbits", lambda _: next(draws))
    for made in rounds.run(models, begin(models, "pip", "tuned", count=8), watcher=listening):
        assert listening.said == {"left": made.left.text, "right": made.right.text}
        sides.add(made.left_is_a)
    assert listening.begun == [f"question {n}" for n in range(8)]
    assert sides == {True, False}
