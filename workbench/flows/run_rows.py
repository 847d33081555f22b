"""The rows of a run: which examples it takes, which it holds out, and what is worth knowing about them.

Never a row of a test split. Reads the store; writes and starts nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from workbench.domain.counting import counted
from workbench.domain.examples import Example, Kind, Split, Status
from workbench.domain.methods import KnobValue, Method, Task
from workbench.domain.queries import Filter, Query
from workbench.domain.training import (
    Dealt,
    TrainingRow,
    content_rows,
    deal,
    drawn,
    shuffled,
    taken_kinds,
    training_rows,
    usable,
)
from workbench.errors import RefusedError, Remedy
from workbench.flows.gate import stream

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

FEW_ROWS = 20


def examples_of(bench: Bench, method: Method, knobs: Mapping[str, KnobValue], dataset: str, eval_dataset: str) -> Dealt:
    """The examples to train on and to measure on; raises ``RefusedError`` when there are none to train on, or none to
    measure on in a dataset that was named for it.
    """
    kinds = taken_kinds(method, knobs)
    found = usable(_accepted(bench, dataset), kinds)
    if eval_dataset:
        train = tuple(e for e in found if e.split is not Split.VALIDATION)
        dealt = Dealt(train, tuple(usable(_accepted(bench, eval_dataset), kinds)))
    else:
        dealt = deal(found, seed=int(knobs["seed"]), share=float(knobs["eval_share"]))
    if not dealt.train:
        raise _nothing_there(bench, method, dataset, "train on")
    if eval_dataset and not dealt.held_out:
        raise _nothing_there(bench, method, eval_dataset, "measure on")
    return dealt


def replayed(bench: Bench, method: Method, knobs: Mapping[str, KnobValue], dealt: Dealt) -> tuple[Example, ...]:
    """The examples of ``replay_dataset`` that are trained on beside the run's own, ``replay_share`` of all rows.

    An example may give several rows; rows are what is counted. Which ones is drawn by a hash of seed
    and id. None of them is measured on, by this run or by one on that dataset.
    """
    # A method that learns from its own answers has no rows to replay, and so none of these knobs.
    dataset, share = str(knobs.get("replay_dataset", "")), float(knobs.get("replay_share", 0.0))
    if not dataset or not share:
        return ()
    found = usable(_accepted(bench, dataset), taken_kinds(method, knobs))
    own = {example.id for example in (*dealt.train, *dealt.held_out)}
    seed = int(knobs["seed"])
    free = [e for e in deal(found, seed=seed, share=float(knobs["eval_share"])).train if e.id not in own]
    wanted = round(share / (1 - share) * len(training_rows(dealt.train, method.kinds[0])))
    if not free:
        kinds = " or ".join(kind.value for kind in taken_kinds(method, knobs))
        raise RefusedError(f"{dataset} has no accepted {kinds} to replay", hint=_instead(method, kinds), where=dataset)
    taken = _first(drawn(free, len(free), seed=seed), wanted, method)
    return tuple(sorted(taken, key=lambda example: example.id))


def _first(examples: Sequence[Example], rows: int, method: Method) -> Iterator[Example]:
    """As many of the examples, from the first on, as give so many rows."""
    for example in examples:
        if rows <= 0:
            return
        yield example
        rows -= len(content_rows(example.content, method.kinds[0]))


def _instead(method: Method, kinds: str) -> str:
    other = "name another replay_dataset, or leave it out"
    if method.kinds[0] is not Kind.PREFERENCE or method.task is Task.SCORE:
        return other
    return f"{method.name} replays what it learns from, a {kinds}; answers alone are replayed by an sft run after it"


def _accepted(bench: Bench, dataset: str) -> Iterator[Example]:
    return stream(bench, Query((Filter("status", Status.ACCEPTED.value),)), dataset)


def _nothing_there(bench: Bench, method: Method, dataset: str, to: str) -> RefusedError:
    there = bench.store.datasets.get(dataset)
    own, *others = method.kinds
    remedies = []
    if there.count(own):
        hint = f"accept some of its {there.count(own)} {own.value}s in Curate, or: workbench examples accept ID…"
    elif others and there.count(others[0]):
        knob = next(k.name for k in method.knobs if k.name.startswith("include_"))
        hint = f"it has {there.count(others[0])} {others[0].value}s: --set {knob}=true takes those too"
        remedies.append(Remedy(f"takes its {others[0].value}s", {knob: "true"}))
    else:
        hint = {
            Kind.DEMONSTRATION: "keep or edit answers in Chat, or import some",
            Kind.PREFERENCE: "edit an answer, pick one of several, or vote in Arena",
            Kind.JUDGEMENT: "give answers a thumb up or down in Chat",
            Kind.TEXT: "import some: workbench import FILE.txt",
            Kind.PROMPT: "import some, rows of a prompt alone, or --set include_demonstrations=true",
        }[own]
    return RefusedError(
        f"{there.name} has no accepted {own.value} outside the test split to {to}", hint=hint, remedies=remedies
    )


def rows_of(method: Method, examples: Sequence[Example], seed: int) -> list[TrainingRow]:
    """The rows in the order of the file; raises ``RefusedError`` for one that no tokenizer takes."""
    rows = training_rows(examples, method.kinds[0])
    for row in rows:
        try:
            json.dumps(row.row, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise RefusedError(
                f"example {row.example_id} holds half a character (a lone surrogate), which no tokenizer takes",
                hint="edit or reject it",
                where=str(row.example_id),
            ) from None
    is_read_in_order = method.fixed.get("train_sampling_strategy") == "sequential"
    return shuffled(rows, seed=seed) if is_read_in_order else rows


def refuse_one_sided(method: Method, rows: Sequence[TrainingRow]) -> None:
    """Raise ``RefusedError`` for judgements that all say the same."""
    if method.kinds[0] is not Kind.JUDGEMENT:
        return
    labels = {row.row["label"] for row in rows}
    if labels != {True, False}:
        missing = "down" if labels == {True} else "up"
        raise RefusedError(
            f"there is no thumb {missing} among the rows: {method.name} learns from the difference",
            hint=f"give some answers a thumb {missing}, or --set include_pairs=true",
            remedies=[Remedy("trains on its pairs too", {"include_pairs": "true"})],
        )


def findings_of(
    rows: Sequence[TrainingRow],
    held_out: Sequence[TrainingRow],
    replay: Sequence[Example] = (),
    knobs: Mapping[str, KnobValue] | None = None,
) -> Iterator[str]:
    """What is worth knowing about the rows before they are trained on."""
    if len(rows) < FEW_ROWS:
        yield f"only {counted(len(rows), 'rows')}: the model will repeat rather than learn"
    if not held_out:
        yield "nothing is held out: there will be no held-out loss to tell learning from repeating"
    if replay and knobs is not None:
        again, share = {example.id for example in replay}, float(knobs["replay_share"])
        count = sum(row.example_id in again for row in rows)
        there = count / (len(rows) or 1)
        few = f": all that {replay[0].dataset} has, where {share:.0%} were wanted" if there < share * 0.9 else ""
        yield f"{count:,} of the rows are replayed from {replay[0].dataset}, {there:.0%} of the whole{few}"
    seen = {json.dumps(_asked(row)) for row in rows}
    if shared := sum(json.dumps(_asked(row)) in seen for row in held_out):
        yield f"{shared} of {len(held_out)} held-out rows have a prompt that is also trained on"


def _asked(row: TrainingRow) -> object:
    return row.row["prompt"] if "prompt" in row.row else row.row["text"]
