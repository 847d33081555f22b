"""Documents as weighted token rows of one length.

Owns which tokens the loss covers and how documents share a row: whole documents only, each with positions
from zero, so that none sees another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedTokenizerFast

from workbench.worker.tiny.corpus import Chat, PlainText
from workbench.worker.tiny.tokenizer import END, START

USER_WEIGHT = 0.2

Segments = list[tuple[str, float]]


@dataclass
class Row:
    """One packed row: token ids, the loss weight of each as a target, and its position in its document."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)

    def add(self, ids: list[int], weights: list[float]) -> None:
        """Append one document."""
        self.ids += ids
        self.weights += [0.0, *weights[1:]]
        self.positions += range(len(ids))


def segments(document: Chat | PlainText) -> Segments:
    """The document's text as the template renders it, in pieces with one loss weight each."""
    if isinstance(document, PlainText):
        return [(document.given, 0.0), (document.text, 1.0), (END + "\n", 1.0)]
    pieces: Segments = []
    for message in document.messages():
        weight = 1.0 if message["role"] == "assistant" else USER_WEIGHT
        pieces += [(f"{START}{message['role']}\n", 0.0), (message["content"] + END, weight), ("\n", 0.0)]
    return pieces


def rows(
    documents: Iterable[Chat | PlainText], tokenizer: PreTrainedTokenizerFast, *, length: int, open_rows: int = 16
) -> Iterator[Row]:
    """Packed rows; a document goes into the fullest open row that still holds it, and is cut at `length`."""
    waiting: list[Row] = []
    for document in documents:
        ids, weights = encode(document, tokenizer)
        ids, weights = ids[:length], weights[:length]
        fitting = [row for row in waiting if len(row.ids) + len(ids) <= length]
        row = max(fitting, key=lambda candidate: len(candidate.ids), default=None)
        if row is None:
            row = Row()
            waiting.append(row)
        row.add(ids, weights)
        if len(waiting) > open_rows:
            fullest = max(waiting, key=lambda candidate: len(candidate.ids))
            waiting.remove(fullest)
            yield fullest
    yield from waiting


def encode(document: Chat | PlainText, tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[float]]:
    """The document's token ids and the loss weight of each."""
    ids: list[int] = []
    weights: list[float] = []
    for text, weight in segments(document):
        piece = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids if text else []
        ids += piece
        weights += [weight] * len(piece)
    return ids, weights


def tensors(batch: list[Row], *, length: int, pad_id: int) -> dict[str, torch.Tensor]:
    """`ids`, `positions` and `weights` of shape (batch, length); padding is a document of its own."""
    ids = torch.full((len(batch), length), pad_id)
    weights = torch.zeros(len(batch), length)
    positions = torch.zeros(len(batch), length, dtype=torch.long)
    for index, row in enumerate(batch):
        count = len(row.ids)
        ids[index, :count] = torch.tensor(row.ids)
        weights[index, :count] = torch.tensor(row.weights)
        positions[index, :count] = torch.tensor(row.positions)
        positions[index, count:] = torch.arange(length - count)
    return {"ids": ids, "weights": weights, "positions": positions}
