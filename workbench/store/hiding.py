"""An import taken back, and brought again: its rows go and come all at once, however many they are.

A small one is one transaction. A large one is ``hiding`` while its rows are marked in short transactions: for so long
every query passes over the range of its ids (``queries.VISIBLE``), and others may write. What a killed process left in
that state is finished by whoever sweeps: the import is then taken back, as it was before it was brought again.
"""

from __future__ import annotations

import os
import sqlite3
import time
from array import array
from typing import TYPE_CHECKING

from workbench.errors import BusyError
from workbench.store.bulk import next_count
from workbench.store.owners import process_started
from workbench.store.queries import ON_ITS_WAY

if TYPE_CHECKING:
    from sqlite_utils import Database

    from workbench.store.store import Store

LARGE, FIRST_ROWS = 1000, 500


def turn(db: Database, import_id: int, *, visible: bool) -> array[int]:
    """Hide the rows of an import, or show those again that were hidden so; returns the ids of those.

    Joins the caller's transaction. Of a large import no row is touched, and none returned: taking it back makes it
    ``hiding``, and ``mark`` has to follow; bringing it again needs ``unmark`` before, which made it ``hiding``.
    """
    if visible and _state(db, import_id) == "hiding":
        _set_state(db, import_id, "done")
        return array("q")
    ids = _ids(db.conn, import_id, limit=LARGE + 1)
    if len(ids) > LARGE and not visible:
        _begin(db, import_id)
        return array("q")
    _mark(db, import_id, ids, visible=visible)
    _set_state(db, import_id, "done" if visible else "undone")
    return ids


def ids(store: Store, import_id: int) -> array[int]:
    """The ids of all rows of an import, whether they are seen or not."""
    return _ids(store.read(), import_id)


def is_large(store: Store, import_id: int) -> bool:
    """Whether an import has too many rows for one transaction."""
    return len(_ids(store.read(), import_id, limit=LARGE + 1)) > LARGE


def mark(store: Store, import_id: int, *, until: float = float("inf")) -> bool:
    """Mark the rows of an import that is ``hiding``, which ends that; False when the time was over before."""
    if not _mark_all(store, import_id, visible=False, until=until):
        return False
    with store.write() as db:
        db.execute("UPDATE imports SET state = 'undone' WHERE id = ? AND state = 'hiding'", [import_id])
    return True


def unmark(store: Store, import_id: int) -> None:
    """Take the marks from the rows of an import that was taken back. They stay unseen, because it is ``hiding``."""
    with store.write() as db:
        _begin(db, import_id)
    _mark_all(store, import_id, visible=True)


def settle(store: Store, import_id: int) -> bool:
    """Mark the rows of an import if it is ``hiding`` still; whether it was.

    After a redo it is when the rater did something else meanwhile, after an undo when he did not.
    """
    is_left = _state(store.read(), import_id) == "hiding"
    return is_left and mark(store, import_id)


def _begin(db: Database, import_id: int) -> None:
    if db.execute(f"SELECT 1 FROM imports WHERE {ON_ITS_WAY}").fetchone():
        raise BusyError("an import into this workspace is on its way", hint="try again when it is done")
    values = [os.getpid(), process_started(os.getpid()), import_id]
    db.execute("UPDATE imports SET state = 'hiding', owner_pid = ?, owner_started = ? WHERE id = ?", values)


def _mark_all(store: Store, import_id: int, *, visible: bool, until: float = float("inf")) -> bool:
    after, count = 0, FIRST_ROWS
    while time.monotonic() < until:
        begun = time.monotonic()
        with store.write(durable=False) as db:
            piece = _ids(db.conn, import_id, after=after, limit=count)
            _mark(db, import_id, piece, visible=visible)
        if len(piece) < count:
            return True
        after, count = piece[-1], next_count(count, time.monotonic() - begun)
        store.give_way()
    return False


def _mark(db: Database, import_id: int, ids: array[int], *, visible: bool) -> None:
    """Rows that were taken away one by one, before, have another mark, and keep it."""
    if ids:
        own = f"import:{import_id}"
        to, condition = (None, "deleted_utc = :own") if visible else (own, "deleted_utc IS NULL")
        within = "id BETWEEN :low AND :high AND +import_id = :id"
        sql = f"UPDATE examples SET deleted_utc = :to WHERE {within} AND {condition}"
        db.execute(sql, {"to": to, "own": own, "low": ids[0], "high": ids[-1], "id": import_id})


def _ids(connection: sqlite3.Connection, import_id: int, *, after: int = 0, limit: int = -1) -> array[int]:
    sql = "SELECT id FROM examples WHERE import_id = ? AND id > ? ORDER BY id LIMIT ?"
    return array("q", (row[0] for row in connection.execute(sql, [import_id, after, limit])))


def _state(db: Database | sqlite3.Connection, import_id: int) -> str:
    return str(db.execute("SELECT state FROM imports WHERE id = ?", [import_id]).fetchone()[0])


def _set_state(db: Database, import_id: int, state: str) -> None:
    db.execute("UPDATE imports SET state = ? WHERE id = ?", [state, import_id])
