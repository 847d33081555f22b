"""A model that several processes share out, on a CPU: the whole of a run by FSDP2, and by ZeRO where DeepSpeed is."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tiny_llama import make_run
from watched_runs import status
from workbench.domain.runs import RunState
from workbench.errors import RefusedError
from workbench.jobs import ranks
from workbench.jobs.processes import child_environment
from workbench.jobs.run_directory import RunDirectory

pytestmark = [pytest.mark.ml, pytest.mark.timeout(400)]
Train = Callable[[RunDirectory], int]
SAME = {"per_device_train_batch_size": 8, "learning_rate": 1e-2, "lora_dropout": 0.0, "max_steps": 6, "save_steps": 3}
ZERO = pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")


def launched(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> int:
    """Train by the command that the runner would start, with the trainer that shares out on a CPU."""
    monkeypatch.setattr(ranks, "TRAINER", "shared_trainer")
    environment = child_environment(ranks.environment(directory) | {"OMP_NUM_THREADS": "1"})
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), environment["PYTHONPATH"]])
    with directory.log_file.open("ab") as log:
        return subprocess.run(ranks.command(directory), env=environment, stdout=log, stderr=log, check=False).returncode


def measured(directory: RunDirectory) -> dict[str, float]:
    return {e["which"]: e["loss"] for e in directory.events()[0] if e["event"] == "eval"}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fsdp", *(pytest.param(f"zero{stage}", marks=ZERO) for stage in (1, 2, 3))])
def test_what_is_shared_out_learns_what_a_whole_model_does_and_goes_on_after_a_kill(
    strategy: str, tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = make_run(tmp_path / "alone", tiny_llama, **SAME)
    assert train(alone) == 0
    more = {"processes": 2, "strategy": strategy, "gradient_checkpointing": True}
    shared = make_run(tmp_path / "shared", tiny_llama, **SAME, **more)
    assert launched(shared, monkeypatch) == 0, shared.log_file.read_text()[-3000:]
    assert status(shared).state is RunState.FINISHED, status(shared)
    assert ranks.shared_in(shared.complete_checkpoints()[-1])[0] == strategy.rstrip("123")
    same_as(alone, shared)

    # Killed after its last step, and after an earlier one.
    for kept in (6, 3):
        for folder in (shared.adapter, *(p for p in shared.complete_checkpoints() if p.name > f"checkpoint-{kept}")):
            shutil.rmtree(folder)
        shared.write_status(replace(status(shared), state=RunState.LOST))
        shared.enqueue()
        assert launched(shared, monkeypatch) == 0, shared.log_file.read_text()[-3000:]
        same_as(alone, shared)

    shutil.rmtree(shared.adapter)
    shared.adjust({"processes": 1})
    assert train(shared) == 1
    assert "one alone cannot go on" in status(shared).error or "no other number" in status(shared).error


def same_as(alone: RunDirectory, shared: RunDirectory) -> None:
    assert measured(shared)["base"] == pytest.approx(measured(alone)["base"], rel=1e-6)
    assert measured(shared)["tuned"] == pytest.approx(measured(alone)["tuned"], rel=1e-4)
    assert measured(alone)["tuned"] < measured(alone)["base"] - 0.3
    whole, gathered = (load_file(run.adapter / "adapter_model.safetensors") for run in (alone, shared))
    assert whole.keys() == gathered.keys()
    for name, weight in whole.items():
        assert gathered[name].float().numpy() == pytest.approx(weight.numpy(), abs=1e-4), name


def test_a_checkpoint_that_was_shared_out_is_gone_on_from_by_those_who_can(tmp_path: Path) -> None:
    zero, fsdp, whole = (tmp_path / name for name in ("checkpoint-1", "checkpoint-2", "checkpoint-3"))
    (zero / "global_step1").mkdir(parents=True)
    for rank in (0, 1):
        (zero / "global_step1" / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt").touch()
    for folder in (fsdp, whole):
        folder.mkdir()
    (fsdp / "pytorch_model_fsdp.bin").touch()
    for checkpoint, number in ((zero, 2), (fsdp, 2), (fsdp, 4), (whole, 1), (whole, 3)):
        ranks.refuse_other_number(checkpoint, number)
    for checkpoint, number, said in ((zero, 1, "2 processes"), (zero, 4, "2 processes"), (fsdp, 1, "share the model")):
        with pytest.raises(RefusedError, match=said):
            ranks.refuse_other_number(checkpoint, number)


def test_a_run_is_not_resumed_by_a_number_that_cannot_go_on(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, max_steps=2, save_steps=1)
    assert train(directory) == 0
    last = directory.complete_checkpoints()[-1]
    (last / "pytorch_model_fsdp.bin").touch()
    directory.enqueue()
    assert train(directory) == 1
    assert status(directory).state is RunState.FAILED
    assert "one alone cannot go on" in status(directory).error and "--processes 2" in status(directory).hint
