"""Rows of one dataset that are nearly the same: found by MinHash and locality-sensitive hashing, then compared.

Source: A. Broder, "On the resemblance and containment of documents" (1997); the buckets and their number are those of
``datasketch``. What the buckets bring together is compared by the true share of shingles: a finding is never a guess.

Rows about one long passage, or from one mould, share nearly everything and are rows of their own all the same: in talk,
answers and figures have to be alike too. A text by itself may differ in both and still be the same page.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from workbench.checks._likeness import digest, likeness, normal, shingles, whole_text
from workbench.domain.checks import REJECT, CheckedRow, Finding, SetCheck, Severity, Surroundings
from workbench.domain.examples import Content, Kind, Split

NEAR = 0.85
"""Share of three-word runs in common from which two rows count as nearly the same."""

_PERMUTATIONS = 48
# Eight buckets of six values: a pair of 0.85 is found with 97 %, one of 0.95 with 99.99 %.
_BANDS, _ROWS = 8, 6
_FEWEST_SHINGLES = 12
_MOST_SHINGLES = 1000
_MOST_COMPARED = 20
# Answers count as alike from here on: a longer one by its shingles, a short one by its letters.
_ALIKE, _ALIKE_LETTERS = 0.5, 0.8
_FIGURES = re.compile(r"(?<!\w)\d+(?:[.,:]\d+)*")


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of a row: its shingles, its answer as far as it is compared, and a digest of its figures."""

    sample: array[int]
    answer: array[int] | str
    figures: bytes


def look(rows: Iterable[CheckedRow], surroundings: Surroundings) -> Iterator[Finding]:
    """A finding for every row that is near an earlier one which has none itself.

    Kept of each row: its shingles (4 bytes each, at most a thousand) and its buckets, about 2 kB in all.
    """
    from datasketch import MinHash, MinHashLSH  # loads numpy and scipy: 0.6 s

    buckets: dict[tuple[object, ...], Any] = {}
    kept: dict[int, _Kept] = {}
    for row in rows:
        sample = _sample(shingles(whole_text(row.content)))
        if len(sample) < _FEWEST_SHINGLES:
            continue
        signature = MinHash(num_perm=_PERMUTATIONS, hashfunc=_itself)
        signature.update_batch(sample)
        group = (row.dataset, row.content.kind, row.split in {Split.VALIDATION, Split.TEST})
        if group not in buckets:
            buckets[group] = MinHashLSH(num_perm=_PERMUTATIONS, params=(_BANDS, _ROWS), hashfunc=_short)
        candidates = buckets[group].query(signature)[:_MOST_COMPARED]
        own = _of(row.content, sample)
        found = max(((_near(own, kept[i]), -i) for i in candidates), default=(0.0, 0))
        if found[0] >= NEAR:
            reason = f"is {min(found[0], 0.999):.0%} the same as example {-found[1]}"
            yield Finding(Severity.WARNING, reason, fixable=True, example_id=row.id)
        elif len(candidates) < _MOST_COMPARED:  # a mould with thousands of rows fills its buckets no further
            buckets[group].insert(row.id, signature, check_duplication=False)
            kept[row.id] = own


def _of(content: Content, sample: array[int]) -> _Kept:
    if content.kind is Kind.TEXT:
        return _Kept(sample, "", b"")
    answer = "\n".join(turn.shown for turn in (*content.chosen, *content.rejected))
    found = _sample(shingles(answer))
    figures = digest(*_FIGURES.findall(whole_text(content)))
    return _Kept(sample, found if len(found) >= _FEWEST_SHINGLES else normal(answer), figures)


def _near(one: _Kept, other: _Kept) -> float:
    """How much two rows share; 0 for those whose answers or figures are others."""
    if one.figures != other.figures or not _answers_alike(one.answer, other.answer):
        return 0.0
    return _likeness(one.sample, other.sample)


def _answers_alike(one: array[int] | str, other: array[int] | str) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        from rapidfuzz.distance import Levenshtein  # 20 ms

        return one == other or Levenshtein.normalized_similarity(one, other) >= _ALIKE_LETTERS
    if isinstance(one, str) or isinstance(other, str):
        return False
    return _likeness(one, other) >= _ALIKE


def _sample(found: set[int]) -> array[int]:
    """The shingles in order; of a long text those with the smallest numbers, which are a fair sample."""
    return array("I", sorted(found)[:_MOST_SHINGLES])


def _likeness(one: array[int], other: array[int]) -> float:
    if len(one) == len(other) == _MOST_SHINGLES:
        # Both are samples: compare them as far as the shorter reaches.
        limit = min(one[-1], other[-1])
        return likeness({n for n in one if n <= limit}, {n for n in other if n <= limit})
    return likeness(set(one), set(other))


def _itself(number: int) -> int:
    return number


def _short(band: bytes) -> bytes:
    from hashlib import blake2b

    return blake2b(band, digest_size=8).digest()


CHECK = SetCheck(
    "near_duplicates",
    title="Near-duplicates",
    summary="rows of one dataset that are nearly the same",
    look=look,
    in_child=True,
    fix=REJECT,
)
