"""Rows that come in behind the scenes: seen all at once or never, whatever happens, while others write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples import IMPORTED, demo
from workbench.domain.chats import Turn, storable
from workbench.domain.examples import NewExample, Source, SourceKind, Status
from workbench.domain.queries import Query, parse_query
from workbench.errors import BusyError, NotFoundError
from workbench.paths import Workspace
from workbench.store import hashes, imports
from workbench.store.columns import source_json
from workbench.store.imports import CancelledImport, Published
from workbench.store.rows import turns_json
from workbench.store.store import Store

if TYPE_CHECKING:
    from sqlite_utils import Database


@pytest.fixture
def store(workspace: Workspace) -> Store:
    return Store.open(workspace)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "FIRST_ROWS", 5)
    monkeypatch.setattr(imports, "MOST_ROWS", 10)


def new(number: int) -> NewExample:
    return NewExample(demo(number), replace(IMPORTED, line=number), tags=("t",), flags=("f",))


def bring(
    store: Store,
    numbers: range,
    *,
    dataset: str = "d",
    advance: Callable[[int], None] | None = None,
    cancelled: threading.Event | None = None,
) -> Published:
    with store.imports.stage(dataset, status=Status.PENDING, rater="ann") as staging:
        for number in numbers:
            staging.put(new(number))
        return staging.publish(file="rows.jsonl", format="trl", advance=advance, cancelled=cancelled)


def count(store: Store, query: str = "") -> int:
    return store.examples.count(parse_query(query))


def test_rows_are_seen_in_no_list_until_all_are_seen_in_all(store: Store) -> None:
    kept, _ = store.examples.add("old", demo(1000), source=IMPORTED, status=Status.PENDING, rater="ann")
    seen: list[tuple[int, int, int, int, list[str]]] = []

    def look(_: int) -> None:
        examples = store.examples
        names = [dataset.name for dataset in store.datasets.list()]
        everywhere = [row for row in examples.page(range(1, 100)) if row]
        seen.append((count(store), count(store, "question"), len(examples.ids(Query())), len(everywhere), names))
        with pytest.raises(NotFoundError):
            examples.get(kept.id + 1)

    done = bring(store, range(50), advance=look)
    assert len(seen) > 4 and set(map(str, seen)) == {str((1, 1, 1, 1, ["old"]))}
    assert done == Published(1, 50, 0)
    assert (count(store), count(store, "question"), count(store, "tag:t flag:f import:1")) == (51, 51, 50)
    assert [dataset.name for dataset in store.datasets.list()] == ["d", "old"]
    assert store.examples.get(kept.id + 1).content == demo(0)


def test_others_write_between_its_transactions_and_get_ids_behind_its_own(store: Store) -> None:
    made: list[int] = []

    def label(_: int) -> None:
        thread = threading.Thread(target=add_one)  # another thread: inside this one it would join nothing either
        thread.start()
        thread.join()

    def add_one() -> None:
        content = demo(2000 + len(made))
        made.append(store.examples.add("d", content, source=IMPORTED, status=Status.ACCEPTED, rater="bob")[0].id)

    bring(store, range(50), advance=label)
    assert len(made) > 4 and min(made) > 50 and sorted(made) == made
    assert count(store, "status:accepted") == len(made) and count(store, "import:1") == 50


def test_what_the_dataset_has_is_counted_and_not_added(store: Store) -> None:
    assert bring(store, range(20)) == Published(1, 20, 0)
    assert bring(store, range(10, 30)) == Published(2, 10, 10)
    assert bring(store, range(30)) == Published(3, 0, 30)
    assert bring(store, range(5), dataset="other").imported == 5
    assert list(store.examples.ids(Query())) == list(range(1, 36)), "ids of duplicates are given out again"
    with store.imports.stage("d", status=Status.PENDING, rater="ann") as staging:
        for number in (1, 100, 100):
            staging.put(new(number))
        assert staging.count() == (1, 2)
    assert count(store) == 35


def test_content_that_somebody_adds_meanwhile_is_there_once(store: Store) -> None:
    def keep(rows: int) -> None:
        if rows == 5:
            store.examples.add("d", demo(3), source=IMPORTED, status=Status.ACCEPTED, rater="bob")

    done = bring(store, range(20), advance=keep)
    assert (done.imported, done.duplicates) == (19, 1)
    assert [e.status for e in store.examples.list(Query()) if e.content == demo(3)] == [Status.ACCEPTED]


def test_a_cancelled_import_leaves_nothing(store: Store) -> None:
    cancelled = threading.Event()
    with pytest.raises(CancelledImport):
        bring(store, range(50), advance=lambda _: cancelled.set(), cancelled=cancelled)
    assert_untouched(store)
    assert bring(store, range(3)) == Published(2, 3, 0)
    assert list(store.examples.ids(Query())) == [1, 2, 3]


def test_an_error_while_it_writes_leaves_nothing(store: Store) -> None:
    def fail(rows: int) -> None:
        if rows > 20:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bring(store, range(50), advance=fail)
    assert_untouched(store)


def test_an_error_when_all_rows_are_written_and_not_yet_shown_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "HASHES_PER_TRANSACTION", 20)
    real, filled = hashes.add, []

    def fail(db: Database, dataset_id: int, rows: list[tuple[bytes, int]]) -> None:
        if filled:
            raise ZeroDivisionError
        real(db, dataset_id, rows)
        filled.append(len(rows))

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(hashes, "add", fail)
        bring(store, range(50))
    assert filled == [20]
    assert_untouched(store)
    assert bring(store, range(50)) == Published(2, 50, 0)


def test_each_row_of_an_import_is_known_by_its_content_in_the_order_of_the_table(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "HASHES_PER_TRANSACTION", 7)
    real, added = hashes.add, []

    def note(db: Database, dataset_id: int, rows: list[tuple[bytes, int]]) -> None:
        added.append(rows)
        real(db, dataset_id, rows)

    monkeypatch.setattr(hashes, "add", note)
    assert bring(store, range(20)).imported == 20
    assert [len(part) for part in added] == [7, 7, 6]
    together = list(chain.from_iterable(added))
    assert together == sorted(together)
    assert all(store.examples.find("d", demo(number)) for number in range(20))
    assert store.examples.find("d", demo(20)) is None


@pytest.mark.parametrize("in_memory", [1, 7, 1000])
def test_what_comes_twice_is_known_wherever_its_hash_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(hashes, "_IN_MEMORY", in_memory)
    monkeypatch.setattr(imports, "FIRST_ROWS", 4)
    monkeypatch.setattr(imports, "MOST_ROWS", 4)
    with store.imports.stage("d", status=Status.PENDING, rater="ann") as staging:
        for number in [*range(20), *range(12), 3, 25]:
            staging.put(NewExample(demo(number), IMPORTED))
        done = staging.publish(file="rows.jsonl", format="trl")
    assert (done.imported, done.duplicates) == (21, 13)
    assert all(store.examples.find("d", demo(number)) for number in [*range(20), 25])
    assert hashes.astray(store.read()) == (0, 0)


def assert_untouched(store: Store) -> None:
    assert count(store) == 0 and store.datasets.list() == [] and store.imports.list() == []
    rows = store.read().execute("SELECT count(*) FROM examples").fetchone()[0]
    indexed = store.read().execute("SELECT count(*) FROM examples_fts WHERE examples_fts MATCH 'question'").fetchone()
    tags = store.read().execute("SELECT count(*) FROM example_tags").fetchone()[0]
    known = store.read().execute("SELECT count(*) FROM example_hashes").fetchone()[0]
    assert (rows, indexed[0], tags, known) == (0, 0, 0, 0)
    assert store.examples.undo("ann") is None


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from samples import IMPORTED, demo
from workbench.domain.examples import NewExample, Source, SourceKind, Status
from workbench.paths import Workspace
from workbench.store import hashes, imports
from workbench.store.store import Store

imports.FIRST_ROWS, imports.MOST_ROWS = 5, 10
store = Store.open(Workspace(Path(sys.argv[1])))
with store.imports.stage("d", status=Status.PENDING, rater="ann") as staging:
    for number in range(500):
        staging.put(NewExample(demo(number), IMPORTED, tags=("t",)))
    def die(rows):
        if rows > 100:
            os.kill(os.getpid(), signal.SIGKILL)
    staging.publish(file="rows.jsonl", format="trl", advance=die)
"""


def killed_import(workspace: Workspace) -> None:
    tests = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", KILLED, str(workspace.root), tests], check=False, timeout=100)
    assert done.returncode == -9


def test_what_a_killed_import_left_is_never_seen_and_is_removed(workspace: Workspace) -> None:
    killed_import(workspace)
    store = Store.open(workspace)
    left = store.read().execute("SELECT count(*) FROM examples").fetchone()[0]
    assert left > 100 and count(store) == 0 and count(store, "question") == 0 and store.datasets.list() == []
    assert not store.imports.sweep(seconds=0.0) and count(store) == 0
    assert store.imports.sweep()
    assert_untouched(store)
    assert not [name for name in os.listdir(workspace.root) if "tmp" in name]


def test_the_next_import_removes_what_a_killed_one_left(workspace: Workspace) -> None:
    killed_import(workspace)
    store = Store.open(workspace)
    assert bring(store, range(3)).imported == 3
    assert store.read().execute("SELECT count(*) FROM examples").fetchone()[0] == 3


def test_one_import_at_a_time(store: Store, workspace: Workspace) -> None:
    other = Store.open(workspace)

    def bring_more(_: int) -> None:
        with pytest.raises(BusyError, match="another import"):
            bring(other, range(100, 120))

    assert bring(store, range(20), advance=bring_more).imported == 20
    assert bring(other, range(100, 120)).imported == 20


def test_an_import_is_one_decision_for_undo_redo_and_each_rows_history(store: Store) -> None:
    bring(store, range(20))
    assert [d.action.value for d in store.examples.history(7)] == ["create"]
    undone = store.examples.undo("ann")
    assert undone is not None and undone.example_ids == tuple(range(1, 21)) and undone.text == "adding 20 examples"
    assert count(store) == 0 and store.imports.get(1).state == "undone"
    assert store.examples.redo("ann") is not None
    assert count(store) == 20 and store.imports.get(1).rows == 20
    store.examples.undo("ann")
    assert bring(store, range(20)).imported == 20, "what was undone may come in again"
    assert count(store) == 20


def test_the_number_of_rows_per_transaction_follows_from_how_long_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "MOST_ROWS", 1000)
    aim = imports.AIM_SECONDS
    assert imports._next_count(100, aim) == 100
    assert imports._next_count(100, aim * 10) == 50 and imports._next_count(100, aim / 10) == 150
    assert imports._next_count(900, aim / 10) == 1000 and imports._next_count(1, aim * 10) >= 1


def ahead(store: Store, numbers: range, *, expected: int, look: Callable[[], None]) -> Published:
    """Rows that are written while others are coming, as when another process reads the file."""
    with store.imports.stage("d", status=Status.PENDING, rater="ann") as staging:
        for number in numbers:
            staging.put(new(number))
            if number % 40 == 39:
                staging._flush()
                staging.write_ahead(file="rows.jsonl", format="trl", expected=expected)
                look()
        return staging.publish(file="rows.jsonl", format="trl")


@pytest.mark.parametrize("expected", [1, 100, 200, 1000])
def test_rows_are_written_while_more_are_coming_and_seen_only_when_all_are_there(store: Store, expected: int) -> None:
    hidden: list[int] = []

    def look() -> None:
        assert count(store) == 0 and store.examples.ids(Query()).tolist() == []
        hidden.append(store.read().execute("SELECT count(*) FROM examples").fetchone()[0])

    assert ahead(store, range(210), expected=expected, look=look) == Published(1, 210, 0)
    assert hidden == sorted(hidden) and hidden[0] >= 30 and hidden[-1] >= 190
    assert store.examples.ids(Query()).tolist() == list(range(1, 211))
    assert [example.content for example in store.examples.many([1, 77, 210])] == [demo(0), demo(76), demo(209)]
    added, _ = store.examples.add("d", demo(999), source=IMPORTED, status=Status.PENDING, rater="ann")
    assert added.id == 211, "ids that were set aside and not taken are given out again"


def test_more_rows_than_expected_come_in_also_when_somebody_took_the_ids_behind(store: Store) -> None:
    made: list[int] = []

    def add() -> None:
        content = demo(2000 + len(made))
        made.append(store.examples.add("d", content, source=IMPORTED, status=Status.PENDING, rater="bob")[0].id)
        assert count(store) == len(made)

    assert ahead(store, range(210), expected=60, look=add).imported == 210
    ids = store.examples.ids(parse_query("import:2")).tolist()
    assert len(ids) == 210 and ids == list(range(ids[0], ids[0] + 210)) and not set(ids) & set(made)
    assert count(store) == 210 + len(made) and count(store, "question") == 210 + len(made)
    assert [done.id for done in store.imports.list()] == [2], "the first attempt is no import"


def test_what_was_written_ahead_is_gone_when_the_rest_does_not_come(store: Store) -> None:
    def fail() -> None:
        if count_hidden() > 100:
            raise ZeroDivisionError

    def count_hidden() -> int:
        return int(store.read().execute("SELECT count(*) FROM examples").fetchone()[0])

    with pytest.raises(ZeroDivisionError):
        ahead(store, range(210), expected=300, look=fail)
    assert_untouched(store)
    assert bring(store, range(3)).imported == 3 and store.examples.ids(Query()).tolist() == [1, 2, 3]


def test_the_index_of_words_merges_little_by_little_after_an_import(store: Store, workspace: Workspace) -> None:
    bring(store, range(3))
    other = Store.open(workspace)
    with other.write() as db:
        kept = {row["k"]: row["v"] for row in db.execute("SELECT k, v FROM examples_fts_config")}
    assert kept["automerge"] == kept["usermerge"] == 16 and kept["crisismerge"] == 200


def test_the_parts_of_the_index_of_words_stay_few_while_rows_come_in_and_go(store: Store) -> None:
    parts: list[int] = []

    def look(_: int) -> None:
        sql = "SELECT count(DISTINCT segid) FROM examples_fts_idx"
        parts.append(store.read().execute(sql).fetchone()[0])
        if parts[-1] and len(parts) == 100:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bring(store, range(1200), advance=look)
    assert len(parts) == 100 and max(parts) < 40, "a transaction adds one part"
    assert_untouched(store)
    assert store.read().execute("SELECT count(DISTINCT segid) FROM examples_fts_idx").fetchone()[0] < 40


def test_the_log_is_written_back_behind_the_transactions_and_by_itself_afterwards(store: Store) -> None:
    def set_up() -> tuple[int, int]:
        with store.write() as db:
            return tuple(db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("wal_autocheckpoint", "cache_size"))

    def look(rows: int) -> None:
        during.add(set_up())
        if rows > 60:
            raise ZeroDivisionError

    before, during, log = set_up(), set[tuple[int, int]](), store.workspace.database.with_name("workbench.db-wal")
    bring(store, range(40), advance=look)
    assert set_up() == before and during and before not in during
    sizes = [log.stat().st_size]
    bring(store, range(40, 1000))
    sizes.append(log.stat().st_size)
    assert sizes[1] < 2 * sizes[0], "the log begins anew when it was written back"
    with pytest.raises(ZeroDivisionError):
        bring(store, range(1000, 1100), advance=look)
    assert set_up() == before


def test_nothing_to_bring_is_no_import(store: Store) -> None:
    assert bring(store, range(0)) == Published(None, 0, 0)
    assert store.imports.list() == [] and store.datasets.list() == []


@given(texts=st.lists(st.text(), max_size=3), extra=st.sampled_from(["", '{"name":"ü\\n"}']))
def test_turns_are_written_as_json_writes_them(texts: list[str], extra: str) -> None:
    turns = [Turn("user", text, extra) for text in texts]
    fields = [[turn.role, storable(turn.content), *([extra] if extra else [])] for turn in turns]
    assert turns_json(turns) == json.dumps(fields, ensure_ascii=False)


@given(file=st.text(max_size=5), line=st.none() | st.integers(0, 9), chat=st.none() | st.integers(0, 1))
def test_a_source_is_written_as_json_writes_it(file: str, line: int | None, chat: int | None) -> None:
    source = Source(SourceKind.IMPORT, file=file, line=line, chat_id=chat)
    values = {"kind": "import", "chat_id": chat, "file": file, "line": line}
    assert source_json(source) == json.dumps({k: v for k, v in values.items() if v is not None and v != ""})
