"""What is taken over of a run that was killed and resumed: its curve goes on where the trainer did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiny_llama import make_run
from workbench.domain.runs import RunState, RunStatus
from workbench.flows import run_news, train
from workbench.flows.bench import Bench
from workbench.jobs.run_directory import RunDirectory
from workbench.jobs.run_facts import read_facts

RESUMED = (
    {"event": "state", "state": "running", "step": 0},
    {"event": "eval", "step": 0, "which": "base", "loss": 3.0},
    {"event": "metrics", "step": 4, "values": {"loss": 2.5}},
    {"event": "checkpoint", "step": 4},
    {"event": "metrics", "step": 7, "values": {"loss": 2.2}, "losses": [[5, 2.3], [6, 2.2], [7, 2.1]]},
    {"event": "device", "step": 8, "values": {"memory_bytes": 5.0}},
    {"event": "sample", "step": 8, "which": "during", "answers": []},
    # Killed. Quick steps are told together, the second time other ones than the first.
    {"event": "state", "state": "starting", "step": 8},
    {"event": "state", "state": "running", "step": 4},
    {"event": "metrics", "step": 6, "values": {"loss": 2.4}, "losses": [[5, 2.5], [6, 2.3]]},
)


@pytest.mark.parametrize("seen", [0, 6, 8, 10])
def test_a_resumed_run_has_no_point_of_the_steps_that_were_undone(bench: Bench, seen: int) -> None:
    directory = make_run(bench.workspace.runs / "1-run", bench.workspace.root)
    run = bench.store.runs.add(directory.spec(), str(directory.root))
    directory.write_status(RunStatus(RunState.STOPPED, step=6, total_steps=9))
    for part in (RESUMED[:seen], RESUMED[seen:]):
        with directory.events_file.open("a") as file:
            file.writelines(json.dumps(event) + "\n" for event in part)
        train.sync(bench, start_runner=lambda runs: None)
    assert [(m.step, m.value) for m in train.metrics(bench, run, "loss")] == [(4, 2.5), (6, 2.4)]
    assert [m.step for m in train.metrics(bench, run, "base_eval_loss")] == [0]
    assert train.metrics(bench, run, "memory_bytes") == []
    assert list(read_facts(RunDirectory(Path(run.directory))).curves["loss"]) == [(4, 2.5), (5, 2.5), (6, 2.3)]


def test_a_run_that_is_seen_a_moment_before_it_is_queued_is_not_told_to_be_cancelled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_run(bench.workspace.runs / "1-run", bench.workspace.root)
    run = bench.store.runs.add(directory.spec(), str(directory.root))
    monkeypatch.setattr("workbench.flows.run_news.time.sleep", lambda seconds: directory.enqueue())
    assert run_news.take_over(bench, run).state is RunState.QUEUED
