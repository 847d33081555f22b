"""Which contents a dataset has: the table by which one that comes a second time is known.

Triggers keep it for rows that come one by one. An import's rows are put in by the import, in the order of the table and
not in that of the file: each page is then written once, and not again for every few rows, which took as long as writing
the rows themselves. Until then their hashes are in a file of the import's own.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from workbench.store.rows import chunks, placeholders

if TYPE_CHECKING:
    from sqlite_utils import Database

THERE = "SELECT example_id FROM example_hashes WHERE dataset_id = ? AND hash = ?"
"""The examples of a dataset with this hash, also those that were deleted."""
_ASKED_AT_ONCE = 1000
_CACHE_KIB = 8000


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


def add(db: Database, dataset_id: int, rows: Iterable[tuple[bytes, int]]) -> None:
    """Put in rows of an import, each a hash and the example's id; those that are in already stay."""
    sql = "INSERT OR IGNORE INTO example_hashes (dataset_id, hash, example_id) VALUES (?, ?, ?)"
    db.conn.executemany(sql, ((dataset_id, digest, example_id) for digest, example_id in rows))


class OnTheWay:
    """The hashes of an import that is on its way, in a file of SQLite's own that goes with this process."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._connection.execute("PRAGMA temp_store = FILE")
        self._connection.execute("CREATE TABLE seen (hash BLOB PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID")

    def present(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of ``digests`` that have come already."""
        found: set[bytes] = set()
        for part in chunks(digests, _ASKED_AT_ONCE):
            sql = f"SELECT hash FROM seen WHERE hash IN ({placeholders(len(part))})"
            found.update(row[0] for row in self._connection.execute(sql, part))
        return found

    def add(self, rows: Iterable[tuple[bytes, int]]) -> None:
        """More of them, each with the id of its example."""
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT INTO seen (hash, id) VALUES (?, ?)", rows)
        self._connection.execute("COMMIT")

    def in_order(self, count: int) -> Iterator[list[tuple[bytes, int]]]:
        """All of them by hash, ``count`` at a time."""
        rows = self._connection.execute("SELECT hash, id FROM seen ORDER BY hash")
        while part := list(itertools.islice(rows, count)):
            yield part

    def close(self) -> None:
        """Forget them."""
        self._connection.close()
