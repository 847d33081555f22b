"""Imports: many rows that come in at once, become visible together, and let others write meanwhile.

Rows are first kept in a file without a name (``spool.py`` beside this), so that a small import that ends before its
file was read has touched nothing. Then they are written in transactions of a few milliseconds, under ids that were set
aside for them in one go: while the import is on its way every query passes over that range (``queries.VISIBLE``), and
the last short transaction ends that. Rows that another process reads may be written while more are coming; ids are
then set aside for as many as are expected. What a killed import left is removed by the next one, or by the next bench
that is opened.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from workbench.domain.chats import storable
from workbench.domain.checks import Finding
from workbench.domain.decisions import Action
from workbench.domain.examples import NewExample, Status
from workbench.errors import BusyError, NotFoundError, WorkbenchError
from workbench.store import at_home, findings, hashes, hiding
from workbench.store.columns import COLUMNS, MODELS_SQL, insert_sql, models_of
from workbench.store.decisions import Decisions
from workbench.store.examples import INDEX
from workbench.store.owners import process_started
from workbench.store.queries import ON_ITS_WAY, VISIBLE
from workbench.store.rows import now_utc
from workbench.store.spool import Packed, Packing, SpoolReader, SpoolWriter, new_file

if TYPE_CHECKING:
    from sqlite_utils import Database

    from workbench.store.store import Store

# How long one transaction aims to last, and for how many rows the first one is tried.
AIM_SECONDS = 0.05
FIRST_ROWS, MOST_ROWS = 20, 1000
# The log is written back between two transactions, so that neither waits for the other; after so many of them.
_TRANSACTIONS_PER_CHECKPOINT = 6
HASHES_PER_TRANSACTION = 4000
# The index of words: how many of its parts may stand side by side before some are merged (by whoever adds to it, and by
# the import's own orders), and how many before all of them are merged at once, which can take a second.
_MERGING = {"automerge": 16, "usermerge": 16, "crisismerge": 200}
# An import merges a few pages with each transaction: the index's own way is to merge many with one in some.
_FEWEST_MERGED_PAGES = 16
_ROWS_PER_MERGED_PAGE = 2
_ORDER = "INSERT INTO examples_fts(examples_fts, rank) VALUES (?, ?)"
_HASH, _SOURCE = COLUMNS.index("hash"), COLUMNS.index("source")
_BEFORE = ("id", "import_id", "dataset_id")
_ROW_HASH = len(_BEFORE) + _HASH

Advance = Callable[[int], None]


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

    def stage(self, dataset: str, *, status: Status, rater: str, is_file: bool = False) -> Staging:
        """A place for rows that are to come into ``dataset``; ``status`` is for those that bring none.

        With ``is_file`` the ids that they bring may be of another workspace (see ``at_home.py``).
        """
        return Staging(self._store, dataset, status, rater, is_file)

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

    def on_its_way(self) -> bool:
        """True while rows of an import come or go: they are not in the search yet."""
        return self._store.read().execute(f"SELECT 1 FROM imports WHERE {ON_ITS_WAY} LIMIT 1").fetchone() is not None

    def sweep(self, *, seconds: float = float("inf")) -> bool:
        """Remove what imports of dead processes left, for about so long; False when something is left still."""
        until = time.monotonic() + seconds
        for row in self._store.read().execute(f"SELECT * FROM imports WHERE {ON_ITS_WAY}").fetchall():
            is_alive = process_started(row["owner_pid"], near=row["owner_started"]) > 0
            if is_alive and row["state"] != "removing":
                return False
            finish = hiding.mark if row["state"] == "hiding" else _remove
            if not finish(self._store, row["id"], until=until):
                return False
        return True

    def remove(self, import_id: int, *, until: float = float("inf")) -> bool:
        """Take an import's rows away, a few at a time; False when the time was over before that was done."""
        return _remove(self._store, import_id, until=until)


_COLUMNS = "id, file, format, dataset, state, rows, duplicates, skipped, rater, created_utc"


class Staging:
    """Rows on their way into a dataset. Used as a context: what was not published when it ends is gone.

    ``rows`` is how many have come so far, ``packing`` what whoever packs them has to know.
    """

    def __init__(self, store: Store, dataset: str, status: Status, rater: str, is_file: bool) -> None:
        self.rows = 0
        self.packing = Packing(status, rater, now_utc())
        self._store = store
        self._dataset = dataset
        self._file = new_file(store.workspace.root)
        self._spool = SpoolWriter(self._file, self.packing)
        self._reader = SpoolReader(self._file.fileno())
        self._readable = 0
        self._writing: _Writing | None = None
        self._may_write_ahead = True
        self._is_file = is_file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._remove()
        finally:
            self._file.close()

    def fileno(self) -> int:
        """The file of the rows, for another process that packs them at its end (``SpoolWriter``)."""
        return self._file.fileno()

    def put(self, new: NewExample) -> None:
        """One more row. Nothing is in the database yet."""
        self._readable += self._spool.put(new)
        self.rows += 1

    def arrived(self, rows: int) -> None:
        """Another process has put so many more rows into the file."""
        self._readable += rows
        self.rows += rows

    def count(self) -> tuple[int, int]:
        """How many rows would be new, and how many the dataset has or the staging holds twice. Changes nothing."""
        found = self._store.read().execute("SELECT id FROM datasets WHERE name = ?", [self._dataset]).fetchone()
        seen = set[bytes]()
        duplicates = 0
        for batch in self._batches():
            digests = [fields[_HASH] for fields, *_ in batch]
            there = hashes.present(self._store.read(), found["id"], digests) if found else set[bytes]()
            for digest in digests:
                duplicates += digest in there or digest in seen
                seen.add(digest)
        return self.rows - duplicates, duplicates

    def write_ahead(
        self,
        *,
        file: str,
        format: str,
        expected: int,
        advance: Advance | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        """Write the rows that came so far while more are coming, perhaps ``expected`` in all. Nobody sees them yet.

        Raises as ``publish`` does.
        """
        if not self._may_write_ahead:
            return
        try:
            self._write(file, format, expected, advance, cancelled)
        except _OutOfIds:
            self._remove()
            self._may_write_ahead = False

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
        self._flush()
        if not self.rows:
            return Published(None, 0, 0)
        try:
            try:
                writing = self._write(file, format, self.rows, advance, cancelled, is_all=True)
            except _OutOfIds:
                self._remove()
                writing = self._write(file, format, self.rows, advance, cancelled, is_all=True)
            done = writing.finish(self.rows, skipped)
        except BaseException:
            self._remove()
            raise
        self._writing = None
        return done

    def _write(
        self,
        file: str,
        format: str,
        expected: int,
        advance: Advance | None,
        cancelled: threading.Event | None,
        *,
        is_all: bool = False,
    ) -> _Writing:
        if self._writing is None:
            if not self._store.imports.sweep():
                raise BusyError(_ANOTHER, hint=_LATER)
            writing = self._writing = _Writing(self._store, self._dataset, self._reader, self._is_file)
            writing.begin(storable(file), format, self.packing, max(expected, self.rows))
        self._writing.write(self._readable, advance, cancelled, is_all=is_all)
        return self._writing

    def _remove(self) -> None:
        """Take away what was written and is not published."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.close()
        if writing is not None and writing.import_id:
            self._store.write_much(False)
            self._store.imports.remove(writing.import_id)

    def _flush(self) -> None:
        self._readable += self._spool.flush()

    def _batches(self) -> Iterator[list[Packed]]:
        self._flush()
        read, at = 0, 0
        while read < self.rows:
            batch, at = self._reader.batch(at)
            read += len(batch)
            yield batch


_ANOTHER, _LATER = "another import into this workspace is on its way", "try again when it is done"


class _OutOfIds(Exception):
    """More rows came than ids were set aside for, and somebody else has the ids behind those."""


class _Writing:
    """An import that is being written: its rows are in the database, and hidden."""

    def __init__(self, store: Store, dataset: str, reader: SpoolReader, is_file: bool) -> None:
        self.import_id = 0
        self._store = store
        self._dataset = dataset
        self._reader = reader
        self._is_file = is_file
        self._at = 0
        self._read = self._written = self._imported = self._transactions = 0
        self._count = FIRST_ROWS
        self._waiting: list[Packed] = []
        self._statement = insert_sql([*_BEFORE, *COLUMNS])
        self._hashes = hashes.OnTheWay()

    def begin(self, file: str, format: str, packing: Packing, expected: int) -> None:
        """Set the ids aside and write down whose they are. A new dataset gets the import's own time of creation."""
        with self._store.write() as db:
            if db.execute(f"SELECT 1 FROM imports WHERE {ON_ITS_WAY}").fetchone():
                raise BusyError(_ANOTHER, hint=_LATER)
            _merge_little_by_little(db)
            self._dataset_id = self._store.datasets.ensure_id(self._dataset, now=packing.now)
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'examples'").fetchone()
            self._first_id = (row[0] if row else 0) + 1
            self._last_id = self._first_id + expected - 1
            if row is None:
                db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('examples', ?)", [self._last_id])
            db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'examples'", [self._last_id])
            cursor = db.execute(
                "INSERT INTO imports (file, format, dataset, state, first_id, last_id, rater, owner_pid, "
                "owner_started, created_utc) VALUES (?, ?, ?, 'staging', ?, ?, ?, ?, ?, ?)",
                [
                    *(file, format, self._dataset, self._first_id, self._last_id, packing.rater),
                    *(os.getpid(), process_started(os.getpid()), packing.now),
                ],
            )
            import_id = cursor.lastrowid
        assert import_id is not None
        self.import_id = import_id
        self._rater = packing.rater
        self._store.write_much(True)

    def write(
        self, arrived: int, advance: Advance | None, cancelled: threading.Event | None, *, is_all: bool = False
    ) -> None:
        """Write what has arrived, in full transactions; with ``is_all`` the last rows too."""
        while self._read < arrived:
            batch, self._at = self._reader.batch(self._at)
            self._read += len(batch)
            self._waiting += batch
            is_end = is_all and self._read == arrived
            while len(self._waiting) >= self._count or (self._waiting and is_end):
                self._write_some(advance, cancelled)
        while self._waiting and is_all:
            self._write_some(advance, cancelled)

    def _write_some(self, advance: Advance | None, cancelled: threading.Event | None) -> None:
        if cancelled is not None and cancelled.is_set():
            raise CancelledImport("the import was cancelled; nothing was imported")
        chunk, self._waiting = self._waiting[: self._count], self._waiting[self._count :]
        with self._store.write(durable=False) as db:
            began = time.monotonic()
            self._imported += self._write_chunk(db, chunk, self._first_id + self._imported)
        self._written += len(chunk)
        self._count = _next_count(self._count, time.monotonic() - began)
        if advance is not None:
            advance(self._written)
        self._let_others()

    def _let_others(self) -> None:
        """Between two transactions."""
        self._hashes.settle()
        self._store.give_way()
        self._transactions += 1
        if self._transactions % _TRANSACTIONS_PER_CHECKPOINT == 0:
            self._store.checkpoint()
            self._store.give_way()

    def _write_hashes(self) -> None:
        """From here on others find these contents, who may have added the same meanwhile."""
        for part in self._hashes.in_order(HASHES_PER_TRANSACTION):
            with self._store.write(durable=False) as db:
                hashes.add(db, self._dataset_id, part)
            self._let_others()

    def _write_chunk(self, db: Database, chunk: Sequence[Packed], next_id: int) -> int:
        """Insert the rows of ``chunk`` that the dataset has not; returns how many."""
        digests = [fields[_HASH] for fields, *_ in chunk]
        there = self._hashes.present(digests)
        if hashes.has_any(db.conn, self._dataset_id):
            there |= hashes.present(db.conn, self._dataset_id, digests)
        rows: list[list[Any]] = []
        models: list[tuple[int, str]] = []
        tags: list[tuple[int, str]] = []
        flags: list[tuple[int, str]] = []
        found: list[Finding] = []
        for fields, row_tags, row_flags, row_findings in chunk:
            if fields[_HASH] in there:
                continue
            there.add(fields[_HASH])
            example_id = next_id + len(rows)
            values = at_home.marked(db, fields) if self._is_file else fields
            rows.append([example_id, self.import_id, self._dataset_id, *values])
            models += [(example_id, storable(model)) for model in models_of(values[_SOURCE])]
            if row_tags or row_flags or row_findings:
                tags += [(example_id, storable(tag)) for tag in row_tags]
                flags += [(example_id, storable(flag)) for flag in row_flags]
                found += [replace(one, example_id=example_id) for one in row_findings]
        self._set_aside(db, next_id + len(rows) - 1)
        self._hashes.add([(row[_ROW_HASH], row[0]) for row in rows])
        db.conn.executemany(self._statement, rows)
        db.conn.executemany(MODELS_SQL, models)
        db.conn.executemany("INSERT OR IGNORE INTO example_tags (example_id, tag) VALUES (?, ?)", tags)
        db.conn.executemany("INSERT OR IGNORE INTO example_flags (example_id, flag) VALUES (?, ?)", flags)
        findings.add(db, found)
        if rows:
            with _merging_little(db, len(rows)):
                db.execute(INDEX, [next_id, next_id + len(rows) - 1])
        return len(rows)

    def _set_aside(self, db: Database, last_id: int) -> None:
        """Set more ids aside where more rows come than were expected; raises ``_OutOfIds`` when they were given out."""
        if last_id <= self._last_id:
            return
        wanted = last_id + (last_id - self._first_id) // 4
        sql = "UPDATE sqlite_sequence SET seq = ? WHERE name = 'examples' AND seq = ?"
        if db.execute(sql, [wanted, self._last_id]).rowcount == 0:
            raise _OutOfIds
        db.execute("UPDATE imports SET last_id = ? WHERE id = ?", [wanted, self.import_id])
        self._last_id = wanted

    def close(self) -> None:
        """Let go of what only this import needs."""
        self._hashes.close()

    def finish(self, rows: int, skipped: int) -> Published:
        """Show the rows, all at once."""
        import_id = self.import_id
        self._write_hashes()
        self.close()
        self._store.write_much(False)
        with self._store.write() as db:
            imported = self._imported - _drop_overtaken(db, import_id, self._dataset_id)
            duplicates = rows - imported
            db.execute(
                "UPDATE imports SET state = 'done', rows = ?, duplicates = ?, skipped = ?, last_id = ? WHERE id = ?",
                [imported, duplicates, skipped, self._give_back_ids(db), import_id],
            )
            first = db.execute("SELECT min(id) FROM examples WHERE import_id = ?", [import_id]).fetchone()[0]
            if first is not None:
                decisions = Decisions(self._store)
                hidden, shown = {"import": import_id, "deleted": True}, {"import": import_id, "deleted": False}
                group = decisions.begin(self._rater)
                decisions.add(group, first, Action.CREATE, before=hidden, after=shown, rater=self._rater)
        return Published(import_id, imported, duplicates)

    def _give_back_ids(self, db: Database) -> int:
        """Ids that no row took are given out again, unless others were given out since."""
        first_id, last_id = self._first_id, self._last_id
        used = db.execute("SELECT coalesce(max(id), ?) FROM examples", [first_id - 1]).fetchone()[0]
        if used < last_id:
            db.execute(
                "UPDATE sqlite_sequence SET seq = ? WHERE name = 'examples' AND seq = ?",
                [max(used, first_id - 1), last_id],
            )
        return int(min(used, last_id))


def _remove(store: Store, import_id: int, *, until: float) -> bool:
    with store.write() as db:
        db.execute("UPDATE imports SET state = 'removing' WHERE id = ?", [import_id])
    count = FIRST_ROWS
    while time.monotonic() < until:
        started = time.monotonic()
        with store.write(durable=False) as db:
            sql = "DELETE FROM examples WHERE id IN (SELECT id FROM examples WHERE import_id = ? LIMIT ?)"
            with _merging_little(db, count):
                removed = db.execute(sql, [import_id, count]).rowcount
            if removed == 0:
                _forget(db, import_id)
                return True
        count = _next_count(count, time.monotonic() - started)
        store.give_way()
    return False


def _merge_little_by_little(db: Database) -> None:
    """See ``_MERGING``; it is kept with the index."""
    have = {row["k"]: row["v"] for row in db.execute("SELECT k, v FROM examples_fts_config")}
    for name, value in _MERGING.items():
        if have.get(name) != value:
            db.execute(_ORDER, [name, value])


@contextlib.contextmanager
def _merging_little(db: Database, rows: int) -> Iterator[None]:
    """What is done here to so many rows merges as many pages of the index of words as they will need in the end."""
    db.execute(_ORDER, ["automerge", 0])
    yield
    db.execute("SAVEPOINT indexed")  # the index writes what it has gathered, here and not when its own merging is on
    db.execute("RELEASE indexed")
    db.execute(_ORDER, ["merge", max(_FEWEST_MERGED_PAGES, rows // _ROWS_PER_MERGED_PAGE)])
    db.execute(_ORDER, ["automerge", _MERGING["automerge"]])


def _next_count(count: int, seconds: float) -> int:
    """How many rows the next transaction takes, from how long this one took."""
    return max(FIRST_ROWS // 2, min(MOST_ROWS, round(count * max(0.5, min(1.5, AIM_SECONDS / max(seconds, 1e-4))))))


def _drop_overtaken(db: Database, import_id: int, dataset_id: int) -> int:
    """Remove rows whose content somebody added by hand while the import was on its way; returns how many.

    Begins with the few rows that came later (``CROSS JOIN`` and the plus sign keep that order), not with the import's.
    """
    last_id = db.execute("SELECT last_id FROM imports WHERE id = ?", [import_id]).fetchone()[0]
    return db.execute(
        "DELETE FROM examples WHERE id IN (SELECT o.id FROM examples e "
        "  CROSS JOIN example_hashes h ON h.dataset_id = e.dataset_id AND h.hash = e.hash "
        "  CROSS JOIN examples o ON o.id = h.example_id AND +o.import_id = ? "
        f"  WHERE e.id > ? AND +e.dataset_id = ? AND {VISIBLE})",
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
