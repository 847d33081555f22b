"""Which contents a dataset has: the table by which one that comes a second time is known.

A row that comes by itself is put in with it, and triggers keep it for rows that change or go. An import's rows are put
in by the import, in the order of the table and not in that of the file: each page is then written once, and not again
for every few rows, which took as long as writing the rows themselves. Until then the import has them to itself.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from workbench.store.queries import ON_ITS_WAY
from workbench.store.rows import chunks, placeholders

if TYPE_CHECKING:
    from sqlite_utils import Database

THERE = "SELECT example_id FROM example_hashes WHERE dataset_id = ? AND hash = ?"
"""The examples of a dataset with this hash, also those that were deleted."""
_ASKED_AT_ONCE = 1000
_IN_MEMORY = 100_000  # about 15 MB
_CACHE_KIB = 4000


def present(connection: sqlite3.Connection, dataset_id: int, digests: Sequence[bytes]) -> set[bytes]:
    """Those of ``digests`` that the dataset has already. Rows of an import that is on its way are not looked at."""
    found: set[bytes] = set()
    for part in chunks(digests, _ASKED_AT_ONCE):
        sql = (
            "SELECT h.hash FROM example_hashes h JOIN examples e ON e.id = h.example_id "
            f"WHERE h.dataset_id = ? AND h.hash IN ({placeholders(len(part))}) AND e.deleted_utc IS NULL"
        )
        found.update(row[0] for row in connection.execute(sql, [dataset_id, *part]))
    return found


def has_any(connection: sqlite3.Connection, dataset_id: int) -> bool:
    """Whether the dataset has or had any content, but for an import that is on its way."""
    sql = "SELECT 1 FROM example_hashes WHERE dataset_id = ? LIMIT 1"
    return connection.execute(sql, [dataset_id]).fetchone() is not None


def add(db: Database, dataset_id: int, rows: Iterable[tuple[bytes, int]]) -> None:
    """Put in rows of an import, each a hash and the example's id; those that are in already stay."""
    sql = "INSERT OR IGNORE INTO example_hashes (dataset_id, hash, example_id) VALUES (?, ?, ?)"
    db.conn.executemany(sql, ((dataset_id, digest, example_id) for digest, example_id in rows))


def add_one(db: Database, dataset_id: int, example_id: int) -> None:
    """Put in an example that was just added."""
    sql = "INSERT OR IGNORE INTO example_hashes SELECT ?, hash, id FROM examples WHERE id = ?"
    db.execute(sql, [dataset_id, example_id])


def astray(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many examples the table lacks, and how many of its rows are of no example. Reads every example.

    Those of an import that is on its way may be in it or not.
    """
    sql = (
        "SELECT total(there), total(NOT there AND NOT coming) FROM (SELECT EXISTS (SELECT 1 FROM example_hashes h "
        "WHERE (h.dataset_id, h.hash, h.example_id) = (e.dataset_id, e.hash, e.id)) AS there, "
        f"coalesce(e.import_id, 0) IN (SELECT id FROM imports WHERE {ON_ITS_WAY}) AS coming FROM examples e)"
    )
    there, lacking = map(int, connection.execute(sql).fetchone())
    return lacking, connection.execute("SELECT count(*) FROM example_hashes").fetchone()[0] - there


def mend(connection: sqlite3.Connection) -> None:
    """Let every example be in the table, and nothing else, inside the caller's transaction."""
    connection.execute(
        "DELETE FROM example_hashes AS h WHERE NOT EXISTS (SELECT 1 FROM examples e "
        "WHERE e.id = h.example_id AND (e.dataset_id, e.hash) = (h.dataset_id, h.hash))"
    )
    connection.execute("INSERT OR IGNORE INTO example_hashes SELECT dataset_id, hash, id FROM examples")


class OnTheWay:
    """The hashes of an import that is on its way: the newest in memory, the others in a file of SQLite's own.

    The file goes with this process. Hashes come at any place in their order; many are put into it at once, in order.
    """

    def __init__(self) -> None:
        self._newest: dict[bytes, int] = {}
        self._has_file = False
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._connection.execute("PRAGMA temp_store = FILE")
        self._connection.execute("CREATE TABLE seen (hash BLOB PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID")

    def present(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of ``digests`` that have come already."""
        found = set(filter(self._newest.__contains__, digests))
        for part in chunks(digests, _ASKED_AT_ONCE) if self._has_file else ():
            sql = f"SELECT hash FROM seen WHERE hash IN ({placeholders(len(part))})"
            found.update(row[0] for row in self._connection.execute(sql, part))
        return found

    def add(self, rows: Iterable[tuple[bytes, int]]) -> None:
        """More of them, each with the id of its example; ``settle`` is to be called some time after."""
        self._newest.update(rows)

    def settle(self) -> None:
        """Take no more memory than is allowed: to be called while no lock is held, for it may take a while."""
        if len(self._newest) >= _IN_MEMORY:
            self._put_away()

    def in_order(self, count: int) -> Iterator[list[tuple[bytes, int]]]:
        """All of them by hash, ``count`` at a time."""
        rows: Iterator[tuple[bytes, int]] = iter(sorted(self._newest.items()))
        if self._has_file:
            self._put_away()
            rows = self._connection.execute("SELECT hash, id FROM seen ORDER BY hash")
        while part := list(itertools.islice(rows, count)):
            yield part

    def close(self) -> None:
        """Forget them."""
        self._newest = {}
        self._connection.close()

    def _put_away(self) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT INTO seen (hash, id) VALUES (?, ?)", sorted(self._newest.items()))
        self._connection.execute("COMMIT")
        self._newest, self._has_file = {}, True
