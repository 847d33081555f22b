"""What the engine remembers of past prompts, so that a next turn or another answer reads only what is new.

Owns which keys and values are kept, and which go when there are too many (least recently used first). An entry belongs
to one model in memory: the same words have other keys and values under another adapter.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from workbench.worker.engine.sheet import Layer, Past

WORTH_TOKENS = 16  # a shorter beginning is computed again as quickly as it is put in place


@dataclass(eq=False)
class _Entry:
    owner: Hashable
    ids: tuple[int, ...]
    layers: list[Layer]
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.bytes = _bytes(self.layers)


class Memory:
    """Pasts by owner (a model in memory) and token ids; never more than ``limit_bytes`` of them."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._entries: OrderedDict[int, _Entry] = OrderedDict()  # least recently used first

    @property
    def bytes(self) -> int:
        """What the kept keys and values take."""
        return sum(entry.bytes for entry in self._entries.values())

    def recall(self, owner: Hashable, ids: Sequence[int]) -> Past:
        """The longest kept beginning of ``ids``; never all of it, because the last token must be run to go on."""
        best, length = None, WORTH_TOKENS - 1
        for entry in self._entries.values():
            if entry.owner == owner and (common := _common(entry.ids, ids[:-1])) > length:
                best, length = entry, common
        if best is None:
            return Past()
        self._entries.move_to_end(id(best))
        return Past([(keys[:, :length], values[:, :length]) for keys, values in best.layers], length)

    def keep(self, owner: Hashable, ids: Sequence[int], past: Past) -> None:
        """Keep a copy of the keys and values of ``ids``; nothing when they are few, or too many for the limit."""
        if past.tokens < WORTH_TOKENS or _bytes(past.layers) > self._limit:
            return
        for number, entry in list(self._entries.items()):
            if entry.owner != owner:
                continue
            common = _common(entry.ids, ids)
            if common == len(ids):  # known already, with more behind it
                self._entries.move_to_end(number)
                return
            if common == len(entry.ids):
                del self._entries[number]  # the new one says all that it said
        kept = _Entry(owner, tuple(ids), [(keys.clone(), values.clone()) for keys, values in past.layers])
        self._entries[id(kept)] = kept
        while self.bytes > self._limit:
            self._entries.popitem(last=False)

    def forget(self, owner: Hashable | None = None) -> None:
        """Drop what belongs to a model that leaves; without one, everything."""
        for number, entry in list(self._entries.items()):
            if owner is None or entry.owner == owner:
                del self._entries[number]


def _bytes(layers: Sequence[Layer]) -> int:
    return sum(each.numel() * each.element_size() for layer in layers for each in layer)


def _common(kept: Sequence[int], ids: Sequence[int]) -> int:
    """How many tokens both begin with."""
    for index, (one, other) in enumerate(zip(kept, ids, strict=False)):
        if one != other:
            return index
    return min(len(kept), len(ids))
