"""The line of decisions: what was done to which example, and which of it is undone.

Owns undo and redo as an order of groups per rater. What a decision's fields mean is for ``examples.py`` to know.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.domain.decisions import IN_CHAT, Action, Decision, Newest, Undone, told, undone
from workbench.store.rows import now_utc

if TYPE_CHECKING:
    from workbench.store.store import Store

# What a decision changed, as JSON holds it: the example's fields by name.
Fields = dict[str, Any]
Apply = Callable[[Decision], Sequence[int]]  # the ids of the examples that it touched


class Decisions:
    """Decisions of all raters. Each method that writes joins the caller's transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, rater: str) -> int:
        """A group for a new gesture. What the rater had undone before it can then no longer be done again."""
        with self._store.write() as db:
            db.execute("UPDATE decisions SET state = 'dropped' WHERE rater = ? AND state = 'undone'", [rater])
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
        return self._turn(rater, "max(group_id)", "done", "undone", apply)

    def redo(self, rater: str, apply: Apply) -> Undone | None:
        """Hand the group that was undone last to ``apply``, first decision first."""
        return self._turn(rater, "min(group_id)", "undone", "done", apply)

    def newest(self, rater: str) -> Newest | None:
        """The newest standing group of ``rater``; of an import, all its rows count."""
        group = "SELECT max(group_id) FROM decisions WHERE rater = :rater AND state = 'done'"
        sql = (
            "SELECT action, example_id, after, (SELECT count(*) FROM examples e WHERE e.deleted_utc IS NULL "
            "AND e.import_id = json_extract(d.after, '$.import')) AS imported FROM decisions d "
            f"WHERE group_id = ({group}) AND rater = :rater AND state = 'done' ORDER BY id DESC"
        )
        found = self._store.read().execute(sql, {"rater": rater}).fetchall()
        if not found:
            return None
        count = len({row["example_id"] for row in found} if not found[0]["imported"] else ()) or found[0]["imported"]
        in_chat = all(IN_CHAT.items() <= json.loads(row["after"]).items() for row in found)
        return Newest(count, told(Action(found[0]["action"]), count, found[0]["example_id"]), in_chat)

    def history(self, example_id: int) -> list[Decision]:
        """The decisions about one example, oldest first; an import has one for all its examples, at its first."""
        sql = (
            "SELECT * FROM decisions WHERE example_id = :id OR (action = 'create' AND example_id = ("
            "  SELECT min(o.id) FROM examples e JOIN examples o ON o.import_id = e.import_id WHERE e.id = :id"
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

    def _turn(self, rater: str, which: str, state: str, into: str, apply: Apply) -> Undone | None:
        with self._store.write() as db:
            sql = f"SELECT {which} FROM decisions WHERE rater = ? AND state = ?"
            group = db.execute(sql, [rater, state]).fetchone()[0]
            if group is None:
                return None
            direction = "DESC" if state == "done" else "ASC"
            sql = f"SELECT * FROM decisions WHERE group_id = ? AND rater = ? AND state = ? ORDER BY id {direction}"
            found = [_decision(row) for row in db.execute(sql, [group, rater, state]).fetchall()]
            touched = {example_id: None for decision in found for example_id in apply(decision)}
            db.execute(
                "UPDATE decisions SET state = ? WHERE group_id = ? AND rater = ? AND state = ?",
                [into, group, rater, state],
            )
        ids = tuple(reversed(touched)) if state == "done" and len(found) > 1 else tuple(touched)
        return undone(found[0].action, ids)


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
