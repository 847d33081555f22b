"""How runs end and go on: stopped, resumed bit by bit, torn, failed with a reason."""

from __future__ import annotations

import errno
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tiny_llama import make_run
from watched_runs import Train, at_step, history, states, status
from workbench.domain.runs import RunState
from workbench.errors import BusyError
from workbench.jobs.run_directory import STOP, RunDirectory, mark_complete

pytestmark = pytest.mark.ml


@pytest.mark.parametrize(
    ("method", "knobs"),
    [
        ("sft", {"lora_dropout": 0.2, "gradient_accumulation_steps": 2}),
        ("sft", {"adapter": "full"}),
        ("dpo", {"adapter_path": "the tuned one's"}),
        ("sft", {"adapter": "pissa"}),
        ("cpt", {"max_length": 32}),
        ("reward", {}),
        ("orpo", {"adapter": "dora"}),
        ("rloo", {"max_completion_length": 6}),
        ("distillation", {"max_completion_length": 6, "lora_dropout": 0.2}),
    ],
    ids=[
        "sft-lora",
        "sft-full",
        "dpo-from-an-adapter",
        "sft-pissa",
        "cpt",
        "reward",
        "orpo-dora",
        "rloo",
        "distillation",
    ],
)
def test_a_stopped_and_resumed_run_makes_bit_for_bit_the_steps_of_an_unbroken_one(
    method: str, knobs: dict[str, object], tmp_path: Path, tiny_llama: Path, tuned: RunDirectory, train: Train
) -> None:
    if "adapter_path" in knobs:
        knobs = knobs | {"adapter_path": str(tuned.adapter)}
    if method == "distillation":
        knobs = knobs | {"teacher_path": tuned.adapter, "teacher_base_path": tiny_llama}
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

    def spoilt(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = compute(self, *args, **kwargs)
        return loss * float("nan") if self.state.global_step == 3 else loss

    monkeypatch.setattr(trl.SFTTrainer, "compute_loss", spoilt)
    monkeypatch.setattr("workbench.worker.trainer.progress.SHORTEST_INTERVAL_SECONDS", 1000.0)
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=8, save_steps=2)
    assert train(directory) == 1
    assert [event["step"] for event in directory.events()[0] if event["event"] == "metrics"] == [1, 2, 3]
    told = status(directory)
    assert told.state is RunState.FAILED
    assert "nan at step 4" in told.error and "learning_rate" in told.hint
    assert [p.name for p in directory.complete_checkpoints()] == ["checkpoint-2"]


def hungry_at(monkeypatch: pytest.MonkeyPatch, step: int, *, rows: int) -> None:
    """Have the step after ``step`` run out of memory with more than so many rows in a forward pass."""
    import torch
    import trl

    compute = trl.SFTTrainer.compute_loss

    def hungry(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if len(inputs["input_ids"]) > rows and self.state.global_step == step:
            return torch.empty(1 << 60)
        return compute(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(trl.SFTTrainer, "compute_loss", hungry)


def test_running_out_of_memory_goes_on_from_the_last_checkpoint_with_half_the_batch(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.trainer.room import AGAIN

    whole = make_run(tmp_path / "whole", tiny_llama, max_steps=8, save_steps=2)
    assert train(whole) == 0
    hungry_at(monkeypatch, 5, rows=4)
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=8, save_steps=2)
    assert train(directory) == AGAIN
    assert status(directory).state is RunState.STARTING
    assert directory.adjusted() == {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    assert train(directory) == 0
    assert status(directory).state is RunState.FINISHED
    notes = [e["text"] for e in directory.events()[0] if e["event"] == "note"]
    assert any("out of memory at step 5" in n and "from step 4 with 4 instead of 8 rows" in n for n in notes)
    assert "resumed from step 4" in notes
    assert [e["loss"] for e in history(directory)] == pytest.approx([e["loss"] for e in history(whole)], rel=1e-3)


def test_the_longest_batch_runs_out_of_memory_before_the_first_step_and_not_hours_later(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.trainer.room import AGAIN

    hungry_at(monkeypatch, 0, rows=2)
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=3)
    assert [train(directory), train(directory), train(directory)] == [AGAIN, AGAIN, 0]
    assert directory.adjusted() == {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    events = [e["event"] for e in directory.events()[0]]
    assert events.index("rehearsal") < events.index("metrics")


def test_without_a_smaller_batch_running_out_of_memory_fails_with_what_to_change(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    hungry_at(monkeypatch, 0, rows=0)
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=8, per_device_train_batch_size=1)
    assert train(directory) == 1
    told = status(directory)
    assert told.state is RunState.FAILED
    assert told.error == "out of memory"
    assert "gradient_checkpointing" in told.hint


def test_starting_again_makes_a_fresh_trainer_of_the_same_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.trainer import __main__ as door

    class Became(Exception):
        """What the process became."""

    def become(program: str, argv: list[str]) -> None:
        raise Became(argv)

    closed: list[int] = []
    monkeypatch.setattr(door, "train", lambda root: door.AGAIN)
    monkeypatch.setattr("os.closerange", lambda low, high: closed.append(low))
    monkeypatch.setattr("os.execv", become)
    with pytest.raises(Became) as became:
        door.main([str(tmp_path)])
    assert became.value.args[0][-3:] == ["-m", "workbench.worker.trainer", str(tmp_path)]
    assert closed == [3]


COUNTING = """
asked = []

def reward(completions, **rest):
    asked.append(1)
    return [float(sum(map(ord, turns[0]["content"])) % 7 * len(asked)) for turns in completions]
"""


def other(base: Path, folder: Path) -> Path:
    """The model with its layers' weights turned round."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base)
    for weight in model.model.layers.parameters():
        weight.data = -weight.data
    model.save_pretrained(folder / "other")
    AutoTokenizer.from_pretrained(base).save_pretrained(folder / "other")
    return folder / "other"


def longest_prompt(directory: RunDirectory) -> int:
    """Tokens of the longest prompt that is trained on."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory.spec().base_path)
    prompts = [json.loads(line)["prompt"] for line in directory.train_file.read_text().splitlines()]
    return max(
        len(tokenizer.apply_chat_template(one, add_generation_prompt=True, return_dict=True)["input_ids"])
        for one in prompts
    )


@pytest.mark.parametrize(
    ("method", "sequences"),
    [("sft", 8), ("reward", 16), ("orpo", 16), ("cpo", 16), ("rloo", 8), ("grpo", 8), ("distillation", 8)],
)
def test_the_rehearsal_leaves_no_trace_in_what_is_learnt(
    method: str, sequences: int, tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.trainer import rehearsal

    knobs: dict[str, object] = {"max_steps": 3, "lora_dropout": 0.2, "weight_decay": 0.1}
    knobs["per_device_train_batch_size"] = 8
    if sequences == 8 and method != "sft":
        knobs |= {"max_completion_length": 9, "gradient_accumulation_steps": 2}
        knobs |= {"teacher_path": other(tiny_llama, tmp_path)} if method == "distillation" else {"source": COUNTING}
    rehearsed = make_run(tmp_path / "rehearsed", tiny_llama, method, **knobs)
    assert train(rehearsed) == 0, rehearsed.status()
    monkeypatch.setattr(rehearsal, "longest_batch", lambda trainer: [])
    plain = make_run(tmp_path / "plain", tiny_llama, method, **knobs)
    assert train(plain) == 0
    (told,) = [e for e in rehearsed.events()[0] if e["event"] == "rehearsal"]
    assert told["rows"] == sequences and told["peak_bytes"] > 0 and told["left_seconds"] > 0
    if "max_completion_length" in knobs:
        assert told["tokens"] / told["rows"] == longest_prompt(rehearsed) + 9
    assert "rehearsal" not in [e["event"] for e in plain.events()[0]]
    weights = [run.adapter / "adapter_model.safetensors" for run in (rehearsed, plain)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert history(rehearsed) == history(plain)


def full_disk(monkeypatch: pytest.MonkeyPatch, *, from_step: int, tries: int) -> None:
    """Have the disk be full when a checkpoint from this step on is written, so many times."""
    import transformers

    save = transformers.Trainer._save_optimizer_and_scheduler
    left = iter(range(tries))

    def full(self: Any, folder: str) -> None:
        if self.state.global_step >= from_step and next(left, None) is not None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(self, folder)

    monkeypatch.setattr(transformers.Trainer, "_save_optimizer_and_scheduler", full)
    monkeypatch.setattr("workbench.worker.trainer.room.SHORTEST_WAIT_SECONDS", 0.01)


def test_a_full_disk_pauses_the_run_and_it_goes_on_when_there_is_room(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_run(tmp_path / "whole", tiny_llama, max_steps=8, save_steps=2)
    assert train(whole) == 0
    full_disk(monkeypatch, from_step=4, tries=3)
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=8, save_steps=2)
    assert train(directory) == 0
    assert states(directory) == ["starting", "running", "paused", "running", "finished"]
    (paused,) = [e for e in directory.events()[0] if e.get("state") == "paused"]
    assert paused["error"] == "the disk is full at step 4"
    assert history(directory) == history(whole)
    assert [p.name for p in directory.checkpoints.iterdir()] == [p.name for p in whole.checkpoints.iterdir()]


def test_a_run_that_waits_for_the_disk_stops_at_its_last_good_checkpoint_when_asked_to(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.trainer import room

    directory = make_run(tmp_path / "run", tiny_llama, max_steps=8, save_steps=2)
    wait = room._wait_for

    def stopped(*given: Any) -> None:
        assert status(directory).state is RunState.PAUSED
        assert "free some space" in status(directory).hint
        directory.request(STOP)
        wait(*given)

    with monkeypatch.context() as patch:
        full_disk(patch, from_step=4, tries=10**6)
        patch.setattr(room, "_wait_for", stopped)
        assert train(directory) == 0
    assert (status(directory).state, status(directory).step) == (RunState.STOPPED, 4)
    assert [p.name for p in directory.checkpoints.iterdir()] == ["checkpoint-2"]
    directory.enqueue()
    assert train(directory) == 0
    assert status(directory).state is RunState.FINISHED


def test_an_older_checkpoint_makes_room_before_the_run_waits_for_a_person(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk(monkeypatch, from_step=6, tries=1)
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=6, save_steps=2)
    assert train(directory) == 0
    assert "paused" not in states(directory)
    notes = [e["text"] for e in directory.events()[0] if e["event"] == "note"]
    assert "the disk was full: checkpoint-2 made room for what is saved now" in notes


def test_what_a_full_disk_did_not_take_of_the_events_comes_when_there_is_room(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.trainer.reporting import Reporter

    directory = make_run(tmp_path / "run", tiny_llama)
    reporter = Reporter(directory)
    file, tries = reporter._events, iter(range(9))

    class Full:
        """Takes three bytes, then nothing, then everything."""

        def write(self, line: bytes) -> int:
            match next(tries):
                case 0:
                    return file.write(line[:3])
                case 1 | 2:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                case _:
                    return file.write(line)

        def close(self) -> None:
            file.close()

    monkeypatch.setattr("workbench.worker.trainer.reporting.DISK_SECONDS", 0.001)
    reporter._events = Full()
    reporter.event("one")
    reporter.event("two")
    reporter.close()
    assert [e["event"] for e in directory.events()[0]] == ["state", "one", "state", "note", "two"]
    assert states(directory) == ["paused", "starting"]


def test_a_run_whose_folder_is_taken_away_ends_and_makes_no_other_in_its_place(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=8, save_steps=2)
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: directory.root.rename(tmp_path / "away"))
        assert train(directory) == 1
    assert not directory.root.exists()
    (tmp_path / "away").rename(directory.root)
    assert [p.name for p in directory.complete_checkpoints()] == ["checkpoint-2"]
    directory.write_status(replace(status(directory), state=RunState.LOST))
    directory.enqueue()
    assert train(directory) == 0


def test_a_hangup_is_none_of_a_runs_business(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=4)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        at_step(monkeypatch, 2, lambda: os.kill(os.getpid(), signal.SIGHUP))
        assert train(directory) == 0
        assert status(directory).state is RunState.FINISHED
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


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


def test_a_result_without_one_weight_in_it_is_none(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    from workbench.worker.trainer import adapters

    def save_nothing(model: Any, target: Path, **rest: Any) -> None:
        target.mkdir()
        save_file({}, target / "adapter_model.safetensors")

    monkeypatch.setattr(adapters, "save_adapter", save_nothing)
    run = make_run(tmp_path / "run", tiny_llama, max_steps=1)

    assert train(run) == 1
    assert "no weights" in run.status().error and not run.adapter.exists()
