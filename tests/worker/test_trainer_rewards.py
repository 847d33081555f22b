"""Learning from rewards: of a file whose faults are told by line, and of a reward model that was trained here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tiny_llama import make_run
from workbench.domain.runs import RunState
from workbench.jobs.run_directory import RunDirectory

pytestmark = pytest.mark.ml
Train = Callable[[RunDirectory], int]
SHORT: dict[str, Any] = {"max_completion_length": 8, "max_steps": 3, "train": 8, "held_out": 3}


def evals(directory: RunDirectory) -> dict[str, dict[str, Any]]:
    return {e["which"]: e for e in directory.events()[0] if e["event"] == "eval"}


def again(directory: RunDirectory, root: Path, **changed: Any) -> RunDirectory:
    """The same run with another spec."""
    lines = [path.read_text().splitlines() for path in (directory.train_file, directory.eval_file)]
    return RunDirectory.create(root, replace(directory.spec(), **changed), *lines)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def reward(completions, **rest):\n    return [1 / 0]\n", "my_reward.py:2: ZeroDivisionError"),
        ("import no_such_module\n", "my_reward.py:1: ModuleNotFoundError"),
        ("def reward(completions, **rest):\n    return [0.0]\n", "gave 1 rewards for"),
        ("def reward(completions, **rest):\n    return [float('nan')] * len(completions)\n", "gave nan as a reward"),
        ("def reward(completions, **rest):\n    return None\n", "gave no list of numbers"),
    ],
)
def test_a_reward_file_that_fails_ends_the_run_with_its_line(
    source: str, reason: str, tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, "rloo", source=source, **SHORT)
    assert train(directory) == 1
    status = directory.status()
    assert status is not None and reason in status.error, status


def test_a_reward_file_that_was_changed_after_the_launch_is_refused(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    first = make_run(tmp_path / "run", tiny_llama, "rloo", **SHORT)
    directory = again(first, tmp_path / "other", reward_sha256="0" * 64)
    directory.reward_file.write_text(first.reward_file.read_text())
    assert train(directory) == 1
    status = directory.status()
    assert status is not None and "was changed" in status.error


def test_the_mean_held_out_reward_is_that_of_the_greedy_answers(tmp_path: Path, tiny_llama: Path, train: Train) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory = make_run(tmp_path / "run", tiny_llama, "grpo", **SHORT)
    assert train(directory) == 0
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    counts = []
    for line in directory.eval_file.read_text().splitlines():
        asked = tokenizer.apply_chat_template(
            json.loads(line)["prompt"], add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        told = model.generate(**asked, max_new_tokens=8, do_sample=False)[0, asked["input_ids"].shape[1] :]
        counts.append(tokenizer.decode(told, skip_special_tokens=True).count("e"))
    assert evals(directory)["base"]["reward"] == pytest.approx(sum(counts) / len(counts))


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_a_reward_model_that_was_trained_here_rewards(
    adapter: str, tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    judge = make_run(tmp_path / "judge", tiny_llama, "reward", max_steps=20, learning_rate=1e-2, adapter=adapter)
    assert train(judge) == 0
    assert evals(judge)["tuned"]["accuracy"] == 1.0
    assert evals(judge)["tuned"]["loss"] < evals(judge)["base"]["loss"]

    plain = make_run(tmp_path / "plain", tiny_llama, "rloo", source="", **SHORT)
    path, base = (judge.adapter, str(tiny_llama)) if adapter == "lora" else (judge.model, "")
    directory = again(plain, tmp_path / "run", reward="judge", reward_path=str(path), reward_base_path=base)
    assert train(directory) == 0
    status = directory.status()
    assert status is not None and status.state is RunState.FINISHED
    assert {"base", "tuned"} == set(evals(directory))
