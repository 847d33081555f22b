from __future__ import annotations

import errno
import hashlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from fakes import FakeEngine
from workbench.domain.chats import Turn
from workbench.domain.decisions import Action
from workbench.domain.examples import (
    Content,
    Source,
    SourceKind,
    Split,
    Status,
    demonstration,
    judgement,
    preference,
)
from workbench.domain.models import ModelKind
from workbench.domain.runs import Metric, Run, RunState, RunStatus
from workbench.errors import NotFoundError, RefusedError, RunError, UsageError
from workbench.flows import run_news, run_rows, sweeps, train
from workbench.flows.bench import Bench
from workbench.jobs.launch import ensure_runner, runner_is_running
from workbench.jobs.processes import ProcessIdentity
from workbench.jobs.run_directory import KILL, STOP, RunDirectory, mark_complete

FAKE = Path(__file__).parents[1] / "jobs" / "fake_trainer.py"
PATIENCE_SECONDS = 30.0


def nobody(runs: Path) -> None:
    """A runner that never comes."""


def fake_runner(mode: str) -> Callable[[Path], object]:
    return partial(ensure_runner, trainer=[sys.executable, str(FAKE), mode])


def add(
    bench: Bench,
    contents: Sequence[Content],
    *,
    dataset: str = "chats",
    status: Status = Status.ACCEPTED,
    **given: object,
) -> list[int]:
    ids = []
    for number, content in enumerate(contents):
        source = Source(SourceKind.IMPORT, file="a.jsonl", line=number)
        example, _ = bench.store.examples.add(dataset, content, source=source, status=status, rater="rater", **given)  # type: ignore[arg-type]
        ids.append(example.id)
    return ids


def asked(count: int, *, prefix: str = "Question") -> list[Content]:
    return [demonstration((Turn("user", f"{prefix} {n}"),), f"Answer {n}.") for n in range(count)]


def pairs(count: int) -> list[Content]:
    return [preference((Turn("user", f"Which {n}"),), f"Good {n}.", f"Bad {n}.") for n in range(count)]


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def until(bench: Bench, run: Run, *states: RunState) -> Run:
    patience = time.monotonic() + PATIENCE_SECONDS
    while (now := bench.store.runs.get(run.id)).state not in states:
        assert time.monotonic() < patience, now
        train.sync(bench, start_runner=nobody)
        time.sleep(0.02)
    return now


@pytest.fixture
def run(bench: Bench) -> Run:
    """A queued run that no runner takes."""
    add(bench, asked(40))
    return train.launch(bench, train.plan(bench, method="sft", dataset="chats"), start_runner=nobody)


def test_a_plan_holds_accepted_examples_only_and_none_of_the_test_split(bench: Bench) -> None:
    accepted = add(bench, asked(30))
    add(bench, asked(3, prefix="Pending"), status=Status.PENDING)
    add(bench, asked(3, prefix="Rejected"), status=Status.REJECTED)
    add(bench, asked(3, prefix="Test"), split=Split.TEST)
    plan = train.plan(bench, method="sft", dataset="chats")
    assert sorted(plan.spec.example_ids + plan.spec.eval_example_ids) == accepted
    assert 0 < plan.spec.eval_rows < plan.spec.train_rows == len(plan.train_rows)


def test_a_plan_writes_nothing_and_starts_nothing(bench: Bench) -> None:
    add(bench, asked(30))
    train.plan(bench, method="sft", dataset="chats")
    assert train.runs(bench) == []
    assert not bench.workspace.runs.exists() or list(bench.workspace.runs.iterdir()) == []


def test_rows_marked_as_validation_are_held_out(bench: Bench) -> None:
    ids = add(bench, asked(30))
    bench.store.examples.change(ids[:4], Action.SPLIT, rater="rater", split=Split.VALIDATION)
    plan = train.plan(bench, method="sft", dataset="chats")
    assert plan.spec.eval_example_ids == tuple(ids[:4])


def test_another_dataset_can_be_held_out_whole(bench: Bench) -> None:
    ids = add(bench, asked(10))
    held_out = add(bench, asked(5, prefix="Other"), dataset="held-out")
    plan = train.plan(bench, method="sft", dataset="chats", eval_dataset="held-out")
    assert plan.spec.example_ids == tuple(ids)
    assert plan.spec.eval_example_ids == tuple(held_out)


def test_a_held_out_prompt_that_is_also_trained_on_is_told(bench: Bench) -> None:
    add(bench, asked(30))
    others = [demonstration((Turn("user", f"Question {n}"),), f"Another answer {n}.") for n in range(2)]
    add(bench, others, dataset="held-out")
    plan = train.plan(bench, method="sft", dataset="chats", eval_dataset="held-out")
    assert any("2 of 2 held-out rows" in finding for finding in plan.findings)


def test_a_held_out_row_is_not_trained_on_unless_that_is_allowed(bench: Bench) -> None:
    add(bench, asked(30))
    add(bench, asked(2), dataset="held-out")
    with pytest.raises(RefusedError, match="2 of 30 rows must not be trained on") as refused:
        train.plan(bench, method="sft", dataset="chats", eval_dataset="held-out")
    assert "--allow leakage" in refused.value.hint
    allowed = train.plan(bench, method="sft", dataset="chats", eval_dataset="held-out", allow=("leakage",))
    assert allowed.spec.train_rows == 30 and "--allow leakage" in allowed.command


def test_few_rows_and_nothing_held_out_are_told(bench: Bench) -> None:
    add(bench, asked(3))
    findings = " ".join(train.plan(bench, method="sft", dataset="chats").findings)
    assert "only 3 rows" in findings and "nothing is held out" in findings


def test_dpo_takes_pairs_and_sft_takes_their_better_side_only_when_asked(bench: Bench) -> None:
    shown = add(bench, asked(20))
    paired = add(bench, pairs(20))
    dpo = train.plan(bench, method="dpo", dataset="chats").spec
    assert sorted(dpo.example_ids + dpo.eval_example_ids) == paired
    sft = train.plan(bench, method="sft", dataset="chats").spec
    assert sorted(sft.example_ids + sft.eval_example_ids) == shown
    both = train.plan(bench, method="sft", dataset="chats", overrides={"include_chosen": "true"})
    assert sorted(both.spec.example_ids + both.spec.eval_example_ids) == shown + paired
    assert "--set include_chosen=true" in both.command


def test_kto_takes_thumbs_and_pairs_taken_apart_only_when_asked(bench: Bench) -> None:
    add(bench, [judgement((Turn("user", f"q{n}"),), f"a{n}", n % 2 == 0) for n in range(20)])
    add(bench, pairs(10))
    alone = train.plan(bench, method="kto", dataset="chats", overrides={"eval_share": "0"})
    assert len(alone.train_rows) == 20
    both = train.plan(bench, method="kto", dataset="chats", overrides={"eval_share": "0", "include_pairs": "true"})
    assert len(both.train_rows) == 40
    assert sum(row.row["label"] is True for row in both.train_rows) == 20
    assert [r.example_id for r in both.train_rows] != sorted(r.example_id for r in both.train_rows)


def test_kto_with_thumbs_of_one_kind_is_refused(bench: Bench) -> None:
    add(bench, [judgement((Turn("user", f"q{n}"),), f"a{n}", True) for n in range(20)])
    with pytest.raises(RefusedError, match="no thumb down"):
        train.plan(bench, method="kto", dataset="chats")


def test_nothing_to_train_on_is_refused_with_what_to_do(bench: Bench) -> None:
    add(bench, asked(4), status=Status.PENDING)
    with pytest.raises(RefusedError, match="no accepted demonstration") as pending:
        train.plan(bench, method="sft", dataset="chats")
    assert "accept" in pending.value.hint
    add(bench, pairs(4), dataset="pairs")
    with pytest.raises(RefusedError) as convertible:
        train.plan(bench, method="sft", dataset="pairs")
    assert "include_chosen=true" in convertible.value.hint
    with pytest.raises(RefusedError) as wrong:
        train.plan(bench, method="dpo", dataset="chats")
    assert "Arena" in wrong.value.hint


def test_half_a_character_is_refused_by_its_example(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (example_id, *_) = add(bench, asked(5))
    broken = replace(bench.store.examples.get(example_id), content=demonstration((Turn("user", "\ud83d"),), "a"))
    monkeypatch.setattr(run_rows, "_accepted", lambda *_: iter([broken]))
    with pytest.raises(RefusedError, match=f"example {example_id} holds half a character"):
        train.plan(bench, method="sft", dataset="chats")


def test_unknown_names_and_settings_are_refused_by_name(bench: Bench) -> None:
    add(bench, asked(5))
    plan = partial(train.plan, bench)
    with pytest.raises(NotFoundError, match="ppo"):
        plan(method="ppo", dataset="chats")
    with pytest.raises(NotFoundError, match="chets"):
        plan(method="sft", dataset="chets")
    with pytest.raises(UsageError, match="learning_rat"):
        plan(method="sft", dataset="chats", overrides={"learning_rat": "1"})
    with pytest.raises(UsageError, match="preset"):
        plan(method="sft", dataset="chats", preset="wild")


def test_ending_early_without_anything_to_end_by_is_refused_with_what_to_set(bench: Bench) -> None:
    add(bench, asked(20))
    plan = partial(train.plan, bench, method="sft", dataset="chats")
    patience = {"early_stopping_patience": "3"}
    unseen = {"eval_steps": "10", "eval_share": "0"}
    for wish in (patience, {"lr_scheduler_type": "reduce_lr_on_plateau"}):
        for given, said in ((wish, "nothing is measured before the end"), ({**wish, **unseen}, "no row is held out")):
            with pytest.raises(RefusedError, match=said) as refused:
                plan(overrides=given)
            ways = [way.knobs for way in refused.value.remedies]
            assert ways and all(plan(overrides={**given, **knobs}) for knobs in ways)
    assert plan(overrides={**patience, "eval_steps": "10"}).spec.knobs["early_stopping_patience"] == 3


def test_auto_is_tiny_for_a_small_model_and_not_for_one_of_unknown_size(bench: Bench) -> None:
    add(bench, asked(5))
    bench.store.models.add("large", ModelKind.BASE, "org/large-model")
    assert train.plan(bench, method="sft", dataset="chats").spec.preset == "tiny"
    assert train.plan(bench, method="sft", dataset="chats", model="large").spec.preset == "auto"
    gentle = train.plan(bench, method="sft", dataset="chats", preset="gentle").spec
    assert (gentle.preset, gentle.knobs["learning_rate"]) == ("gentle", 5e-5)


def test_max_length_is_the_model_s_context_unless_a_person_set_it(bench: Bench) -> None:
    add(bench, asked(5))
    context = json.loads((Path(bench.store.models.default().path) / "config.json").read_text())[
        "max_position_embeddings"
    ]
    assert train.plan(bench, method="sft", dataset="chats", preset="gentle").spec.knobs["max_length"] == context
    given = train.plan(bench, method="sft", dataset="chats", overrides={"max_length": "700"})
    assert given.spec.knobs["max_length"] == 700


def test_going_on_from_an_adapter_names_the_adapter_and_its_base(bench: Bench, tmp_path: Path) -> None:
    add(bench, asked(5))
    (tmp_path / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "r": 4, "target_modules": ["v_proj", "q_proj"], "lora_dropout": 0.0}'
    )
    bench.store.models.add("tuned", ModelKind.ADAPTER, str(tmp_path), base=bench.store.models.default().name)
    spec = train.plan(bench, method="sft", dataset="chats", model="tuned").spec
    assert (spec.adapter, spec.adapter_path) == ("tuned", str(tmp_path))
    assert (spec.knobs["adapter"], spec.knobs["lora_r"], spec.knobs["lora_dropout"]) == ("lora", 4, 0.0)
    assert spec.knobs["target_modules"] == "q_proj,v_proj"
    assert spec.base_path == bench.store.models.default().path


def test_the_command_says_the_same_as_the_form(bench: Bench) -> None:
    add(bench, asked(30))
    first = train.plan(
        bench,
        method="sft",
        dataset="chats",
        overrides={"learning_rate": "0.004", "target_modules": "q_proj, v_proj"},
        name="my-run",
    )
    words = shlex.split(first.command)
    assert words[:2] == ["workbench", "train"]
    flags = dict(zip(words[2::2], words[3::2], strict=True))
    settings = dict(pair.split("=", 1) for flag, pair in zip(words[2::2], words[3::2], strict=True) if flag == "--set")
    again = train.plan(
        bench,
        method=flags["--method"],
        dataset=flags["--dataset"],
        model=flags["--model"],
        preset=flags["--preset"],
        name=flags["--name"],
        overrides=settings,
    )
    assert replace(again.spec, created_utc="") == replace(first.spec, created_utc="")


def test_names_are_free_and_a_taken_one_is_refused(bench: Bench, run: Run) -> None:
    assert run.name == "chats-sft"
    assert train.plan(bench, method="sft", dataset="chats").spec.name == "chats-sft-2"
    with pytest.raises(RefusedError, match="chats-sft"):
        train.plan(bench, method="sft", dataset="chats", name="chats-sft")


def test_a_launched_run_is_frozen_in_its_folder_and_queued(bench: Bench) -> None:
    ids = add(bench, asked(40))
    plan = train.plan(bench, method="sft", dataset="chats")
    run = train.launch(bench, plan, start_runner=nobody)
    directory = RunDirectory(Path(run.directory))
    assert directory.root.parent == bench.workspace.runs and directory.root.name == f"{run.id}-{run.name}"
    frozen = directory.train_file.read_bytes() + directory.eval_file.read_bytes()
    spec = train.spec(run)
    assert spec.row_hash == hashlib.sha256(frozen).hexdigest()
    assert len(lines(directory.train_file)) == spec.train_rows == len(spec.example_ids)
    first = bench.store.examples.get(spec.example_ids[0])
    assert lines(directory.train_file)[0] == {
        "prompt": [t.as_dict() for t in first.content.prompt],
        "completion": [t.as_dict() for t in first.content.chosen],
    }
    assert run.state is RunState.QUEUED and directory.status() is not None
    bench.store.examples.change(ids, Action.REJECT, rater="rater", status=Status.REJECTED)
    assert directory.row_hash() == spec.row_hash


def test_the_same_plan_makes_the_same_rows(bench: Bench) -> None:
    add(bench, asked(40))
    first, second = (
        train.launch(bench, train.plan(bench, method="sft", dataset="chats"), start_runner=nobody) for _ in range(2)
    )
    assert train.spec(first).row_hash == train.spec(second).row_hash


def test_a_run_through_a_runner_is_taken_over_with_its_curve(bench: Bench) -> None:
    add(bench, asked(40))
    run = train.launch(bench, train.plan(bench, method="sft", dataset="chats"), start_runner=fake_runner("finish"))
    done = until(bench, run, RunState.FINISHED)
    assert (done.step, done.total_steps, done.loss) == (2, 2, 1.5)
    assert [(m.step, m.value) for m in train.metrics(bench, run, "loss")] == [(2, 1.5)]
    assert "hello from the trainer" in train.log_tail(bench, run)


def test_taking_over_twice_changes_nothing(bench: Bench, run: Run) -> None:
    directory = RunDirectory(Path(run.directory))
    directory.events_file.write_text('{"event": "metrics", "step": 3, "values": {"loss": 2.0}}\n')
    directory.write_status(RunStatus(RunState.STOPPED, step=3, total_steps=9))
    assert [r.step for r in train.sync(bench, start_runner=nobody)] == [3]
    assert train.sync(bench, start_runner=nobody) == []
    assert len(train.metrics(bench, run, "loss")) == 1


def test_events_become_the_curves_that_the_pane_asks_for() -> None:
    events = [
        {"event": "eval", "step": 0, "which": "base", "loss": 3.0, "perplexity": 20.1, "accuracy": 0.5, "margin": 0.0},
        {"event": "metrics", "step": 2, "values": {"loss": 2.5, "learning_rate": 1e-3, "grad_norm": None}},
        {"event": "eval", "step": 4, "which": "during", "loss": 2.0},
        {"event": "device", "step": 4, "values": {"memory_bytes": 5.0}},
        {"event": "note", "text": "hello"},
    ]
    found = [(m.step, m.name, m.value) for m in run_news.metrics_of(events) if m.value == m.value]
    assert found == [
        (0, "base_eval_loss", 3.0),
        (0, "base_eval_perplexity", 20.1),
        (0, "base_eval_accuracy", 0.5),
        (0, "base_eval_margin", 0.0),
        (2, "loss", 2.5),
        (2, "learning_rate", 1e-3),
        (4, "eval_loss", 2.0),
        (4, "memory_bytes", 5.0),
    ]


def test_a_run_whose_process_is_gone_is_lost_and_can_be_resumed(bench: Bench, run: Run) -> None:
    directory = RunDirectory(Path(run.directory))
    directory.log_file.write_text("the last thing it said\n")
    saved = directory.checkpoints / "checkpoint-20"
    saved.mkdir()
    (saved / "weights").write_bytes(b"w")
    mark_complete(saved)
    own = ProcessIdentity.own()
    gone = RunStatus(RunState.RUNNING, step=24, total_steps=90, pid=own.pid, process_started=own.started - 999)
    directory.write_status(gone)
    (lost,) = train.sync(bench, start_runner=nobody)
    assert lost.state is RunState.LOST and lost.step == 24
    assert "the last thing it said" in lost.error and "step 20" in lost.hint
    assert train.resume(bench, lost, start_runner=nobody).state is RunState.QUEUED


def test_a_run_whose_process_lives_is_running(bench: Bench, run: Run) -> None:
    own = ProcessIdentity.own()
    running = RunStatus(RunState.RUNNING, step=1, total_steps=9, pid=own.pid, process_started=own.started)
    RunDirectory(Path(run.directory)).write_status(running)
    (now,) = train.sync(bench, start_runner=nobody)
    assert now.state is RunState.RUNNING


def test_what_a_run_does_is_told_with_what_its_trainer_had_to_change(run: Run) -> None:
    directory = RunDirectory(Path(run.directory))
    before = train.spec(run)
    directory.adjust({"per_device_train_batch_size": 3})
    assert train.spec(run) == replace(before, knobs={**before.knobs, "per_device_train_batch_size": 3})
    assert directory.spec() == before


def test_a_run_whose_folder_is_gone_is_lost(bench: Bench, run: Run) -> None:
    directory = RunDirectory(Path(run.directory))
    directory.root.rename(directory.root.with_name("elsewhere"))
    (lost,) = train.sync(bench, start_runner=nobody)
    assert lost.state is RunState.LOST and "folder is gone" in lost.error
    directory.adapter.mkdir(parents=True)  # a trainer that had not noticed made a folder in its place
    (directory.adapter / "adapter_model.safetensors").write_bytes(b"x")
    directory.write_status(RunStatus(RunState.FINISHED))
    assert train.sync(bench, start_runner=nobody) == []
    with pytest.raises(RunError):
        train.resume(bench, lost, start_runner=nobody)


def test_a_launch_that_died_before_queueing_starts_nothing_and_can_be_resumed(bench: Bench, run: Run) -> None:
    directory = RunDirectory(Path(run.directory))
    (directory.root / "state.json").unlink()
    (changed,) = train.sync(bench, start_runner=nobody)
    assert changed.state is RunState.CANCELLED
    assert train.resume(bench, changed, start_runner=nobody).state is RunState.QUEUED


def test_stopping_a_queued_run_cancels_it(bench: Bench, run: Run) -> None:
    assert train.stop(bench, run).state is RunState.CANCELLED
    with pytest.raises(RunError, match="cancelled"):
        train.stop(bench, run)


def test_a_running_run_stops_and_resumes_through_the_runner(bench: Bench) -> None:
    add(bench, asked(40))
    run = train.launch(bench, train.plan(bench, method="sft", dataset="chats"), start_runner=fake_runner("wait"))
    until(bench, run, RunState.RUNNING)
    with pytest.raises(RunError, match="running"):
        train.resume(bench, run, start_runner=nobody)
    train.stop(bench, run)
    stopped = until(bench, run, RunState.STOPPED)
    while runner_is_running(bench.workspace.runs):  # it would take the run again, with a trainer that waits
        time.sleep(0.02)
    train.resume(bench, stopped, start_runner=fake_runner("finish"))
    until(bench, run, RunState.FINISHED)
    assert RunDirectory(Path(run.directory)).requested() == ""


def test_a_killed_run_is_cancelled_at_once(bench: Bench) -> None:
    add(bench, asked(40))
    run = train.launch(bench, train.plan(bench, method="sft", dataset="chats"), start_runner=fake_runner("wait"))
    until(bench, run, RunState.RUNNING)
    status = RunDirectory(Path(run.directory)).status()
    assert status is not None and status.pid is not None
    assert train.kill(bench, run).state is RunState.CANCELLED
    assert ProcessIdentity.of(status.pid) is None
    assert RunDirectory(Path(run.directory)).requested() == KILL


@pytest.mark.parametrize("takes_names", [True, False])
def test_a_run_is_killed_on_a_disk_that_takes_nothing_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, takes_names: bool
) -> None:
    add(bench, asked(40))
    run = train.launch(bench, train.plan(bench, method="sft", dataset="chats"), start_runner=fake_runner("wait"))
    until(bench, run, RunState.RUNNING)
    status = RunDirectory(Path(run.directory)).status()
    assert status is not None and status.pid is not None

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkstemp", full)
        if not takes_names:
            patch.setattr(Path, "touch", full)
        state = train.kill(bench, run).state
    assert ProcessIdentity.of(status.pid) is None
    assert state is (RunState.CANCELLED if takes_names else RunState.LOST)


def test_a_run_on_another_machine_is_neither_lost_nor_killed_from_here(bench: Bench, run: Run) -> None:
    directory = RunDirectory(Path(run.directory))
    directory.write_status(RunStatus(RunState.RUNNING, step=3, total_steps=9, pid=1, process_started=1.0))
    (directory.root / "heartbeat").write_text("another-machine")
    (seen,) = train.sync(bench, start_runner=nobody)
    assert seen.state is RunState.RUNNING
    with pytest.raises(RunError, match="another-machine"):
        train.kill(bench, run)
    assert directory.requested() == ""


def test_a_queue_without_a_runner_gets_one(bench: Bench, run: Run) -> None:
    started: list[Path] = []
    train.sync(bench, start_runner=started.append)
    assert started == [bench.workspace.runs]
    train.stop(bench, run)
    train.sync(bench, start_runner=started.append)
    assert len(started) == 1
    assert not runner_is_running(bench.workspace.runs)


def finished(bench: Bench, run: Run, folder: str, weights: str) -> Path:
    directory = RunDirectory(Path(run.directory))
    made = directory.root / folder
    made.mkdir()
    (made / weights).write_bytes(b"weights")
    directory.write_status(RunStatus(RunState.FINISHED, step=9, total_steps=9))
    return made


def test_a_finished_run_s_adapter_is_registered_once_with_base_run_and_hash(bench: Bench, run: Run) -> None:
    folder = finished(bench, run, "adapter", "adapter_model.safetensors")
    (done,) = train.sync(bench, start_runner=nobody)
    model = bench.store.models.get("chats-sft")
    assert done.adapter == model.name
    assert (model.kind, model.path, model.base, model.run_id) == (ModelKind.ADAPTER, str(folder), run.base, run.id)
    assert model.sha256 == hashlib.sha256(b"weights").hexdigest()
    count = len(bench.store.models.list())
    assert train.sync(bench, start_runner=nobody) == []
    assert len(bench.store.models.list()) == count


def test_a_full_fine_tuning_is_registered_as_a_base_of_its_own(bench: Bench, run: Run) -> None:
    finished(bench, run, "model", "model.safetensors")
    train.sync(bench, start_runner=nobody)
    model = bench.store.models.get("chats-sft")
    assert (model.kind, model.base) == (ModelKind.BASE, "")


def test_a_name_that_was_taken_meanwhile_does_not_lose_the_adapter(bench: Bench, run: Run) -> None:
    bench.store.models.add("chats-sft", ModelKind.BASE, "org/another")
    finished(bench, run, "adapter", "adapter_model.safetensors")
    (done,) = train.sync(bench, start_runner=nobody)
    assert done.adapter == "chats-sft-2"


def test_a_model_that_was_removed_does_not_come_back(bench: Bench, run: Run) -> None:
    finished(bench, run, "adapter", "adapter_model.safetensors")
    train.sync(bench, start_runner=nobody)
    bench.store.models.remove("chats-sft")
    train.sync(bench, start_runner=nobody)
    with pytest.raises(NotFoundError):
        bench.store.models.get("chats-sft")


def test_notes_of_the_trainer_are_there_to_read(bench: Bench, run: Run) -> None:
    RunDirectory(Path(run.directory)).events_file.write_text('{"event": "note", "text": "3 rows were cut"}\n')
    assert train.notes(run) == ["3 rows were cut"]


def test_a_launch_does_not_wait_for_the_engine_between_recording_and_queueing(
    bench: Bench, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(bench, asked(40))
    seen: list[RunState] = []
    status = engine.status()
    monkeypatch.setattr(engine, "status", lambda: replace(status, device="cuda:0"))

    def other_bench_looks() -> None:
        train.sync(bench, start_runner=nobody)
        seen.extend(run.state for run in train.runs(bench))

    monkeypatch.setattr(engine, "unload", other_bench_looks)
    train.launch(bench, train.plan(bench, method="sft", dataset="chats"), start_runner=nobody)
    assert RunState.CANCELLED not in seen


def test_a_stop_reaches_the_trainer_by_its_control_file(bench: Bench, run: Run) -> None:
    directory = RunDirectory(Path(run.directory))
    own = ProcessIdentity.own()
    directory.write_status(RunStatus(RunState.RUNNING, pid=own.pid, process_started=own.started))
    train.stop(bench, run)
    assert directory.requested() == STOP


def test_what_a_run_gained_is_that_of_the_weights_it_kept_not_of_its_last_step(bench: Bench, run: Run) -> None:
    before = [Metric(0, "base_eval_reward", 0.5, "2026-01-01T00:01")]
    during = [Metric(step, "eval_reward", value, f"2026-01-01T00:{step}") for step, value in ((10, 0.9), (20, 0.6))]
    kept = [Metric(10, "eval_reward", 0.9, "2026-01-01T00:30")]
    bench.store.runs.record(run.id, [*before, *during, *kept], offset=1)
    assert train.gains(bench, run)["reward"] == (0.5, 0.9)
    assert sweeps._outcome(bench, run, train.spec(run), ["reward"]).value == 0.9
