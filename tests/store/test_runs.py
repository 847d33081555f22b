from __future__ import annotations

import math
from dataclasses import replace

import pytest

from workbench.domain.runs import Metric, RunSpec, RunState, RunStatus
from workbench.errors import NotFoundError, StoreError
from workbench.store.store import Store


def spec(name: str = "first") -> RunSpec:
    return RunSpec(
        name, "sft", "pip", "/models/pip", "chats", {}, 10, 2, "hash", created_utc="2026-01-01T00:00:00.000Z"
    )


def test_a_run_begins_queued_under_the_id_that_was_announced(store: Store) -> None:
    for number in (1, 2):
        with store.write():
            announced = store.runs.next_id()
            run = store.runs.add(spec(f"run-{number}"), f"/runs/{announced}-run-{number}")
        assert run.id == announced
        assert (run.state, run.method, run.base, run.dataset) == (RunState.QUEUED, "sft", "pip", "chats")
        assert run.created_utc == "2026-01-01T00:00:00.000Z"
    assert [run.name for run in store.runs.list()] == ["run-2", "run-1"]


def test_a_run_is_found_by_name_id_and_start_the_newest_of_two_alike(store: Store) -> None:
    old, new = store.runs.add(spec("same"), "/a"), store.runs.add(spec("same"), "/b")
    assert store.runs.get("same") == new
    assert store.runs.get(old.id) == store.runs.get(str(old.id)) == old
    assert store.runs.get("sa") == new
    with pytest.raises(NotFoundError):
        store.runs.get(99)


def test_a_status_is_taken_over(store: Store) -> None:
    run = store.runs.add(spec(), "/a")
    status = RunStatus(RunState.FAILED, 3, 10, started_utc="s", ended_utc="e", error="out of memory", hint="smaller")
    changed = store.runs.update(run.id, status)
    assert (changed.state, changed.step, changed.total_steps) == (RunState.FAILED, 3, 10)
    assert (changed.error, changed.hint, changed.started_utc, changed.ended_utc) == (
        "out of memory", "smaller", "s", "e",
    )  # fmt: skip


def test_metrics_read_twice_are_kept_once(store: Store) -> None:
    run = store.runs.add(spec(), "/a")
    first = [Metric(1, "loss", 2.0), Metric(2, "loss", 1.5)]
    assert store.runs.record(run.id, first, offset=100)
    assert not store.runs.record(run.id, [Metric(1, "loss", 9.0)], offset=100)
    assert not store.runs.record(run.id, [Metric(1, "loss", 9.0)], offset=50)
    assert store.runs.metrics(run.id, "loss") == first
    assert store.runs.offset(run.id) == 100
    assert store.runs.record(run.id, [Metric(3, "loss", 1.0)], offset=150)
    assert [m.step for m in store.runs.metrics(run.id, "loss")] == [1, 2, 3]


def test_the_list_shows_the_last_losses_and_step(store: Store) -> None:
    run = store.runs.add(spec(), "/a")
    store.runs.record(
        run.id,
        [Metric(0, "base_eval_loss", 3.0), Metric(4, "loss", 2.0), Metric(5, "loss", 1.0), Metric(5, "eval_loss", 1.2)],
        offset=10,
    )
    shown = store.runs.get(run.id)
    assert (shown.loss, shown.eval_loss, shown.base_eval_loss, shown.step) == (1.0, 1.2, 3.0, 5)


def test_a_step_repeated_after_a_resume_replaces_the_first(store: Store) -> None:
    run = store.runs.add(spec(), "/a")
    store.runs.record(run.id, [Metric(1, "loss", 2.0), Metric(2, "loss", 1.9)], offset=10)
    store.runs.record(run.id, [Metric(2, "loss", 1.5)], offset=20)
    assert [m.value for m in store.runs.metrics(run.id, "loss")] == [2.0, 1.5]


def test_a_loss_that_is_no_number_is_kept_as_that(store: Store) -> None:
    run = store.runs.add(spec(), "/a")
    store.runs.record(run.id, [Metric(1, "loss", math.nan), Metric(2, "loss", math.inf)], offset=10)
    values = [m.value for m in store.runs.metrics(run.id, "loss")]
    assert math.isnan(values[0]) and values[1] == math.inf


def test_the_result_of_a_run_is_its_adapter(store: Store) -> None:
    run = store.runs.add(spec(), "/a")
    assert store.runs.set_result(run.id, adapter="first").adapter == "first"


def test_a_status_that_a_full_disk_does_not_take_is_shown_and_written_later(store: Store) -> None:
    run = store.runs.add(spec(), "/a")
    with store.write() as db:
        pages = db.conn.execute("PRAGMA page_count").fetchone()[0]
        db.conn.execute(f"PRAGMA max_page_count = {pages}")  # SQLite says of more what it says of a full disk
    paused = RunStatus(
        RunState.PAUSED, 3, 10, error="the disk is full at step 3" + " " * 100_000, hint="free some space"
    )
    assert store.runs.update(run.id, paused).state is RunState.PAUSED
    assert [(r.state, r.step) for r in store.runs.list()] == [(RunState.PAUSED, 3)]
    assert not store.runs.is_written(run.id)
    with pytest.raises(StoreError, match="the disk is full: this was not done") as told:
        store.runs.add(replace(spec(), name="x" * 100_000), "/b")
    assert "free some space" in told.value.hint
    with store.write() as db:
        db.conn.execute("PRAGMA max_page_count = 1000000")
    assert store.runs.update(run.id, paused).state is RunState.PAUSED
    assert store.runs.is_written(run.id)
    other = Store.open(store.workspace)
    try:
        assert other.runs.get("first").state is RunState.PAUSED
    finally:
        other.close()


def test_what_was_kept_of_steps_that_a_resume_undid_goes_with_the_first_of_the_new(store: Store) -> None:
    run, other = store.runs.add(spec(), "/a"), store.runs.add(spec("other"), "/b")
    for one in (run, other):
        store.runs.record(one.id, [Metric(step, "loss", 2.0) for step in (4, 7, 9)], offset=10)
    store.runs.record(run.id, [Metric(8, "loss", 1.0)], offset=20, after=4)
    assert [m.step for m in store.runs.metrics(run.id, "loss")] == [4, 8]
    assert [m.step for m in store.runs.metrics(other.id, "loss")] == [4, 7, 9]
