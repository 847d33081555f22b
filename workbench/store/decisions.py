"""The line of decisions: what was done to which example, and which of it is undone.

Owns undo and redo as an order of groups per rater. What a decision's fields mean is for ``examples.py`` to know.
"""

from __future__ import annotations

import json
import sqlite3
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.domain.decisions import IN_CHAT, Action, Decision, Newest, Undone, told, told_all, undone
from workbench.store.bulk import next_count
from workbench.store.rows import now_utc

if TYPE_CHECKING:
    from sqlite_utils import Database

    from workbench.store.store import Store

# What a decision changed, as JSON holds it: the example's fields by name.
Fields = dict[str, Any]
_LOOKED_AT = 200
FIRST_ROWS = 50  # a text that is put back takes a millisecond: its words leave the index, and others come
# The gesture of ``:rater`` that is turned next: of those that stand, and of those that can be done again.
_NEXT = {
    "done": "SELECT max(group_id) FROM decisions WHERE rater = :rater AND state = 'done'",
    "undone": (
        "SELECT min(u.group_id) FROM undone_groups u WHERE u.rater = :rater AND EXISTS "
        "(SELECT 1 FROM decisions d WHERE d.rater = u.rater AND d.state = 'undone' AND d.group_id = u.group_id)"
    ),
}
Apply = Callable[["Database", Decision], Sequence[int]]  # the ids of the examples that it touched


class Decisions:
    """Decisions of all raters. Each method that writes joins the caller's transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, rater: str) -> int:
        """A group for a new gesture. What the rater had undone before it can then no longer be done again."""
        with self._store.write() as db:
            # not the decisions themselves: they may be a million, and this is the way of each single key
            db.execute("DELETE FROM undone_groups WHERE rater = ?", [rater])
            return int(db.execute("SELECT coalesce(max(group_id), 0) + 1 FROM decisions").fetchone()[0])

    def add(self, group: int, example_id: int, action: Action, *, before: Fields, after: Fields, rater: str) -> None:
        """One more line."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO decisions (group_id, example_id, action, before, after, rater, created_utc) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [group, example_id, action.value, json.dumps(before), json.dumps(after), rater, now_utc()],
            )

    def undo(self, rater: str, apply: Apply) -> Undone | None:
        """Hand the newest standing group of ``rater`` to ``apply``, last decision first."""
        return self._turn(rater, "done", "undone", apply)

    def redo(self, rater: str, apply: Apply) -> Undone | None:
        """Hand the group that was undone last to ``apply``, first decision first."""
        return self._turn(rater, "undone", "done", apply)

    def newest(self, rater: str) -> Newest | None:
        """The newest standing group of ``rater``; of an import, all its rows count. Of a large one some are read."""
        condition = f"group_id = ({_NEXT['done']}) AND rater = :rater AND state = 'done'"
        sql = (
            "SELECT action, example_id, after, (SELECT rows FROM imports WHERE id = json_extract(d.after, '$.import')) "
            "AS imported FROM decisions d "
            f"WHERE {condition} ORDER BY id DESC LIMIT {_LOOKED_AT}"
        )
        found = self._store.read().execute(sql, {"rater": rater}).fetchall()
        if not found:
            return None
        count = len({row["example_id"] for row in found})
        if len(found) == _LOOKED_AT:
            sql = f"SELECT count(DISTINCT example_id) FROM decisions WHERE {condition}"
            count = self._store.read().execute(sql, {"rater": rater}).fetchone()[0]
        count = found[0]["imported"] or count
        in_chat = all(IN_CHAT.items() <= json.loads(row["after"]).items() for row in found)
        counts = self._counts(condition, {"rater": rater})
        text = told_all(counts) if len(counts) > 1 else told(Action(found[0]["action"]), count, found[0]["example_id"])
        return Newest(count, text, in_chat)

    def history(self, example_id: int) -> list[Decision]:
        """The decisions about one example, oldest first; an import has one for all its examples, at its first."""
        sql = (
            "SELECT * FROM decisions WHERE example_id = :id OR (action = 'create' AND example_id = ("
            "  SELECT min(id) FROM examples WHERE import_id = (SELECT import_id FROM examples WHERE id = :id)"
            ")) ORDER BY id"
        )
        found = [_decision(row) for row in self._store.read().execute(sql, {"id": example_id})]
        return [replace(decision, example_id=example_id) for decision in found]

    def verdicts(self, rater: str) -> dict[str, int]:
        """How many standing decisions of ``rater`` have each ``verdict`` among their facts."""
        sql = (
            "SELECT json_extract(after, '$.verdict') AS verdict, count(*) AS n FROM decisions "
            "WHERE rater = ? AND state = 'done' AND after LIKE '%\"verdict\"%' GROUP BY 1 HAVING verdict IS NOT NULL"
        )
        return {row["verdict"]: int(row["n"]) for row in self._store.read().execute(sql, [rater])}

    def next_import(self, rater: str, state: str) -> int | None:
        """The import that is turned next of the gestures in this state (``done``, ``undone``); None for another one."""
        sql = (
            "SELECT json_extract(after, '$.import') FROM decisions WHERE rater = :rater AND state = :state AND "
            f"group_id = ({_NEXT[state]}) LIMIT 1"
        )
        row = self._store.read().execute(sql, {"rater": rater, "state": state}).fetchone()
        return None if row is None else row[0]

    def _counts(self, condition: str, values: Mapping[str, object]) -> dict[Action, tuple[int, int]]:
        """How many examples each action of a gesture touched, and one of them; each example counts for what was done
        to it last. In a large gesture every decision counts."""
        sql = f"SELECT action, example_id FROM decisions WHERE {condition} ORDER BY id DESC LIMIT {_LOOKED_AT}"
        found = self._store.read().execute(sql, values).fetchall()
        if len(found) == _LOOKED_AT:
            sql = f"SELECT action, count(*), min(example_id) FROM decisions WHERE {condition} GROUP BY action"
            return {Action(row[0]): (row[1], row[2]) for row in self._store.read().execute(sql, values)}
        last: dict[int, str] = {}
        for row in found:
            last.setdefault(row["example_id"], row["action"])
        named: dict[Action, list[int]] = {}
        for example_id, action in last.items():
            named.setdefault(Action(action), []).append(example_id)
        return {action: (len(ids), min(ids)) for action, ids in named.items()}

    def _turn(self, rater: str, state: str, into: str, apply: Apply) -> Undone | None:
        """A large group is turned a piece at a time, so that others can write meanwhile; the next call goes on with
        what a killed process left of it."""
        touched = array("q")
        count, group, action, decided, more = FIRST_ROWS, None, Action.SKIP, 0, True
        condition = f"group_id = ({_NEXT[state]}) AND rater = :rater AND state = :state"
        counts = self._counts(condition, {"rater": rater, "state": state})
        while more:
            begun = time.monotonic()
            with self._store.write() as db:
                if group is None:
                    group = db.execute(_NEXT[state], {"rater": rater}).fetchone()[0]
                    if group is None:
                        return None
                    if into == "undone":
                        db.execute(
                            "INSERT OR IGNORE INTO undone_groups (rater, group_id) VALUES (?, ?)", [rater, group]
                        )
                found = self._next(db, group, rater, state, count)
                for decision in found:
                    touched.extend(apply(db, decision))
                ids = json.dumps([decision.id for decision in found])
                sql = "UPDATE decisions SET state = ? WHERE id IN (SELECT value FROM json_each(?))"
                db.execute(sql, [into, ids])
            action, more = found[0].action if found else action, len(found) == count
            decided += len(found)
            count = next_count(count, time.monotonic() - begun)
            if more:
                self._store.give_way()
        if state == "done" and decided > 1:
            touched.reverse()
        return undone(action, _each_once(touched) if decided > 1 else touched, counts=counts)

    def _next(self, db: Database, group: int, rater: str, state: str, count: int) -> list[Decision]:
        direction = "DESC" if state == "done" else "ASC"
        sql = f"SELECT * FROM decisions WHERE group_id = ? AND rater = ? AND state = ? ORDER BY id {direction} LIMIT ?"
        return [_decision(row) for row in db.execute(sql, [group, rater, state, count]).fetchall()]


def _each_once(ids: array[int]) -> array[int]:
    return array("q", dict.fromkeys(ids))


def _decision(row: sqlite3.Row) -> Decision:
    return Decision(
        id=row["id"],
        group=row["group_id"],
        example_id=row["example_id"],
        action=Action(row["action"]),
        before=row["before"],
        after=row["after"],
        rater=row["rater"],
        created_utc=row["created_utc"],
        undone=row["state"] != "done",
    )
