"""A run on two machines and as a job of a scheduler, as far as one machine can show them."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tiny_llama import make_run
from workbench.domain.placement import Host
from workbench.domain.runs import RunState
from workbench.jobs import hosts, slurm
from workbench.jobs.run_directory import STOP, RunDirectory, step_of

pytestmark = [pytest.mark.ml, pytest.mark.timeout(400)]
PATIENCE_SECONDS = 150.0


def wait(ready: Callable[[], bool], directory: RunDirectory) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        assert time.monotonic() < deadline, (directory.status(), directory.log_file.read_text()[-3000:])
        time.sleep(0.1)


def is_over(directory: RunDirectory) -> bool:
    status = directory.status()
    return status is not None and status.state.is_over


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_machines_of_a_list_are_started_over_ssh_and_train_together(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    directory = make_run(tmp_path / "runs" / "far", tiny_llama, per_device_train_batch_size=8, max_steps=4)
    machines = [Host("127.0.0.1"), Host("localhost")]
    hosts.start(machines, hosts.prepare(directory, machines, port=free_port()))
    wait(lambda: is_over(directory), directory)
    status = directory.status()
    assert status is not None and (status.state, status.step) == (RunState.FINISHED, 4)
    assert (directory.adapter / "adapter_model.safetensors").is_file()


def test_a_job_that_has_to_leave_saves_and_goes_on_in_the_next(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    directory = make_run(tmp_path / "runs" / "job", tiny_llama, max_steps=100_000, save_steps=100_000)
    slurm.submit(directory, machines=1, per_machine=1, minutes=10, cluster="local")
    try:
        wait(lambda: is_over(directory) or at_step(directory, 3), directory)
        os.kill(job(directory), signal.SIGUSR2)  # as Slurm does some minutes before it takes the machine away
        wait(lambda: bool(directory.complete_checkpoints()), directory)
        stopped = step_of(directory.complete_checkpoints()[0])
        wait(lambda: f"resumed from step {stopped}" in directory.log_file.read_text(), directory)
        wait(lambda: at_step(directory, stopped + 1), directory)
    finally:
        directory.request(STOP)
    wait(lambda: is_over(directory), directory)
    status = directory.status()
    assert status is not None and status.state is RunState.STOPPED and status.step > stopped


def at_step(directory: RunDirectory, step: int) -> bool:
    status = directory.status()
    return status is not None and status.step >= step


def job(directory: RunDirectory) -> int:
    """The process that submitit runs the job in."""
    folder = str(directory.root / slurm.FOLDER)
    found = [p for p in psutil.process_iter(["cmdline"]) if folder in " ".join(p.info["cmdline"] or [])]
    return max(p.pid for p in found if "submitit.core._submit" in p.info["cmdline"])
