"""The rows of a run: which examples it takes, which it holds out, and what is worth knowing about them.

Never a row of a test split. Reads the store; writes and starts nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from workbench.domain.examples import Example, Kind, Split, Status
from workbench.domain.methods import KnobValue, Method
from workbench.domain.queries import Filter, Query
from workbench.domain.training import Dealt, TrainingRow, deal, shuffled, taken_kinds, training_rows, usable
from workbench.errors import RefusedError
from workbench.flows.gate import stream

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

FEW_ROWS = 20


def examples_of(bench: Bench, method: Method, knobs: Mapping[str, KnobValue], dataset: str, eval_dataset: str) -> Dealt:
    kinds = taken_kinds(method, knobs)
    found = usable(_accepted(bench, dataset), kinds)
    if eval_dataset:
        train = tuple(e for e in found if e.split is not Split.VALIDATION)
        dealt = Dealt(train, tuple(usable(_accepted(bench, eval_dataset), kinds)))
    else:
        dealt = deal(found, seed=int(knobs["seed"]), share=float(knobs["eval_share"]))
    if not dealt.train:
        raise _nothing_to_train_on(bench, method, dataset)
    return dealt


def _accepted(bench: Bench, dataset: str) -> Iterator[Example]:
    return stream(bench, Query((Filter("status", Status.ACCEPTED.value),)), dataset)


def _nothing_to_train_on(bench: Bench, method: Method, dataset: str) -> RefusedError:
    there = bench.store.datasets.get(dataset)
    own, *others = method.kinds
    if there.count(own):
        hint = f"accept some of its {there.count(own)} {own.value}s in Curate, or: workbench examples accept ID…"
    elif others and there.count(others[0]):
        knob = next(k.name for k in method.knobs if k.name.startswith("include_"))
        hint = f"it has {there.count(others[0])} {others[0].value}s: --set {knob}=true trains on those"
    else:
        hint = {
            Kind.DEMONSTRATION: "keep or edit answers in Chat, or import some",
            Kind.PREFERENCE: "edit an answer, pick one of several, or vote in Arena",
            Kind.JUDGEMENT: "give answers a thumb up or down in Chat",
            Kind.TEXT: "import some: workbench import FILE.txt",
            Kind.PROMPT: "import some, rows of a prompt alone, or --set include_demonstrations=true",
        }[own]
    return RefusedError(f"{there.name} has no accepted {own.value} outside the test split", hint=hint)


def rows_of(method: Method, examples: Sequence[Example], seed: int) -> list[TrainingRow]:
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
    if method.kinds[0] is not Kind.JUDGEMENT:
        return
    labels = {row.row["label"] for row in rows}
    if labels != {True, False}:
        missing = "down" if labels == {True} else "up"
        raise RefusedError(
            f"there is no thumb {missing} among the rows: {method.name} learns from the difference",
            hint=f"give some answers a thumb {missing}, or --set include_pairs=true",
        )


def findings_of(rows: Sequence[TrainingRow], held_out: Sequence[TrainingRow]) -> Iterator[str]:
    if len(rows) < FEW_ROWS:
        yield f"only {len(rows)} rows: the model will repeat them rather than learn from them"
    if not held_out:
        yield "nothing is held out: there will be no held-out loss to tell learning from repeating"
    seen = {json.dumps(_asked(row)) for row in rows}
    if shared := sum(json.dumps(_asked(row)) in seen for row in held_out):
        yield f"{shared} of {len(held_out)} held-out rows have a prompt that is also trained on"


def _asked(row: TrainingRow) -> object:
    return row.row["prompt"] if "prompt" in row.row else row.row["text"]
