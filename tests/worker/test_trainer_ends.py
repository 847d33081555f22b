"""How runs end and go on: stopped, resumed bit by bit, torn, failed with a reason."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tiny_llama import make_run
from workbench.domain.runs import RunState, RunStatus
from workbench.errors import BusyError
from workbench.jobs.run_directory import STOP, RunDirectory, mark_complete

pytestmark = pytest.mark.ml
Train = Callable[[RunDirectory], int]


def status(directory: RunDirectory) -> RunStatus:
    told = directory.status()
    assert told is not None
    return told


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], object]) -> None:
    """Have ``act`` happen in the training process when it has made this many steps."""
    from workbench.worker.trainer.reporting import Reporter

    progress = Reporter.progress

    def watched(self: Reporter, now: int, total: int, **rest: bool) -> None:
        progress(self, now, total, **rest)
        if now == step:
            act()

    monkeypatch.setattr(Reporter, "progress", watched)


def history(directory: RunDirectory) -> list[dict[str, Any]]:
    last = directory.complete_checkpoints()[-1]
    logged = json.loads((last / "trainer_state.json").read_text())["log_history"]
    return [
        {k: entry[k] for k in ("step", "loss", "grad_norm", "learning_rate")} for entry in logged if "loss" in entry
    ]


@pytest.mark.parametrize(
    ("method", "knobs"),
    [
        ("sft", {"lora_dropout": 0.2, "gradient_accumulation_steps": 2}),
        ("sft", {"adapter": "full"}),
        ("dpo", {"adapter_path": "the tuned one's"}),
    ],
    ids=["sft-lora", "sft-full", "dpo-from-an-adapter"],
)
def test_a_stopped_and_resumed_run_makes_bit_for_bit_the_steps_of_an_unbroken_one(
    method: str, knobs: dict[str, object], tmp_path: Path, tiny_llama: Path, tuned: RunDirectory, train: Train
) -> None:
    if "adapter_path" in knobs:
        knobs = knobs | {"adapter_path": str(tuned.adapter)}
    whole = make_run(tmp_path / "whole", tiny_llama, method, max_steps=8, save_steps=100, **knobs)
    assert train(whole) == 0
    broken = make_run(tmp_path / "broken", tiny_llama, method, max_steps=8, save_steps=100, **knobs)
    with pytest.MonkeyPatch.context() as monkeypatch:
        at_step(monkeypatch, 5, lambda: broken.request(STOP))
        assert train(broken) == 0
    assert (status(broken).state, status(broken).step) == (RunState.STOPPED, 5)
    assert [p.name for p in broken.complete_checkpoints()] == ["checkpoint-5"]
    assert not broken.adapter.exists() and not broken.model.exists()
    broken.enqueue()
    assert train(broken) == 0
    assert len(history(whole)) == 8
    assert history(broken) == history(whole)
    name = "model/model.safetensors" if knobs.get("adapter") == "full" else "adapter/adapter_model.safetensors"
    assert (broken.root / name).read_bytes() == (whole.root / name).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_saves_and_stops(
    number: int, tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=8, save_steps=100)
    at_step(monkeypatch, 3, lambda: os.kill(os.getpid(), number))
    assert train(directory) == 0
    assert status(directory).state is RunState.STOPPED
    (saved,) = directory.complete_checkpoints()
    assert saved.name == "checkpoint-3"


def test_a_stop_before_the_first_step_stops_without_a_checkpoint(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=8)
    directory.request(STOP)
    assert train(directory) == 0
    assert status(directory).state is RunState.STOPPED
    assert directory.complete_checkpoints() == []


def test_a_stop_during_a_measurement_gives_it_up_and_saves_what_was_learnt(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.trainer.held_out import HeldOut

    directory = make_run(tmp_path / "run", tiny_llama, max_steps=8, save_steps=100, eval_steps=3)
    measure = HeldOut._log_probs

    def interrupted(self: HeldOut, *args: Any) -> Any:
        if self._trainer.state.global_step == 3:
            directory.request(STOP)
        return measure(self, *args)

    monkeypatch.setattr(HeldOut, "_log_probs", interrupted)
    monkeypatch.setattr(HeldOut, "_batches", lambda self, all=HeldOut._batches: iter(2 * list(all(self))))
    assert train(directory) == 0
    assert status(directory).state is RunState.STOPPED
    assert [p.name for p in directory.complete_checkpoints()] == ["checkpoint-3"]
    assert [e["which"] for e in directory.events()[0] if e["event"] == "eval"] == ["base"]


def test_a_torn_checkpoint_is_removed_and_the_complete_one_before_it_taken(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=8, save_steps=2)
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, 4, lambda: directory.request(STOP))
        assert train(directory) == 0
    torn = directory.checkpoints / "checkpoint-6"
    torn.mkdir()
    (torn / "adapter_model.safetensors").write_bytes(b"half of it")
    (torn / "trainer_state.json").write_text("{}")
    directory.enqueue()
    assert train(directory) == 0
    notes = [e["text"] for e in directory.events()[0] if e["event"] == "note"]
    assert "removed unfinished checkpoints: checkpoint-6" in notes
    assert "resumed from step 4" in notes
    assert status(directory).state is RunState.FINISHED


def test_a_run_killed_after_its_last_step_is_finished_by_resuming_it(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=4)
    assert train(directory) == 0
    weights = directory.adapter / "adapter_model.safetensors"
    saved = weights.read_bytes()
    directory.adapter.rename(directory.root / ".adapter-new")
    directory.enqueue()
    assert train(directory) == 0
    assert weights.read_bytes() == saved
    assert status(directory).state is RunState.FINISHED


def test_a_loss_that_is_no_number_fails_the_run_before_it_reaches_the_weights(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trl

    compute = trl.SFTTrainer.compute_loss
    calls = iter(range(100))

    def spoilt(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = compute(self, *args, **kwargs)
        return loss * float("nan") if next(calls) == 3 else loss

    monkeypatch.setattr(trl.SFTTrainer, "compute_loss", spoilt)
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=8, save_steps=2)
    assert train(directory) == 1
    told = status(directory)
    assert told.state is RunState.FAILED
    assert "nan at step 4" in told.error and "learning_rate" in told.hint
    assert [p.name for p in directory.complete_checkpoints()] == ["checkpoint-2"]


def test_running_out_of_memory_fails_with_what_to_change(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    import trl

    def hungry(self: Any, *args: Any, **kwargs: Any) -> Any:
        return torch.empty(1 << 60)

    monkeypatch.setattr(trl.SFTTrainer, "compute_loss", hungry)
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=8)
    assert train(directory) == 1
    told = status(directory)
    assert told.state is RunState.FAILED
    assert told.error == "out of memory"
    assert "per_device_train_batch_size" in told.hint


def test_a_full_disk_fails_the_run_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    save = transformers.Trainer._save_optimizer_and_scheduler

    def full(self: Any, folder: str) -> None:
        if folder.endswith("-4"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(self, folder)

    monkeypatch.setattr(transformers.Trainer, "_save_optimizer_and_scheduler", full)
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=8, save_steps=2)
    assert train(directory) == 1
    told = status(directory)
    assert (told.state, told.error) == (RunState.FAILED, "the disk is full at step 4")
    assert "free some space" in told.hint
    assert [p.name for p in directory.checkpoints.iterdir()] == ["checkpoint-2"]


def test_rows_changed_after_the_run_was_made_are_refused(tmp_path: Path, tiny_llama: Path, train: Train) -> None:
    directory = make_run(tmp_path / "run", tiny_llama)
    with directory.train_file.open("a") as file:
        file.write("{}\n")
    assert train(directory) == 1
    assert "rows of this run were changed" in status(directory).error


def test_a_base_model_that_is_not_there_fails_in_one_sentence(tmp_path: Path, train: Train) -> None:
    directory = make_run(tmp_path / "run", tmp_path / "nowhere")
    assert train(directory) == 1
    assert status(directory).state is RunState.FAILED
    assert "nowhere" in status(directory).error
    assert "\n" not in status(directory).error


def test_two_trainers_never_work_in_one_directory(tmp_path: Path, tiny_llama: Path, train: Train) -> None:
    directory = make_run(tmp_path / "run", tiny_llama)
    directory.enqueue()
    with FileLock(directory.root / ".trainer.lock"), pytest.raises(BusyError):
        train(directory)
    assert status(directory).state is RunState.QUEUED


def test_an_event_after_a_torn_line_stands_on_a_line_of_its_own(tmp_path: Path, tiny_llama: Path) -> None:
    from workbench.worker.trainer.reporting import Reporter

    directory = make_run(tmp_path / "run", tiny_llama)
    directory.events_file.write_text('{"event": "metr')
    reporter = Reporter(directory)
    reporter.event("eval", loss=float("nan"), values={"margin": float("inf")})
    reporter.close()
    (event,), _ = directory.events()
    assert event["loss"] is None and event["values"] == {"margin": None}


def test_telemetry_is_off_and_a_base_on_disk_needs_no_hub(train: Train, tmp_path: Path) -> None:
    from workbench.worker.trainer import environment

    os.environ.pop("HF_HUB_OFFLINE", None)
    environment.prepare("org/on-the-hub")
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == os.environ["DO_NOT_TRACK"] == "1"
    assert "HF_HUB_OFFLINE" not in os.environ
    environment.prepare(str(tmp_path))
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["TRANSFORMERS_OFFLINE"] == "1"


def test_a_checkpoint_counts_only_once_its_marker_is_written(tmp_path: Path, tiny_llama: Path) -> None:
    directory = make_run(tmp_path / "run", tiny_llama)
    folder = directory.checkpoints / "checkpoint-1"
    folder.mkdir()
    (folder / "optimizer.pt").write_bytes(b"x")
    assert directory.complete_checkpoints() == []
    mark_complete(folder)
    assert directory.complete_checkpoints() == [folder]
