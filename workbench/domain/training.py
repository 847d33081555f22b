"""From examples to the rows a trainer reads: which examples a method takes, in what shape, and what is held out.

Owns the rules that decide what a model is trained on. Knows neither the store nor the trainer's files.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.domain.chats import Role, Turn
from workbench.domain.datasets import FEWEST_GROUPS, deal_split, groups_of
from workbench.domain.examples import Content, Example, Kind, Split, Status
from workbench.domain.methods import KnobValue, Method

Row = dict[str, object]

_OPTIONAL = {
    Kind.DEMONSTRATION: "include_chosen",
    Kind.JUDGEMENT: "include_pairs",
    Kind.PROMPT: "include_demonstrations",
}


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One row in TRL's conversational form, with the example that it came from."""

    example_id: int
    row: Row


@dataclass(frozen=True, slots=True)
class Dealt:
    """Examples to train on, and examples to measure on."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]


def taken_kinds(method: Method, knobs: Mapping[str, KnobValue]) -> tuple[Kind, ...]:
    """The kinds this run takes: the method's own, and the ones to convert when their knob is switched on."""
    own, *others = method.kinds
    return (own, *others) if others and knobs.get(_OPTIONAL[own]) else (own,)


def usable(examples: Iterable[Example], kinds: Sequence[Kind]) -> list[Example]:
    """The accepted examples of these kinds that may be trained or measured on; never one of the test split.

    Nor one without a split that belongs with a test row: the same chat or prompt, or made from it.
    """
    accepted = [e for e in examples if e.status is Status.ACCEPTED]
    tested = _test_groups(accepted)
    return [
        e
        for e in accepted
        if e.split is not Split.TEST
        and e.content.kind in kinds
        and not (tested and e.split is Split.NONE and tested[e.id])
    ]


def _test_groups(examples: Sequence[Example]) -> dict[int, bool]:
    """Whether each row belongs with one of the test split; empty when there is none."""
    if not any(e.split is Split.TEST for e in examples):
        return {}
    groups = groups_of(examples)
    locked = {groups[e.id] for e in examples if e.split is Split.TEST}
    return {example_id: group in locked for example_id, group in groups.items()}


def deal(examples: Sequence[Example], *, seed: int, share: float) -> Dealt:
    """Train and held-out examples: as marked by a person, else a share of the groups dealt by hash.

    A group is what hangs together by chat, prompt or origin; its unmarked rows follow the marked ones.

    When the hash holds nothing out although it should, the group with the smallest key is held out, as long as at
    least three groups stay to train on.
    """
    groups = groups_of(examples)
    held = {groups[e.id] for e in examples if e.split is Split.VALIDATION}
    if not held:
        trained = {groups[e.id] for e in examples if e.split is Split.TRAIN}
        free = sorted({groups[e.id] for e in examples if e.split is Split.NONE} - trained)
        held = {k for k in free if share > 0 and deal_split(k, seed=seed, validation_share=share) is Split.VALIDATION}
        if not held and share > 0 and len(free) > FEWEST_GROUPS:
            held = {free[0]}
    is_held = [e.split is Split.VALIDATION or (e.split is Split.NONE and groups[e.id] in held) for e in examples]
    return Dealt(
        tuple(e for e, out in zip(examples, is_held, strict=True) if not out),
        tuple(e for e, out in zip(examples, is_held, strict=True) if out),
    )


def drawn(examples: Sequence[Example], count: int, *, seed: int) -> list[Example]:
    """At most ``count`` of the examples, by a hash of seed and id: one that is taken stays taken when more are."""
    order = {e.id: hashlib.sha256(f"{seed}:replay:{e.id}".encode()).digest() for e in examples}
    return sorted(examples, key=lambda e: order[e.id])[:count]


def training_rows(examples: Iterable[Example], own: Kind) -> list[TrainingRow]:
    """Rows for a method whose own kind is ``own``: a pair becomes its better answer, or two labelled answers.

    Trainers learn every answer of a completion, so a demonstration becomes several rows where answers between have
    weight 0: those are in the prompt of what follows, and of no row's completion.
    """
    return [TrainingRow(e.id, row) for e in examples for row in content_rows(e.content, own)]


def content_rows(content: Content, own: Kind) -> list[Row]:
    """The rows of one example, with the tools that its prompt offers."""
    return [row | _tools(content) for row in _rows(content, own)]


def shuffled(rows: Sequence[TrainingRow], *, seed: int) -> list[TrainingRow]:
    """The rows in an order drawn once, for methods that read them in the order of the file."""
    order = list(rows)
    random.Random(seed).shuffle(order)
    return order


def _rows(content: Content, own: Kind) -> list[Row]:
    prompt = _turns(content.prompt)
    match own, content.kind:
        case Kind.TEXT, _:
            return [{"text": content.chosen[0].content}]
        case Kind.PROMPT, _:
            return [{"prompt": prompt, "answer": "".join(turn.content for turn in content.chosen[-1:])}]
        case Kind.DEMONSTRATION, Kind.DEMONSTRATION:
            return [{"prompt": _turns(asked), "completion": _turns(said)} for asked, said in _learnt_parts(content)]
        case Kind.DEMONSTRATION, _:
            return [{"prompt": prompt, "completion": _turns(content.chosen)}]
        case Kind.PREFERENCE, _:
            return [{"prompt": prompt, "chosen": _turns(content.chosen), "rejected": _turns(content.rejected)}]
        case _, Kind.PREFERENCE:
            up, down = _turns(content.chosen), _turns(content.rejected)
            return [
                {"prompt": prompt, "completion": up, "label": True},
                {"prompt": prompt, "completion": down, "label": False},
            ]
        case _:
            return [{"prompt": prompt, "completion": _turns(content.chosen), "label": bool(content.label)}]


def _learnt_parts(content: Content) -> Iterator[tuple[tuple[Turn, ...], tuple[Turn, ...]]]:
    """Prompt and completion for every stretch of answers that are learnt from, with what is said between them."""
    said = content.prompt + content.chosen
    start: int | None = None
    end = 0
    for at, turn in enumerate(said):
        if at >= len(content.prompt) and turn.is_learnt:
            start, end = at if start is None else start, at + 1
        elif turn.role == Role.ASSISTANT and start is not None:
            yield said[:start], said[start:end]
            start = None
    if start is not None:
        yield said[:start], said[start:end]


def _tools(content: Content) -> Row:
    return {"tools": content.tools} if content.tools else {}


def _turns(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    return [t.as_dict() for t in turns]
