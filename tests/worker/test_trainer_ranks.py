"""Several processes of one run: what they learn together, how they stop, and what is left when one of them falls."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tiny_llama import make_run
from workbench.domain.runs import RunState
from workbench.jobs.processes import child_environment, module_argv
from workbench.jobs.run_directory import STOP, RunDirectory, step_of
from workbench.worker.trainer import ranks
from workbench.worker.trainer.ranks import Word

pytestmark = [pytest.mark.ml, pytest.mark.timeout(400)]
Train = Callable[[RunDirectory], int]
PATIENCE_SECONDS = 150.0
SAME = {"per_device_train_batch_size": 8, "learning_rate": 1e-2, "lora_dropout": 0.0, "max_steps": 16, "save_steps": 6}


def losses(directory: RunDirectory) -> dict[str, float]:
    return {e["which"]: e["loss"] for e in directory.events()[0] if e["event"] == "eval"}


def notes(directory: RunDirectory) -> list[str]:
    return [e["text"] for e in directory.events()[0] if e["event"] == "note"]


def state(directory: RunDirectory) -> RunState:
    status = directory.status()
    assert status is not None
    return status.state


def wait(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.05)


def start(directory: RunDirectory) -> subprocess.Popen[bytes]:
    """A runner for the queued run."""
    environment = child_environment({"OMP_NUM_THREADS": "1"})
    return subprocess.Popen(module_argv("workbench.jobs.runner", str(directory.root.parent)), env=environment)


def at_step(directory: RunDirectory, step: int) -> bool:
    status = directory.status()
    return status is not None and (status.step >= step or status.state.is_over)


def processes(directory: RunDirectory) -> dict[str, int]:
    """The run's processes by their rank; the launcher's is ""."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        if str(directory.root) in (process.info["cmdline"] or []):
            try:
                found[process.environ().get("RANK", "")] = process.pid
            except psutil.Error:
                continue
    return found


def test_two_processes_learn_what_one_does_stop_together_and_go_on_in_any_number(
    tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    alone = make_run(tmp_path / "alone", tiny_llama, train=48, **SAME)
    assert train(alone) == 0

    together = make_run(tmp_path / "runs" / "together", tiny_llama, train=48, processes=2, **SAME | {"eval_steps": 5})
    together.enqueue()
    runner = start(together)
    try:
        wait(lambda: at_step(together, 3), "step 3")
        together.request(STOP)
        assert runner.wait(60) == 0
        assert state(together) is RunState.STOPPED, together.status()
        stopped = step_of(together.complete_checkpoints()[-1])
        assert stopped in range(3, 16)
        assert len(list(together.complete_checkpoints()[-1].glob("rng_state_*.pth"))) == 2

        left = RunDirectory(Path(shutil.copytree(together.root, tmp_path / "left")))

        together.enqueue()
        runner = start(together)
        assert runner.wait(PATIENCE_SECONDS) == 0
    finally:
        runner.kill()
    assert state(together) is RunState.FINISHED, together.status()
    assert f"resumed from step {stopped}" in notes(together)
    assert any("2 processes, each with 4 rows" in note for note in notes(together))
    assert losses(together)["base"] == pytest.approx(losses(alone)["base"], rel=1e-6)
    assert losses(together)["tuned"] == pytest.approx(losses(alone)["tuned"], rel=2e-3)
    assert losses(together)["tuned"] < losses(together)["base"] - 0.3
    assert (together.adapter / "adapter_model.safetensors").is_file()
    events = [e for e in together.events()[0] if e["event"] == "state"]
    assert [e["state"] for e in events].count("finished") == 1  # one process speaks

    # What several saved goes on alone, too.
    left.clear_stop()
    left.adjust({"processes": 1})
    assert train(left) == 0
    assert f"resumed from step {stopped}" in notes(left)
    assert losses(left)["tuned"] == pytest.approx(losses(alone)["tuned"], rel=2e-3)


def test_a_killed_process_ends_the_run_and_leaves_no_other_behind(tmp_path: Path, tiny_llama: Path) -> None:
    directory = make_run(tmp_path / "runs" / "killed", tiny_llama, processes=2, max_steps=5000, save_steps=4)
    directory.enqueue()
    runner = start(directory)
    try:
        wait(lambda: at_step(directory, 5), "step 5")
        os.kill(processes(directory)["1"], signal.SIGKILL)
        runner.wait(60)
        assert state(directory) is RunState.LOST
        wait(lambda: not processes(directory), "all processes to end")
        assert directory.complete_checkpoints()

        directory.enqueue()
        runner = start(directory)
        before = step_of(directory.complete_checkpoints()[-1])
        wait(lambda: at_step(directory, before + 2) and len(processes(directory)) == 3, "the resumed run")
        # The launcher is what the state names: its death must not leave the others to themselves.
        os.kill(processes(directory)[""], signal.SIGKILL)
        runner.wait(60)
        wait(lambda: not processes(directory), "all processes to end")
        assert state(directory) is RunState.LOST
    finally:
        runner.kill()
        for pid in processes(directory).values():
            os.kill(pid, signal.SIGKILL)


def test_a_process_whose_launcher_was_gone_before_it_could_look_ends_itself(tmp_path: Path, tiny_llama: Path) -> None:
    directory = make_run(tmp_path / "run", tiny_llama, processes=2)
    environment = {"WORLD_SIZE": "2", "RANK": "0", "TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "127.0.0.1"}
    orphan = subprocess.run(
        module_argv("workbench.worker.trainer", str(directory.root)),
        env=child_environment(environment | {"MASTER_PORT": "1", "LOCAL_RANK": "0"}),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert orphan.returncode == 1
    assert b"Traceback" not in orphan.stderr


def test_what_fails_in_another_process_is_told_by_the_first(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.worker.trainer import training
    from workbench.worker.trainer.reporting import Reporter

    directory = make_run(tmp_path / "run", tiny_llama, processes=2, per_device_train_batch_size=8)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    other = Reporter(directory, speaks=False)
    assert training._failed(other, directory.spec(), ValueError("no such row")) == 1
    assert directory.status() is None  # the others say nothing themselves

    monkeypatch.setenv("RANK", "0")
    first = Reporter(directory)
    torn_off = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:2")
    assert training._failed(first, directory.spec(), torn_off) == 1
    status = directory.status()
    assert status is not None and status.state is RunState.FAILED and "no such row" in status.error

    ranks.clear_words(directory)
    assert training._failed(first, directory.spec(), torn_off) == 1
    assert state(directory) is RunState.LOST

    # Out of memory in one of them halves the batch of all, and the runner starts them again.
    monkeypatch.setenv("RANK", "1")
    ranks.leave_word(directory, Word("out of memory", "", out_of_memory=True))
    monkeypatch.setenv("RANK", "0")
    assert training._failed(first, directory.spec(), torn_off) != 0
    assert state(directory) is RunState.QUEUED
    assert directory.adjusted() == {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
    for reporter in (first, other):
        reporter.close()


def test_rows_that_cannot_be_shared_out_are_refused_before_anything_is_loaded(
    tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    directory = make_run(tmp_path / "run", tiny_llama, per_device_train_batch_size=8)
    assert train(directory) == 1
    status = directory.status()
    assert status is not None and "cannot be shared out evenly between 3 processes" in status.error


@pytest.mark.parametrize(("has_gpu", "shared_out"), [(True, "fsdp"), (False, "ddp")])
def test_without_a_gpu_nothing_is_shared_out_whatever_the_launcher_was_told(
    has_gpu: bool, shared_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert ranks.strategy() == shared_out
