"""Lists of examples: the vector of ids that a query finds, its first window at once, and how far people are with it.

Owns how a list of a million is read without keeping anybody waiting. What a query means in SQL is ``queries.py``.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.domain.examples import Kind, Status
from workbench.domain.queries import Filter, Query
from workbench.store.queries import LISTED, Reading, Where, is_listed, order_by, reading
from workbench.store.rows import chunks

if TYPE_CHECKING:
    from workbench.store.store import Store

PIECE = 20_000
WINDOW_BEFORE, WINDOW_AFTER = 150, 350
# Where each row takes a look into the text index, 0.1 ms: still more than a screen has.
_SLOW_BEFORE, _SLOW_AFTER = 50, 100
# A tag that no more rows have is looked up before the words of a query: each of them costs a look into the text index.
_FEW = 2000
# SQLite asks this often (in steps of its machine) whether it should go on: every few milliseconds.
_STEPS = 200_000
_BY_ID = {"id": "", "-id": " DESC"}
# Columns of the narrow index that have few values. Rows without one come last, in the order of their ids.
_BY_FACT = {"words": "e.words", "status": "e.status", "rating": "e.rating"}
_IDS_FORWARD = {"-rating"}
Span = tuple[int, int]
_EVERYWHERE: Span = (0, 2**63 - 1)
_NOWHERE: Span = (1, 0)
_SPANS = {
    "dataset": "dataset_id = (SELECT id FROM datasets WHERE name = ?)",
    "kind": "kind = ?",
    "label": f"kind = '{Kind.JUDGEMENT.value}' AND ? <> ''",
}
_TALLY = ", ".join(f"sum(e.status = '{status.value}')" for status in Status)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some ids of a list, and how many of them have each status."""

    ids: array[int]
    counts: dict[Status, int]


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
        read, span = self._reading(query, dataset_id)
        many_before, many_after = (_SLOW_BEFORE, _SLOW_AFTER) if read.is_slow else (WINDOW_BEFORE, WINDOW_AFTER)
        inside = around is not None and self._has(read, span, around)
        if order not in _BY_ID:
            return Window(array("q"), False) if inside else self._begin(read, span, order, many_after)
        if not inside or around is None:
            return self._begin(read, span, order, many_after)
        low, high = (span[0], around - 1), (around, span[1])
        if order == "id":
            before, after = self._some(read, low, "-id", many_before), self._some(read, high, "id", many_after)
        else:
            low, high = (span[0], around), (around + 1, span[1])
            before, after = self._some(read, high, "id", many_before), self._some(read, low, "-id", many_after)
        is_all = len(before.ids) < many_before and len(after.ids) < many_after
        return Window(before.ids[::-1] + after.ids, is_all)

    def pieces(
        self, query: Query, *, dataset_id: int | None, order: str, cancelled: threading.Event | None = None
    ) -> Iterator[Piece]:
        """All ids of a list, in pieces; ends early, soon, when ``cancelled`` is set."""
        read, span = self._reading(query, dataset_id)
        with _interrupted_by(self._store.read(), cancelled):
            if order in _BY_ID:
                yield from self._by_id(read, span, order)
            elif order.removeprefix("-") in _BY_FACT:
                yield self._by_fact(read, span, order)
            else:
                yield from self._sorted(read, span, order)

    def after(self, query: Query, *, dataset_id: int | None, after: int, limit: int) -> array[int]:
        """At most ``limit`` ids by id, beginning after the id ``after``."""
        read, (low, high) = self._reading(query, dataset_id)
        return self._some(read, (max(low, after + 1), high), "id", limit).ids

    def counts(self, dataset_id: int | None, cancelled: threading.Event | None = None) -> dict[Status, int]:
        """How many of a dataset, or of all, have each status; of fewer of them when ``cancelled`` was set."""
        condition = reading(Query(), dataset_id=dataset_id).condition
        # by the index that is in the order of datasets and statuses: nothing is sorted
        sql = (
            "SELECT e.dataset_id, e.status, count(*) FROM examples e INDEXED BY examples_counts "
            f"WHERE {condition.sql} GROUP BY 1, 2"
        )
        found = dict.fromkeys(Status, 0)
        with _interrupted_by(self._store.read(), cancelled):
            for _, status, n in self._store.read().execute(sql, condition.values):
                found[Status(status)] += n
        return found

    def statuses(self, ids: Sequence[int], cancelled: threading.Event | None = None) -> dict[Status, int]:
        """How many of these examples have each status now; of fewer of them when ``cancelled`` was set."""
        found = dict.fromkeys(Status, 0)
        sql = (
            f"SELECT {_TALLY} FROM json_each(?) j CROSS JOIN examples e INDEXED BY examples_facts ON e.id = j.value "
            "WHERE e.deleted_utc IS NULL"
        )
        for chunk in chunks(ids, PIECE):
            if cancelled is not None and cancelled.is_set():
                break
            for status, n in _tally(self._store.read().execute(sql, [json.dumps(chunk)]).fetchone()).items():
                found[status] += n
        return found

    def count(self, query: Query, *, dataset_id: int | None) -> int:
        """How many a list has."""
        read, span = self._reading(query, dataset_id)
        inside = _inside(read, span)
        sql = f"SELECT count(*) FROM {read.source} WHERE {inside.sql}"
        return int(self._store.read().execute(sql, inside.values).fetchone()[0])

    # --- how it is read ----------------------------------------------------------------------------------------

    def _reading(self, query: Query, dataset_id: int | None) -> tuple[Reading, Span]:
        return reading(query, dataset_id=dataset_id, few=self._few(query)), self._span(query, dataset_id)

    def _few(self, query: Query) -> Filter | None:
        """The rarest tag, flag or model of a query, when few rows have it."""
        counted: list[tuple[int, Filter]] = []
        for found in filter(is_listed, query.filters):
            table, column = LISTED[found.field]
            sql = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {column} = ? LIMIT {_FEW})"
            counted.append((self._store.read().execute(sql, [found.value]).fetchone()[0], found))
        count, rarest = min(counted, key=lambda one: one[0], default=(_FEW, None))
        return rarest if count < _FEW else None

    def _span(self, query: Query, dataset_id: int | None) -> Span:
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

    def _ends(self, condition: str, value: str | int) -> Span:
        ends = ", ".join(f"(SELECT {end}(id) FROM examples WHERE {condition})" for end in ("min", "max"))
        low, high = self._store.read().execute(f"SELECT {ends}", [value, value]).fetchone()
        return _NOWHERE if low is None else (low, high)

    def _has(self, read: Reading, span: Span, example_id: int) -> bool:
        if not span[0] <= example_id <= span[1]:
            return False
        sql = f"SELECT 1 FROM {read.source} WHERE {read.id} = ? AND {read.condition.sql} LIMIT 1"
        return self._store.read().execute(sql, [example_id, *read.condition.values]).fetchone() is not None

    def _begin(self, read: Reading, span: Span, order: str, count: int) -> Window:
        if order in _BY_ID:
            ids = self._some(read, span, order, count).ids
            return Window(ids, len(ids) < count)
        inside = _inside(read, span)
        sql = f"SELECT e.id FROM {read.source} WHERE {inside.sql} ORDER BY {order_by(order)} LIMIT {count}"
        ids = array("q", (row[0] for row in self._store.read().execute(sql, inside.values)))
        return Window(ids, len(ids) < count)

    def _some(self, read: Reading, span: Span, order: str, count: int) -> Piece:
        """``count`` ids of a span, from its beginning or with ``-id`` from its end. As one JSON text: reading a million
        rows one by one takes thrice as long, and keeps the other threads of the process waiting."""
        inside = _inside(read, span)
        sql = (
            f"SELECT json_group_array(id), {_TALLY} FROM (SELECT {read.id} AS id, e.status AS status "
            f"FROM {read.source} WHERE {inside.sql} ORDER BY {read.id}{_BY_ID[order]} LIMIT {count}) e"
        )
        ids, *tally = self._store.read().execute(sql, inside.values).fetchone()
        return Piece(array("q", json.loads(ids)), _tally(tally))

    def _by_id(self, read: Reading, span: Span, order: str) -> Iterator[Piece]:
        low, high = span
        while True:
            piece = self._some(read, (low, high), order, PIECE)
            yield piece
            if len(piece.ids) < PIECE:
                return
            low, high = (piece.ids[-1] + 1, high) if order == "id" else (low, piece.ids[-1] - 1)

    def _by_fact(self, read: Reading, span: Span, order: str) -> Piece:
        """All of a list in the order of a column with few values: the ids come in order, and are laid on the heap of
        their value. SQLite would sort a million pairs, and hand them over one by one."""
        column, counts = _BY_FACT[order.removeprefix("-")], dict.fromkeys(Status, 0)
        heaps: dict[Any, array[int]] = {}
        low, high = span
        while True:
            inside = _inside(read, (low, high))
            sql = (
                f"SELECT json_group_array(id), json_group_array(value), {_TALLY} FROM (SELECT {read.id} AS id, "
                f"e.status AS status, {column} AS value FROM {read.source} WHERE {inside.sql} "
                f"ORDER BY {read.id} LIMIT {PIECE}) e"
            )
            found, values, *tally = self._store.read().execute(sql, inside.values).fetchone()
            ids = json.loads(found)
            for example_id, value in zip(ids, json.loads(values), strict=True):
                if (heap := heaps.get(value)) is None:
                    heap = heaps[value] = array("q")
                heap.append(example_id)
            counts = {status: counts[status] + n for status, n in _tally(tally).items()}
            if len(ids) < PIECE:
                break
            low = ids[-1] + 1
        whole, is_back = array("q"), order.startswith("-")
        for value in sorted((value for value in heaps if value is not None), reverse=is_back):
            whole.extend(heaps[value][::-1] if is_back and order not in _IDS_FORWARD else heaps[value])
        return Piece(whole + heaps.get(None, array("q")), counts)

    def _sorted(self, read: Reading, span: Span, order: str) -> Iterator[Piece]:
        inside = _inside(read, span)
        cursor = self._store.read().cursor()
        cursor.row_factory = None
        sql = f"SELECT e.id, e.status FROM {read.source} WHERE {inside.sql} ORDER BY {order_by(order)}"
        cursor.execute(sql, inside.values)
        while rows := cursor.fetchmany(PIECE):
            counted = Counter(status for _, status in rows)
            yield Piece(array("q", (row[0] for row in rows)), {status: counted[status.value] for status in Status})


def _inside(read: Reading, span: Span) -> Where:
    # one lower and one upper end: of two lower ones SQLite would look up either, and pass over the rest row by row
    return Where(f"{read.id} BETWEEN ? AND ? AND {read.condition.sql}", (*span, *read.condition.values))


def _tally(found: Sequence[int | None]) -> dict[Status, int]:
    return {status: n or 0 for status, n in zip(Status, found, strict=True)}


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
