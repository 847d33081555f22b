"""What the engine remembers of past prompts, so that a next turn or another answer reads only what is new.

Owns which keys and values are kept, and which go when there are too many (least recently used first). An entry belongs
to one model in memory: the same words have other keys and values under another adapter. Kept are only layers that hold
every position (a sliding window or a state cannot be cut to a beginning).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

WORTH_TOKENS = 16  # a shorter beginning is computed again as quickly as it is put in place

Layer = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Past:
    """Keys and values of the first ``tokens`` positions, per layer ``(heads, tokens, size)`` each."""

    layers: Sequence[Layer] = ()
    tokens: int = 0


@dataclass(eq=False)
class _Entry:
    owner: Hashable
    ids: tuple[int, ...]
    layers: list[Layer]
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.bytes = sum(each.numel() * each.element_size() for layer in self.layers for each in layer)


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

    def keep(self, owner: Hashable, ids: Sequence[int], cache: DynamicCache, row: int, seen: torch.Tensor) -> None:
        """Keep a row of ``cache``: the positions where ``seen`` is 1 are the keys and values of ``ids``, in order."""
        if len(ids) < WORTH_TOKENS or any(type(layer) is not DynamicLayer for layer in cache.layers):
            return
        if len(ids) * sum(_bytes_per_token(layer) for layer in cache.layers) > self._limit:
            return
        for number, entry in list(self._entries.items()):
            if entry.owner == owner and _common(entry.ids, ids) == len(entry.ids):
                del self._entries[number]  # the new one says all that it said
        places = seen.nonzero().squeeze(1)
        layers = [(layer.keys[row][:, places], layer.values[row][:, places]) for layer in cache.layers]
        kept = _Entry(owner, tuple(ids), layers)
        self._entries[id(kept)] = kept
        while self.bytes > self._limit:
            self._entries.popitem(last=False)

    def forget(self, owner: Hashable | None = None) -> None:
        """Drop what belongs to a model that leaves; without one, everything."""
        for number, entry in list(self._entries.items()):
            if owner is None or entry.owner == owner:
                del self._entries[number]


def put_in_place(cache: DynamicCache, pasts: Sequence[Past]) -> int:
    """Fill an empty cache with one past per row, right-aligned; gives back how many positions that takes."""
    width = max(past.tokens for past in pasts)
    if not width:
        return 0
    example = next(past for past in pasts if past.tokens)
    for index, layer in enumerate(example.layers):
        whole = [torch.zeros(len(pasts), each.shape[0], width, each.shape[2], **_like(each)) for each in layer]
        for row, past in enumerate(pasts):
            if past.tokens:
                for each, kept in zip(whole, past.layers[index], strict=True):
                    each[row, :, width - past.tokens :] = kept
        cache.update(whole[0], whole[1], index)
    return width


def _like(tensor: torch.Tensor) -> dict[str, Any]:
    return {"dtype": tensor.dtype, "device": tensor.device}


def _bytes_per_token(layer: DynamicLayer) -> int:
    states = (layer.keys, layer.values)
    return sum(each.shape[1] * each.shape[3] * each.element_size() for each in states)


def _common(kept: Sequence[int], ids: Sequence[int]) -> int:
    """How many tokens both begin with."""
    for index, (one, other) in enumerate(zip(kept, ids, strict=False)):
        if one != other:
            return index
    return min(len(kept), len(ids))
