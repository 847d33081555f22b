"""A copy of the database as it is at one moment, and what can be said of a database file that nobody has open.

The copy is SQLite's own online backup, a few pages at a time, inside one read transaction: others write meanwhile,
none of what they write gets in, and none of it makes the copy begin anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.domain import counting
from workbench.errors import DISK_FULL, DISK_FULL_HINT, StoreError, WorkbenchError, is_disk_full
from workbench.store import hashes
from workbench.store.queries import ON_ITS_WAY

PAGES_A_STEP = 1000
_SEARCHES = {"messages_fts": "messages", "examples_fts": "examples"}
_COUNTED = ("chats", "messages", "datasets", "examples", "models", "runs", "comparisons", "ratings")

_INSTRUCTIONS_A_STEP = 100_000
OnStep = Callable[[], None]
OnPages = Callable[[int, int], None]
"""Told the pages copied and the pages there are; what it raises ends the copy."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What is wrong in a database file, in sentences; each empty when nothing is.

    ``unsearched`` names the search indexes that could not be looked at, because an import is on its way; ``contents``
    is of the table by which an example that comes a second time is known.
    """

    pages: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    unsearched: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()


def copy_database(source: Path, to: Path, on_pages: OnPages = lambda done, of: None) -> None:
    """Write the database as it is now to ``to``, one file. Raises ``StoreError`` when it cannot be read to its end."""
    with _words(source), _closing(source) as original, _closing(to) as copy:
        original.execute("BEGIN")
        original.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the moment; BEGIN alone is none
        copy.execute("PRAGMA synchronous = OFF")  # a crash leaves no half copy in use: it is renamed when whole
        original.backup(copy, pages=PAGES_A_STEP, progress=lambda _, left, of: on_pages(of - left, of))
        copy.execute("PRAGMA journal_mode = DELETE")


def page_faults(path: Path, *, quick: bool = True, on_step: OnStep = lambda: None) -> list[str]:
    """What SQLite finds wrong in the file; ``quick`` leaves out whether indexes and rows agree. Mostly empty.

    ``on_step`` is called every few milliseconds; what it raises ends the look.
    """
    check = "quick_check" if quick else "integrity_check"
    ended: list[WorkbenchError] = []

    def step() -> bool:
        try:
            on_step()
        except WorkbenchError as error:
            ended.append(error)
        return bool(ended)

    try:
        with _closing(path) as connection:
            connection.set_progress_handler(step, _INSTRUCTIONS_A_STEP)
            found = [str(row[0]) for row in connection.execute(f"PRAGMA {check}(20)")]
    except sqlite3.DatabaseError as error:
        if ended:
            raise ended[0] from None
        _refuse_full(error, path)
        return [str(error)]
    return [] if found == ["ok"] else found


def faults(copy: Path, *, quick: bool) -> Faults:
    """All that is wrong in a copy of the database, which is written to on the way: not for one that is in use."""
    if pages := page_faults(copy, quick=quick):
        return Faults(tuple(pages))
    with _words(copy), _closing(copy) as connection:
        references = [
            f"{row['n']} {row['table']} lead to {row['parent']} that are not there"
            for row in connection.execute(
                'SELECT "table", parent, count(*) AS n FROM pragma_foreign_key_check GROUP BY "table", parent'
            )
        ]
        on_its_way = connection.execute(f"SELECT 1 FROM imports WHERE {ON_ITS_WAY} LIMIT 1").fetchone()
        searches, unsearched = [], []
        for index, table in _SEARCHES.items():
            if table == "examples" and on_its_way:
                unsearched.append(table)
            elif fault := _search_fault(connection, index):
                searches.append(f"the search over {table} does not agree with them: {fault}")
        contents = tuple(_content_faults(connection))
    return Faults((), tuple(references), tuple(searches), tuple(unsearched), contents)


def _content_faults(connection: sqlite3.Connection) -> Iterator[str]:
    lacking, of_none = hashes.astray(connection)
    if lacking:
        what = counting.counted(lacking, "examples")
        yield f"the list of contents lacks {what}: what is in them would be taken for new"
    if of_none:
        yield f"the list of contents has {counting.counted(of_none, 'entries')} of no example"


def rebuild_searches(connection: sqlite3.Connection) -> None:
    """Make the search indexes anew from the rows, inside the caller's transaction."""
    for index in _SEARCHES:
        connection.execute(f"INSERT INTO {index}({index}) VALUES ('rebuild')")


def check_steps(path: Path) -> None:
    """Raise ``StoreError`` when the file is no workbench database, or one of a newer workbench."""
    from sqlite_utils import Database  # 95 ms

    from workbench.store.migrations import MIGRATIONS
    from workbench.store.store import refuse_foreign

    with _words(path), _closing(path) as connection:
        if not refuse_foreign(Database(connection, execute_plugins=False), MIGRATIONS, path):
            raise StoreError("this database is not a workbench workspace", where=str(path))


def counted(path: Path) -> dict[str, int]:
    """How many rows there are of what people made; of an older database, of what it knew."""
    with _words(path), _closing(path) as connection:
        there = {row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return {
            name: int(connection.execute(f"SELECT count(*) AS n FROM {name}").fetchone()["n"])
            for name in _COUNTED
            if name in there
        }


def move_paths(path: Path, old: str, new: str) -> None:
    """Let every path of runs and models that lies in the folder ``old`` lie in ``new`` instead."""
    with _words(path), _closing(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for table, column in (("runs", "directory"), ("models", "path")):
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                [new, len(old) + 1, len(old) + 1, f"{old}/"],
            )
        connection.execute("COMMIT")


def move_model(path: Path, sha256: str, place: str) -> None:
    """Let the bases of these weights whose folders are not there lie at ``place``."""
    with _words(path), _closing(path) as connection:
        rows = connection.execute("SELECT id, path FROM models WHERE kind = 'base' AND sha256 = ?", [sha256]).fetchall()
        lost = [row["id"] for row in rows if not Path(row["path"]).is_dir()]
        connection.executemany("UPDATE models SET path = ? WHERE id = ?", [(place, model_id) for model_id in lost])


def _search_fault(connection: sqlite3.Connection, index: str) -> str:
    """What SQLite says of a search index that does not agree with its rows; "" when it does."""
    try:
        connection.execute(f"INSERT INTO {index}({index}, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError as error:
        if is_disk_full(error):
            raise
        return str(error)
    return ""


@contextlib.contextmanager
def _closing(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    connection.row_factory = sqlite3.Row
    try:
        yield connection
    finally:
        connection.close()


def _refuse_full(error: sqlite3.DatabaseError, path: Path) -> None:
    """A disk without room says nothing of the database."""
    if is_disk_full(error):
        raise StoreError(DISK_FULL, hint=DISK_FULL_HINT, where=str(path)) from error


@contextlib.contextmanager
def _words(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        _refuse_full(error, path)
        raise StoreError(
            f"the database: {error}",
            hint="is the disk full? workbench verify says what is damaged, workbench restore brings a backup back",
            where=str(path),
        ) from error
