"""A run that is sent elsewhere: what is written for each machine, and what is refused before anything is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tiny_llama import make_run
from workbench.domain.placement import Host
from workbench.domain.runs import Run, RunState, RunStatus
from workbench.errors import RefusedError, RunError, UsageError
from workbench.flows import sending, train
from workbench.flows.bench import Bench
from workbench.jobs.run_directory import RunDirectory

HOSTS = (Host("10.0.0.1", 2), Host("me@gpu-2", 2))


@pytest.fixture
def held(bench: Bench) -> Run:
    """A run of eight rows a step that is queued, and that nobody works on."""
    root = bench.workspace.runs / "1-run"
    directory = make_run(root, bench.workspace.root, per_device_train_batch_size=8)
    run = bench.store.runs.add(directory.spec(), str(root))
    directory.write_status(RunStatus(RunState.CANCELLED))
    return run


def test_each_machine_gets_a_script_that_needs_nothing_else(bench: Bench, held: Run) -> None:
    sent = sending.to_hosts(bench, held, HOSTS, port=29512)
    texts = [file.read_text() for file in sent.files]
    assert [f"--machine_rank {rank}" in text for rank, text in enumerate(texts)] == [True, True]
    for text in texts:
        assert "--num_machines 2" in text and "--num_processes 4" in text
        assert "--main_process_ip 10.0.0.1" in text and "--main_process_port 29512" in text
        assert held.directory in text
    assert all(os.access(file, os.X_OK) for file in sent.files)
    assert "me@gpu-2: sh " in sent.said
    written = yaml.safe_load((Path(held.directory) / "accelerate.yaml").read_text())
    assert (written["num_machines"], written["num_processes"], written["same_network"]) == (2, 4, True)
    assert RunDirectory(Path(held.directory)).adjusted() == {"processes": 4}


def test_the_script_keeps_what_the_other_machine_sets_itself(bench: Bench, held: Run, tmp_path: Path) -> None:
    sent = sending.to_hosts(bench, held, HOSTS)
    shown = tmp_path / "python"
    shown.write_text('#!/bin/sh\necho "$GOMP_SPINCOUNT $PYTHONPATH"\n')
    shown.chmod(0o700)
    text = sent.files[0].read_text().replace(sys.executable, str(shown))
    environment = {"PATH": os.environ["PATH"], "GOMP_SPINCOUNT": "9"}
    said = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, check=True).stdout
    spin, path = said.split()
    assert spin == "9"
    assert str(Path(train.__file__).parents[2]) in path


@pytest.mark.parametrize("rank", [0, 1])
def test_a_trainer_that_fell_before_it_began_is_told_of(bench: Bench, held: Run, rank: int) -> None:
    sent = sending.to_hosts(bench, held, HOSTS)
    script = sent.files[rank]
    script.write_text(script.read_text().replace("-m accelerate.commands.launch", "-m not_installed_there"))
    log = Path(held.directory) / ("log-1.txt" if rank else "log.txt")
    with log.open("wb") as output:
        done = subprocess.run(["sh", script], stdout=output, stderr=output, check=False)
    assert done.returncode
    train.sync(bench, start_runner=lambda runs: None)
    run = bench.store.runs.get(held.id)
    assert run.state is RunState.FAILED
    assert f"ended with exit code {done.returncode} before it had begun" in run.error
    assert "No module named not_installed_there" in run.error


def test_a_machine_that_cannot_be_reached_keeps_all_from_starting(
    bench: Bench, held: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(
        f'#!/bin/sh\nfor last; do :; done\necho "$last" >> {tmp_path}/asked\n'
        'case "$*" in *gpu-2*) echo "No route to host" >&2; exit 255;; esac\n'
    )
    ssh.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(RunError, match=r"me@gpu-2 cannot be reached.*No route to host") as failed:
        sending.to_hosts(bench, held, HOSTS, ssh=True)
    assert "ssh me@gpu-2 true" in failed.value.hint
    assert "nohup" not in (tmp_path / "asked").read_text()


def test_a_run_that_is_queued_here_is_taken_out_of_the_queue(bench: Bench, held: Run) -> None:
    directory = RunDirectory(Path(held.directory))
    directory.enqueue()
    sending.to_hosts(bench, held, HOSTS)
    assert bench.store.runs.get(held.id).state is RunState.CANCELLED
    assert bench.store.runs.get(held.id).hint.startswith("sent to 10.0.0.1, me@gpu-2: ")


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.FINISHED])
def test_a_run_that_is_at_work_or_done_is_not_sent(bench: Bench, held: Run, state: RunState) -> None:
    RunDirectory(Path(held.directory)).write_status(RunStatus(state, pid=os.getpid()))
    with pytest.raises(RunError, match=state.value):
        sending.to_hosts(bench, held, HOSTS)


def test_rows_that_cannot_be_shared_out_are_refused_before_anything_is_written(bench: Bench, held: Run) -> None:
    with pytest.raises(RefusedError, match="between 3 processes"):
        sending.to_hosts(bench, held, [Host("a", 3)])
    assert not (Path(held.directory) / "accelerate.yaml").exists()


def test_a_task_file_for_a_cloud_carries_the_run_and_its_base(bench: Bench, held: Run) -> None:
    sent = sending.to_skypilot(bench, held, machines=1, per_machine=4, accelerator="H100", install="./my.whl")
    task = yaml.safe_load(sent.files[0].read_text())
    assert task["resources"] == {"accelerators": "H100:4"}
    assert task["file_mounts"]["~/run"] == held.directory
    base = RunDirectory(Path(held.directory)).spec().base_path
    assert task["file_mounts"][base] == base
    assert task["setup"] == 'pip install "./my.whl"'
    assert "workbench.worker.trainer ~/run" in task["run"]
    assert subprocess.run(["sh", "-n", "-c", task["run"]], check=False).returncode == 0
    assert f"rsync -a {task['name']}:run/ {held.directory}/" in sent.said


def test_a_task_file_has_the_packages_of_its_strategy_installed_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.jobs.ranks.find_spec", lambda name: None)
    root = bench.workspace.runs / "1-run"
    directory = make_run(root, bench.workspace.root, per_device_train_batch_size=8, strategy="zero3")
    run = bench.store.runs.add(directory.spec(), str(root))
    directory.write_status(RunStatus(RunState.CANCELLED))
    sent = sending.to_skypilot(bench, run, machines=1, per_machine=4, accelerator="H100")
    assert yaml.safe_load(sent.files[0].read_text())["setup"].startswith('pip install "workbench[deepspeed]==')


def test_several_machines_in_a_cloud_need_storage_that_all_see(bench: Bench, held: Run) -> None:
    with pytest.raises(UsageError, match="bucket"):
        sending.to_skypilot(bench, held, machines=2, per_machine=4, accelerator="H100")
    for bucket in ("s3://runs/1", "runs", "ftp://runs"):
        with pytest.raises(UsageError, match="no bucket that can be made"):
            sending.to_skypilot(bench, held, machines=2, per_machine=4, accelerator="H100", bucket=bucket)
    sent = sending.to_skypilot(bench, held, machines=2, per_machine=4, accelerator="H100", bucket="gs://run-1")
    task = yaml.safe_load(sent.files[0].read_text())
    assert task["num_nodes"] == 2
    assert task["file_mounts"]["~/run"] == {
        "name": "run-1",
        "source": held.directory,  # else the bucket would be empty
        "store": "gcs",
        "mode": "MOUNT_CACHED",  # the only one that takes lines appended to a file
    }


def test_without_slurm_it_is_said_where_to_go(bench: Bench, held: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="no sbatch") as refused:
        sending.to_slurm(bench, held, machines=1, per_machine=1, minutes=5)
    assert "login node" in refused.value.hint


def test_a_run_that_could_not_be_sent_is_in_the_queue_as_before(
    bench: Bench, held: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(train.sync.__kwdefaults__, "start_runner", lambda runs: None)
    directory = RunDirectory(Path(held.directory))
    directory.enqueue()
    directory.adjust({"gradient_accumulation_steps": 4})
    (tmp_path / "ssh").write_text("#!/bin/sh\nexit 255\n")
    (tmp_path / "ssh").chmod(0o700)
    for path, said in ((tmp_path, "ssh said nothing"), (tmp_path / "nothing", "there is no ssh on this machine")):
        monkeypatch.setenv("PATH", str(path))
        with pytest.raises(RunError, match=said):
            sending.to_hosts(bench, held, HOSTS, ssh=True)
        with pytest.raises(UsageError, match="no sbatch"):
            sending.to_slurm(bench, held, machines=1, per_machine=2, minutes=5)
        assert bench.store.runs.get(held.id).state is RunState.QUEUED
        assert directory.adjusted() == {"gradient_accumulation_steps": 4}


def test_a_job_that_waits_for_slurm_is_taken_back_by_stop_and_by_nothing_else(
    bench: Bench, held: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Executor:
        def __init__(self, **given: object) -> None: ...

        def update_parameters(self, **given: object) -> None: ...

        def submit(self, work: object) -> SimpleNamespace:
            return SimpleNamespace(job_id="77")

    (tmp_path / "sbatch").touch(mode=0o700)
    scancel = tmp_path / "scancel"
    scancel.touch(mode=0o700)
    (tmp_path / "squeue").write_text("#!/bin/sh\necho PENDING\n")
    (tmp_path / "squeue").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("submitit.AutoExecutor", Executor)
    directory = RunDirectory(Path(held.directory))
    (directory.root / "slurm").mkdir()
    sent = sending.to_slurm(bench, held, machines=1, per_machine=2, minutes=5)
    assert sent.job == "77" and "runs stop 1-run" in sent.said
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 'PENDING (PartitionConfig)'\n")
    assert sending.waiting(bench, held)[1] == "job 77: PENDING (PartitionConfig)"
    with pytest.raises(RunError, match="waits as Slurm's job 77"):
        train.resume(bench, held, start_runner=lambda runs: None)
    with pytest.raises(RunError, match="waits as Slurm's job 77"):
        sending.to_hosts(bench, held, HOSTS)

    scancel.write_text("#!/bin/sh\necho no such job >&2; exit 1\n")
    with pytest.raises(RunError, match="keeps job 77: no such job"):
        train.stop(bench, held)
    scancel.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/cancelled\n')
    stopped = train.stop(bench, held)
    assert "taken back" in stopped.hint
    assert train.stop_said(stopped) == "1-run is taken back from Slurm: resume queues it here"
    assert (tmp_path / "cancelled").read_text() == "77\n"
    assert sending.waiting(bench, held)[1] == ""
    assert train.resume(bench, held, start_runner=lambda runs: None).state is RunState.QUEUED


def test_a_run_that_waits_here_is_sent_before_a_runner_can_take_it(
    bench: Bench, held: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.cli.main import main

    started: list[Path] = []
    monkeypatch.setitem(train.sync.__kwdefaults__, "start_runner", started.append)
    RunDirectory(Path(held.directory)).enqueue()
    hosts = bench.workspace.root / "hosts"
    hosts.write_text("a slots=2\n")
    assert main(["-w", str(bench.workspace.root), "runs", "send", "1-run", "--hosts", str(hosts)]) == 0
    assert started == []


def test_the_command_sends_and_asks_where_to(bench: Bench, held: Run) -> None:
    from workbench.cli.main import main

    hosts = bench.workspace.root / "hosts"
    hosts.write_text("a slots=2\n")
    assert main(["-w", str(bench.workspace.root), "runs", "send", "1-run", "--hosts", str(hosts), "--json"]) == 0
    assert main(["-w", str(bench.workspace.root), "runs", "send", "1-run"]) == 2
    assert json.loads((Path(held.directory) / "adjusted.json").read_text()) == {"processes": 2}


def test_a_run_is_sent_with_as_many_processes_as_it_was_made_for(bench: Bench, held: Run) -> None:
    from workbench.cli.main import main

    directory = RunDirectory(Path(held.directory))
    directory.adjust({"processes": 4})
    send = ["-w", str(bench.workspace.root), "runs", "send", "1-run", "--skypilot", "H100"]
    assert main([*send, "--machines", "2", "--bucket", "s3://one"]) == 0
    assert yaml.safe_load((directory.root / "sky.yaml").read_text())["resources"] == {"accelerators": "H100:2"}
    assert directory.adjusted() == {"processes": 4}
    assert main([*send, "--machines", "3", "--bucket", "s3://one"]) == 2
    assert main([*send, "--per-machine", "1"]) == 0
    assert directory.adjusted() == {"processes": 1}
