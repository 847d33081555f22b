"""One workspace's SQLite database: opening, migrating, and who may write when.

Owns connections, transactions and the lock file; the nouns (``store.chats``, ``store.examples``, ...) own the SQL.

Two benches may have one workspace open. SQLite before 3.51.3 can corrupt a WAL database when two connections write
or checkpoint at the same instant, so every write transaction holds the workspace's lock file, and is
``BEGIN IMMEDIATE``: a deferred transaction that turns into a write fails at once when another has committed since.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

from filelock import Timeout

from workbench.errors import DISK_FULL, DISK_FULL_HINT, StoreError, is_disk_full
from workbench.paths import Workspace
from workbench.store.batches import Batches
from workbench.store.chats import Chats
from workbench.store.comparisons import Comparisons
from workbench.store.datasets import Datasets
from workbench.store.drafts import Drafts
from workbench.store.examples import Examples
from workbench.store.findings import Findings
from workbench.store.imports import Imports
from workbench.store.models import Models
from workbench.store.presence import Presence
from workbench.store.presets import Presets
from workbench.store.rounds import Rounds
from workbench.store.runs import Runs
from workbench.store.scores import Scores
from workbench.store.views import Views
from workbench.store.write_lock import WriteLock

if TYPE_CHECKING:
    from sqlite_utils import Database, Migrations

_MASKED = ("pandas", "numpy")
_SHARED_BYTES = 64 * 1024
_CHECKPOINT_PAGES, _CACHE_KIB = 1000, 2000  # SQLite's own defaults
_MUCH_CACHE_KIB = 8000
# There is a reader for each thread, and the system keeps the same pages once for all of them.
_READER_CACHE_KIB = 400
# How often who has much to write looks whether the others have had their turn, and how long he waits for that.
_WAY_SECONDS, _MOST_WAY_SECONDS = 0.001, 0.1


class Store:
    """An open workspace database. Every method may be called from any thread.

    Each thread reads through a connection of its own, so that a long read in one never holds up another; all write
    through one connection, one at a time.
    """

    def __init__(self, workspace: Workspace, writer: Database, lock: WriteLock, presence: Presence) -> None:
        self.workspace = workspace
        self._presence = presence
        self._writer = writer
        self._file_lock = lock
        self._thread_lock = threading.RLock()
        self._waiting, self._waiting_lock = 0, threading.Lock()
        self._readers_lock = threading.Lock()  # not the writers' lock: a new reader does not wait for a transaction
        self._local = threading.local()
        self._readers: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._watcher: sqlite3.Connection | None = None
        self.chats = Chats(self)
        self.drafts = Drafts(self)
        self.datasets = Datasets(self)
        self.examples = Examples(self)
        self.imports = Imports(self)
        self.findings = Findings(self)
        self.models = Models(self)
        self.runs = Runs(self)
        self.scores = Scores(self)
        self.comparisons = Comparisons(self)
        self.rounds = Rounds(self)
        self.views = Views(self)
        self.presets = Presets(self)
        self.batches = Batches(self)

    @classmethod
    def open(cls, workspace: Workspace) -> Self:
        """The workspace's store, with its folder and tables made where they are missing.

        Raises ``StoreError`` when the file is not a workbench database, was made by a newer workbench, or cannot be
        opened; ``BusyError`` when another process holds the lock for too long, or is restoring a backup.
        """
        with _numbers_masked():
            import sqlite_utils  # noqa: F401 - 95 ms; 650 ms if it found pandas

        _make_folder(workspace.root)
        lock = WriteLock(workspace)
        presence = Presence.share(workspace)
        try:
            return cls._opened(workspace, lock, presence)
        except BaseException:
            presence.leave()
            raise

    @classmethod
    def _opened(cls, workspace: Workspace, lock: WriteLock, presence: Presence) -> Self:
        from sqlite_utils import Database

        from workbench.store.migrations import MIGRATIONS

        connection = _connect(workspace.database)
        try:
            with lock.held(), _sqlite_errors(workspace):
                _prepare(connection)
                writer = Database(connection, execute_plugins=False)
                migrate(writer, MIGRATIONS, workspace.database)
                # What a statement would have to take back: ten pages for each row that is added, else through a file.
                connection.execute("PRAGMA temp_store = MEMORY")
        except BaseException:
            connection.close()
            raise
        return cls(workspace, writer, lock, presence)

    def read(self) -> sqlite3.Connection:
        """This thread's connection for reading; inside ``write()`` the writing one, which sees its own rows."""
        if getattr(self._local, "depth", 0):
            return self._writer.conn
        connection: sqlite3.Connection | None = getattr(self._local, "reader", None)
        if connection is None:
            connection = self._local.reader = self._new_reader()
        return connection

    def version(self) -> int:
        """A number that is another one after every commit, of this process or of others; it says nothing else."""
        with self._readers_lock:
            if self._watcher is None:
                self._watcher = _connect(self.workspace.database)
            # One connection is asked by all threads: it tells of the commits of all connections but itself.
            return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Database]:
        """A write transaction: committed at the end of the block, rolled back when it raises.

        One that is not ``durable`` may be lost again by a power cut, until a durable one follows; it saves the wait
        for the disk.

        Re-entrant: inside another ``write()`` of the same thread it joins that transaction. Raises ``BusyError`` when
        another process keeps the lock for longer than a minute.
        """
        depth = getattr(self._local, "depth", 0)
        with self._turn():
            if depth:
                yield self._writer
                return
            with self._file_lock.held(), _sqlite_errors(self.workspace):
                self._local.depth = 1
                try:
                    with _synchronous(self._writer.conn, durable), _transaction(self._writer.conn):
                        yield self._writer
                finally:
                    self._local.depth = 0

    def give_way(self) -> None:
        """Let those write who wait: to be called between two transactions of one large change.

        Returns at once when nobody waits, else when one of them has had the lock, or after a tenth of a second. Inside
        a transaction it does nothing: who waits, waits for that one.
        """
        if getattr(self._local, "depth", 0):
            return
        until = time.monotonic() + _MOST_WAY_SECONDS
        while (self._waiting or self._file_lock.is_wanted()) and time.monotonic() < until:
            time.sleep(_WAY_SECONDS)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """One thread of this process at a time; ``give_way`` hears of those who wait."""
        if not self._thread_lock.acquire(blocking=False):
            with self._waiting_lock:
                self._waiting += 1
            try:
                self._thread_lock.acquire()
            finally:
                with self._waiting_lock:
                    self._waiting -= 1
        try:
            yield
        finally:
            self._thread_lock.release()

    def write_much(self, on: bool) -> None:
        """Set the writer up for very many rows, or for single gestures as it is by itself.

        With it a commit does not write the log back into the database when that has grown: ``checkpoint`` does, which
        is to be called now and then. Indexes that rows come into at any place are kept in more memory.
        """
        with self._thread_lock:
            self._writer.conn.execute(f"PRAGMA wal_autocheckpoint = {0 if on else _CHECKPOINT_PAGES}")
            self._writer.conn.execute(f"PRAGMA cache_size = {-(_MUCH_CACHE_KIB if on else _CACHE_KIB)}")

    def checkpoint(self) -> None:
        """Write the log back into the database: the lock is held for that alone, not for a transaction before it."""
        with contextlib.suppress(OSError), self.workspace.log.open("rb") as log:
            os.fsync(log.fileno())  # the slow half of it, while others may write
        with self._turn(), self._file_lock.held(), _sqlite_errors(self.workspace):
            self._writer.conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Close every connection. Nothing may use the store afterwards; a read that is under way is broken off.

        Readers are let go of, not closed: SQLite crashes when a connection is closed while another thread reads from
        it. Python closes each as soon as nobody holds it, which for an idle one is now.
        """
        with self._thread_lock:
            with self._readers_lock:
                while self._readers:
                    self._readers.pop()[1].interrupt()
                if self._watcher is not None:
                    self._watcher.close()
                    self._watcher = None
            self._local = threading.local()
            self._close_writer()
            self._presence.leave()

    def _close_writer(self) -> None:
        # Closing the last connection writes the log back into the database: under the lock, like any write. When
        # another process holds the lock it has a connection too, ours is not the last, and closing it writes nothing.
        try:
            self._file_lock.acquire(patience=1.0)
        except Timeout:
            self._writer.close()
            return
        try:
            self._writer.close()
        finally:
            self._file_lock.release()

    def _new_reader(self) -> sqlite3.Connection:
        with _sqlite_errors(self.workspace):
            connection = _connect(self.workspace.database)
            connection.execute("PRAGMA query_only = ON")
            connection.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
        with self._readers_lock:
            for thread, old in [entry for entry in self._readers if not entry[0].is_alive()]:
                old.close()
                self._readers.remove((thread, old))
            self._readers.append((threading.current_thread(), connection))
        return connection


def migrate(db: Database, migrations: Migrations, path: Path) -> None:
    """Bring the open database up to date; the lock must be held.

    A database with rows in it is copied to ``<name>.before-<step>`` first. Raises ``StoreError`` when it knows steps
    that we do not: a newer workbench made it.
    """
    applied = refuse_foreign(db, migrations, path)
    pending = [step.name for step in migrations.pending(db)]
    if applied and pending:
        _back_up(db.conn, path.with_name(f"{path.name}.before-{pending[0]}"))
    if pending:
        migrations.apply(db)


def refuse_foreign(db: Database, migrations: Migrations, path: Path) -> list[str]:
    """The steps the database has gone; raises ``StoreError`` for one we do not know, and for another program's."""
    applied = [step.name for step in migrations.applied(db)]
    known = {step.name for step in migrations.pending(type(db)(memory=True))}
    if unknown := [name for name in applied if name not in known]:
        raise StoreError(
            f"the workspace was made by a newer workbench (it has {unknown[0]!r})",
            hint="use that version, or another workspace",
            where=str(path),
        )
    if not applied and db.table_names():
        raise StoreError("this database is not a workbench workspace", hint="choose another folder", where=str(path))
    return applied


def _back_up(connection: sqlite3.Connection, to: Path) -> None:
    with contextlib.closing(sqlite3.connect(to)) as copy:
        connection.backup(copy)


def _make_folder(root: Path) -> None:
    try:
        # For its user alone: it holds people's chats. One that is there already stays as its owner made it.
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the workspace folder cannot be made: {error.strerror}", where=str(root)) from None


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise StoreError(f"the workspace cannot be opened: {error}", where=str(path)) from None
    connection.row_factory = sqlite3.Row
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """The writer's settings. FULL: a decision that was shown as made survives a power cut, for 2-4 ms a commit."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


@contextlib.contextmanager
def _synchronous(connection: sqlite3.Connection, durable: bool) -> Iterator[None]:
    if durable:
        yield
        return
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        connection.execute("PRAGMA synchronous = FULL")


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite itself rolls back on some errors (disk full): then there is nothing left to roll back
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _sqlite_errors(workspace: Workspace) -> Iterator[None]:
    """What SQLite says about the file as a whole, in the product's words."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
        if is_disk_full(error) or (isinstance(error, sqlite3.OperationalError) and _no_room(workspace)):
            raise StoreError(DISK_FULL, hint=DISK_FULL_HINT, where=str(workspace.database)) from error
        hint = "is the folder read-only, or the file not a database?"
        raise StoreError(f"the workspace database: {error}", hint=hint, where=str(workspace.database)) from error


def _no_room(workspace: Workspace) -> bool:
    """True when not even the memory that SQLite shares between processes has room: it calls that an I/O error."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(workspace.root).free < _SHARED_BYTES
    return False


@contextlib.contextmanager
def _numbers_masked() -> Iterator[None]:
    """Keep sqlite_utils from importing pandas and numpy, which it does wherever they are installed."""
    before = {name: sys.modules[name] for name in _MASKED if name in sys.modules}
    hidden = dict.fromkeys(_MASKED)
    sys.modules.update(hidden)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in _MASKED:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def sqlite_version() -> str:
    """The version of the SQLite library that this Python is linked with."""
    return sqlite3.sqlite_version
