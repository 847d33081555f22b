"""Datasets: names under which examples stand together, and how their rows are dealt into splits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from workbench.domain.examples import Split


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


def deal_split(group_key: str, *, seed: int, validation_share: float) -> Split:
    """Train or validation for a group of rows (a conversation, or one row), from a hash.

    The same key always lands in the same split, whatever else is in the dataset, so adding rows moves none.
    """
    digest = hashlib.sha256(f"{seed}:{group_key}".encode()).digest()
    return Split.VALIDATION if int.from_bytes(digest[:8], "big") / 2**64 < validation_share else Split.TRAIN
