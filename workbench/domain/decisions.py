"""What people did to examples, one append-only line each, so that each can be undone, also after a restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    THUMB = "thumb"
    FLAG = "flag"
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
    example_ids: Sequence[int]
    text: str


@dataclass(frozen=True, slots=True)
class Newest:
    """The gesture that the next undo takes back: what it was, how many examples it touched, and whether in a chat."""

    examples: int
    text: str
    in_chat: bool


# What a gesture in a chat writes beside its decisions: an undo in Chat takes back such ones only.
IN_CHAT = {"made_in": "chat"}

_FEW = 1000
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
    Action.THUMB: "judging",
    Action.FLAG: "flagging",
    Action.DELETE: "deleting",
}


def undone(
    action: Action, example_ids: Sequence[int], *, counts: Mapping[Action, tuple[int, int]] | None = None
) -> Undone:
    """The report of a gesture on these examples, worded for a status line; ``counts`` as for ``told_all``
    when it did several things.

    Few ids become a tuple; an array of many stays one, because a million numbers would take forty megabytes.
    """
    if len(example_ids) <= _FEW:
        example_ids = tuple(example_ids)
    if counts is not None and len(counts) > 1:
        return Undone(action, example_ids, told_all(counts))
    return Undone(action, example_ids, told(action, len(example_ids), example_ids[0] if example_ids else 0))


def told(action: Action, count: int, first: int) -> str:
    """A gesture on ``count`` examples, of which ``first`` is one, for a status line."""
    return f"{_DOING[action]} {f'example {first}' if count == 1 else f'{count:,} examples'}"


def told_all(counts: Mapping[Action, tuple[int, int]]) -> str:
    """A gesture that did several things, such as mending: of each how many examples, and one of them; most first."""
    by_number = sorted(counts.items(), key=lambda entry: (-entry[1][0], entry[0]))
    *said, last = (told(action, count, first) for action, (count, first) in by_number)
    return f"{', '.join(said)} and {last}" if said else last
