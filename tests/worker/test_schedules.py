"""The learning rate's schedules by use: each step's rate is what transformers' or torch's own scheduler gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tiny_llama import make_run
from watched_runs import history, status
from workbench.domain.runs import RunState
from workbench.jobs.run_directory import RunDirectory

pytestmark = [pytest.mark.ml, pytest.mark.timeout(120)]
Train = Callable[[RunDirectory], int]
RATE, STEPS = 0.01, 10
KNOBS = {"learning_rate": RATE, "max_steps": STEPS, "save_steps": 6, "warmup_steps": 3, "lora_dropout": 0.0}


def own_rates(name: str, details: Mapping[str, Any]) -> list[float]:
    """The rate of every step, by the library's own scheduler."""
    import torch
    from transformers import get_scheduler

    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)
    scheduler = get_scheduler(name, optimiser, 3, STEPS, dict(details))
    rates = []
    for _ in range(STEPS):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("name", "given", "details"),
    [
        ("warmup_stable_decay", {}, {"num_decay_steps": 2}),
        ("cosine_with_restarts", {}, {"num_cycles": 3}),
        ("cosine_with_min_lr", {"min_lr": 0.002}, {"min_lr": 0.002}),
    ],
)
def test_a_schedule_that_needs_more_than_its_name_is_followed_to_the_end(
    name: str, given: Mapping[str, Any], details: Mapping[str, Any], tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    more = {"arguments": f"lr_scheduler_kwargs='{json.dumps(given)}'"} if given else {}
    directory = make_run(tmp_path / "run", tiny_llama, lr_scheduler_type=name, **KNOBS, **more)
    assert train(directory) == 0
    assert [one["learning_rate"] for one in history(directory)] == pytest.approx(own_rates(name, details))


def test_the_rate_falls_when_held_out_measurements_get_no_better_also_after_a_resume(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    from torch import nn, optim, zeros

    given = json.dumps({"patience": 0, "threshold": 0.3})
    knobs = KNOBS | {"eval_steps": 1, "arguments": f"lr_scheduler_kwargs='{given}'"}
    directory = make_run(tmp_path / "run", tiny_llama, lr_scheduler_type="reduce_lr_on_plateau", **knobs)
    assert train(directory) == 0
    losses = {e["step"]: e["loss"] for e in directory.events()[0] if (e["event"], e.get("which")) == ("eval", "during")}
    optimiser = optim.SGD([nn.Parameter(zeros(1))], lr=RATE)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, patience=0, threshold=0.3, threshold_mode="abs", factor=0.5
    )
    rates = [RATE]
    for step in range(1, STEPS):
        scheduler.step(losses[step])
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates[-1] < RATE
    assert [one["learning_rate"] for one in history(directory)] == rates

    shutil.rmtree(directory.complete_checkpoints()[-1])
    directory.write_status(replace(status(directory), state=RunState.LOST))
    directory.enqueue()
    assert train(directory) == 0
    assert [one["learning_rate"] for one in history(directory)] == rates


def test_a_run_that_ends_early_measures_its_last_step_once(tmp_path: Path, tiny_llama: Path, train: Train) -> None:
    knobs = {"eval_steps": 2, "early_stopping_patience": 1, "lora_dropout": 0.0, "warmup_steps": 0, "max_steps": 20}
    directory = make_run(tmp_path / "run", tiny_llama, learning_rate=1.0, **knobs)
    assert train(directory) == 0
    during = [e["step"] for e in directory.events()[0] if (e["event"], e.get("which")) == ("eval", "during")]
    assert status(directory).step == during[-1] < 20
    assert len(set(during)) == len(during)
