"""Where a row came from and what became of it: chat ← message ← example → run → adapter, walked from any of them.

Reads the store for examples and chats, and each run's folder for the rows that it was given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workbench.domain.counting import counted
from workbench.domain.examples import Example, Source
from workbench.domain.runs import Run
from workbench.errors import NotFoundError, RunError, UsageError
from workbench.flows import train
from workbench.flows.unseen import veiled

if TYPE_CHECKING:
    from workbench.flows.bench import Bench


@dataclass(frozen=True, slots=True)
class Use:
    """A run that was given an example, itself or a copy made from it; ``adapter`` is "" until it has made one.

    ``held_out`` is true when it was measured on only, and not trained on.
    """

    run: str
    method: str
    state: str
    adapter: str
    held_out: bool
    as_example: int


@dataclass(frozen=True, slots=True)
class ExampleTrace:
    """One example: where it came from, in words and by ids, and the runs that it went into, newest first."""

    id: int
    dataset: str
    kind: str
    status: str
    source: Source
    came_from: str
    runs: tuple[Use, ...] = ()


@dataclass(frozen=True, slots=True)
class RunTrace:
    """One run: the model it made, and how many of its rows came from where.

    ``chats`` maps the id of each chat to the number of rows from it; ``gone`` counts rows that the store lacks.
    ``replay_dataset`` is where those of ``rows`` came from that are against forgetting ("" for none).
    """

    run: str
    adapter: str
    base: str
    went_on_from: str
    dataset: str
    replay_dataset: str
    rows: int
    sources: dict[str, int]
    chats: dict[int, int]
    gone: int


def example(bench: Bench, example_id: int) -> ExampleTrace:
    """One example, back and forward; raises ``NotFoundError``."""
    return _traced(bench, [bench.store.examples.get(example_id)])[0]


def message(bench: Bench, message_id: int) -> list[ExampleTrace]:
    """The examples that a message is part of; raises ``NotFoundError`` when there is no such message."""
    said = bench.store.chats.message(message_id)
    return [
        one for one in chat(bench, said.chat_id) if message_id in {one.source.message_id, one.source.other_message_id}
    ]


def chat(bench: Bench, chat_id: int) -> list[ExampleTrace]:
    """The examples that were made in a chat; raises ``NotFoundError`` when there is no such chat."""
    bench.store.chats.get(chat_id)
    return _traced(bench, [bench.store.examples.get(one) for one in bench.store.examples.made_in(chat_id)])


def run(bench: Bench, address: str | int) -> RunTrace:
    """One run, back to its rows and their chats; raises ``NotFoundError``, ``RunError`` when its folder is gone."""
    found = bench.store.runs.get(address)
    spec = train.spec(found)
    trained = sorted(set(spec.example_ids))
    sources: Counter[str] = Counter()
    chats: Counter[int] = Counter()
    gone = 0
    for example_id in trained:
        try:
            source = origin(bench, bench.store.examples.source(example_id))
        except NotFoundError:
            gone += 1
            continue
        sources[source.kind.value] += 1
        if source.chat_id is not None and not source.away:
            chats[source.chat_id] += 1
    return RunTrace(
        run=found.name,
        adapter=found.adapter,
        base=found.base,
        went_on_from=spec.adapter,
        dataset=found.dataset,
        replay_dataset=spec.replay_dataset,
        rows=len(trained),
        sources=dict(sources.most_common()),
        chats=dict(sorted(chats.items())),
        gone=gone,
    )


def model(bench: Bench, name: str) -> list[RunTrace]:
    """The run that made a model, and before it those that it went on from; empty for one that no run here made.

    It ends where an adapter, or the folder of its run, is no longer there. Raises ``NotFoundError`` when the model
    itself is not there, ``RunError`` when the folder of its own run is gone.
    """
    made_by = bench.store.models.get(name).run_id
    steps: dict[int, RunTrace] = {} if made_by is None else {made_by: run(bench, made_by)}
    while made_by is not None and (before := steps[made_by].went_on_from):
        try:
            found = bench.store.models.get(before)
            if found.name != before or found.run_id is None or found.run_id in steps:
                break
            steps[made_by := found.run_id] = run(bench, found.run_id)
        except (NotFoundError, RunError, UsageError):
            break
    return list(steps.values())


def came_from(bench: Bench, source: Source) -> str:
    """Where an example came from, in words, the nearest first."""
    return " ← ".join(_steps(bench, source))


def origin(bench: Bench, source: Source) -> Source:
    """The source of the example that a copy was made from, through any number of copies; else the source itself."""
    seen: set[int] = set()
    while source.chat_id is None and source.origins and not source.away and source.origins[-1] not in seen:
        seen.add(source.origins[-1])
        source = bench.store.examples.source(source.origins[-1])
    return source


def _traced(bench: Bench, found: list[Example]) -> list[ExampleTrace]:
    found = [veiled(bench, one) for one in found]
    copies = bench.store.examples.copies_of([one.id for one in found])
    uses: dict[int, list[Use]] = {one.id: [] for one in found}
    for given in bench.store.runs.list() if found else ():
        try:
            spec = train.spec(given)
        except RunError:  # its folder is gone
            continue
        for is_held_out, rows in ((False, frozenset(spec.example_ids)), (True, frozenset(spec.eval_example_ids))):
            for example_id, ids in copies.items():
                here = sorted({example_id, *ids} & rows)
                uses[example_id] += [_use(given, one, is_held_out) for one in here]
    return [
        ExampleTrace(
            id=one.id,
            dataset=one.dataset,
            kind=one.content.kind.value,
            status=one.status.value,
            source=one.source,
            came_from=came_from(bench, one.source),
            runs=tuple(uses[one.id]),
        )
        for one in found
    ]


def _use(given: Run, example_id: int, is_held_out: bool) -> Use:
    return Use(given.name, given.method, given.state.value, given.adapter, is_held_out, example_id)


def _steps(bench: Bench, source: Source, seen: frozenset[int] = frozenset()) -> Iterable[str]:
    """Where it came from, the nearest first."""
    yield source.kind.value + (f" by {', '.join(source.models)}" if source.models else "")
    if source.comparison_id is not None:
        yield f"comparison {source.comparison_id}"
    if source.file:
        yield source.file + (f" line {source.line}" if source.line is not None else "")
    if source.message_id is not None:
        over = f" over message {source.other_message_id}" if source.other_message_id is not None else ""
        yield f"message {source.message_id}{over}"
    if source.chat_id is not None:
        yield f"chat {source.chat_id}{'' if source.away else _title(bench, source.chat_id)}"
    for example_id in source.origins:
        yield f"example {example_id}"
    if source.away:
        yield "the workspace that wrote the file"
    elif source.origins and source.chat_id is None and source.origins[-1] not in seen:
        try:
            # without the models: a copy of a pair that waits for a blind vote does not name them
            first = replace(bench.store.examples.source(source.origins[-1]), models=())
            yield from _steps(bench, first, seen | {source.origins[-1]})
        except NotFoundError:
            yield "no longer there"


def _title(bench: Bench, chat_id: int) -> str:
    try:
        return f" “{bench.store.chats.get(chat_id).title}”"
    except NotFoundError:
        return " (deleted)"


def example_text(found: ExampleTrace) -> str:
    """One example in some lines, for people."""
    lines = [f"example {found.id}  {found.kind} in {found.dataset}, {found.status}", f"  ← {found.came_from}"]
    for use in found.runs:
        how = "held out in" if use.held_out else "trained"
        copy = f" as example {use.as_example}" if use.as_example != found.id else ""
        made = f" → adapter {use.adapter}" if use.adapter else f" ({use.state})"
        lines.append(f"  → {how} run {use.run} ({use.method}){copy}{made}")
    return "\n".join(lines if found.runs else [*lines, "  → no run has had it yet"])


def run_text(found: RunTrace) -> str:
    """One run in some lines, for people."""
    start = f"{found.went_on_from} on {found.base}" if found.went_on_from else found.base
    sources = ", ".join(f"{count} {kind}" for kind, count in found.sources.items())
    chats = ", ".join(f"{chat_id} ({counted(count, 'rows')})" for chat_id, count in found.chats.items())
    datasets = f"{found.dataset} and {found.replay_dataset}" if found.replay_dataset else found.dataset
    lines = [
        f"{found.adapter or '(no adapter yet)'} ← run {found.run} ← {start}",
        f"  {counted(found.rows, 'rows')} of {datasets}: {sources or 'none'}",
        f"  chats: {chats or 'none'}",
    ]
    return "\n".join([*lines, f"  {counted(found.gone, 'rows')} are no longer in the store"] if found.gone else lines)
