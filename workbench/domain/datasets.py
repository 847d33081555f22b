"""Datasets: names under which examples stand together, and how their rows are dealt into splits.

Owns what must stay together (a chat, a prompt, a row and what was made from it), how groups are dealt, and what the
lock of a test split forbids. Knows no store: rows come as examples or as what is needed of them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from workbench.domain.examples import Example, Kind, SourceKind, Split
from workbench.errors import RefusedError, UsageError

FEWEST_GROUPS = 3
"""A dataset of no more groups than this is trained on whole when the hash holds nothing out."""

_DEALT = (Split.TRAIN, Split.VALIDATION, Split.TEST)
_LOCKED_FIELDS = ("content", "split")


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named set of examples with its counts by status and kind."""

    id: int
    name: str
    created_utc: str
    total: int = 0
    pending: int = 0
    accepted: int = 0
    rejected: int = 0
    demonstrations: int = 0
    preferences: int = 0
    judgements: int = 0
    texts: int = 0
    prompts: int = 0

    def count(self, kind: Kind) -> int:
        """How many examples of this kind it has."""
        return {
            Kind.DEMONSTRATION: self.demonstrations,
            Kind.PREFERENCE: self.preferences,
            Kind.JUDGEMENT: self.judgements,
            Kind.TEXT: self.texts,
            Kind.PROMPT: self.prompts,
        }[kind]


def refuse_locked(example_id: int, changed: Collection[str]) -> None:
    """Raise ``RefusedError`` when one of the ``changed`` fields of an example in the test split is a locked one.

    Figures that were measured on a test split mean nothing once its rows have been trained on or rewritten.
    """
    if any(name in changed for name in _LOCKED_FIELDS):
        raise RefusedError(
            f"example {example_id} is in the test split, which is locked: it is neither edited nor moved",
            hint=f"if it is meant so, move it out first: workbench examples split {example_id} --to none --unlock",
            where=str(example_id),
        )


# What must stay together


def group_key(example: Example) -> str:
    """What a row by itself belongs to: its chat; for rows from elsewhere, all rows with the same prompt."""
    if example.source.chat_id is not None:
        return f"chat:{example.source.chat_id}{' away' if example.source.away else ''}"
    return _prompt_key(example)


def _prompt_key(example: Example) -> str:
    turns = example.content.prompt or example.content.chosen
    text = "\x1e".join(f"{t.role}\x1f{t.content}" for t in turns)
    return "prompt:" + hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


class Groups:
    """Rows that hang together by any chain of ties, found while they come one by one: a chat, a prompt, and by its id a
    row and what was made from it.

    A group is called by the smallest ``group_key`` of its rows, so that most keep their name when rows are added.
    """

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._names: list[str] = []
        self._by_tie: dict[str | int, int] = {}
        self._of_row: dict[int, int] = {}

    def add(self, example: Example) -> None:
        """One more row."""
        node = len(self._parents)
        self._parents.append(node)
        prompt = _prompt_key(example)
        name = prompt if example.source.chat_id is None else group_key(example)  # the text of the key, kept once
        self._names.append(name)
        self._of_row[example.id] = node
        origins = () if example.source.away else example.source.origins
        tied: tuple[str | int, ...] = (name, prompt, example.id, *origins)
        for tie in tied:
            self._join(node, self._by_tie.setdefault(tie, node))

    def of(self, example_id: int) -> str:
        """The name of the group that a row is in, once all rows are there."""
        return self._names[self._root(self._of_row[example_id])]

    def _root(self, node: int) -> int:
        while self._parents[node] != node:
            self._parents[node] = self._parents[self._parents[node]]
            node = self._parents[node]
        return node

    def _join(self, one: int, other: int) -> None:
        low, high = sorted((self._root(one), self._root(other)))
        if low != high:
            self._parents[high] = low
            self._names[low] = min(self._names[low], self._names[high])


def groups_of(examples: Iterable[Example]) -> dict[int, str]:
    """The group of every one of these rows, by the row's id."""
    groups, ids = Groups(), list[int]()
    for example in examples:
        groups.add(example)
        ids.append(example.id)
    return {example_id: groups.of(example_id) for example_id in ids}


# Dealing


def deal_split(group: str, *, seed: int, validation_share: float, test_share: float = 0.0) -> Split:
    """The split of a group of rows (a conversation, or one row), from a hash.

    The same group always lands in the same split, whatever else is in the dataset, so adding rows moves none. A group
    that is held out stays so when its share grows.
    """
    drawn = _drawn(group, seed)
    if drawn < validation_share:
        return Split.VALIDATION
    return Split.TEST if drawn >= 1.0 - test_share else Split.TRAIN


def _drawn(group: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of a dataset goes into each split; together 1."""

    train: float
    validation: float
    test: float = 0.0

    def check(self) -> None:
        """Raise ``UsageError`` for shares that are not shares, or leave nothing to train on."""
        for split in reversed(_DEALT):  # what is left for training comes from the others
            if not 0.0 <= self.of(split) <= 1.0:
                raise UsageError(f"the share {self.of(split):g} for {split.value} is not from 0 to 1", hint=_LIKE_THIS)
        if abs(self.train + self.validation + self.test - 1.0) > 1e-6:
            told = " + ".join(f"{self.of(split):g}" for split in _DEALT)
            raise UsageError(f"the shares {told} do not add up to 1", hint=_LIKE_THIS)
        if self.train == 0.0:
            raise UsageError("nothing would be left to train on", hint=_LIKE_THIS)

    def of(self, split: Split) -> float:
        """The share of one split."""
        return {Split.TRAIN: self.train, Split.VALIDATION: self.validation, Split.TEST: self.test}[split]


_LIKE_THIS = "for example --train 0.8 --validation 0.1 --test 0.1"


@dataclass(frozen=True, slots=True)
class Dealable:
    """What dealing needs of a row. ``stratum`` is the tag or source whose shares shall be right by themselves."""

    id: int
    group: str
    split: Split
    stratum: str = ""


@dataclass(slots=True)
class _Group:
    name: str
    stratum: str
    free: list[int] = field(default_factory=list)
    dealt: frozenset[Split] = frozenset()  # one for all to begin with: there may be a million groups


def deal_rows(rows: Iterable[Dealable], *, seed: int, shares: Shares, stratified: bool = False) -> dict[int, Split]:
    """The split of every row that has none yet; rows that have one stay, and their group's other rows join them.

    The groups come in the order of their hashes, each into the split that lacks most of its share: a share is missed by
    no more than the rows of a group, where the hash alone would miss it by half of itself among a hundred rows.
    Stratified, the shares are right in each stratum and in all. When a share comes out empty although more than three
    groups are there, the groups with the smallest names fill it.
    """
    rows = list(rows)
    groups: dict[str, _Group] = {}
    for row in rows:
        group = groups.setdefault(row.group, _Group(row.group, row.stratum))
        group.stratum = min(group.stratum, row.stratum) if stratified else ""
        if row.split is Split.NONE:
            group.free.append(row.id)
        else:
            group.dealt |= {row.split}
    sides = {group.name: strictest(group.dealt) for group in groups.values() if group.dealt}
    free = [group for group in groups.values() if not group.dealt]
    sides |= _by_stratum(free, rows, groups, seed=seed, shares=shares)
    _fill_empty(sides, free, shares)
    return {example_id: sides[group.name] for group in groups.values() for example_id in group.free}


def strictest(splits: Collection[Split]) -> Split:
    """The split that rows of one group take when some of them are in these: held out beats trained on."""
    order = (Split.TEST, Split.VALIDATION, Split.TRAIN)
    return next((split for split in order if split in splits), Split.NONE)


def _by_stratum(
    free: Sequence[_Group], rows: Iterable[Dealable], groups: dict[str, _Group], *, seed: int, shares: Shares
) -> dict[str, Split]:
    in_all: Counter[Split] = Counter()
    in_stratum: dict[str, Counter[Split]] = {}
    for row in rows:
        if row.split is not Split.NONE:
            in_all[row.split] += 1
            in_stratum.setdefault(groups[row.group].stratum, Counter())[row.split] += 1
    sides: dict[str, Split] = {}
    for group in sorted(free, key=lambda group: (group.stratum, _drawn(group.name, seed))):
        counts, size = in_stratum.setdefault(group.stratum, Counter()), len(group.free)
        wanted = [split for split in _DEALT if shares.of(split) > 0]
        side = max(wanted, key=lambda split: sum(_lack(one, split, size, shares) for one in (counts, in_all)))
        sides[group.name] = side
        counts[side] += size
        in_all[side] += size
    return sides


def _lack(counts: Counter[Split], split: Split, more: int, shares: Shares) -> float:
    """How many rows the split lacks of its share once ``more`` rows are dealt."""
    return shares.of(split) * (counts.total() + more) - counts[split]


def _fill_empty(sides: dict[str, Split], free: Sequence[_Group], shares: Shares) -> None:
    spare = sorted(group.name for group in free if sides[group.name] is Split.TRAIN)
    for split in (Split.VALIDATION, Split.TEST):
        is_empty = shares.of(split) > 0 and split not in sides.values()
        if is_empty and len(spare) >= FEWEST_GROUPS and len(sides) > FEWEST_GROUPS:
            sides[spare.pop(0)] = split


def stratum_of(example: Example, by: str) -> str:
    """The stratum of a row: its tags (``tag``), or how it came in and for imports the file (``source``)."""
    if by == "tag":
        return " ".join(sorted(example.tags))
    if by == "source":
        source = example.source
        return f"{source.kind.value} {source.file}" if source.kind is SourceKind.IMPORT else source.kind.value
    raise UsageError(f"rows cannot be stratified by {by!r}", hint="by tag or by source")
