"""What runs measured of single examples: kept once, found and ordered by, and gone with the run."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from workbench.domain.chats import Turn
from workbench.domain.examples import Source, SourceKind, Status, demonstration
from workbench.domain.queries import parse_query
from workbench.domain.runs import ExampleScore, RunSpec, example_scores
from workbench.errors import UsageError
from workbench.paths import Workspace
from workbench.store.store import Store

STEP = "_scores"


def add_examples(store: Store, count: int) -> list[int]:
    made = []
    for number in range(count):
        content = demonstration([Turn("user", f"question {number}")], f"answer {number}")
        source = Source(SourceKind.IMPORT, file="a.jsonl", line=number)
        made.append(store.examples.add("d", content, source=source, status=Status.ACCEPTED, rater="r")[0].id)
    return made


def add_run(store: Store, name: str) -> int:
    spec = RunSpec(name, "sft", "pip", "/models/pip", "d", {}, 3, 0, "")
    return store.runs.add(spec, f"/runs/{name}").id


def score(run_id: int, example_id: int, loss: float | None, margin: float | None = None) -> ExampleScore:
    return ExampleScore(run_id, example_id, False, 7, 3.0, loss, None, margin)


def found(store: Store, query: str = "", order: str = "id") -> list[int]:
    return list(store.examples.ids(parse_query(query), order=order))


def test_scores_are_kept_once_however_often_they_are_copied_and_those_of_missing_examples_are_left_out(
    store: Store,
) -> None:
    first, second = add_examples(store, 2)
    run = add_run(store, "one")
    scores = [score(run, first, 0.5), score(run, second, 2.5), score(run, 999, 1.0)]
    assert store.scores.replace(run, scores) == 2
    assert store.scores.replace(run, scores) == 2
    assert [(s.example_id, s.loss, s.run) for s in store.scores.of_run(run)] == [
        (second, 2.5, "one"),
        (first, 0.5, "one"),
    ]


def test_examples_are_found_by_what_the_newest_run_measured(store: Store) -> None:
    low, high, none = add_examples(store, 3)
    old, new = add_run(store, "old"), add_run(store, "new")
    store.scores.replace(old, [score(old, low, 9.0), score(old, high, 9.0)])
    store.scores.replace(new, [score(new, low, 0.5, -1.0), score(new, high, 2.5, 4.0)])
    assert found(store, "loss>2") == [high]
    assert found(store, "loss<=0.5") == [low]
    assert found(store, "margin<0") == [low]
    assert found(store, "margin>-1.5 loss>1") == [high]
    assert found(store, "-loss>2") == [low, none]
    assert found(store, "has:loss") == [low, high]


def test_lists_are_ordered_by_the_score_of_a_run_and_rows_without_one_come_last(store: Store) -> None:
    first, second, none = add_examples(store, 3)
    old, new = add_run(store, "old"), add_run(store, "new")
    store.scores.replace(old, [score(old, first, 9.0), score(old, second, 1.0)])
    store.scores.replace(new, [score(new, first, 0.5), score(new, second, 2.5)])
    assert found(store, order="-loss") == [second, first, none]
    assert found(store, order="loss") == [first, second, none]
    assert found(store, order=f"-loss@{old}") == [first, second, none]
    assert store.scores.newest([first, none], run_id=old)[first].loss == 9.0
    assert list(store.scores.newest([first, none])) == [first]


def test_a_comparison_that_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="not a number"):
        parse_query("loss>high")


def test_rows_of_one_example_are_taken_together_by_their_tokens_and_thumbs_down_do_not_count() -> None:
    rows = [
        {"example": 1, "split": "train", "tokens": 1, "base": {"loss": 4.0}, "tuned": {"loss": 1.0}},
        {"example": 1, "split": "train", "tokens": 3, "base": {"loss": 8.0}, "tuned": {"loss": 2.0}},
        {"example": 2, "split": "held_out", "tokens": 2, "label": True, "base": {"loss": 3.0}, "tuned": {"loss": 1.5}},
        {"example": 2, "split": "held_out", "tokens": 2, "label": False, "base": {"loss": 9.0}, "tuned": {"loss": 9.0}},
        {"example": None, "split": "train", "tokens": 1, "base": {"loss": 1.0}, "tuned": {"loss": 1.0}},
    ]
    one, two = example_scores(5, rows)
    assert (one.base_loss, one.loss, one.tokens, one.held_out) == (7.0, 1.75, 4, False)
    assert (two.base_loss, two.loss, two.held_out, two.margin) == (3.0, 1.5, True, None)


def test_a_workspace_of_the_schema_before_opens_with_its_rows(workspace: Workspace) -> None:
    store = Store.open(workspace)
    (example,) = add_examples(store, 1)
    run = add_run(store, "one")
    store.close()
    _take_back(workspace.database)
    store = Store.open(workspace)
    assert found(store) == [example] and store.scores.of(example) == []
    assert store.scores.replace(run, [score(run, example, 1.0)]) == 1
    store.close()


def _take_back(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("DROP TABLE example_scores")
    assert db.execute("DELETE FROM _sqlite_migrations WHERE name LIKE ?", [f"%{STEP}"]).rowcount == 1
    db.commit()
    db.close()
