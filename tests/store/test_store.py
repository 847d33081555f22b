from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from samples import IMPORTED, demo
from workbench.domain.examples import Status
from workbench.domain.queries import Query
from workbench.errors import BusyError, StoreError
from workbench.paths import Workspace
from workbench.store import store as store_module
from workbench.store.store import Store, migrate
from workbench.store.write_lock import WriteLock

ROOT = Path(__file__).resolve().parents[2]
PRELUDE = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from pathlib import Path
from workbench.paths import Workspace
from workbench.store.store import Store
from workbench.domain.examples import Status
from samples import IMPORTED, demo
workspace = Workspace(Path(sys.argv[1]))
"""


def start(code: str, workspace: Workspace, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PRELUDE + code, str(workspace.root), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    return out


def add(store: Store, number: int) -> int:
    found, _ = store.examples.add("d", demo(number), source=IMPORTED, status=Status.PENDING, rater="r")
    return found.id


def test_a_new_folder_becomes_a_workspace_in_wal_mode_with_foreign_keys(store: Store) -> None:
    assert store.workspace.database.is_file()
    with store.write() as db:
        settings = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "foreign_keys")]
        assert settings == ["wal", 1]
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2, "FULL"


def test_every_table_is_strict_but_the_text_indexes_and_sqlites_own(store: Store) -> None:
    rows = store.read().execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
    loose = {row["name"] for row in rows if not row["strict"]}
    assert loose <= {"sqlite_schema", "sqlite_sequence", "_sqlite_migrations"}


def test_a_wrong_type_is_refused_by_the_table(store: Store) -> None:
    with pytest.raises(sqlite3.IntegrityError), store.write() as db:
        db.execute("INSERT INTO metrics (run_id, name, step, value, at_utc) VALUES (1, 'loss', 'three', 1.0, '')")


def test_what_was_written_is_there_after_opening_again(workspace: Workspace) -> None:
    first = Store.open(workspace)
    example_id = add(first, 1)
    first.close()
    again = Store.open(workspace)
    assert again.examples.get(example_id).content == demo(1)
    again.close()


def test_closing_leaves_one_file_without_a_log_beside_it(workspace: Workspace) -> None:
    store = Store.open(workspace)
    add(store, 1)
    store.close()
    assert not workspace.database.with_name("workbench.db-wal").exists()


def test_processes_that_open_a_new_workspace_at_once_all_get_it(workspace: Workspace) -> None:
    code = "Store.open(workspace).close()"
    for process in [start(code, workspace) for _ in range(4)]:
        finish(process)
    assert Store.open(workspace).datasets.list() == []


def test_two_processes_writing_at_once_lose_no_row(workspace: Workspace) -> None:
    code = """
store, start = Store.open(workspace), int(sys.argv[2])
for number in range(start, start + 200):
    store.examples.add("d", demo(number), source=IMPORTED, status=Status.PENDING, rater=f"r{start}")
store.close()
"""
    Store.open(workspace).close()
    for process in [start(code, workspace, "1000"), start(code, workspace, "2000")]:
        finish(process)
    store = Store.open(workspace)
    texts = {example.prompt_text for example in store.examples.list(Query(), limit=1000)}
    assert texts == {f"question {base + n}" for base in (1000, 2000) for n in range(200)}
    assert store.read().execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    store.close()


def test_threads_writing_at_once_lose_no_row(store: Store) -> None:
    def work(base: int) -> None:
        for number in range(20):
            add(store, base + number)
            store.examples.count(Query())

    threads = [threading.Thread(target=work, args=(base,)) for base in range(0, 600, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.examples.count(Query()) == 6 * 20


def test_a_process_killed_in_a_transaction_loses_that_transaction_only(workspace: Workspace) -> None:
    code = """
import time
store = Store.open(workspace)
for number in range(5):
    store.examples.add("d", demo(number), source=IMPORTED, status=Status.PENDING, rater="r")
with store.write():
    for number in range(100, 400):
        store.examples.add("d", demo(number), source=IMPORTED, status=Status.PENDING, rater="r")
    print("in the middle", flush=True)
    time.sleep(60)
"""
    process = start(code, workspace)
    assert process.stdout is not None and process.stdout.readline() == "in the middle\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    store = Store.open(workspace)
    assert {e.prompt_text for e in store.examples.list(Query(), limit=1000)} == {f"question {n}" for n in range(5)}
    assert store.read().execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert store.examples.count(Query(words=("question",))) == 5, "the text index agrees with the table"
    add(store, 7)
    assert store.examples.count(Query()) == 6
    store.close()


def test_an_error_inside_a_transaction_takes_all_of_it_back(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.write():
        add(store, 1)
        raise ZeroDivisionError
    assert store.examples.count(Query()) == 0
    add(store, 1)
    assert store.examples.count(Query()) == 1


def test_a_write_inside_a_write_joins_it(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.write():
        with store.write():
            add(store, 1)
        assert store.examples.count(Query()) == 1, "the flow reads what it has just written"
        raise ZeroDivisionError
    assert store.examples.count(Query()) == 0


def test_other_threads_see_a_transaction_only_when_it_is_committed(store: Store) -> None:
    seen: list[int] = []

    def look() -> None:
        thread = threading.Thread(target=lambda: seen.append(store.examples.count(Query())))
        thread.start()
        thread.join()

    with store.write():
        add(store, 1)
        look()
    look()
    assert seen == [0, 1]


def test_reading_connections_cannot_write(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store.read().execute("DELETE FROM examples")


def test_connections_of_ended_threads_are_closed(store: Store) -> None:
    def look() -> None:
        store.examples.count(Query())

    for _ in range(10):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert len(store._readers) <= 2


def test_a_transaction_holds_the_database_from_its_beginning(store: Store) -> None:
    with sqlite3.connect(store.workspace.database, timeout=0, isolation_level=None) as other:
        with store.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    other.close()


def test_a_lock_held_elsewhere_is_reported_as_busy(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_file_lock", WriteLock(store.workspace, patience=0.02))
    with FileLock(store.workspace.lock), pytest.raises(BusyError), store.write():
        pass
    add(store, 1)


def test_a_workspace_of_a_newer_version_is_refused_and_left_alone(workspace: Workspace) -> None:
    Store.open(workspace).close()
    with sqlite3.connect(workspace.database) as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('workbench', '9999_later', '')"
        )
    with pytest.raises(StoreError, match="newer workbench"):
        Store.open(workspace)


def test_another_programs_database_is_refused(workspace: Workspace) -> None:
    workspace.root.mkdir(parents=True)
    with sqlite3.connect(workspace.database) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(StoreError, match="not a workbench"):
        Store.open(workspace)
    with sqlite3.connect(workspace.database) as connection:
        assert connection.execute("SELECT count(*) FROM songs").fetchone() == (0,)


def test_a_file_that_is_no_database_is_refused(workspace: Workspace) -> None:
    workspace.root.mkdir(parents=True)
    workspace.database.write_bytes(b"this is a text file, and not a short one either" * 100)
    with pytest.raises(StoreError) as caught:
        Store.open(workspace)
    assert caught.value.where == str(workspace.database)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be made"):
        Store.open(Workspace(tmp_path / "file" / "workspace"))


def with_a_later_step(step):  # type: ignore[no-untyped-def]
    from sqlite_utils import Migrations

    from workbench.store.migrations import MIGRATIONS

    later = Migrations("workbench")
    for known in MIGRATIONS._migrations:
        later(name=known.name)(known.fn)
    later(name="9999_later")(step)
    return later


def test_a_later_step_keeps_the_rows_and_copies_the_database_first(workspace: Workspace) -> None:
    store = Store.open(workspace)
    example_id = add(store, 1)
    later = with_a_later_step(lambda db: db.execute("ALTER TABLE examples ADD COLUMN colour TEXT"))
    migrate(store._writer, later, workspace.database)
    assert store.read().execute("SELECT colour FROM examples").fetchone()["colour"] is None
    assert store.examples.get(example_id).content == demo(1)
    store.close()
    with sqlite3.connect(workspace.root / "workbench.db.before-9999_later") as copy:
        assert copy.execute("SELECT prompt_text FROM examples").fetchall() == [("question 1",)]


def test_a_step_that_fails_leaves_the_database_as_it_was(workspace: Workspace) -> None:
    store = Store.open(workspace)
    example_id = add(store, 1)

    def fails(db) -> None:  # type: ignore[no-untyped-def]
        db.execute("ALTER TABLE examples ADD COLUMN colour TEXT")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        migrate(store._writer, with_a_later_step(fails), workspace.database)
    store.close()
    again = Store.open(workspace)
    assert again.examples.get(example_id).content == demo(1)
    columns = {row["name"] for row in again.read().execute("PRAGMA table_info(examples)")}
    assert "colour" not in columns
    again.close()


def test_numpy_and_pandas_are_as_they_were_after_opening(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    sentinel = type(sys)("pandas")
    monkeypatch.setitem(sys.modules, "pandas", sentinel)
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    with store_module._numbers_masked():
        assert sys.modules["pandas"] is None and sys.modules["numpy"] is None
        with pytest.raises(ImportError):
            import pandas  # noqa: F401
    assert sys.modules["pandas"] is sentinel
    assert "numpy" not in sys.modules


def test_a_new_workspace_is_for_its_user_alone_and_one_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o750)
    before = os.umask(0o022)
    try:
        for root in (tmp_path / "deep" / "new", shared):
            Store.open(Workspace(root)).close()
    finally:
        os.umask(before)
    assert (tmp_path / "deep" / "new").stat().st_mode & 0o777 == 0o700
    assert shared.stat().st_mode & 0o777 == 0o750


READ_WHILE_CLOSED = """
import threading
import time
store = Store.open(workspace)
begun, said = threading.Event(), []

def read() -> None:
    count = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    connection = store.read()
    begun.set()
    try:
        connection.execute(count)
    except Exception as error:
        said.append(str(error))

reading = threading.Thread(target=read, daemon=True)
reading.start()
begun.wait()
time.sleep(0.2)
store.close()
reading.join(30)
print(said)
"""


def test_closing_breaks_off_a_read_of_another_thread_and_does_not_crash(workspace: Workspace) -> None:
    assert finish(start(READ_WHILE_CLOSED, workspace)).strip() == "['interrupted']"


def test_each_reader_keeps_little_in_memory_because_there_is_one_for_each_thread(workspace: Workspace) -> None:
    store = Store.open(workspace)
    kib = -store.read().execute("PRAGMA cache_size").fetchone()[0]
    with store.write() as db:
        writers = -db.execute("PRAGMA cache_size").fetchone()[0]
    assert 0 < kib * 4 <= writers


def test_who_has_much_to_write_lets_another_process_write_first(store: Store, workspace: Workspace) -> None:
    add(store, 1)
    with store.write():
        other = start('store = Store.open(workspace)\nwith store.write() as db:\n    print("written")', workspace)
        while not store._file_lock.is_wanted():
            time.sleep(0.001)
    store.give_way()
    assert not store._file_lock.is_wanted()
    with store.write():
        pass  # waits until the other has written, if it is still at it
    assert finish(other).strip() == "written"


def test_who_has_much_to_write_lets_another_thread_write_first(store: Store) -> None:
    add(store, 1)
    wrote: list[str] = []

    def write() -> None:
        with store.write():
            wrote.append("other")

    with store.write():
        thread = threading.Thread(target=write)
        thread.start()
        while not store._waiting:
            time.sleep(0.001)
    store.give_way()
    with store.write():
        wrote.append("own")
    thread.join()
    assert wrote == ["other", "own"]


def test_who_has_much_to_write_waits_for_nobody_when_nobody_waits(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("workbench.store.store.time.sleep", slept.append)
    store.give_way()
    assert slept == []


def test_who_is_in_a_transaction_does_not_wait_for_those_who_wait_for_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    thread = threading.Thread(target=lambda: add(store, 1))
    with store.write(), monkeypatch.context() as patch:
        thread.start()
        while not store._waiting:
            threading.Event().wait(0.001)
        patch.setattr("workbench.store.store.time.sleep", slept.append)
        store.give_way()
    thread.join()
    assert slept == []
    assert store.examples.count(Query()) == 1, "who waited came to write"


def test_who_waits_in_both_lines_waits_no_longer_than_he_wants(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, waited = [1000.0], list[float]()

    class Taken:
        def acquire(self, *, blocking: bool = True, timeout: float = -1.0) -> contextlib.AbstractContextManager[None]:
            if not blocking:
                raise Timeout("taken")
            waited.append(timeout)
            now[0] += 50.0
            return contextlib.nullcontext()

    monkeypatch.setattr("workbench.store.write_lock.time.monotonic", lambda: now[0])
    lock = WriteLock(workspace)
    monkeypatch.setattr(lock, "_lock", Taken())
    monkeypatch.setattr(lock, "_next", Taken())
    lock.acquire(patience=60.0)
    assert waited == [60.0, 10.0]
