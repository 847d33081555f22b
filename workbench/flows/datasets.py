"""Whole datasets as a person handles them: deal them into splits, put them together, mix them, hide them.

Owns which rows go where and that one undo takes it back. How groups are dealt and how a mixture is drawn is the
domain's; rows made from rows are in ``augment.py`` beside this.
"""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from workbench import methods as training_methods
from workbench.domain.dataset_statistics import Estimate, Measuring, Statistics, TokenFigures, estimated, token_figures
from workbench.domain.datasets import (
    FEWEST_GROUPS,
    Dataset,
    Dealable,
    Groups,
    Shares,
    deal_rows,
    stratum_of,
    strictest,
)
from workbench.domain.examples import Example, Kind, NewExample, Source, Split, Status
from workbench.domain.mixing import Part, portions, prefixed
from workbench.domain.models import check_name
from workbench.domain.queries import Query, parse_query
from workbench.domain.readiness import FactCounter, Facts, Readiness, readiness
from workbench.errors import RefusedError, UsageError, WorkbenchError
from workbench.flows.check import look_at
from workbench.flows.curate import Done, check_tag
from workbench.flows.gate import counted, stream
from workbench.flows.presets import AUTO, TINY, TINY_PARAMETERS, default_window
from workbench.flows.registry import describe
from workbench.flows.tokens import base_of, lengths
from workbench.flows.unseen import asked

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

_AT_ONCE = 200
_HELD_OUT = 0.1  # what training holds out by itself when nothing is marked


@dataclass(frozen=True, slots=True)
class Dealing:
    """What a deal did: the rows that each split has now, and how many were dealt.

    ``strata`` has the counts of every tag or source when the deal was stratified. ``straddling`` counts groups that
    stand in more than one split, because of rows that were there before.
    """

    dataset: str
    splits: dict[str, int]
    dealt: int
    straddling: int = 0
    strata: dict[str, dict[str, int]] = field(default_factory=dict)

    def sentence(self) -> str:
        """The report for a person."""
        dealt = f"dealt {counted(self.dealt)}" if self.dealt else "nothing to deal: every row has its split already"
        said = [dealt, ", ".join(f"{n:,} {name}" for name, n in self.splits.items())]
        if self.straddling:
            said.append(f"{self.straddling:,} groups stood in several splits before and still do")
        return "; ".join(said)


def deal_splits(bench: Bench, dataset: str, *, seed: int, shares: Shares, by: str = "") -> Dealing:
    """Deal the rows that have no split yet; what was dealt before is not moved. One undo takes the whole deal back.

    Rows of one chat, with the same prompt, or made from one another stay together, also with rows dealt before.
    ``by`` (tag or source) makes the shares right in each of them. Rejected rows are dealt too: they can come back.
    """
    shares.check()
    name = bench.store.datasets.get(dataset).name
    rows = _dealables(bench, name, by)
    dealt = deal_rows(rows, seed=seed, shares=shares, stratified=bool(by))
    _write_splits(bench, dealt)
    return _dealing(bench, name, rows, dealt, by)


def _dealables(bench: Bench, dataset: str, by: str) -> list[Dealable]:
    groups, seen = Groups(), list[tuple[int, Split, str]]()
    for example in stream(bench, Query(), dataset):
        groups.add(example)
        seen.append((example.id, example.split, stratum_of(example, by) if by else ""))
    return [Dealable(example_id, groups.of(example_id), split, stratum) for example_id, split, stratum in seen]


def _write_splits(bench: Bench, dealt: Mapping[int, Split]) -> None:
    """In short transactions, so that others can write meanwhile; a row that got a split since keeps it."""
    by_split: dict[Split, array[int]] = {}
    for example_id in sorted(dealt):
        by_split.setdefault(dealt[example_id], array("q")).append(example_id)
    bench.store.examples.deal(by_split, rater=bench.rater)


def _dealing(bench: Bench, name: str, rows: Sequence[Dealable], dealt: Mapping[int, Split], by: str) -> Dealing:
    first: dict[str, Split] = {}
    straddling: set[str] = set()
    strata: dict[str, dict[str, int]] = {}
    for row in rows:
        split = dealt.get(row.id, row.split)
        if first.setdefault(row.group, split) is not split:
            straddling.add(row.group)
        if by:
            counts = strata.setdefault(row.stratum or "none", dict.fromkeys(_SPLITS, 0))
            counts[split.value] = counts.get(split.value, 0) + 1
    splits = {to: bench.store.examples.count(parse_query(f"split:{to}"), name) for to in _SPLITS}
    return Dealing(name, splits, len(dealt), len(straddling), strata)


_SPLITS = (Split.TRAIN.value, Split.VALIDATION.value, Split.TEST.value)


# Putting together


@dataclass(frozen=True, slots=True)
class Mixture:
    """What was put into a dataset: how many rows of which one, and how many were there already.

    ``moved`` counts rows that stand in another split than in their own dataset, because a row that they belong with is
    held out.
    """

    dataset: str
    added: int
    duplicates: int
    of: dict[str, int]
    moved: int = 0

    def as_dict(self) -> dict[str, object]:
        """The report as ``--json`` prints it."""
        return asdict(self)

    def sentence(self) -> str:
        """The report for a person."""
        parts = ", ".join(f"{n:,} of {name}" for name, n in self.of.items())
        said = [f"{self.dataset} has {counted(self.added)} more ({parts})"]
        said += [f"{self.duplicates:,} were there already"] if self.duplicates else []
        said += [f"{self.moved:,} are held out, as a row that they belong with is"] if self.moved else []
        return "; ".join(said)


def merge(bench: Bench, names: Sequence[str], *, into: str) -> Mixture:
    """Copy every row of these datasets into ``into``, with its status, split, tags and notes. One undo takes it back.

    A row that belongs with one of a held-out split (same chat or prompt) is held out too. The copies lead back to the
    rows that they are copies of.
    """
    sources = [bench.store.datasets.get(name).name for name in names]
    if into in sources or len(set(sources)) < len(sources):
        raise UsageError("a dataset is merged with itself", hint="name each dataset once, and another one for --into")
    return _put_together(bench, into, [_Taken(name, Query()) for name in sources])


def mix(bench: Bench, into: str, parts: Sequence[Part], *, cap: int = 0, seed: int = 7) -> Mixture:
    """A new dataset with accepted rows of each part in the proportion of their weights, at most ``cap`` in all.

    Without a cap as many as the scarcest part allows; no row is taken twice, and none of a test split. Which rows are
    taken is drawn by ``seed``, and stays so when rows are added. Raises ``RefusedError`` when ``into`` has rows.
    """
    if any(found.name == into and found.total for found in bench.store.datasets.list()):
        raise RefusedError(f"{into} has rows already", hint="mix into a new name, or: workbench datasets delete")
    parts = [replace(part, dataset=bench.store.datasets.get(part.dataset).name) for part in parts]
    for part in parts:
        if part.tag:
            check_tag(part.tag)
    query = parse_query(f"status:{Status.ACCEPTED.value} -split:{Split.TEST.value}")
    ids = {part.dataset: bench.store.examples.ids(query, dataset=part.dataset) for part in parts}
    chosen = portions(parts, ids, cap=cap, seed=seed)
    return _put_together(bench, into, [_Taken(part.dataset, query, part, chosen[part.dataset]) for part in parts])


@dataclass(frozen=True, slots=True)
class _Taken:
    """The rows to take of one dataset: what the query finds, or of that only the ``ids``."""

    dataset: str
    query: Query
    part: Part | None = None
    ids: Collection[int] | None = None

    def rows(self, bench: Bench) -> Iterator[Example]:
        found = stream(bench, self.query, self.dataset)
        return found if self.ids is None else (row for row in found if row.id in self.ids)


def _put_together(bench: Bench, into: str, parts: Sequence[_Taken]) -> Mixture:
    """Reads the rows twice: first for what belongs together, then to copy them. They become visible all at once."""
    check_name(into, what="dataset")
    side = _held_out_sides(chain(_existing(bench, into), *(part.rows(bench) for part in parts)))
    of, moved = dict.fromkeys((part.dataset for part in parts), 0), 0
    with bench.store.imports.stage(into, status=Status.PENDING, rater=bench.rater) as staging:
        for part in parts:
            for row in part.rows(bench):
                to = strictest({side.get(row.id, row.split), row.split} - {Split.NONE})
                moved += to is not row.split
                of[part.dataset] += 1
                staging.put(replace(_copy(row, part.part), split=to))
        if not staging.rows:
            raise RefusedError("there is no row to take", hint="`workbench datasets list` shows how many each has")
        done = staging.publish(file=" + ".join(of), format="datasets")
    return Mixture(into, done.imported, done.duplicates, of, moved)


def _existing(bench: Bench, name: str) -> Iterator[Example]:
    is_there = any(found.name == name for found in bench.store.datasets.list())
    return stream(bench, Query(), name) if is_there else iter(())


def _held_out_sides(examples: Iterable[Example]) -> dict[int, Split]:
    """The held-out split of each row's group, none when the group is not held out."""
    groups, rows = Groups(), list[tuple[int, Split]]()
    for example in examples:
        groups.add(example)
        rows.append((example.id, example.split))
    sides: dict[str, set[Split]] = {}
    for example_id, split in rows:
        sides.setdefault(groups.of(example_id), set()).add(split)
    return {example_id: strictest(sides[groups.of(example_id)] - {Split.TRAIN}) for example_id, _ in rows}


def _copy(row: Example, part: Part | None = None) -> NewExample:
    """The row on its way into another dataset, leading back to itself."""
    content = prefixed(row.content, part.prefix) if part else row.content
    # the ids that an imported row brought from elsewhere stay with that row alone
    source = Source(row.source.kind, models=row.source.models) if row.source.away else row.source
    return NewExample(
        content,
        replace(source, origins=row.origins_of_a_copy),
        status=row.status,
        split=row.split,
        tags=(*row.tags, *([part.tag] if part and part.tag else ())),
        note=row.note,
        rating=row.rating,
        rater=row.rater,
        findings=tuple(look_at(content)),
    )


# Figures

OnProgress = Callable[[str, int, int], None]
"""Called with what is being counted, the rows that were looked at, and how many there are."""


class CancelledLook(WorkbenchError):
    """Somebody asked for the counting to end; it changes nothing anyway."""

    kind = "cancelled"
    exit_code = 130


@dataclass(frozen=True, slots=True)
class _Watch:
    """Tells how far a reading of rows is, and ends it when asked."""

    on_progress: OnProgress | None = None
    cancelled: threading.Event | None = None

    def rows(self, bench: Bench, query: Query, dataset: str, what: str = "words") -> Iterator[Example]:
        total = bench.store.examples.count(query, dataset or None) if self.on_progress else 0
        for number, example in enumerate(stream(bench, query, dataset)):
            if number % _AT_ONCE == 0:
                if self.cancelled is not None and self.cancelled.is_set():
                    raise CancelledLook("the counting was cancelled")
                if self.on_progress is not None:
                    self.on_progress(what, number, total)
            yield example


def statistics(
    bench: Bench,
    dataset: str = "",
    *,
    query: str = "",
    model: str = "",
    method: str = "",
    preset: str = AUTO,
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> Statistics:
    """The figures of a dataset, of what a query finds, or of both together.

    With ``model`` also in its tokens, which takes a child process some seconds. The estimate is for ``method`` (else
    the one for the commonest kind of accepted rows) and for ``model`` or the workspace's default. ``cancelled`` ends it
    with ``CancelledLook``.
    """
    found, name = asked(bench, query), bench.store.datasets.get(dataset).name if dataset else ""
    watch = _Watch(on_progress, cancelled)
    measuring = Measuring()
    for example in watch.rows(bench, found, name):
        measuring.add(example)
    tokens = _token_figures(bench, found, name, model, watch) if model else None
    return measuring.statistics(estimate=_estimate(bench, measuring, model, method, preset), tokens=tokens)


_METHODS = {Kind.DEMONSTRATION: "sft", Kind.PREFERENCE: "dpo", Kind.JUDGEMENT: "kto"}


def _estimate(bench: Bench, measured: Measuring, model: str, method: str, preset: str) -> Estimate | None:
    by_kind = Counter(dict.fromkeys(_METHODS, 0))
    for (kind, _), count in measured.trainable.items():
        by_kind[kind] += count
    likely = next((kind for kind, count in by_kind.most_common() if count and kind in _METHODS), None)
    if not method and likely is None:
        return None
    chosen = training_methods.get(method or _METHODS[likely or Kind.DEMONSTRATION])
    taken = _preset_for(bench, preset, model)
    own = Counter({split: n for (kind, split), n in measured.trainable.items() if kind is chosen.kinds[0]})
    return estimated(chosen.name, taken, chosen.values(taken, {}), own)


def _preset_for(bench: Bench, preset: str, model: str) -> str:
    if preset != AUTO or not (model or bench.store.models.list()):
        return preset
    parameters = describe(bench, base_of(bench, model)).get("parameters")
    return TINY if isinstance(parameters, int) and 0 < parameters < TINY_PARAMETERS else preset


def _token_figures(bench: Bench, query: Query, dataset: str, model: str, watch: _Watch) -> TokenFigures:
    base = base_of(bench, model)
    rows = (row for row in watch.rows(bench, query, dataset, "tokens") if row.status is not Status.REJECTED)
    found = lengths(bench, rows, model=model, cancelled=watch.cancelled)
    return token_figures(found, model=base.name, max_length=default_window(bench, base))


def ready(
    bench: Bench,
    dataset: str,
    *,
    model: str = "",
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> Readiness:
    """Whether a dataset is ready to train ``model`` on (default: the workspace's), and what is missing.

    Errors are those that the last check found. ``cancelled`` ends it with ``CancelledLook``.
    """
    watch = _Watch(on_progress, cancelled)
    name = bench.store.datasets.get(dataset).name
    base = base_of(bench, model)
    measuring, facts = Measuring(), FactCounter()
    for example in watch.rows(bench, parse_query(f"-status:{Status.REJECTED.value}"), name, "facts"):
        if example.status is Status.ACCEPTED:
            measuring.add(example)
            facts.add(example.content)
    figures = measuring.statistics()
    splits: Counter[Split] = Counter()
    for (_, split), count in measuring.trainable.items():
        splits[split] += count
    usable = splits.total() - splits[Split.TEST]
    dealt = round(usable * _HELD_OUT) if usable > FEWEST_GROUPS else 0
    template = describe(bench, base).get("chat_template")
    return readiness(
        Facts(
            accepted=figures.rows,
            pending=bench.store.examples.count(parse_query("status:pending"), name),
            usable=usable,
            kind=Kind(next(iter(figures.kinds))) if figures.kinds else None,
            held_out=splits[Split.VALIDATION] or dealt,
            test=splits[Split.TEST],
            errors=bench.store.examples.count(parse_query("status:accepted severity:error"), name),
            chat_template=template if isinstance(template, bool) else None,
            facts_share=facts.share(),
            self_similarity=figures.self_similarity,
            ups=figures.labels.get("up", 0),
            downs=figures.labels.get("down", 0),
        )
    )


# Taking away


def delete(bench: Bench, name: str) -> Done:
    """Hide every row of a dataset; one undo brings them back. Chats, runs and exports keep what they have of it."""
    dataset = bench.store.datasets.get(name)
    ids = bench.store.examples.ids(Query(), dataset=dataset.name)
    if not ids:
        raise RefusedError(f"{dataset.name} has no row to delete")
    group = bench.store.examples.hide(ids, rater=bench.rater)
    return Done(f"deleted {dataset.name} ({counted(len(ids))}); `workbench examples undo` brings it back", group)


def count(bench: Bench, dataset: str = "", query: str = "") -> int:
    """How many rows a dataset has, or what a query finds in it; "" means all."""
    return bench.store.examples.count(asked(bench, query), dataset or None)


def shown(bench: Bench) -> list[Dataset]:
    """The datasets that have rows."""
    return [dataset for dataset in bench.store.datasets.list() if dataset.total]
