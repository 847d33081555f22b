"""Early stopping, and the weights of the best measurement as a run's result."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiny_llama import make_run
from workbench.domain.runs import RunState
from workbench.jobs.run_directory import RunDirectory
from workbench.jobs.run_facts import read_facts

pytestmark = pytest.mark.ml
Train = Callable[[RunDirectory], int]
HELD_OUT_LOSSES = {3: 5.0, 6: 4.0, 9: 4.5, 12: 4.6}
"""What is said to be measured, so that the turn comes where it should; the perplexity beside it stays the true one."""
KNOBS = {"max_steps": 24, "eval_steps": 3, "learning_rate": 1e-2, "sample_prompts": 0}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.worker.trainer.held_out import HeldOut

    measure = HeldOut.measure

    def measured(self: HeldOut, *, start: bool = False) -> dict[str, float]:
        scores = measure(self, start=start)
        return scores | {"loss": HELD_OUT_LOSSES.get(self._trainer.state.global_step, scores["loss"])}

    monkeypatch.setattr(HeldOut, "measure", measured)


class Killed(BaseException):
    """As a kill is, nothing in the trainer catches it."""


def told(directory: RunDirectory, kind: str) -> list[dict[str, Any]]:
    return [event for event in directory.events()[0] if event["event"] == kind]


def perplexities(directory: RunDirectory) -> dict[int, float]:
    return {e["step"]: e["perplexity"] for e in told(directory, "eval") if e["which"] == "during"}


def loss_of_saved(directory: RunDirectory, base: Path) -> float:
    """The held-out loss of the saved adapter on the completions' tokens, by bare libraries, row by row."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), directory.adapter).eval()
    total, tokens = 0.0, 0
    for line in directory.eval_file.read_text().splitlines():
        row = json.loads(line)
        asked = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
        whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=True)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([whole])).logits[0, :-1].double().log_softmax(dim=1)
        said = torch.tensor(whole[1:])
        total -= float(logits.gather(1, said[:, None])[len(asked) - 1 :].sum())
        tokens += len(whole) - len(asked)
    return total / tokens


def test_a_run_that_gets_worse_ends_early_with_the_weights_of_its_best_measurement_also_when_it_was_killed(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch, scripted: None
) -> None:
    from workbench.worker.trainer.keeping import Best

    directory = make_run(tmp_path / "run", tiny_llama, **KNOBS, early_stopping_patience=2, save_steps=4)
    look = Best.is_over

    def killed_at_nine(self: Best, step: int) -> bool:
        if step == 9:
            raise Killed
        return look(self, step)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Best, "is_over", killed_at_nine)
        train(directory)
    assert directory.best.is_file()
    assert train(directory) == 0

    notes = " ".join(event["text"] for event in told(directory, "note"))
    assert "resumed from step 8" in notes
    assert "stopped early at step 12" in notes and "the weights of step 6 are kept" in notes
    status = directory.status()
    assert status is not None and (status.state, status.step, status.total_steps) == (RunState.FINISHED, 12, 24)
    (tuned,) = [event for event in told(directory, "eval") if event["which"] == "tuned"]
    assert (tuned["step"], tuned["perplexity"]) == (6, perplexities(directory)[6])
    assert math.exp(loss_of_saved(directory, tiny_llama)) == pytest.approx(tuned["perplexity"], rel=1e-4)
    assert not directory.best.exists()
    assert read_facts(directory).numbers.kept_step == 6


@pytest.mark.parametrize("made_before", [False, True], ids=["unwanted", "made before there was that choice"])
def test_without_keeping_the_best_the_result_is_the_last_step(
    tmp_path: Path, tiny_llama: Path, train: Train, scripted: None, made_before: bool
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, **KNOBS | {"max_steps": 9}, load_best_model_at_end=False)
    if made_before:
        file = directory.root / "spec.json"
        spec = json.loads(file.read_text())
        for name in ("load_best_model_at_end", "early_stopping_patience"):
            del spec["knobs"][name]
        file.write_text(json.dumps(spec))
    assert train(directory) == 0
    (tuned,) = [event for event in told(directory, "eval") if event["which"] == "tuned"]
    assert tuned["step"] == 9 and tuned["perplexity"] != perplexities(directory)[6]
    assert not directory.best.exists()


def test_of_pairs_the_best_measurement_is_that_with_the_lowest_loss_of_the_pairs(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    knobs = {"max_steps": 6, "eval_steps": 2, "learning_rate": 1e-2, "sample_prompts": 0}
    directory = make_run(tmp_path / "run", tiny_llama, "dpo", **knobs)
    assert train(directory) == 0
    evals = told(directory, "eval")
    assert evals[0]["which"] == "base" and evals[0]["pair_loss"] == pytest.approx(math.log(2))
    (tuned,) = [event for event in evals if event["which"] == "tuned"]
    assert tuned["pair_loss"] == min(event["pair_loss"] for event in evals)


def test_a_run_that_is_killed_behind_its_result_comes_to_the_same_result_again(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch, scripted: None
) -> None:
    from workbench.worker.trainer import training

    def killed(*_: object) -> None:
        raise Killed

    directory = make_run(tmp_path / "run", tiny_llama, **KNOBS | {"max_steps": 9})
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(training, "_examine", killed)
        train(directory)
    assert directory.adapter.is_dir()
    assert train(directory) == 0
    assert "resumed from step 9" in " ".join(event["text"] for event in told(directory, "note"))
    for tuned in [event for event in told(directory, "eval") if event["which"] == "tuned"]:
        assert (tuned["step"], tuned["perplexity"]) == (6, perplexities(directory)[6])
    assert math.exp(loss_of_saved(directory, tiny_llama)) == pytest.approx(perplexities(directory)[6], rel=1e-4)
    assert not directory.best.exists()


def test_weights_that_a_full_disk_left_half_written_are_not_in_the_way_of_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from workbench.worker.trainer.keeping import Best, forget

    directory = RunDirectory(tmp_path / "run")
    directory.root.mkdir()

    def full(weights: object, file: Path, **_: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    def tried(save: Callable[[], object]) -> None:
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
            patch.setattr("safetensors.torch.save_file", full)
            save()
        assert list(directory.root.iterdir()) == []
        save()

    model = torch.nn.Linear(2, 1)
    Best(directory, patience=0, keeps=True, save=tried).note(3, {"loss": 1.0}, model)
    assert list(directory.root.iterdir()) == [directory.best]
    directory.best.with_name(".best.safetensors-new").touch()  # of a kill
    forget(directory)
    assert list(directory.root.iterdir()) == []


def test_of_several_processes_all_take_part_in_keeping_the_best_and_the_first_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from workbench.worker.trainer import ranks
    from workbench.worker.trainer.keeping import Best

    monkeypatch.setattr(ranks, "is_first", lambda: False)
    monkeypatch.setattr(ranks, "agreed", lambda wish: True)  # the first one found it better
    directory = RunDirectory(tmp_path / "run")
    directory.root.mkdir()
    saves: list[object] = []
    best = Best(directory, patience=1, keeps=True, save=saves.append)
    best.note(3, {"loss": 1.0}, torch.nn.Linear(2, 1))
    (save,) = saves
    assert callable(save) and save() is None
    assert list(directory.root.iterdir()) == []
