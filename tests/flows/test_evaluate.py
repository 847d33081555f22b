"""Evaluating: which rows are asked, how, and what is compared with what."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import FakeEngine
from samples import IMPORTED, demo, pair, thumb
from workbench.domain.examples import Split, Status
from workbench.errors import DataError, NotFoundError, UsageError
from workbench.flows import evaluate as flow
from workbench.flows.bench import Bench


@pytest.fixture(autouse=True)
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """No child is started; the pairs that it would have got."""
    heard: list[tuple[str, str]] = []

    def metrics(pairs: list[tuple[str, str]]) -> dict[str, Any]:
        heard.extend(pairs)
        return {"rows": len(pairs)}

    monkeypatch.setattr(flow, "metrics", metrics)
    return heard


def put(bench: Bench, *contents: Any, split: Split = Split.NONE, dataset: str = "set") -> None:
    for content in contents:
        bench.store.examples.add(dataset, content, source=IMPORTED, status=Status.ACCEPTED, rater="r", split=split)


def test_held_out_rows_are_asked_greedily_and_compared_with_what_was_chosen(
    bench: Bench, engine: FakeEngine, compared: list[tuple[str, str]]
) -> None:
    put(bench, demo(1), split=Split.TRAIN)
    put(bench, demo(2), thumb(3), split=Split.TEST)
    put(bench, pair(4), split=Split.VALIDATION)
    engine.default_answer = "an answer"
    found = flow.evaluate(bench, "pip", dataset="set", max_tokens=9)
    assert sorted(compared) == [("an answer", "answer 2"), ("an answer", "good answer 4")]
    assert (found.model, found.dataset, found.metrics) == ("pip", "set", {"rows": 2})
    assert set(found.answers.values()) == {"an answer"}
    assert {(r.sampling.temperature, r.sampling.seed, r.sampling.max_tokens) for r in engine.requests} == {(0.0, 0, 9)}


def test_answers_stay_beside_their_own_reference(
    bench: Bench, engine: FakeEngine, compared: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bench, *(demo(n) for n in range(12)))
    plain = engine.stream

    def stream(request: Any, **options: Any) -> Any:
        engine.default_answer = ""
        engine.enqueue("to " + request.turns[-1].content.rpartition(" ")[2])
        yield from plain(request, **options)

    monkeypatch.setattr(engine, "stream", stream)
    monkeypatch.setattr(flow, "AT_ONCE", 1)
    flow.evaluate(bench, "pip", dataset="set", limit=10)
    assert compared == [(f"to {n}", f"answer {n}") for n in range(10)]


def test_what_cannot_be_evaluated_is_said(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        flow.evaluate(bench, "pip")  # no votes were made into an evaluation set
    put(bench, thumb(1))
    with pytest.raises(DataError, match="reference"):
        flow.evaluate(bench, "pip", dataset="set")
    with pytest.raises(UsageError, match="suite"):
        flow.evaluate(bench, "pip", dataset="set", suite="riddles")
