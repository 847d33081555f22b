"""What Slurm is asked for, and what a job does when it has to leave its machines; Slurm itself is a stand-in here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tiny_llama import make_run
from workbench.domain.queues import Ticket
from workbench.domain.runs import RunState, RunStatus
from workbench.errors import RunError, UsageError
from workbench.jobs import slurm
from workbench.jobs.run_directory import STOP, RunDirectory

Program = Callable[[str, str], None]
PREEMPTED = "JobId=7 JobState=RUNNING Reason=None PreemptTime=2026-11-21T23:40:05"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Makes one of Slurm's programs from the lines of a shell script; what it was asked for is in ``NAME.asked``."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def write(name: str, text: str) -> None:
        (tmp_path / name).write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/{name}.asked\n{text}\n')
        (tmp_path / name).chmod(0o700)

    return write


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    made = make_run(tmp_path / "runs" / "1-run", tmp_path, per_device_train_batch_size=8)
    (made.root / slurm.FOLDER).mkdir()
    (made.root / slurm.FOLDER / slurm.JOB).write_text("7")
    made.write_status(RunStatus(RunState.STOPPED, step=12))
    return made


def status_of(directory: RunDirectory) -> RunStatus:
    status = directory.status()
    assert status is not None
    return status


def sent(directory: RunDirectory, program: Program, **parameters: str) -> str:
    """What sbatch is handed."""
    program("srun", "")
    program("sbatch", f'cat "$1" > {directory.root}/handed; echo Submitted batch job 8')
    slurm.submit(directory, machines=1, per_machine=2, minutes=60, parameters=parameters)
    return (directory.root / "handed").read_text()


def test_a_gpu_is_asked_for_each_process(directory: RunDirectory, program: Program) -> None:
    assert "#SBATCH --gpus-per-node=2\n" in sent(directory, program)


def test_a_run_for_the_cpu_asks_for_cores_and_no_gpu(directory: RunDirectory, program: Program) -> None:
    directory.write_ticket(Ticket(gpus="cpu"))
    text = sent(directory, program)
    assert "gpus" not in text and "#SBATCH --cpus-per-task=2\n" in text and "srun" in text


def test_other_words_for_gpus_take_the_place_of_ours(directory: RunDirectory, program: Program) -> None:
    text = sent(directory, program, gres="gpu:a100:2")
    assert "#SBATCH --gres=gpu:a100:2\n" in text and "gpus-per-node" not in text


def test_the_cores_that_are_asked_for_reach_the_processes(directory: RunDirectory, program: Program) -> None:
    text = sent(directory, program, **{"cpus-per-task": "6"})
    assert "#SBATCH --cpus-per-task=6\n" in text and " --cpus-per-task=6 " in text.partition("\nsrun ")[2]


@pytest.mark.parametrize(
    ("said", "hint"),
    [("Invalid generic resource (gres) specification", "runs gpus run cpu"), ("invalid partition: a", "sinfo")],
)
def test_a_refused_job_is_told_once_with_what_to_do(
    directory: RunDirectory, program: Program, said: str, hint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    program("srun", "")
    program("sbatch", f"echo 'sbatch: error: {said}' >&2; exit 1")
    with pytest.raises(RunError) as refused:
        slurm.submit(directory, machines=1, per_machine=1, minutes=60)
    assert said in str(refused.value) and hint in refused.value.hint
    assert capfd.readouterr().err == ""


def test_a_job_has_time_to_save(directory: RunDirectory, program: Program) -> None:
    program("sbatch", "")
    with pytest.raises(UsageError, match="too few"):
        slurm.submit(directory, machines=1, per_machine=1, minutes=2)


def test_a_preempted_job_is_queued_again_and_its_run_waits_in_slurm(directory: RunDirectory, program: Program) -> None:
    program("scontrol", f'case "$1" in show) echo "{PREEMPTED}";; esac')
    program("squeue", "echo PENDING")
    slurm.go_on_later(directory, "7")
    assert "requeue 7" in (directory.root.parents[1] / "scontrol.asked").read_text()
    status = status_of(directory)
    assert status.state is RunState.CANCELLED and "job 7 again: the run goes on there from step 12" in status.hint
    assert slurm.waiting_job(directory) == "7"


@pytest.mark.parametrize("facts", ["JobId=7 JobState=CANCELLED PreemptTime=None", "JobState=RUNNING PreemptTime=None"])
def test_a_job_that_a_person_took_away_stays_away(directory: RunDirectory, program: Program, facts: str) -> None:
    program("scontrol", f"echo {facts}")
    slurm.go_on_later(directory, "7")
    assert "requeue" not in (directory.root.parents[1] / "scontrol.asked").read_text()
    assert status_of(directory).state is RunState.STOPPED


def test_a_run_that_a_person_stopped_is_not_queued_again(directory: RunDirectory, program: Program) -> None:
    program("scontrol", f"echo {PREEMPTED}")
    directory.request(STOP)
    slurm.go_on_later(directory, "7")
    assert slurm.Training(str(directory.root), 1, 1).checkpoint() is None
    assert status_of(directory).state is RunState.STOPPED


def test_a_job_that_slurm_queued_again_itself_is_waiting(directory: RunDirectory, program: Program) -> None:
    program("scontrol", "echo JobId=7 JobState=PENDING Reason=BeginTime")
    slurm.go_on_later(directory, "7")
    assert status_of(directory).state is RunState.CANCELLED and "job 7" in status_of(directory).hint


@pytest.mark.parametrize("state", [RunState.STOPPED, RunState.LOST, RunState.CANCELLED])
def test_what_slurm_still_has_is_waiting_whatever_the_run_said_last(
    directory: RunDirectory, program: Program, state: RunState
) -> None:
    directory.write_status(RunStatus(state))
    program("squeue", "echo PENDING")
    assert slurm.waiting_job(directory) == "7"


@pytest.mark.parametrize("answer", ["exit 0", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"])
def test_a_job_that_is_gone_from_slurm_waits_no_longer(directory: RunDirectory, program: Program, answer: str) -> None:
    directory.write_status(replace(status_of(directory), state=RunState.CANCELLED, hint="sent to Slurm"))
    program("squeue", answer)
    assert slurm.waiting_job(directory) == ""
    assert "no job 7 any more" in status_of(directory).hint
    program("squeue", "echo PENDING")
    assert slurm.waiting_job(directory) == ""


def test_where_slurm_does_not_answer_a_run_that_never_began_waits(directory: RunDirectory, program: Program) -> None:
    program("squeue", "echo Unable to contact slurm controller >&2; exit 1")
    assert slurm.waiting_job(directory) == ""
    directory.write_status(RunStatus(RunState.CANCELLED))
    assert slurm.waiting_job(directory) == "7"
