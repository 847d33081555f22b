"""One gesture on many examples: the same as on a few, in short transactions, and taken back by one undo."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from workbench.domain.chats import Turn
from workbench.domain.checks import Finding, Severity
from workbench.domain.decisions import Action
from workbench.domain.examples import Example, NewExample, Source, SourceKind, Split, Status, demonstration
from workbench.errors import NotFoundError, RefusedError
from workbench.store import bulk, decisions, examples
from workbench.store.store import Store

SOURCE = Source(SourceKind.IMPORT, file="rows.jsonl", line=1)
ROWS = 12


@pytest.fixture
def filled(store: Store) -> Store:
    """Rows of every status, with tags, notes, ratings and raters; none in the test split but the last."""
    rows = [
        NewExample(
            demonstration((Turn("user", f"question {number}"),), f"answer {number}"),
            SOURCE,
            [*Status][number % 3],
            Split.TEST if number == ROWS - 1 else [*Split][number % 3],
            tags=("a", "ü")[: number % 3],
            note='says "no"' if number % 4 == 0 else "",
            rating=number % 5 or None,
            rater="" if number % 2 else "ann",
        )
        for number in range(ROWS)
    ]
    store.examples.add_many("d", rows, rater="importer", status=Status.PENDING)
    store.examples.change([2, 3, 4], Action.FLAG, rater="importer", add_flags=("by-hand",))
    store.findings.replace(
        [3, 5], ["empty"], [Finding(Severity.ERROR, "r", example_id=i, check="empty") for i in (3, 5)]
    )
    with store.write() as db:
        db.execute("DELETE FROM decisions WHERE action <> 'create'")
    return store


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one is many, and two are a piece."""
    monkeypatch.setattr(examples, "MANY", 1)
    for module in (bulk, decisions):
        monkeypatch.setattr(module, "FIRST_ROWS", 2)
        monkeypatch.setattr(module, "next_count", lambda count, seconds: 2)


def _rows(store: Store) -> list[Example]:
    """Every row, without the times."""
    return [replace(e, updated_utc="") for e in store.examples.many(range(1, ROWS + 1))]


def _decided(store: Store) -> list[tuple[Any, ...]]:
    """Every decision but the creations."""
    sql = "SELECT * FROM decisions WHERE action <> 'create' ORDER BY example_id, id"
    return [
        (r["example_id"], r["action"], json.loads(r["before"]), json.loads(r["after"]), r["rater"], r["state"])
        for r in store.read().execute(sql)
    ]


GESTURES: list[tuple[Action, dict[str, Any]]] = [
    (Action.ACCEPT, {"status": Status.ACCEPTED}),
    (Action.SKIP, {}),
    (Action.SPLIT, {"split": Split.TRAIN}),
    (Action.RATE, {"rating": 4}),
    (Action.NOTE, {"note": 'a "note"\n— 世'}),
    (Action.TAG, {"add_tags": ("b", "ü"), "remove_tags": ("a",)}),
    (Action.TAG, {"remove_tags": ("a", "b")}),
    (Action.FLAG, {"add_flags": ("odd", "ü"), "remove_flags": ("by-hand",)}),
    (Action.FLAG, {"remove_flags": ("by-hand", "empty")}),
]


@pytest.mark.parametrize(("action", "given"), GESTURES)
def test_many_are_changed_as_a_few_are(
    filled: Store, request: pytest.FixtureRequest, action: Action, given: dict[str, Any]
) -> None:
    ids = [*range(1, ROWS)]
    before = _rows(filled)
    filled.examples.change(ids, action, rater="bob", **given)
    wanted = _rows(filled), _decided(filled)
    filled.examples.undo("bob")
    assert _rows(filled) == before
    with filled.write() as db:
        db.execute("DELETE FROM decisions WHERE action <> 'create'")
    request.getfixturevalue("many")
    group = filled.examples.change(ids, action, rater="bob", **given)
    assert (_rows(filled), _decided(filled)) == wanted
    newest = filled.examples.newest("bob")
    assert newest is not None and newest.examples == len(ids)
    undone = filled.examples.undo("bob")
    assert undone is not None and sorted(undone.example_ids) == ids
    assert _rows(filled) == before
    filled.examples.redo("bob")
    assert _rows(filled) == wanted[0]
    assert {row["group_id"] for row in filled.read().execute("SELECT group_id FROM decisions WHERE rater = 'bob'")} == {
        group
    }


@pytest.mark.usefixtures("many")
def test_a_note_written_to_many_is_found(filled: Store) -> None:
    from workbench.domain.queries import parse_query

    filled.examples.change([1, 2, 3], Action.NOTE, rater="bob", note="zebra")
    assert list(filled.examples.ids(parse_query("zebra"))) == [1, 2, 3]


@pytest.mark.usefixtures("many")
def test_one_that_is_not_there_or_locked_changes_none(filled: Store) -> None:
    before = _rows(filled)
    with pytest.raises(NotFoundError, match="99"):
        filled.examples.change([1, 2, 3, 99], Action.ACCEPT, rater="bob", status=Status.ACCEPTED)
    with pytest.raises(RefusedError, match=f"example {ROWS}"):
        filled.examples.change([1, 2, ROWS], Action.SPLIT, rater="bob", split=Split.TRAIN)
    assert _rows(filled) == before and _decided(filled) == []
    filled.examples.change([1, 2, ROWS], Action.SPLIT, rater="bob", split=Split.TRAIN, unlock=True)
    assert filled.examples.get(ROWS).split is Split.TRAIN


@pytest.mark.usefixtures("many")
def test_others_write_between_the_pieces(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    depths: list[object] = []
    monkeypatch.setattr(filled, "give_way", lambda: depths.append(filled._local.depth))
    filled.examples.change([1, 2, 3, 4, 5], Action.ACCEPT, rater="bob", status=Status.ACCEPTED)
    assert depths == [0, 0]  # twice the lock was free
    filled.examples.undo("bob")
    assert depths == [0] * 4


@pytest.mark.usefixtures("many")
def test_what_a_kill_left_of_a_gesture_is_taken_back_by_the_same_undo(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _rows(filled)

    def killed() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(filled, "give_way", killed)
        with pytest.raises(KeyboardInterrupt):
            filled.examples.change([1, 2, 3, 4, 5, 6], Action.REJECT, rater="bob", status=Status.REJECTED)
    newest = filled.examples.newest("bob")
    assert newest is not None and newest.examples == 2
    filled.examples.undo("bob")
    assert _rows(filled) == before


@pytest.mark.usefixtures("many")
def test_a_gesture_after_a_large_undo_touches_none_of_what_was_undone(filled: Store) -> None:
    filled.examples.change([1, 2, 3, 4, 5, 6], Action.REJECT, rater="bob", status=Status.REJECTED)
    filled.examples.undo("bob")
    before = filled._writer.conn.total_changes
    filled.examples.change([7], Action.ACCEPT, rater="bob", status=Status.ACCEPTED)
    assert filled._writer.conn.total_changes - before <= 4  # the example, its decision, and that nothing can be redone
    assert filled.examples.redo("bob") is None
    filled.examples.undo("bob")
    redone = filled.examples.redo("bob")
    assert redone is not None and list(redone.example_ids) == [7]
    assert filled.examples.redo("bob") is None


@pytest.mark.usefixtures("many")
def test_dealt_rows_go_to_their_splits_in_pieces_and_come_back_by_one_undo(
    filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    undealt = [e.id for e in _rows(filled) if e.split is Split.NONE]
    before = _rows(filled)
    free: list[object] = []
    monkeypatch.setattr(filled, "give_way", lambda: free.append(filled._local.depth))
    filled.examples.deal({Split.TRAIN: [1, *undealt[:3], 99], Split.TEST: undealt[3:]}, rater="bob")
    assert free == [0, 0]
    now = {e.id: e.split for e in _rows(filled)}
    assert [now[i] for i in undealt] == [Split.TRAIN] * 3 + [Split.TEST] * len(undealt[3:])
    assert all(now[e.id] is e.split for e in before if e.id not in undealt)
    undone = filled.examples.undo("bob")
    assert undone is not None and sorted(undone.example_ids) == undealt and _rows(filled) == before


@pytest.mark.usefixtures("many")
def test_hidden_rows_go_in_pieces_and_come_back_by_one_undo(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _rows(filled)
    free: list[object] = []
    filled.examples.change([2], Action.DELETE, rater="ann", hidden=True)
    with monkeypatch.context() as patch:
        patch.setattr(filled, "give_way", lambda: free.append(filled._local.depth))
        group = filled.examples.hide([1, 2, 3, 4, 5], rater="bob")
    assert free == [0, 0] and [e.id for e in _rows(filled)] == [*range(6, ROWS + 1)]
    assert [d.group for d in filled.examples.history(3) if not d.undone][-1] == group
    filled.examples.undo("bob")
    assert [e for e in before if e.id != 2] == _rows(filled)
    filled.examples.redo("bob")
    assert [e.id for e in _rows(filled)] == [*range(6, ROWS + 1)]
