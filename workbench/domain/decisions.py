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
    DELETE = "delete"


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


@dataclass(frozen=True, slots=True)
class Undone:
    """One gesture taken back, or done again: what it was and which examples it touched.

    ``text`` is one line for a status bar, such as ``accepting 3 examples``.
    """

    action: Action
    example_ids: tuple[int, ...]
    text: str


_DOING = {
    Action.CREATE: "adding",
    Action.ACCEPT: "accepting",
    Action.REJECT: "rejecting",
    Action.SKIP: "skipping",
    Action.TAG: "tagging",
    Action.SPLIT: "moving to a split",
    Action.NOTE: "a note on",
    Action.EDIT: "editing",
    Action.RATE: "rating",
    Action.SWAP: "swapping",
    Action.DELETE: "deleting",
}


def undone(action: Action, example_ids: tuple[int, ...]) -> Undone:
    """The report of a gesture on these examples, worded for a status line."""
    count = len(example_ids)
    which = f"example {example_ids[0]}" if count == 1 else f"{count:,} examples"
    return Undone(action, example_ids, f"{_DOING[action]} {which}")
