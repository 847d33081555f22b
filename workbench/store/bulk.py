"""One gesture on many examples: written in transactions of a few milliseconds, taken back by one undo.

Owns the same change as ``Examples.change`` makes, as SQL over a piece of the examples at a time. Between two pieces
others may write; a process that is killed leaves the first pieces done, as one gesture that can be undone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.domain.datasets import refuse_locked
from workbench.domain.decisions import Action
from workbench.domain.examples import Split
from workbench.errors import NotFoundError
from workbench.store.queries import VISIBLE
from workbench.store.rows import chunks, now_utc

if TYPE_CHECKING:
    from sqlite_utils import Database

    from workbench.store.decisions import Decisions
    from workbench.store.store import Store

# How long one transaction aims to last, and for how many rows it is tried first.
AIM_SECONDS = 0.04
FEWEST_ROWS, FIRST_ROWS, MOST_ROWS = 20, 500, 20_000
_CHECKED = 20_000
_HERE = "e.id IN (SELECT value FROM json_each(:ids))"

Columns = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Labels:
    """Tags or flags that a gesture sets; ``own`` says which rows of their table ``l`` are a person's."""

    field: str
    table: str
    column: str
    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    own: str = "1"

    @property
    def now(self) -> str:
        """What an example ``e`` has, as a JSON list."""
        return f"(SELECT json_group_array({self.column}) FROM ({self._here} ORDER BY 1))"

    @property
    def then(self) -> str:
        """What it will have."""
        return (
            f"(SELECT json_group_array({self.column}) FROM ({self._here} UNION SELECT value FROM "
            f"json_each(:add_{self.field}) ORDER BY 1) WHERE {self.column} NOT IN ({self._removed}))"
        )

    def statements(self, there: str) -> list[str]:
        """What gives them to the examples that ``there`` selects."""
        return [
            f"DELETE FROM {self.table} AS l WHERE example_id IN ({there}) AND {self.column} IN ({self._removed}) "
            f"AND {self.own}",
            f"INSERT OR IGNORE INTO {self.table} SELECT e.id, t.value FROM ({there}) e, json_each(:add_{self.field}) t "
            f"WHERE t.value NOT IN ({self._removed})",
        ]

    @property
    def values(self) -> dict[str, str]:
        """What is bound."""
        return {f"add_{self.field}": json.dumps([*self.add]), f"remove_{self.field}": json.dumps([*self.remove])}

    @property
    def _here(self) -> str:
        return f"SELECT {self.column} FROM {self.table} l WHERE l.example_id = e.id AND {self.own}"

    @property
    def _removed(self) -> str:
        return f"SELECT value FROM json_each(:remove_{self.field})"


def tags(add: Sequence[str], remove: Sequence[str]) -> Labels:
    """These tags."""
    return Labels("tags", "example_tags", "tag", add, remove)


def flags(add: Sequence[str], remove: Sequence[str]) -> Labels:
    """These flags by hand; what a check flagged is not a person's."""
    own = "NOT EXISTS (SELECT 1 FROM findings f WHERE f.example_id = l.example_id AND f.check_name = l.flag)"
    return Labels("flags", "example_flags", "flag", add, remove, own)


def change_many(
    store: Store,
    decisions: Decisions,
    ids: Sequence[int],
    action: Action,
    *,
    rater: str,
    columns: Columns,
    labels: Sequence[Labels] = (),
    unlock: bool = False,
    group: int = 0,
) -> int:
    """Set ``columns`` and labels of all these examples; returns the decision group, which is ``group`` if it is given.

    Raises as ``Examples.change`` does, before anything is changed. An example that somebody takes away while this is
    on its way is passed over.
    """
    _check(store, ids, columns, unlock=unlock)
    return _change(store, decisions, ids, action, _Change({**columns, "rater": rater}, labels, unlock), group)


def deal(store: Store, decisions: Decisions, dealt: Mapping[Split, Sequence[int]], *, rater: str) -> int:
    """Give these examples their split, in one group, which is returned; 0 when there are none.

    One that is gone, or has got a split since, is passed over.
    """
    group = 0
    for to, ids in dealt.items():
        change = _Change({"split": to.value, "rater": rater}, unlock=True, condition=f"e.split = '{Split.NONE.value}'")
        group = _change(store, decisions, ids, Action.SPLIT, change, group)
    return group


def hide(store: Store, decisions: Decisions, ids: Sequence[int], *, rater: str) -> int:
    """Take these examples away until an undo; returns the group. One that is gone already is passed over."""
    return _change(store, decisions, ids, Action.DELETE, _Change({"rater": rater}, hides=True), 0)


@dataclass(frozen=True, slots=True)
class _Change:
    """What is set, and of which examples beyond those that are there: ``condition`` is SQL of ours."""

    columns: Columns
    labels: Sequence[Labels] = ()
    unlock: bool = False
    condition: str = "1"
    hides: bool = False


def _change(store: Store, decisions: Decisions, ids: Sequence[int], action: Action, wanted: _Change, group: int) -> int:
    given = {
        "split_lock": "" if wanted.unlock or "split" not in wanted.columns else Split.TEST.value,
        "action": action.value,
        **{f"to_{name}": value for name, value in wanted.columns.items()},
    }
    for one in wanted.labels:
        given |= one.values
    statements = _statements(wanted)

    def change(db: Database, piece: Sequence[int]) -> None:
        nonlocal group
        group = group or decisions.begin(str(wanted.columns["rater"]))
        values = {**given, "group": group, "now": now_utc(), "ids": json.dumps([*piece])}
        for statement in statements:
            _run(db, statement, values)

    in_pieces(store, ids, change, first=FIRST_ROWS)
    return group


def in_pieces(
    store: Store,
    ids: Sequence[int],
    change: Callable[[Database, Sequence[int]], None],
    *,
    first: int,
    before: Callable[[Sequence[int]], None] | None = None,
) -> None:
    """Hand the ids to ``change`` in pieces, each in a transaction of its own that others may write behind.

    ``first`` is how many rows the first piece has; the size of the next ones follows from how long it takes.
    ``before`` has each piece first, outside the transaction: for what takes long and writes nothing.
    """
    at, count = 0, first
    while at < len(ids):
        piece = ids[at : at + count]
        at += len(piece)
        if before is not None:
            before(piece)
        begun = time.monotonic()
        with store.write(durable=at >= len(ids)) as db:
            change(db, piece)
        count = next_count(count, time.monotonic() - begun)
        if at < len(ids):
            store.give_way()


def next_count(count: int, seconds: float) -> int:
    """How many rows the next transaction takes, from how long this one took."""
    return max(FEWEST_ROWS, min(MOST_ROWS, round(count * max(0.5, min(1.5, AIM_SECONDS / max(seconds, 1e-4))))))


def _run(db: Database, statement: str, values: Mapping[str, object]) -> None:
    db.conn.execute(statement, values)


def _check(store: Store, ids: Sequence[int], columns: Columns, *, unlock: bool) -> None:
    """All of them must be there, and none locked, before the first is changed."""
    for piece in chunks(ids, _CHECKED):
        sql = f"SELECT e.id, e.split FROM examples e WHERE {_HERE} AND {VISIBLE}"
        found = dict(store.read().execute(sql, {"ids": json.dumps(piece)}).fetchall())
        if missing := next((example_id for example_id in piece if example_id not in found), None):
            raise NotFoundError(f"there is no example {missing}", hint="`workbench examples list` shows them")
        if "split" in columns and not unlock:
            for example_id, split in found.items():
                if split == Split.TEST.value != columns["split"]:
                    refuse_locked(example_id, ["split"])


def _statements(wanted: _Change) -> list[str]:
    """The decisions first, while the rows are still what they were."""
    condition = f"{_HERE} AND {VISIBLE} AND (e.split <> :split_lock OR :split_lock = '') AND {wanted.condition}"
    parts = [(name, f"json_quote(e.{name})", f"json_quote(:to_{name})") for name in wanted.columns]
    parts += [(one.field, one.now, one.then) for one in wanted.labels]
    parts += [("deleted", "'false'", "'true'")] if wanted.hides else []
    before = " || ".join(f"""iif({now} IS {then}, '', ',"{name}":' || {now})""" for name, now, then in parts)
    after = " || ".join(f"""iif({now} IS {then}, '', ',"{name}":' || {then})""" for name, now, then in parts)
    decide = (
        "INSERT INTO decisions (group_id, example_id, action, before, after, rater, created_utc) "
        f"SELECT :group, e.id, :action, '{{' || substr({before}, 2) || '}}', '{{' || substr({after}, 2) || '}}', "
        f":to_rater, :now FROM examples e WHERE {condition} ORDER BY e.id"
    )
    there = f"SELECT e.id FROM examples e WHERE {condition}"
    assignments = ", ".join(f"{name} = :to_{name}" for name in wanted.columns)
    assignments += ", deleted_utc = :now" if wanted.hides else ""
    update = f"UPDATE examples SET {assignments}, updated_utc = :now WHERE id IN ({there})"
    return [decide, *(statement for one in wanted.labels for statement in one.statements(there)), update]
