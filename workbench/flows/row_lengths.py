"""How many tokens a plan's rows have: which are cut, which have nothing to learn from, how long the longest is.

Counted by a child process with the trainer's own code, on a bounded share of the rows: the longest by characters, and
some spread over the rest. What was counted is kept in the workspace under the hash of rows and tokenizer, so that
turning a knob counts nothing again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import methods
from workbench.domain.methods import Measure, Task
from workbench.domain.training import TrainingRow
from workbench.errors import RefusedError
from workbench.flows import kept, tokens
from workbench.flows.tokens import lengths as token_counts

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

LONGEST, SPREAD = 1000, 1000
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")


@dataclass(frozen=True, slots=True)
class RowLength:
    """One sequence of a row: the tokens before what is learnt, and all of them, before any cut."""

    example_id: int
    start: int
    total: int


@dataclass(frozen=True, slots=True)
class RowLengths:
    """The sequences that were counted. ``longest`` are those of the longest rows by characters, ``spread`` the others'.

    ``rows`` is the number of rows that the plan has. ``refused`` says why none of them may be trained on ("" when they
    may), and ``hint`` what to do about it: a chat template that says a row otherwise than a chat.
    """

    rows: int
    longest: tuple[RowLength, ...]
    spread: tuple[RowLength, ...]
    refused: str = ""
    hint: str = ""

    @property
    def is_sample(self) -> bool:
        """True when not every row was counted."""
        return len({one.example_id for one in (*self.longest, *self.spread)}) < self.rows

    def cut(self, window: int) -> tuple[int, ...]:
        """Examples whose end does not fit, by number."""
        return self._ids(one for one in self._all() if one.total > window)

    def empty(self, window: int) -> tuple[int, ...]:
        """Examples of which nothing to learn from fits, by number."""
        return self._ids(one for one in self._all() if one.start >= min(window, one.total))

    def is_at_least(self, window: int) -> bool:
        """True when more rows may be cut than were found: the shortest counted among the longest is cut as well."""
        return self.is_sample and bool(self.longest) and min(one.total for one in self.longest) > window

    def longest_tokens(self, window: int) -> int:
        """Tokens of the longest sequence as it is trained on."""
        return max((min(one.total, window) for one in self._all()), default=0)

    def mean_tokens(self, window: int) -> float:
        """Tokens of a row on the average; of a sample, the longest weigh only as many as they are."""
        far, near = (sum(min(one.total, window) for one in part) for part in (self.longest, self.spread))
        if not self.spread:
            return far / max(1, len(self.longest))
        others = max(0, self.rows - len(self.longest))
        return (far + near / len(self.spread) * others) / max(1, self.rows)

    def tokens(self, window: int, examples: Collection[int]) -> int:
        """Tokens of these examples that were counted, as they are trained on."""
        return sum(min(one.total, window) for one in self._all() if one.example_id in examples)

    def listed(self, window: int) -> Iterator[str]:
        """A line for every row that is cut or left out, by number."""
        empty = set(self.empty(window))
        for one in sorted(self._all(), key=lambda one: one.example_id):
            if one.total > window:
                what = "left out, no answer fits" if one.example_id in empty else f"{one.total - window:,} cut off"
                yield f"example {one.example_id}: {one.total:,} tokens, {what}"

    def answered(self, tokens: int) -> RowLengths:
        """The same prompts with an answer of so many tokens drawn to each, in the place of what the rows hold."""
        far, near = (
            tuple(replace(one, total=one.start + tokens) for one in part) for part in (self.longest, self.spread)
        )
        return replace(self, longest=far, spread=near)

    def _all(self) -> Iterable[RowLength]:
        return (*self.longest, *self.spread)

    @staticmethod
    def _ids(found: Iterable[RowLength]) -> tuple[int, ...]:
        return tuple(sorted({one.example_id for one in found}))


@dataclass(frozen=True, slots=True)
class _Counted:
    """What is kept of a counting."""

    counted: list[RowLength]
    refused: str
    hint: str


def count(
    bench: Bench,
    rows: Sequence[TrainingRow],
    *,
    method: str,
    model: str,
    cancelled: threading.Event | None = None,
) -> RowLengths:
    """The lengths of these rows for ``model``, and whether they teach what a chat asks for; takes some seconds the
    first time, and is kept unless they are refused.

    ``cancelled`` ends it with a ``WorkbenchError``.
    """
    far, near = _sample(rows)
    parts = {"sft": {"completion", "chosen"}}.get(method, {"completion", "chosen", "rejected"})
    place = kept.place(bench, "lengths", _key(bench, [*far, *near], method, model))
    found = _read(place)
    if found is None:
        counted, refused, hint = [], "", ""
        ids = sorted({row.example_id for row in (*far, *near)})
        try:
            for one in token_counts(bench, bench.store.examples.many(ids), model=model, cancelled=cancelled):
                if one.part in parts:
                    counted.append(RowLength(one.example_id, one.prompt, one.total))
        except RefusedError as error:
            refused, hint = error.message, error.hint
        found = _Counted(counted, refused, hint)
        if not refused:  # what mends that is not always in what the key is made of, such as the generation config
            kept.keep(place, asdict(found))
    among = {row.example_id for row in far}
    return RowLengths(
        len({row.example_id for row in rows}),
        tuple(one for one in found.counted if one.example_id in among),
        tuple(one for one in found.counted if one.example_id not in among),
        *((found.refused, found.hint) if _learns_answers(method) else ()),
    )


def _learns_answers(name: str) -> bool:
    """True for a method that learns the answers of its rows, and so how they end."""
    method = methods.get(name)
    return method.task is not Task.SCORE and method.measure not in {Measure.REWARDS, Measure.TEACHER}


def _sample(rows: Sequence[TrainingRow]) -> tuple[list[TrainingRow], list[TrainingRow]]:
    """The longest rows by characters, and as many evenly from the rest in the order of their numbers."""
    order = sorted(rows, key=lambda row: -_characters(row))
    far, rest = order[:LONGEST], sorted(order[LONGEST:], key=lambda row: row.example_id)
    step = max(1, -(-len(rest) // SPREAD))
    return far, rest[::step]


def _characters(row: TrainingRow) -> int:
    turns = [turn for part in row.row.values() if isinstance(part, list) for turn in part]
    return sum(len(str(turn.get("content") or "")) for turn in turns if isinstance(turn, dict))


def _key(bench: Bench, rows: Sequence[TrainingRow], method: str, model: str) -> str:
    digest = hashlib.sha256(method.encode())
    for word in tokens.model_arguments(bench, model, max_length=1):
        digest.update(word.encode())
        for name in _TOKENIZER_FILES:
            if (file := Path(word) / name).is_file():
                digest.update(file.read_bytes())
    for row in rows:
        digest.update(json.dumps([row.example_id, row.row]).encode())
    return digest.hexdigest()[:32]


def _read(place: Path) -> _Counted | None:
    try:
        told = kept.read(place)
        return _Counted([RowLength(**entry) for entry in told["counted"]], told["refused"], told["hint"])
    except (TypeError, KeyError):
        return None
