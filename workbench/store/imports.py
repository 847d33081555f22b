"""Imports: many rows that come in at once, become visible together, and let others write meanwhile.

Rows are first kept in an unlinked file, so that an import that ends before its file was read leaves nothing behind.
Then they are written in transactions of a few milliseconds, under ids that were set aside for them in one go: while
the import is on its way every query passes over that range (``queries.VISIBLE``), and the last short transaction
ends that. What a killed import left is removed by the next one, or by the next bench that is opened.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Self

from workbench.domain.chats import storable
from workbench.domain.checks import Finding
from workbench.domain.decisions import Action
from workbench.domain.examples import NewExample, Status
from workbench.errors import BusyError, NotFoundError, WorkbenchError
from workbench.store import findings
from workbench.store.decisions import Decisions
from workbench.store.examples import INDEX, insert_sql, new_fields
from workbench.store.owners import process_started
from workbench.store.queries import VISIBLE
from workbench.store.rows import now_utc, placeholders

if TYPE_CHECKING:
    from sqlite_utils import Database

    from workbench.store.store import Store

# How long one transaction aims to last, and for how many rows the first one is tried.
AIM_SECONDS = 0.04
FIRST_ROWS, MOST_ROWS = 20, 1000
# Others ask for the lock every 5 ms: in this long a pause each of them has asked once.
PAUSE_SECONDS = 0.006
_BATCH = 200
_ON_ITS_WAY = "state IN ('staging', 'removing')"

Advance = Callable[[int], None]
Packed = tuple[list[Any], tuple[str, ...], tuple[str, ...], tuple[Finding, ...]]


@dataclass(frozen=True, slots=True)
class Import:
    """One import as it is remembered."""

    id: int
    file: str
    format: str
    dataset: str
    state: str
    rows: int
    duplicates: int
    skipped: int
    rater: str
    created_utc: str


@dataclass(frozen=True, slots=True)
class Published:
    """What became of the rows: ``import_id`` None when there was nothing to write."""

    import_id: int | None
    imported: int
    duplicates: int


class CancelledImport(WorkbenchError):
    """Somebody asked for the import to end; nothing of it is left."""

    kind = "cancelled"
    exit_code = 130


class Imports:
    """Imports of all times, and the one that is on its way."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def stage(self, dataset: str, *, status: Status, rater: str) -> Staging:
        """A place for rows that are to come into ``dataset``; ``status`` is for those that bring none."""
        return Staging(self._store, dataset, status, rater)

    def get(self, import_id: int) -> Import:
        """The import; raises ``NotFoundError``."""
        row = self._store.read().execute(f"SELECT {_COLUMNS} FROM imports WHERE id = ?", [import_id]).fetchone()
        if row is None:
            raise NotFoundError(f"there is no import {import_id}")
        return Import(*row)

    def list(self) -> list[Import]:
        """Every import that came through, newest first."""
        sql = f"SELECT {_COLUMNS} FROM imports WHERE state IN ('done', 'undone') ORDER BY id DESC"
        return [Import(*row) for row in self._store.read().execute(sql)]

    def sweep(self, *, seconds: float = float("inf")) -> bool:
        """Remove what imports of dead processes left, for about so long; False when something is left still."""
        until = time.monotonic() + seconds
        for row in self._store.read().execute(f"SELECT * FROM imports WHERE {_ON_ITS_WAY}").fetchall():
            is_alive = process_started(row["owner_pid"], near=row["owner_started"]) > 0
            if (is_alive and row["state"] == "staging") or not self.remove(row["id"], until=until):
                return False
        return True

    def remove(self, import_id: int, *, until: float = float("inf")) -> bool:
        """Take an import's rows away, a few at a time; False when the time was over before that was done."""
        with self._store.write() as db:
            db.execute("UPDATE imports SET state = 'removing' WHERE id = ?", [import_id])
        count = FIRST_ROWS
        while time.monotonic() < until:
            started = time.monotonic()
            with self._store.write(durable=False) as db:
                sql = "DELETE FROM examples WHERE id IN (SELECT id FROM examples WHERE import_id = ? LIMIT ?)"
                if db.execute(sql, [import_id, count]).rowcount == 0:
                    _forget(db, import_id)
                    return True
            count = _next_count(count, time.monotonic() - started)
            time.sleep(PAUSE_SECONDS)
        return False


_COLUMNS = "id, file, format, dataset, state, rows, duplicates, skipped, rater, created_utc"


class Staging:
    """Rows on their way into a dataset. Used as a context: what was not published when it ends is gone."""

    def __init__(self, store: Store, dataset: str, status: Status, rater: str) -> None:
        self.rows = 0
        self._store = store
        self._dataset = dataset
        self._status = status
        self._rater = rater
        self._now = now_utc()
        self._columns: list[str] = []
        self._batch: list[Packed] = []
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=store.workspace.root)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def put(self, new: NewExample) -> None:
        """One more row. Nothing is in the database yet."""
        fields = new_fields(new, rater=self._rater, now=self._now, status=self._status)
        self._columns = self._columns or list(fields)
        self._batch.append(([*fields.values()], new.tags, new.flags, new.findings))
        self.rows += 1
        if len(self._batch) >= _BATCH:
            self._spill()

    def count(self) -> tuple[int, int]:
        """How many rows would be new, and how many the dataset has or the staging holds twice. Changes nothing."""
        found = self._store.read().execute("SELECT id FROM datasets WHERE name = ?", [self._dataset]).fetchone()
        at, seen = self._columns.index("hash") if self._columns else 0, set[bytes]()
        duplicates = 0
        for batch in self._batches():
            digests = [fields[at] for fields, *_ in batch]
            there = _present(self._store.read(), found["id"], digests) if found else set[bytes]()
            for digest in digests:
                duplicates += digest in there or digest in seen
                seen.add(digest)
        return self.rows - duplicates, duplicates

    def publish(
        self,
        *,
        file: str,
        format: str,
        skipped: int = 0,
        advance: Advance | None = None,
        cancelled: threading.Event | None = None,
    ) -> Published:
        """Write the rows and make them visible, all at once. ``advance`` hears how many are written.

        Other threads and processes write between its short transactions; it never holds the lock for long.

        Raises ``BusyError`` when another import is on its way, ``CancelledImport`` when ``cancelled`` was set; then,
        as after any other error, everything that was written is removed again.
        """
        if not self.rows:
            return Published(None, 0, 0)
        if not self._store.imports.sweep():
            raise BusyError("another import into this workspace is on its way", hint="try again when it is done")
        import_id, first_id = self._begin(storable(file), format)
        try:
            imported = self._write_all(import_id, first_id, advance, cancelled)
            return self._finish(import_id, imported, skipped)
        except BaseException:
            self._store.imports.remove(import_id)
            raise

    def _spill(self) -> None:
        pickle.dump(self._batch, self._file, protocol=5)
        self._batch = []

    def _batches(self) -> Iterator[list[Packed]]:
        if self._batch:
            self._spill()
        self._file.seek(0)
        read = 0
        while read < self.rows:
            batch: list[Packed] = pickle.load(self._file)  # our own file, which no other process can open
            read += len(batch)
            yield batch

    def _begin(self, file: str, format: str) -> tuple[int, int]:
        """Set the ids aside and write down whose they are. A new dataset gets the import's own time of creation."""
        with self._store.write() as db:
            if db.execute(f"SELECT 1 FROM imports WHERE {_ON_ITS_WAY}").fetchone():
                raise BusyError("another import into this workspace is on its way", hint="try again when it is done")
            self._dataset_id = self._store.datasets.ensure_id(self._dataset, now=self._now)
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'examples'").fetchone()
            first_id = (row[0] if row else 0) + 1
            last_id = first_id + self.rows - 1
            if row is None:
                db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('examples', ?)", [last_id])
            db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'examples'", [last_id])
            cursor = db.execute(
                "INSERT INTO imports (file, format, dataset, state, first_id, last_id, rater, owner_pid, "
                "owner_started, created_utc) VALUES (?, ?, ?, 'staging', ?, ?, ?, ?, ?, ?)",
                [
                    *(file, format, self._dataset, first_id, last_id, self._rater),
                    *(os.getpid(), process_started(os.getpid()), self._now),
                ],
            )
            assert cursor.lastrowid is not None
            return cursor.lastrowid, first_id

    def _write_all(
        self, import_id: int, first_id: int, advance: Advance | None, cancelled: threading.Event | None
    ) -> int:
        written, imported, count = 0, 0, FIRST_ROWS
        statement = insert_sql(["id", "import_id", "dataset_id", *self._columns])
        waiting: list[Packed] = []
        for batch in self._batches():
            waiting += batch
            while len(waiting) >= count or (waiting and written + len(waiting) == self.rows):
                if cancelled is not None and cancelled.is_set():
                    raise CancelledImport("the import was cancelled; nothing was imported")
                chunk, waiting = waiting[:count], waiting[count:]
                started = time.monotonic()
                with self._store.write(durable=False) as db:
                    imported += self._write_chunk(db, statement, chunk, import_id, first_id + imported)
                written += len(chunk)
                count = _next_count(count, time.monotonic() - started)
                if advance is not None:
                    advance(written)
                time.sleep(PAUSE_SECONDS)
        return imported

    def _write_chunk(self, db: Database, statement: str, chunk: Sequence[Packed], import_id: int, next_id: int) -> int:
        """Insert the rows of ``chunk`` that the dataset has not; returns how many."""
        at = self._columns.index("hash")
        there = _present(db.conn, self._dataset_id, [fields[at] for fields, *_ in chunk])
        rows: list[list[Any]] = []
        tags: list[tuple[int, str]] = []
        flags: list[tuple[int, str]] = []
        found: list[Finding] = []
        for fields, row_tags, row_flags, row_findings in chunk:
            if fields[at] in there:
                continue
            there.add(fields[at])
            example_id = next_id + len(rows)
            rows.append([example_id, import_id, self._dataset_id, *fields])
            tags += [(example_id, storable(tag)) for tag in row_tags]
            flags += [(example_id, storable(flag)) for flag in row_flags]
            found += [replace(one, example_id=example_id) for one in row_findings]
        db.conn.executemany(statement, rows)
        db.conn.executemany("INSERT OR IGNORE INTO example_tags (example_id, tag) VALUES (?, ?)", tags)
        db.conn.executemany("INSERT OR IGNORE INTO example_flags (example_id, flag) VALUES (?, ?)", flags)
        findings.add(db, found)
        if rows:
            db.execute(INDEX, [next_id, next_id + len(rows) - 1])
        return len(rows)

    def _finish(self, import_id: int, imported: int, skipped: int) -> Published:
        with self._store.write() as db:
            imported -= _drop_overtaken(db, import_id, self._dataset_id)
            duplicates = self.rows - imported
            db.execute(
                "UPDATE imports SET state = 'done', rows = ?, duplicates = ?, skipped = ?, last_id = ? WHERE id = ?",
                [imported, duplicates, skipped, self._give_back_ids(db, import_id), import_id],
            )
            first = db.execute("SELECT min(id) FROM examples WHERE import_id = ?", [import_id]).fetchone()[0]
            if first is not None:
                decisions = Decisions(self._store)
                hidden, shown = {"import": import_id, "deleted": True}, {"import": import_id, "deleted": False}
                group = decisions.begin(self._rater)
                decisions.add(group, first, Action.CREATE, before=hidden, after=shown, rater=self._rater)
        return Published(import_id, imported, duplicates)

    def _give_back_ids(self, db: Database, import_id: int) -> int:
        """Ids that duplicates would have had are given out again, unless others were given out since."""
        first_id, last_id = db.execute("SELECT first_id, last_id FROM imports WHERE id = ?", [import_id]).fetchone()
        used = db.execute("SELECT coalesce(max(id), ?) FROM examples", [first_id - 1]).fetchone()[0]
        if used < last_id:
            db.execute(
                "UPDATE sqlite_sequence SET seq = ? WHERE name = 'examples' AND seq = ?",
                [max(used, first_id - 1), last_id],
            )
        return int(min(used, last_id))


def _next_count(count: int, seconds: float) -> int:
    """How many rows the next transaction takes, from how long this one took."""
    return max(FIRST_ROWS // 2, min(MOST_ROWS, round(count * max(0.5, min(1.5, AIM_SECONDS / max(seconds, 1e-4))))))


def _present(connection: Any, dataset_id: int, digests: Sequence[bytes]) -> set[bytes]:
    """Those of ``digests`` that the dataset has already, also in the import that is on its way."""
    found: set[bytes] = set()
    for start in range(0, len(digests), MOST_ROWS):
        part = digests[start : start + MOST_ROWS]
        sql = (
            f"SELECT hash FROM examples WHERE dataset_id = ? AND hash IN ({placeholders(len(part))}) "
            "AND deleted_utc IS NULL"
        )
        found.update(row[0] for row in connection.execute(sql, [dataset_id, *part]))
    return found


def _drop_overtaken(db: Database, import_id: int, dataset_id: int) -> int:
    """Remove rows whose content somebody added by hand while the import was on its way; returns how many."""
    last_id = db.execute("SELECT last_id FROM imports WHERE id = ?", [import_id]).fetchone()[0]
    return db.execute(
        "DELETE FROM examples WHERE id IN (SELECT o.id FROM examples e "
        "  JOIN examples o ON o.dataset_id = e.dataset_id AND o.hash = e.hash AND o.import_id = ? "
        f"  WHERE e.id > ? AND e.dataset_id = ? AND {VISIBLE})",
        [import_id, last_id, dataset_id],
    ).rowcount


def _forget(db: Database, import_id: int) -> None:
    """The import failed and has no rows any more: neither has the dataset that was made for it."""
    db.execute("UPDATE imports SET state = 'failed' WHERE id = ?", [import_id])
    db.execute(
        "DELETE FROM datasets WHERE (name, created_utc) = (SELECT dataset, created_utc FROM imports WHERE id = ?) "
        "AND NOT EXISTS (SELECT 1 FROM examples WHERE dataset_id = datasets.id)",
        [import_id],
    )
    first_id, last_id = db.execute("SELECT first_id, last_id FROM imports WHERE id = ?", [import_id]).fetchone()
    used = db.execute("SELECT coalesce(max(id), 0) FROM examples").fetchone()[0]
    if used < first_id:
        db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'examples' AND seq = ?", [first_id - 1, last_id])
