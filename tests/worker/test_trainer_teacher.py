"""Learning from a teacher: the model comes nearer to it, and one with other tokens is refused before the first step."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tiny_llama as tiny
from workbench.jobs.run_directory import RunDirectory

pytestmark = pytest.mark.ml
Train = Callable[[RunDirectory], int]
SHORT: dict[str, Any] = {"max_completion_length": 8, "train": 16, "held_out": 4, "per_device_train_batch_size": 8}


def evals(directory: RunDirectory) -> dict[str, dict[str, Any]]:
    return {e["which"]: e for e in directory.events()[0] if e["event"] == "eval"}


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> RunDirectory:
    """The base, taught by itself as it is after some training. Its general text is measured too."""
    from workbench.worker.trainer import training

    folder = tmp_path_factory.mktemp("runs")
    given: dict[str, Any] = {"adapter": "full", "learning_rate": 1e-2, "warmup_steps": 1}
    teacher = tiny.make_run(folder / "teacher", tiny_llama, max_steps=20, **given)
    path = {"teacher_path": teacher.model}
    student = tiny.make_run(folder / "taught", tiny_llama, "distillation", max_steps=20, **path, **given, **SHORT)
    student.general_file.write_text(json.dumps(tiny.rows("sft", 1)[0]) + "\n")
    before = dict(os.environ)
    for directory in (teacher, student):
        assert training.train(directory.root) == 0, directory.status()
    os.environ.clear()
    os.environ.update(before)
    return student


def test_a_student_comes_nearer_to_its_teacher(taught: RunDirectory) -> None:
    before, after = evals(taught)["base"], evals(taught)["tuned"]
    assert after["loss"] < before["loss"]
    assert after["divergence"] < before["divergence"] / 2
    assert json.loads(taught.retention_file.read_text())["general"]["tokens"] > 0


def test_the_figures_are_those_of_the_two_models_on_the_teacher_s_greedy_answers(
    taught: RunDirectory, tiny_llama: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    folders = (taught.model, taught.spec().teacher_path)
    student, teacher = (AutoModelForCausalLM.from_pretrained(folder).eval() for folder in folders)
    lost, far, same, tokens = 0.0, 0.0, 0, 0
    for line in taught.eval_file.read_text().splitlines():
        asked = tokenizer.apply_chat_template(
            json.loads(line)["prompt"], add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        whole = teacher.generate(**asked, max_new_tokens=8, do_sample=False)
        start = asked["input_ids"].shape[1]
        with torch.no_grad():
            own, wanted = (one(whole).logits[0, start - 1 : -1].double() for one in (student, teacher))
        lost += torch.nn.functional.cross_entropy(own, whole[0, start:], reduction="sum").item()
        far += torch.nn.functional.kl_div(
            own.log_softmax(1), wanted.log_softmax(1), reduction="sum", log_target=True
        ).item()
        same += int((own.argmax(1) == wanted.argmax(1)).sum())
        tokens += whole.shape[1] - start
    measured = evals(taught)["tuned"]
    assert measured["tokens"] == tokens
    assert measured["loss"] == pytest.approx(lost / tokens, rel=1e-4)
    assert measured["divergence"] == pytest.approx(far / tokens, rel=1e-3)
    assert measured["agreement"] == same / tokens


def test_the_answer_of_a_teacher_ends_where_the_teacher_ends_it(tiny_llama: Path) -> None:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from workbench.worker.trainer.measures import HeldOutTeacher

    tokenizer, teacher = (kind.from_pretrained(tiny_llama) for kind in (AutoTokenizer, AutoModelForCausalLM))
    prompt: Any = tiny.rows("rloo", 1)[0]["prompt"]
    asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    with torch.no_grad():
        first = int(teacher(**asked).logits[0, -1].argmax())
    assert first != tokenizer.eos_token_id
    teacher.generation_config.eos_token_id = [tokenizer.eos_token_id, first]
    measure = object.__new__(HeldOutTeacher)
    measure._batch_size, measure._check = 4, lambda: None
    measure._trainer = SimpleNamespace(  # type: ignore[assignment]
        eval_dataset=Dataset.from_list([{"prompt": prompt}]),
        processing_class=tokenizer,
        eos_token_ids=[tokenizer.eos_token_id],
        max_completion_length=6,
    )
    assert [answer for _, answer in measure._teachers_answers(teacher)] == [[first]]


def test_an_adapter_teaches_with_its_base(tiny_llama: Path, tuned: RunDirectory, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from workbench.worker.trainer import teachers

    paths = {"teacher_path": tuned.adapter, "teacher_base_path": tiny_llama}
    spec = tiny.make_run(tmp_path / "run", tiny_llama, "distillation", **paths).spec()
    ids = torch.tensor([[5, 6, 7, 8]])
    base = AutoModelForCausalLM.from_pretrained(tiny_llama)
    with torch.no_grad():
        wanted = PeftModel.from_pretrained(base, tuned.adapter)(ids).logits
        teacher = teachers.load(spec, AutoTokenizer.from_pretrained(tiny_llama))
        assert torch.allclose(teacher(ids).logits, wanted, atol=1e-5)
    assert not any(weight.requires_grad for weight in teacher.parameters())


def test_a_teacher_with_other_tokens_is_refused_by_the_trainer_too(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    other = tiny.make(tmp_path / "other")
    words = json.loads((other / "tokenizer.json").read_text())
    words["added_tokens"].append(words["added_tokens"][0] | {"id": 300, "content": "<|more|>"})
    (other / "tokenizer.json").write_text(json.dumps(words))
    directory = tiny.make_run(tmp_path / "run", tiny_llama, "distillation", teacher_path=other, **SHORT)
    assert train(directory) == 1
    status = directory.status()
    assert status is not None and "have different tokens" in status.error, status


def test_fewer_prompts_than_a_step_takes_are_refused_with_what_to_set(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    given: dict[str, Any] = {**SHORT, "train": 7, "teacher_path": tiny_llama}
    directory = tiny.make_run(tmp_path / "run", tiny_llama, "distillation", **given)
    assert train(directory) == 1
    status = directory.status()
    assert status is not None and status.error == "a step draws answers to 8 prompts, and there are 7"
    assert "per_device_train_batch_size" in status.hint
