"""What people did to examples, one append-only line each, so that each can be undone, also after a restart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """One gesture on one example."""

    CREATE = "create"
    ACCEPT = "accept"
    REJECT = "reject"
    SKIP = "skip"
    TAG = "tag"
    SPLIT = "split"
    NOTE = "note"
    EDIT = "edit"
    RATE = "rate"
    SWAP = "swap"


@dataclass(frozen=True, slots=True)
class Decision:
    """One gesture: ``before`` and ``after`` hold the changed fields only, as JSON objects.

    ``group`` joins the decisions that one gesture made and one undo takes back.
    """

    id: int
    group: int
    example_id: int
    action: Action
    before: str
    after: str
    rater: str
    created_utc: str
    undone: bool = False
