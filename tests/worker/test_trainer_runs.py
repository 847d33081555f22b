"""Runs from their directory to an adapter that stands on its own."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiny_llama import make_run, rows
from workbench.domain.runs import RunState
from workbench.jobs.run_directory import RunDirectory
from workbench.jobs.runner import serve

pytestmark = pytest.mark.ml
Train = Callable[[RunDirectory], int]
PATIENCE_SECONDS = 150.0


def state(directory: RunDirectory) -> RunState:
    status = directory.status()
    assert status is not None
    return status.state


def evals(directory: RunDirectory) -> dict[str, dict[str, Any]]:
    return {e["which"]: e for e in directory.events()[0] if e["event"] == "eval"}


def notes(directory: RunDirectory) -> list[str]:
    return [e["text"] for e in directory.events()[0] if e["event"] == "note"]


def greedy(model: Any, tokenizer: Any, question: str) -> list[int]:
    import torch

    prompt = [{"role": "user", "content": question}]
    ids = torch.tensor(
        [tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]]
    )
    with torch.no_grad():
        told = model.eval().generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
        )
    return told[0, ids.shape[1] :].tolist()


@pytest.mark.timeout(400)
def test_queued_methods_run_through_the_runner_and_a_killed_one_goes_on_where_it_was(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = tmp_path / "runs"
    sft = make_run(folder / "1-sft", tiny_llama, "sft", max_steps=120, save_steps=10)
    dpo = make_run(folder / "2-dpo", tiny_llama, "dpo", max_steps=10)
    for directory in (sft, dpo):
        directory.enqueue()
    worker = threading.Thread(target=serve, args=(folder,))
    worker.start()
    patience = time.monotonic() + PATIENCE_SECONDS
    while not sft.complete_checkpoints():
        assert time.monotonic() < patience and worker.is_alive(), sft.log_file.read_text()
        time.sleep(0.01)
    status = sft.status()
    assert status is not None and status.pid is not None and status.state is RunState.RUNNING
    os.kill(status.pid, signal.SIGKILL)
    worker.join(PATIENCE_SECONDS)

    assert state(sft) is RunState.LOST
    assert state(dpo) is RunState.FINISHED
    assert (dpo.adapter / "adapter_model.safetensors").is_file()
    assert evals(dpo)["base"]["accuracy"] == 0.5
    assert evals(dpo)["base"]["margin"] == 0.0
    assert evals(dpo)["tuned"]["margin"] > 0.0
    assert "Traceback" not in dpo.log_file.read_text()

    sft.enqueue()
    serve(folder)
    assert state(sft) is RunState.FINISHED
    assert any(note.startswith("resumed from step") for note in notes(sft))
    assert [e["which"] for e in sft.events()[0] if e["event"] == "eval"] == ["base", "tuned"]


def test_a_run_tells_its_curve_its_checkpoints_its_device_and_its_end(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=10, save_steps=5, eval_steps=4)
    assert train(directory) == 0
    events, _ = directory.events()
    points = [e for e in events if e["event"] == "metrics"]
    assert {"loss", "learning_rate", "grad_norm", "tokens_per_second", "seconds_per_step", "epoch"} <= set(
        points[-1]["values"]
    )
    assert points[-1]["step"] == 10
    assert [e["step"] for e in events if e["event"] == "checkpoint"] == [5, 10]
    assert [(e["which"], e["step"]) for e in events if e["event"] == "eval"] == [
        ("base", 0),
        ("during", 4),
        ("during", 8),
        ("tuned", 10),
    ]
    assert any(e["values"]["memory_bytes"] > 0 for e in events if e["event"] == "device")
    assert [e["state"] for e in events if e["event"] == "state"] == ["starting", "running", "finished"]
    status = directory.status()
    assert status is not None
    assert (status.state, status.step, status.total_steps, status.pid) == (RunState.FINISHED, 10, 10, None)
    assert directory.heartbeat_age() is not None
    assert evals(directory)["tuned"]["loss"] < evals(directory)["base"]["loss"]


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_what_was_saved_answers_as_the_trained_model_did_with_bare_libraries(
    adapter: str, tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from workbench.worker.trainer import training

    trained: list[Any] = []
    save = training._save
    monkeypatch.setattr(training, "_save", lambda built, *rest: (trained.append(built), save(built, *rest)))
    directory = make_run(
        tmp_path / "run", tiny_llama, max_steps=40, adapter=adapter, learning_rate=2e-2, warmup_steps=2
    )
    assert train(directory) == 0
    folder = directory.adapter if adapter == "lora" else directory.model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bare = AutoModelForCausalLM.from_pretrained(tiny_llama if adapter == "lora" else folder)
    question = rows("sft", 1)[0]["prompt"][0]["content"]  # type: ignore[index]
    before = greedy(AutoModelForCausalLM.from_pretrained(tiny_llama), tokenizer, question)
    if adapter == "lora":
        bare = PeftModel.from_pretrained(bare, folder)
    told = greedy(bare, tokenizer, question)
    assert told == greedy(trained[0].trainer.model, tokenizer, question)
    assert told != before
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(tiny_llama).chat_template


def test_qlora_trains_over_four_bit_weights(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bitsandbytes

    from workbench.worker.trainer import training

    trained: list[Any] = []
    save = training._save
    monkeypatch.setattr(training, "_save", lambda built, *rest: (trained.append(built), save(built, *rest)))
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=10, adapter="qlora", learning_rate=1e-2)
    assert train(directory) == 0
    four_bit = [m for m in trained[0].trainer.model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert four_bit and all(m.weight.quant_type == "nf4" and m.weight.quant_state.nested for m in four_bit)
    assert evals(directory)["tuned"]["loss"] < evals(directory)["base"]["loss"]
    assert (directory.adapter / "adapter_model.safetensors").is_file()


def test_full_fine_tuning_measures_against_a_reference_of_its_own(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, "kto", max_steps=6, adapter="full", learning_rate=1e-3)
    assert train(directory) == 0
    assert evals(directory)["base"]["margin"] == 0.0
    assert evals(directory)["tuned"]["margin"] > 0.0
    assert (directory.model / "model.safetensors").is_file() and not directory.adapter.exists()


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_going_on_from_an_adapter_starts_where_that_one_ended_and_saves_one_adapter(
    method: str, tmp_path: Path, tiny_llama: Path, tuned: RunDirectory, train: Train
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    second = make_run(
        tmp_path / "second", tiny_llama, method, max_steps=6, save_steps=3, adapter_path=str(tuned.adapter)
    )
    assert train(second) == 0
    if method != "kto":  # whose held-out loss counts the answers with a thumb up alone
        assert evals(second)["base"]["loss"] == pytest.approx(evals(tuned)["tuned"]["loss"], rel=1e-6)
    if method != "sft":
        assert evals(second)["base"]["margin"] == 0.0, "the reference must be the adapter that was gone on from"
        assert evals(second)["base"]["accuracy"] == 0.5
        assert evals(second)["tuned"]["margin"] > 0.0
    assert sorted(p.name for p in second.adapter.iterdir() if p.is_dir()) == []
    bare = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), second.adapter)
    assert list(bare.peft_config) == ["default"]


def test_a_full_fine_tuning_can_go_on_from_an_adapter_merged_into_the_weights(
    tmp_path: Path, tiny_llama: Path, tuned: RunDirectory, train: Train
) -> None:
    second = make_run(
        tmp_path / "second", tiny_llama, "dpo", max_steps=2, adapter="full", adapter_path=str(tuned.adapter)
    )
    assert train(second) == 0
    assert evals(second)["base"]["loss"] == pytest.approx(evals(tuned)["tuned"]["loss"], rel=1e-5)
    assert evals(second)["base"]["margin"] == pytest.approx(0.0, abs=1e-6)
