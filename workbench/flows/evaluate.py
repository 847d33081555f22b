"""Evaluating a model on an evaluation set: its answers beside the references, in numbers.

Numbers that compare texts say little about how good an answer is; they tell whether a model got worse at what it knew.
What people prefer is told by ``compare`` and ``results``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.domain.chats import Role, Sampling
from workbench.domain.examples import Example, Kind, Split, Status
from workbench.domain.queries import Filter, Query
from workbench.domain.serving import AnswerEnd, ChatRequest, ModelPlace, TextPiece
from workbench.errors import DataError, UsageError
from workbench.flows import votes
from workbench.flows.registry import place
from workbench.jobs.metrics import metrics

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

SUITES = {"answers": "greedy answers against the references: exact match, token F1, chrF, BLEU"}
AT_ONCE = 4
"""So many rows are asked at the same time: the engine answers them as one batch."""

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model reached on a set. ``answers`` are by example id, in the order of the rows."""

    model: str
    dataset: str
    suite: str
    metrics: dict[str, Any]
    answers: dict[int, str]


def evaluate(
    bench: Bench,
    model: str,
    *,
    dataset: str = "",
    suite: str = "answers",
    limit: int | None = None,
    max_tokens: int = 256,
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> Evaluation:
    """Ask the model every held-out row of a dataset and compare; greedy, so that it can be repeated.

    ``dataset`` empty takes the evaluation set made of votes. Of a dataset with validation or test rows only those are
    asked. Raises ``UsageError`` for an unknown suite, ``DataError`` when no row has a reference, ``EngineError``.
    """
    if suite not in SUITES:
        raise UsageError(f"there is no suite {suite!r}", hint=f"known: {', '.join(SUITES)}")
    name = dataset or votes.DATASETS[votes.Shape.EVALUATION]
    rows = _rows(bench, name)[:limit]
    if not rows:
        raise DataError(f"no row of {name} has a prompt and a reference answer", hint="demonstrations and pairs have")
    where, sampling = place(bench, model), Sampling(temperature=0.0, top_p=1.0, max_tokens=max_tokens, seed=0)
    ask = partial(_answer, bench, where, sampling, cancelled or threading.Event())
    answers: dict[int, str] = {}
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="evaluate") as pool:
        for row, answer in zip(rows, pool.map(ask, rows), strict=True):
            answers[row.id] = answer
            if on_progress is not None:
                on_progress(len(answers), len(rows))
    pairs = [(answers[row.id], reference(row)) for row in rows]
    return Evaluation(where.name, name, suite, metrics(pairs), answers)


def reference(row: Example) -> str:
    """The answer that is aimed at: the chosen one."""
    return "\n".join(turn.content for turn in row.content.chosen if turn.role == Role.ASSISTANT)


def _rows(bench: Bench, name: str) -> list[Example]:
    bench.store.datasets.get(name)
    accepted = Filter("status", Status.ACCEPTED.value)
    held_out = [Query((accepted, Filter("split", split.value))) for split in (Split.VALIDATION, Split.TEST)]
    found = [row for query in held_out for row in bench.store.examples.list(query, dataset=name, limit=1_000_000)]
    found = found or bench.store.examples.list(Query((accepted,)), dataset=name, limit=1_000_000)
    return [row for row in found if row.content.kind in {Kind.DEMONSTRATION, Kind.PREFERENCE}]


def _answer(bench: Bench, where: ModelPlace, sampling: Sampling, cancelled: threading.Event, row: Example) -> str:
    request = ChatRequest(where, row.content.prompt, sampling)
    text = ""
    for event in bench.engine.stream(request, cancelled=cancelled):
        match event:
            case TextPiece(piece):
                text += piece
            case AnswerEnd():
                pass
    return text
