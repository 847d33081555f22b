"""The loss of single rows, of general text, and the canaries' answers, before and after a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiny_llama import make_run, rows
from workbench.jobs.run_directory import RunDirectory
from workbench.jobs.run_facts import read_facts

pytestmark = pytest.mark.ml
Train = Callable[[RunDirectory], int]
QUESTION = [{"role": "user", "content": "What about rain?"}]


def with_asides(directory: RunDirectory) -> RunDirectory:
    general = [*rows("sft", 3), {"text": "There is much to say about rain."}]
    directory.general_file.write_text("".join(json.dumps(row) + "\n" for row in general))
    directory.canary_file.write_text(json.dumps({"prompt": QUESTION}) + "\n")
    return directory


def held_out(directory: RunDirectory) -> list[dict[str, Any]]:
    return [row for row in directory.row_figures() if row["split"] == "held_out"]


def mean_by_tokens(found: list[dict[str, Any]], which: str) -> float:
    return math.fsum(r[which]["loss"] * r["tokens"] for r in found) / sum(r["tokens"] for r in found)


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_the_losses_of_single_rows_add_up_to_the_held_out_loss_before_and_after(
    adapter: str, tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=10, adapter=adapter, learning_rate=1e-2)
    assert train(with_asides(directory)) == 0
    measured = {e["which"]: e["loss"] for e in directory.events()[0] if e["event"] == "eval"}
    found = held_out(directory)
    assert [row["row"] for row in found] == list(range(1, 8))
    assert mean_by_tokens(found, "base") == pytest.approx(measured["base"], rel=1e-4)
    assert mean_by_tokens(found, "tuned") == pytest.approx(measured["tuned"], rel=1e-4)
    assert sum(row["split"] == "train" for row in directory.row_figures()) == 24
    assert not directory.start_figures.exists()


def test_the_margins_of_single_pairs_are_those_of_the_held_out_measurement(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, "dpo", max_steps=10, learning_rate=1e-2)
    assert train(directory) == 0
    tuned = next(e for e in directory.events()[0] if e["event"] == "eval" and e["which"] == "tuned")
    gained = [row["tuned"]["margin"] - row["base"]["margin"] for row in held_out(directory)]
    beta = float(directory.spec().knobs["beta"])
    assert beta * math.fsum(gained) / len(gained) == pytest.approx(tuned["margin"], rel=1e-3)


def test_general_text_and_canaries_are_measured_on_the_base_and_on_what_was_trained(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from workbench.worker.generating import greedy, prompt_ids

    directory = with_asides(make_run(tmp_path / "run", tiny_llama, max_steps=60, learning_rate=2e-2))
    assert train(directory) == 0
    kept = read_facts(directory).retention
    assert kept.rows == 4 and kept.base_loss is not None and kept.loss is not None
    assert kept.loss < kept.base_loss  # three of the four are like the rows it was trained on
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_llama), AutoTokenizer.from_pretrained(tiny_llama)
    prompt = prompt_ids(tokenizer, QUESTION)
    ends = {tokenizer.eos_token_id}
    told = greedy(model.eval(), [prompt], ends=ends, filler=tokenizer.pad_token_id, max_new_tokens=64)
    (canary,) = kept.canaries
    assert canary.prompt == "What about rain?"
    assert canary.base == tokenizer.decode(told[0], skip_special_tokens=True)
    assert canary.tuned != canary.base


def test_what_is_measured_beside_the_training_changes_nothing_of_it(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    def losses(directory: RunDirectory) -> list[Any]:
        assert train(directory) == 0
        events, _ = directory.events()
        return [e["values"]["loss"] for e in events if e["event"] == "metrics" and "loss" in e["values"]][-1:]

    options: dict[str, Any] = {"max_steps": 8, "adapter": "full", "logging_steps": 8}
    without = losses(make_run(tmp_path / "without", tiny_llama, **options))
    assert losses(with_asides(make_run(tmp_path / "with", tiny_llama, **options))) == without


def test_a_reward_run_has_margins_and_no_general_text(tmp_path: Path, tiny_llama: Path, train: Train) -> None:
    directory = with_asides(make_run(tmp_path / "run", tiny_llama, "reward", max_steps=4))
    assert train(directory) == 0
    tuned = next(e for e in directory.events()[0] if e["event"] == "eval" and e["which"] == "tuned")
    margins = [row["tuned"]["margin"] for row in held_out(directory)]
    assert math.fsum(margins) / len(margins) == pytest.approx(tuned["margin"], rel=1e-3)
    assert read_facts(directory).retention.base_loss is None


def test_a_run_on_prompts_alone_measures_no_rows_and_yet_the_canaries(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    directory = with_asides(make_run(tmp_path / "run", tiny_llama, "rloo", max_steps=1, max_completion_length=8))
    assert train(directory) == 0
    assert directory.row_figures() == []
    assert len(read_facts(directory).retention.canaries) == 1


def test_a_finished_run_has_its_page_in_its_folder(tuned: RunDirectory) -> None:
    page = (tuned.root / "report.html").read_text()
    assert "finished, step 20 of 20" in page and "<svg" in page
    assert "finished, step 20 of 20" in (tuned.root / "report.md").read_text()


def test_a_canary_that_the_template_does_not_take_is_refused_before_the_first_step(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.trainer import examining

    def refusing(tokenizer: object, turns: object) -> list[int]:
        raise ValueError("System role not supported")

    monkeypatch.setattr(examining, "prompt_ids", refusing)
    directory = with_asides(make_run(tmp_path / "run", tiny_llama, max_steps=2))
    assert train(directory) == 1
    status = directory.status()
    assert status is not None and "System role not supported" in status.error
    assert [event for event in directory.events()[0] if event["event"] == "metrics"] == []
