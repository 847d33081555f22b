"""Rows to train on that are also measured on: in validation, in a test or evaluation set, or in blind comparisons.

A model that has seen the question of an examination passes it without knowing the subject. Of a dialogue, each question
that is answered in it counts. Rows that were made from a
vote answer the very prompt of their comparison; that is only told, since somebody promoted them on purpose.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

from workbench.checks._likeness import count_words, digest, likeness, prompt_key, said, shingles, whole_text
from workbench.domain.chats import Role
from workbench.domain.checks import (
    REJECT,
    CheckedRow,
    ComparedPrompt,
    Finding,
    HeldOutRow,
    Place,
    SetCheck,
    Severity,
    Surroundings,
)
from workbench.domain.examples import Content, Split

NEAR = 0.85
"""Share of three-word runs in common from which two rows count as nearly the same."""

MOST_NEAR = 20_000
"""So many held-out rows are looked at for near copies, about 3 kB each; for equal ones all are."""

_FEWEST_SHINGLES = 12
_FEWEST_WORDS = 5
_BITS = 1024
# Of two sets that alike at most so large a share of their elements together stands in one of them only.
_APART = (1 - NEAR) / (1 + NEAR)


@dataclass(frozen=True, slots=True)
class _Shingled:
    """A text's shingles in order, and a bit for each: bits that differ are shingles that differ."""

    shingles: array[int]
    bits: int

    @classmethod
    def of(cls, text: str) -> _Shingled:
        found = array("I", sorted(shingles(text)))
        if len(found) < _FEWEST_SHINGLES:
            return cls(array("I"), 0)
        marks = bytearray(_BITS // 8)
        for shingle in found:
            marks[(shingle & (_BITS - 1)) >> 3] |= 1 << (shingle & 7)
        return cls(found, int.from_bytes(marks, "little"))

    @property
    def beginning(self) -> array[int]:
        """As many of its first elements as must hold one in common with every set that it is near."""
        count = len(self.shingles)
        return self.shingles[: count - ceil(NEAR * count) + 1] if count else self.shingles

    def may_be_near(self, other: _Shingled) -> bool:
        """False for nearly all that are not near, at a small part of the cost of comparing them."""
        one, two = len(self.shingles), len(other.shingles)
        if min(one, two) < NEAR * max(one, two):
            return False
        return (self.bits ^ other.bits).bit_count() <= _APART * (one + two)

    def likeness(self, other: _Shingled) -> float:
        return likeness(set(self.shingles), set(other.shingles))


@dataclass(slots=True)
class _Index:
    """Texts by their shingles. Finds every one that is nearly the same, without a look at most of the others.

    In one order of all shingles, two sets share at least one of the first ``n - ceil(NEAR n) + 1`` elements of each
    when their Jaccard index is ``NEAR`` or more (prefix filtering: Chaudhuri et al., ICDE 2006); what these bring
    together is looked at by length and bits, and only what is left is compared. Nothing that is near is missed.
    """

    texts: list[_Shingled] = field(default_factory=list)
    # Nearly all runs of three words stand in one text only: then its number, else the numbers.
    under: dict[int, int | list[int]] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """One more text, under the next number; short ones are never near anything."""
        number = len(self.texts)
        found = _Shingled.of(text if number < MOST_NEAR else "")
        for shingle in found.beginning:
            others = self.under.setdefault(shingle, number)
            if isinstance(others, list):
                others.append(number)
            elif others != number:
                self.under[shingle] = [others, number]
        self.texts.append(found)

    def nearest(self, text: str) -> tuple[int, float] | None:
        """The number of the most similar text and how similar it is; None when none is near."""
        if not self.under:
            return None
        found = _Shingled.of(text)
        numbers = {number for shingle in found.beginning for number in self._numbers(shingle)}
        near = (number for number in numbers if found.may_be_near(self.texts[number]))
        best = max(((found.likeness(self.texts[number]), -number) for number in near), default=(0.0, 0))
        return (-best[1], best[0]) if best[0] >= NEAR else None

    def _numbers(self, shingle: int) -> Sequence[int]:
        numbers = self.under.get(shingle, ())
        return (numbers,) if isinstance(numbers, int) else numbers


@dataclass(frozen=True, slots=True)
class _Mark:
    """What is kept of a held-out row."""

    id: int
    dataset: str
    split: Split
    strict: bool

    def __str__(self) -> str:
        is_split = self.split in {Split.VALIDATION, Split.TEST}
        where = f"in the {self.split.value} split of" if is_split else "held out in"
        return f"{where} {self.dataset} (example {self.id})"


@dataclass(slots=True)
class _HeldOut:
    marks: list[_Mark] = field(default_factory=list)
    same: dict[bytes, int] = field(default_factory=dict)
    asked: dict[bytes, int] = field(default_factory=dict)
    near: _Index = field(default_factory=_Index)
    ids: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, rows: Iterable[HeldOutRow]) -> _HeldOut:
        held = cls()
        for one in rows:
            held._add(one.row, strict=one.strict)
        return held

    def _add(self, row: CheckedRow, *, strict: bool) -> None:
        number = len(self.marks)
        self.marks.append(_Mark(row.id, row.dataset, row.split, strict))
        self.ids.add(row.id)
        for keys, key in ((self.same, _row_key(row)), (self.asked, prompt_key(row.content.prompt))):
            if key not in keys or (strict and not self.marks[keys[key]].strict):
                keys[key] = number
        self.near.add(whole_text(row.content))

    def findings(self, row: CheckedRow) -> Iterator[Finding]:
        if not self.marks:
            return
        if (number := self.same.get(_row_key(row))) is not None:
            held = self.marks[number]
            is_its_validation = held.split is Split.VALIDATION and held.dataset == row.dataset
            severity = Severity.ERROR if held.strict or is_its_validation else Severity.WARNING
            yield Finding(severity, f"is also {held}", fixable=True, example_id=row.id)
        elif found := _first(self.asked, row.content):
            reason = f"asks the same as a row that is {self.marks[found[0]]}"
            yield Finding(Severity.WARNING, reason, found[1], example_id=row.id)
        elif (near := self.near.nearest(whole_text(row.content))) is not None:
            reason = f"is {near[1]:.0%} the same as a row that is {self.marks[near[0]]}"
            yield Finding(Severity.WARNING, reason, example_id=row.id)


@dataclass(slots=True)
class _Compared:
    prompts: Sequence[ComparedPrompt]
    same: dict[bytes, int] = field(default_factory=dict)
    near: _Index = field(default_factory=_Index)

    @classmethod
    def of(cls, prompts: Sequence[ComparedPrompt]) -> _Compared:
        compared = cls(sorted(prompts, key=lambda prompt: not prompt.voted))
        for number, one in enumerate(compared.prompts):
            key = prompt_key(one.prompt)
            if key not in compared.same:
                compared.near.add(said(one.prompt))
                compared.same[key] = number
            else:
                compared.near.add("")
        return compared

    def findings(self, row: CheckedRow) -> Iterator[Finding]:
        if not self.prompts or not row.content.prompt:
            return
        if found := _first(self.same, row.content):
            severity, reason = self._verdict(row, found[0])
            fixable = severity is Severity.ERROR
            yield Finding(severity, reason, found[1], fixable=fixable, example_id=row.id)
        elif row.comparison_id is None and (near := self.near.nearest(said(row.content.prompt))) is not None:
            which = f"comparison {self.prompts[near[0]].comparison_id}"
            reason = f"asks {near[1]:.0%} the same as {which}, on which models were compared"
            yield Finding(Severity.WARNING, reason, "prompt turn 1", example_id=row.id)

    def _verdict(self, row: CheckedRow, number: int) -> tuple[Severity, str]:
        compared = self.prompts[number]
        which = f"comparison {compared.comparison_id}"
        if row.comparison_id is not None:
            return Severity.INFO, f"was made from a vote: compare trained models on other prompts than {which}"
        if compared.voted:
            return Severity.ERROR, f"asks what was voted on in {which}: trained on, that vote would be worth nothing"
        return Severity.WARNING, f"asks what models are compared on in {which}"


def look(rows: Iterable[CheckedRow], surroundings: Surroundings) -> Iterator[Finding]:
    """Findings for rows that may be trained on; those that are held out themselves are passed over."""
    held_out, compared = _HeldOut.of(surroundings.held_out), _Compared.of(surroundings.compared)
    for row in rows:
        if row.id not in held_out.ids:
            yield from held_out.findings(row)
            yield from compared.findings(row)
    if len(held_out.marks) > MOST_NEAR:
        told = f"near copies were looked for among the first {MOST_NEAR:,} of {len(held_out.marks):,} held-out rows"
        yield Finding(Severity.WARNING, told)


def _first(asked: dict[bytes, int], content: Content) -> tuple[int, str] | None:
    """The number under which something stands that this row asks, and where it asks it."""
    for key, place in _asks(content):
        if (number := asked.get(key)) is not None:
            return number, place
    return None


def _asks(content: Content) -> Iterator[tuple[bytes, str]]:
    """What is asked in a row: its prompt, and within an answer of several turns each question, with what was said
    before it and, when it is long enough to mean something, by itself."""
    if content.prompt:
        yield prompt_key(content.prompt), "prompt turn 1"
    for number, turn in enumerate(content.chosen if len(content.chosen) > 1 else ()):
        if turn.role == Role.USER.value:
            place = str(Place("chosen", number))
            yield prompt_key((*content.prompt, *content.chosen[: number + 1])), place
            if count_words(turn.content) >= _FEWEST_WORDS:
                yield prompt_key((turn,)), place


def _row_key(row: CheckedRow) -> bytes:
    return digest(said(row.content.prompt), said(row.content.chosen))


CHECK = SetCheck(
    "leakage",
    title="Leakage",
    summary="rows to train on that equal, or nearly equal, what models are measured or compared on",
    look=look,
    fix=REJECT,
    needs_references=True,
)
