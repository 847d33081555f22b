"""Lists of examples: the vector of ids that a query finds, its first window at once, and how far people are with it.

Owns how a list of a million is read without keeping anybody waiting. What a query means in SQL is ``queries.py``.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.domain.examples import Kind, Status
from workbench.domain.queries import Filter, Query
from workbench.store.queries import LISTED, Reading, Where, is_listed, order_by, reading
from workbench.store.rows import chunks

if TYPE_CHECKING:
    from workbench.store.store import Store

PIECE = 20_000
WINDOW_BEFORE, WINDOW_AFTER = 150, 350
# A tag that no more rows have is looked up before the words of a query: each of them costs a look into the text index.
_FEW = 2000
# SQLite asks this often (in steps of its machine) whether it should go on: every few milliseconds.
_STEPS = 200_000
_BY_ID = {"id": ("", ">", "<"), "-id": (" DESC", "<", ">")}
_EVERYWHERE, _NOWHERE = (0, 2**63 - 1), (1, 0)
_SPANS = {
    "dataset": "dataset_id = (SELECT id FROM datasets WHERE name = ?)",
    "kind": "kind = ?",
    "label": f"kind = '{Kind.JUDGEMENT.value}' AND ? <> ''",
}
_TALLY = ", ".join(f"sum(e.status = '{status.value}')" for status in Status)


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list around one row, or its beginning; ``is_all`` when the list has no other rows."""

    ids: array[int]
    is_all: bool


class Lists:
    """Ids by query, dataset and order."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def window(self, query: Query, *, dataset_id: int | None, order: str, around: int | None) -> Window:
        """Some hundred ids around the row ``around``, or the first ones when it is not in the list.

        Empty, and not all, when the place of that row can only be known from the whole list.
        """
        read = self._reading(query, dataset_id)
        inside = around is not None and self._has(read, around)
        if order not in _BY_ID:
            return Window(array("q"), False) if inside else self._begin(read, order, WINDOW_AFTER)
        if not inside or around is None:
            return self._begin(read, order, WINDOW_AFTER)
        _, onward, backward = _BY_ID[order]
        before = self._some(read, "-id" if order == "id" else "id", f"{read.id} {backward} ?", around, WINDOW_BEFORE)
        after = self._some(read, order, f"{read.id} {onward}= ?", around, WINDOW_AFTER)
        return Window(before[::-1] + after, len(before) < WINDOW_BEFORE and len(after) < WINDOW_AFTER)

    def pieces(
        self, query: Query, *, dataset_id: int | None, order: str, cancelled: threading.Event | None = None
    ) -> Iterator[array[int]]:
        """All ids of a list, in pieces; ends early, soon, when ``cancelled`` is set."""
        read = self._reading(query, dataset_id)
        with _interrupted_by(self._store.read(), cancelled):
            if order in _BY_ID:
                yield from self._by_id(read, order)
            else:
                yield from self._sorted(read, order)

    def after(self, query: Query, *, dataset_id: int | None, after: int, limit: int) -> array[int]:
        """At most ``limit`` ids by id, beginning after the id ``after``."""
        read = self._reading(query, dataset_id)
        return self._some(read, "id", f"{read.id} > ?", after, limit)

    def counts(self, dataset_id: int | None) -> dict[Status, int]:
        """How many of a dataset, or of all, have each status."""
        condition = reading(Query(), dataset_id=dataset_id).condition
        # by the index that is in the order of datasets and statuses: nothing is sorted
        sql = (
            "SELECT e.dataset_id, e.status, count(*) FROM examples e INDEXED BY examples_counts "
            f"WHERE {condition.sql} GROUP BY 1, 2"
        )
        found = dict.fromkeys(Status, 0)
        for _, status, n in self._store.read().execute(sql, condition.values):
            found[Status(status)] += n
        return found

    def statuses(self, ids: Sequence[int]) -> dict[Status, int]:
        """How many of these examples have each status now."""
        found = dict.fromkeys(Status, 0)
        sql = (
            f"SELECT {_TALLY} FROM json_each(?) j CROSS JOIN examples e INDEXED BY examples_facts ON e.id = j.value "
            "WHERE e.deleted_utc IS NULL"
        )
        for chunk in chunks(ids, PIECE):
            for status, n in zip(Status, self._store.read().execute(sql, [json.dumps(chunk)]).fetchone(), strict=True):
                found[status] += n or 0
        return found

    def count(self, query: Query, *, dataset_id: int | None) -> int:
        """How many a list has."""
        read = self._reading(query, dataset_id)
        sql = f"SELECT count(*) FROM {read.source} WHERE {read.condition.sql}"
        return int(self._store.read().execute(sql, read.condition.values).fetchone()[0])

    # --- how it is read ----------------------------------------------------------------------------------------

    def _reading(self, query: Query, dataset_id: int | None) -> Reading:
        found = reading(query, dataset_id=dataset_id, few=self._few(query))
        low, high = self._span(query, dataset_id)
        if (low, high) == _EVERYWHERE:
            return found
        condition = Where(f"{found.id} BETWEEN ? AND ? AND {found.condition.sql}", (low, high, *found.condition.values))
        return Reading(found.source, found.id, condition)

    def _few(self, query: Query) -> Filter | None:
        """The rarest tag, flag or model of a query, when few rows have it."""
        counted: list[tuple[int, Filter]] = []
        for found in filter(is_listed, query.filters):
            table, column = LISTED[found.field]
            sql = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {column} = ? LIMIT {_FEW})"
            counted.append((self._store.read().execute(sql, [found.value]).fetchone()[0], found))
        count, rarest = min(counted, key=lambda one: one[0], default=(_FEW, None))
        return rarest if count < _FEW else None

    def _span(self, query: Query, dataset_id: int | None) -> tuple[int, int]:
        """Between which ids a dataset, a kind or an import lies: often together, and then the rest is never read."""
        spans = [_EVERYWHERE]
        if dataset_id is not None:
            spans.append(self._ends("dataset_id = ?", dataset_id))
        for found in query.filters:
            if not found.negated and found.field in _SPANS:
                spans.append(self._ends(_SPANS[found.field], found.value))
            elif found.field == "import" and not found.negated:
                sql = "SELECT first_id, last_id FROM imports WHERE id = ?"
                row = self._store.read().execute(sql, [int(found.value)]).fetchone()
                spans.append((row[0], row[1]) if row else _NOWHERE)
        return max(low for low, _ in spans), min(high for _, high in spans)

    def _ends(self, condition: str, value: str | int) -> tuple[int, int]:
        ends = ", ".join(f"(SELECT {end}(id) FROM examples WHERE {condition})" for end in ("min", "max"))
        low, high = self._store.read().execute(f"SELECT {ends}", [value, value]).fetchone()
        return _NOWHERE if low is None else (low, high)

    def _has(self, read: Reading, example_id: int) -> bool:
        sql = f"SELECT 1 FROM {read.source} WHERE {read.id} = ? AND {read.condition.sql} LIMIT 1"
        return self._store.read().execute(sql, [example_id, *read.condition.values]).fetchone() is not None

    def _begin(self, read: Reading, order: str, count: int) -> Window:
        terms = f"{read.id}{_BY_ID[order][0]}" if order in _BY_ID else order_by(order)
        sql = f"SELECT {read.id} FROM {read.source} WHERE {read.condition.sql} ORDER BY {terms} LIMIT {count}"
        ids = array("q", (row[0] for row in self._store.read().execute(sql, read.condition.values)))
        return Window(ids, len(ids) < count)

    def _some(self, read: Reading, order: str, place: str, at: int, count: int) -> array[int]:
        """``count`` ids from a place on. As one JSON text: reading a million rows one by one takes thrice as long,
        and keeps the other threads of the process waiting."""
        sql = (
            f"SELECT json_group_array(id) FROM (SELECT {read.id} AS id FROM {read.source} WHERE {place} "
            f"AND {read.condition.sql} ORDER BY {read.id}{_BY_ID[order][0]} LIMIT {count})"
        )
        row = self._store.read().execute(sql, [at, *read.condition.values]).fetchone()
        return array("q", json.loads(row[0]))

    def _by_id(self, read: Reading, order: str) -> Iterator[array[int]]:
        at, onward = (0, ">") if order == "id" else (2**63 - 1, "<")
        while piece := self._some(read, order, f"{read.id} {onward} ?", at, PIECE):
            yield piece
            if len(piece) < PIECE:
                return
            at = piece[-1]

    def _sorted(self, read: Reading, order: str) -> Iterator[array[int]]:
        cursor = self._store.read().cursor()
        cursor.row_factory = None
        cursor.execute(
            f"SELECT e.id FROM {read.source} WHERE {read.condition.sql} ORDER BY {order_by(order)}",
            read.condition.values,
        )
        while rows := cursor.fetchmany(PIECE):
            yield array("q", (row[0] for row in rows))


@contextmanager
def _interrupted_by(connection: sqlite3.Connection, cancelled: threading.Event | None) -> Iterator[None]:
    """Statements of this connection end when ``cancelled`` is set, and the block with them."""
    if cancelled is None:
        yield
        return
    connection.set_progress_handler(cancelled.is_set, _STEPS)
    try:
        yield
    except sqlite3.OperationalError:
        if not cancelled.is_set():
            raise
    finally:
        connection.set_progress_handler(None, _STEPS)
