"""Rows to train on that are also measured on: in validation, in a test or evaluation set, or in blind comparisons.

A model that has seen the question of an examination passes it without knowing the subject. Rows that were made from a
vote answer the very prompt of their comparison; that is only told, since somebody promoted them on purpose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

from workbench.checks._likeness import digest, likeness, prompt_key, said, shingles, whole_text
from workbench.domain.checks import (
    REJECT,
    CheckedRow,
    ComparedPrompt,
    Finding,
    HeldOutRow,
    SetCheck,
    Severity,
    Surroundings,
)
from workbench.domain.examples import Split

NEAR = 0.85
"""Share of three-word runs in common from which two rows count as nearly the same."""

_FEWEST_SHINGLES = 12
_MOST_INDEXED = 50_000


@dataclass(slots=True)
class _Index:
    """Texts by their shingles. Finds every one that is nearly the same, without a look at the others.

    Two sets share at least one of the rarest ``n - ceil(NEAR n) + 1`` elements of either when their Jaccard index is
    ``NEAR`` or more (prefix filtering: Chaudhuri et al., ICDE 2006); so only rows under those are compared.
    """

    sets: list[set[int]] = field(default_factory=list)
    under: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, text: str) -> None:
        """One more text, under the next number; short ones are never near anything."""
        found = shingles(text) if len(self.sets) < _MOST_INDEXED else set()
        if len(found) < _FEWEST_SHINGLES:
            found = set()
        for shingle in found:
            self.under[shingle].append(len(self.sets))
        self.sets.append(found)

    def nearest(self, text: str) -> tuple[int, float] | None:
        """The number of the most similar text and how similar it is; None when none is near."""
        if not self.under:
            return None
        found = shingles(text)
        if len(found) < _FEWEST_SHINGLES:
            return None
        needed = len(found) - ceil(NEAR * len(found)) + 1
        known = [shingle for shingle in found if shingle in self.under]
        rare = needed - (len(found) - len(known))
        if rare <= 0:
            return None
        known.sort(key=lambda shingle: len(self.under[shingle]))
        numbers = {number for shingle in known[:rare] for number in self.under[shingle]}
        best = max(((likeness(found, self.sets[n]), -n) for n in numbers), default=(0.0, 0))
        return (-best[1], best[0]) if best[0] >= NEAR else None


@dataclass(slots=True)
class _HeldOut:
    rows: Sequence[HeldOutRow]
    same: dict[bytes, int] = field(default_factory=dict)
    asked: dict[bytes, int] = field(default_factory=dict)
    near: _Index = field(default_factory=_Index)
    ids: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, rows: Sequence[HeldOutRow]) -> _HeldOut:
        # Strict rows first: what is worse is told.
        held = cls(sorted(rows, key=lambda held: not held.strict))
        for number, one in enumerate(held.rows):
            content = one.row.content
            held.ids.add(one.row.id)
            held.same.setdefault(_row_key(one.row), number)
            if content.prompt:
                held.asked.setdefault(prompt_key(content.prompt), number)
            held.near.add(whole_text(content))
        return held

    def findings(self, row: CheckedRow) -> Iterator[Finding]:
        if not self.rows:
            return
        if (number := self.same.get(_row_key(row))) is not None:
            held = self.rows[number]
            is_its_validation = held.row.split is Split.VALIDATION and held.row.dataset == row.dataset
            severity = Severity.ERROR if held.strict or is_its_validation else Severity.WARNING
            yield Finding(severity, f"is also {self._which(number)}", fixable=True, example_id=row.id)
        elif row.content.prompt and (number := self.asked.get(prompt_key(row.content.prompt))) is not None:
            reason = f"asks the same as a row that is {self._which(number)}"
            yield Finding(Severity.WARNING, reason, "prompt turn 1", example_id=row.id)
        elif (found := self.near.nearest(whole_text(row.content))) is not None:
            reason = f"is {found[1]:.0%} the same as a row that is {self._which(found[0])}"
            yield Finding(Severity.WARNING, reason, example_id=row.id)

    def _which(self, number: int) -> str:
        row = self.rows[number].row
        is_split = row.split in {Split.VALIDATION, Split.TEST}
        where = f"in the {row.split.value} split of" if is_split else "held out in"
        return f"{where} {row.dataset} (example {row.id})"


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
        if (number := self.same.get(prompt_key(row.content.prompt))) is not None:
            severity, reason = self._verdict(row, number)
            fixable = severity is Severity.ERROR
            yield Finding(severity, reason, "prompt turn 1", fixable=fixable, example_id=row.id)
        elif row.comparison_id is None and (found := self.near.nearest(said(row.content.prompt))) is not None:
            which = f"comparison {self.prompts[found[0]].comparison_id}"
            reason = f"asks {found[1]:.0%} the same as {which}, on which models were compared"
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


def _row_key(row: CheckedRow) -> bytes:
    return digest(said(row.content.prompt), said(row.content.chosen))


CHECK = SetCheck(
    "leakage",
    title="Leakage",
    summary="rows to train on that equal, or nearly equal, what models are measured or compared on",
    look=look,
    fix=REJECT,
)
