"""Sample answers at every measurement: of the same prompts, as the model gives them, with no trace in training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiny_llama import make_run
from workbench.jobs.run_directory import RunDirectory

pytestmark = pytest.mark.ml
Train = Callable[[RunDirectory], int]


def samples(directory: RunDirectory) -> list[dict[str, Any]]:
    return [event for event in directory.events()[0] if event["event"] == "sample"]


def losses(directory: RunDirectory) -> list[float]:
    return [e["loss"] for e in directory.events()[0] if e["event"] == "eval"]


def test_the_first_held_out_prompts_are_answered_at_every_measurement_and_training_is_the_same_without(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    knobs = {"max_steps": 4, "eval_steps": 2, "learning_rate": 1e-2, "lora_dropout": 0.2}
    directory = make_run(tmp_path / "with", tiny_llama, **knobs)
    without = make_run(tmp_path / "without", tiny_llama, sample_prompts=0, **knobs)
    assert train(directory) == train(without) == 0
    told = samples(directory)
    assert [(event["which"], event["step"]) for event in told] == [("base", 0), ("during", 2), ("tuned", 4)]
    held_out = [json.loads(line)["prompt"][-1]["content"] for line in directory.eval_file.read_text().splitlines()]
    first_two = list(dict.fromkeys(held_out))[:2]
    assert all([one["prompt"] for one in event["answers"]] == first_two for event in told)
    assert told[0]["answers"] == [{"prompt": prompt, "answer": bare_answer(tiny_llama, prompt)} for prompt in first_two]
    assert samples(without) == [] and losses(without) == losses(directory)


def bare_answer(base: Path, prompt: str) -> str:
    """What transformers alone says, one prompt at a time."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype="float32").eval()
    turns = [{"role": "user", "content": prompt}]
    asked = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    said = model.generate(**asked, do_sample=False, max_new_tokens=48, pad_token_id=0)[0, asked["input_ids"].shape[1] :]
    return str(tokenizer.decode(said, skip_special_tokens=True))


@pytest.mark.parametrize(("method", "count"), [("dpo", 2), ("kto", 2), ("reward", 0), ("cpt", 0)])
def test_methods_that_answer_prompts_show_samples_and_others_none(
    tmp_path: Path, tiny_llama: Path, train: Train, method: str, count: int
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, method, max_steps=1)
    assert train(directory) == 0
    assert [len(event["answers"]) for event in samples(directory)] == [count] * (2 if count else 0)


def test_a_model_that_cannot_generate_says_so_once_and_trains_on(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.trainer import samples as module

    def broken(*args: object, **given: object) -> list[list[int]]:
        raise RuntimeError("no cache\nfor this model")

    monkeypatch.setattr(module, "greedy", broken)
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=1)
    assert train(directory) == 0
    said = [e["text"] for e in directory.events()[0] if e["event"] == "note" and "sample" in e["text"]]
    assert said == ["no sample answers: RuntimeError: no cache"]
