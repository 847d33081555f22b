"""A large import taken back and brought again: seen whole or not at all, in short transactions, whatever is killed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from samples import IMPORTED, demo
from workbench.domain.decisions import Action
from workbench.domain.examples import NewExample, Status
from workbench.domain.queries import parse_query
from workbench.errors import BusyError
from workbench.paths import Workspace
from workbench.store import hiding
from workbench.store.store import Store

ROWS = 20
NOBODY = 2**22 + 1  # no process has such a number


@pytest.fixture
def store(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A row of somebody, and an import that counts as large, of which one row was deleted by itself."""
    monkeypatch.setattr(hiding, "LARGE", 5)
    monkeypatch.setattr(hiding, "FIRST_ROWS", 3)
    monkeypatch.setattr(hiding, "next_count", lambda count, seconds: 3)
    store = Store.open(workspace)
    store.examples.add("old", demo(1000), source=IMPORTED, status=Status.PENDING, rater="bob")
    bring(store, "d")
    store.examples.change([5], Action.DELETE, rater="bob", hidden=True)
    return store


def bring(store: Store, dataset: str, during: Callable[[], None] | None = None) -> None:
    with store.imports.stage(dataset, status=Status.PENDING, rater="ann") as staging:
        for number in range(ROWS):
            staging.put(NewExample(demo(number), IMPORTED))
        staging.publish(file="rows.jsonl", format="trl", advance=lambda _: during() if during else None)


def seen(store: Store) -> tuple[int, int, int]:
    """How many rows a list, a search and the counts have."""
    examples = store.examples
    return examples.count(parse_query("")), len(examples.ids(parse_query("question"))), sum(examples.counts().values())


WHOLE, OTHERS = (ROWS, ROWS, ROWS), (1, 1, 1)  # with the row of somebody, and without the deleted one


def test_a_large_import_goes_and_comes_in_one_go_while_others_write(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[tuple[object, tuple[int, int, int]]] = []
    monkeypatch.setattr(store, "give_way", lambda: looks.append((store._local.depth, seen(store))))
    assert seen(store) == WHOLE
    undone = store.examples.undo("ann")
    assert undone is not None and list(undone.example_ids) == [*range(2, ROWS + 2)]
    assert undone.text == f"adding {ROWS} examples" and seen(store) == OTHERS
    assert store.imports.get(1).state == "undone"
    redone = store.examples.redo("ann")
    assert redone is not None and redone.text == undone.text and list(redone.example_ids) == list(undone.example_ids)
    assert seen(store) == WHOLE and store.imports.get(1).state == "done"
    assert len(looks) == 2 * (ROWS // 3) and set(looks) == {(0, OTHERS)}  # the lock was free each time


@pytest.mark.parametrize("gesture", ["undo", "redo"])
def test_what_a_kill_left_half_marked_is_not_seen_and_is_marked_by_whoever_sweeps(
    store: Store, gesture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed() -> None:
        raise KeyboardInterrupt

    if gesture == "redo":
        store.examples.undo("ann")
    with monkeypatch.context() as patch:
        patch.setattr(store, "give_way", killed)
        with pytest.raises(KeyboardInterrupt):
            getattr(store.examples, gesture)("ann")
    assert seen(store) == OTHERS and store.imports.get(1).state == "hiding"
    assert not store.imports.sweep()  # its process lives
    with store.write() as db:
        db.execute("UPDATE imports SET owner_pid = ?", [NOBODY])
    assert not store.imports.sweep(seconds=0.0) and store.imports.sweep()
    marked = store.read().execute("SELECT count(*) FROM examples WHERE deleted_utc = 'import:1'").fetchone()[0]
    assert marked == ROWS - 1 and store.imports.get(1).state == "undone" and seen(store) == OTHERS
    assert store.examples.redo("ann") is not None
    assert seen(store) == WHOLE


def test_an_import_is_not_taken_back_while_another_comes_in_nor_the_other_way_round(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_back() -> None:
        with pytest.raises(BusyError, match="on its way"):
            store.examples.undo("ann")

    bring(store, "more", during=take_back)
    assert store.examples.undo("ann") is not None  # what came in last
    assert seen(store) == WHOLE

    def bring_more() -> None:
        with pytest.raises(BusyError, match="another import"):
            bring(store, "even-more")

    monkeypatch.setattr(store, "give_way", bring_more)
    assert store.examples.undo("ann") is not None
    assert seen(store) == OTHERS


def test_a_redo_that_became_another_gesture_meanwhile_brings_nothing_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.examples.undo("ann")
    with monkeypatch.context() as patch:
        patch.setattr(store, "give_way", lambda: store.examples.change([1], Action.SKIP, rater="ann") and None)
        assert store.examples.redo("ann") is None
    assert seen(store) == OTHERS and store.imports.get(1).state == "undone"


def test_an_undo_that_takes_back_a_newer_gesture_leaves_the_import_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_sweep() -> bool:
        store.examples.change([1], Action.REJECT, rater="ann", status=Status.REJECTED)
        return True

    monkeypatch.setattr(store.imports, "sweep", slow_sweep)
    undone = store.examples.undo("ann")
    assert undone is not None and list(undone.example_ids) == [1]
    assert seen(store) == WHOLE and store.imports.get(1).state == "done"
