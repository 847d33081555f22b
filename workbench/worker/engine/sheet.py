"""The key-value cache of rows that are at work together: a sheet with a row per answer and a column per token.

Owns where a row's tokens lie. All rows end at the same column, and each begins where its length says, so that a row
can join, leave and grow by a token without the others being copied: transformers' ``DynamicCache`` joins all of it
anew at every token. The tensors grow by half when they are full. Sliding windows need nothing here: the masks cut
them out of the whole past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin

SPARE_COLUMNS = 128
Layer = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Past:
    """Keys and values of the first ``tokens`` positions, per layer ``(heads, tokens, size)`` each."""

    layers: Sequence[Layer] = ()
    tokens: int = 0


class Columns:
    """Which columns are whose: ``firsts`` holds each row's first column, ``end`` is the column after everybody's last.

    ``cache`` is what the model reads and writes.
    """

    cache: Cache

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.firsts: list[int] = []
        self.end = 0

    @property
    def begin(self) -> int:
        """The first column that any row uses."""
        return min(self.firsts, default=self.end)

    def length(self, row: int) -> int:
        """How many tokens of a row are in place."""
        return max(0, self.end - self.firsts[row])

    def mask(self, new: int) -> torch.Tensor:
        """1 where a column is the row's own, ``(rows, columns)``, with ``new`` columns to come."""
        columns = torch.arange(self.begin, self.end + new, device=self.device)
        return (columns >= self._first_column()).long()

    def positions(self, new: int) -> torch.Tensor:
        """Each row's count of its own tokens at the ``new`` columns to come, ``(rows, new)``."""
        columns = torch.arange(self.end, self.end + new, device=self.device)
        return (columns - self._first_column()).clamp(min=0)

    def _first_column(self) -> torch.Tensor:
        return torch.tensor(self.firsts, device=self.device)[:, None]

    def reserve(self, new: int) -> None:
        """Make room for ``new`` columns more; before every forward pass."""

    def advance(self, new: int) -> None:
        """The forward pass has written ``new`` columns."""
        self.end += new

    def past(self, row: int) -> Past:
        """What is in place of a row; views, to be copied by who keeps them. Empty for what cannot be cut."""
        return Past()


class Single(Columns):
    """One row in a cache of the model's own kind, for models that keep a state of the past: nobody can join it."""

    def __init__(self, device: torch.device, config: Any) -> None:
        super().__init__(device)
        self.cache = DynamicCache(config=config)
        self.firsts = [0]


class Sheet(Columns):
    """Many rows; its tensors are made at the first write, when the layers tell their shapes and devices."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.cache = _SheetCache(self)
        self.row_room = 1
        self.column_room = SPARE_COLUMNS

    def lay(self, lengths: Sequence[int], begin: int, pasts: Sequence[Past]) -> None:
        """Set up an empty sheet for rows that will have these lengths, of which columns from ``begin`` on are to come.

        ``pasts`` is what is known of each row; what lies behind ``begin`` of it is computed again.
        """
        self.firsts = [max(lengths) - length for length in lengths]
        self.row_room = len(lengths)
        self.end = begin
        self.column_room = max(lengths) + SPARE_COLUMNS
        for row, past in enumerate(pasts):
            length = max(0, min(past.tokens, begin - self.firsts[row]))
            self._write(row, self.firsts[row], Past([(k[:, :length], v[:, :length]) for k, v in past.layers], length))

    def join(self, other: Sheet, rows: Sequence[int]) -> None:
        """Take in these rows of another sheet, which is done with, as the last ones here.

        A sheet without rows takes all the rows of another over as they lie. Else there is room for all of them before
        the first is copied.
        """
        if not self.firsts and list(rows) == list(range(len(other.firsts))):
            self._take_over(other)
            return
        if not self.firsts:
            self.end = 0
        pasts = [other.past(row) for row in rows]
        longest = max((past.tokens for past in pasts), default=0)
        self._make_room(rows=len(self.firsts) + len(rows), at_least=longest)
        for past in pasts:
            first = self.end - past.tokens
            self._write(len(self.firsts), first, past)
            self.firsts.append(first)

    def drop(self, row: int) -> None:
        """Let a row go; the last one takes its number."""
        last = len(self.firsts) - 1
        if row != last:
            self._write(row, self.firsts[last], self.past(last))
            self.firsts[row] = self.firsts[last]
        self.firsts.pop()

    def wipe(self, row: int) -> None:
        """Overwrite a row that holds no numbers (NaN), which not even a mask keeps from those that get its place."""
        for layer in self._layers():
            layer.keys[row].zero_()
            layer.values[row].zero_()

    def past(self, row: int) -> Past:
        """What is in place of a row, as views."""
        mine = (row, slice(None), slice(self.firsts[row], self.end))
        return Past([(layer.keys[mine], layer.values[mine]) for layer in self._layers()], self.length(row))

    def reserve(self, new: int) -> None:
        """Make room for ``new`` columns more."""
        if self.end + new > self.column_room:
            self._move(self.begin, self.end - self.begin, new)

    def _take_over(self, other: Sheet) -> None:
        self.firsts, self.end = list(other.firsts), other.end
        self.row_room, self.column_room = other.row_room, other.column_room
        for number, layer in enumerate(other.cache.layers):
            self.cache.layer(number).adopt(layer.keys, layer.values)

    def _make_room(self, *, rows: int, at_least: int) -> None:
        """Room for so many rows, with the common end at column ``at_least`` or later."""
        if rows > self.row_room:
            self.row_room = max(rows, 2 * self.row_room)
            self._move(self.begin, max(self.end - self.begin, at_least), 0)
        elif self.end < at_least:
            self._move(self.begin, at_least, 0)

    def _move(self, begin: int, end: int, new: int) -> None:
        """Shift all columns so that they end at ``end``, in tensors with room for ``new`` more and some to spare."""
        shift = end - self.end
        old_end = self.end
        self.firsts = [first + shift for first in self.firsts]
        self.end = end
        needed = end + new
        self.column_room = max(needed + SPARE_COLUMNS, needed * 3 // 2)
        for layer in self._layers():
            layer.move(slice(begin, old_end), slice(begin + shift, end))

    def _write(self, row: int, first: int, past: Past) -> None:
        for number, (keys, values) in enumerate(past.layers):
            self.cache.layer(number).put(row, first, keys, values)

    def _layers(self) -> list[_SheetLayer]:
        return [layer for layer in self.cache.layers if layer.is_initialized]


class _SheetCache(Cache):
    """What the model sees of a sheet: the columns in use, from the first that any row needs."""

    def __init__(self, sheet: Sheet) -> None:
        super().__init__(layer_class_to_replicate=_SheetLayer)
        self._sheet = sheet

    def layer(self, number: int) -> _SheetLayer:
        while len(self.layers) <= number:
            self.layers.append(_SheetLayer(self._sheet))
        return self.layers[number]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(layer_idx).update(key_states, value_states)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._sheet.end - self._sheet.begin

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self, layer_idx: int | None = None) -> int:
        return -1


class _SheetLayer(CacheLayerMixin):
    """One layer's tensors, ``(rows, heads, columns, size)``; the sheet says which part is in use."""

    is_sliding = False

    def __init__(self, sheet: Sheet) -> None:
        super().__init__()
        self._sheet = sheet

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make the tensors; the arguments need only have the heads third from the end, and the size last."""
        self.keys, self.values = (self._empty(each) for each in (key_states, value_states))
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self.keys.device != key_states.device:  # learnt ones, put in place before the layer told its device
            self.keys, self.values = self.keys.to(key_states.device), self.values.to(key_states.device)
        rows, end = len(key_states), self._sheet.end + key_states.shape[2]
        self.keys[:rows, :, self._sheet.end : end] = key_states
        self.values[:rows, :, self._sheet.end : end] = value_states
        begin = self._sheet.begin
        return self.keys[:rows, :, begin:end], self.values[:rows, :, begin:end]

    def adopt(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Go on with the tensors of another sheet's layer."""
        self.keys, self.values = keys, values
        self.is_initialized = True

    def put(self, row: int, first: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write one row's columns from ``first`` on."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        columns = slice(first, first + keys.shape[1])
        self.keys[row, :, columns] = keys
        self.values[row, :, columns] = values

    def move(self, old: slice, new: slice) -> None:
        """Into tensors of the sheet's present size, the columns ``old`` of all rows to ``new``."""
        for name in ("keys", "values"):
            before = getattr(self, name)
            after = self._empty(before)
            after[: len(before), :, new] = before[:, :, old]
            setattr(self, name, after)

    def get_seq_length(self) -> int:
        return self._sheet.end - self._sheet.begin

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        # Zeros and nothing else: what lies in a masked column is multiplied by 0, and must not be NaN.
        heads, size = like.shape[-3], like.shape[-1]
        return like.new_zeros(self._sheet.row_room, heads, self._sheet.column_room, size)
