"""A run as a Slurm job, through submitit: one task on each machine, which starts that machine's processes.

A job that is preempted or runs out of its time saves a checkpoint, is queued again, and goes on from there. Needs the
run directory on a file system that the machines share.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.domain.placement import PROCESSES
from workbench.domain.runs import RunState
from workbench.errors import RunError, UsageError
from workbench.jobs import ranks
from workbench.jobs.processes import child_environment
from workbench.jobs.run_directory import STOP, RunDirectory

FOLDER = "slurm"
JOB = "job"
SLURM, HERE = "slurm", "local"
SAVING_SECONDS = 80.0
CANCEL_SECONDS = 30.0
_POLL_SECONDS = 0.2


@dataclass
class Training:
    """What a job does on each of its machines. Pickled by submitit, hence a plain class of plain values."""

    root: str
    machines: int
    processes: int
    stopping: bool = field(default=False, init=False)

    def __call__(self) -> int:
        """Train until the run is over; raises ``RunError`` when the processes of this machine failed."""
        import submitit

        place = submitit.JobEnvironment()
        code = self.train(rank=place.node, address=place.hostnames[0])
        if code and not self.stopping:
            raise RunError(f"the trainer ended with exit code {code}", hint="log.txt in the run's folder says why")
        return code

    def train(self, *, rank: int, address: str) -> int:
        """Start this machine's processes and wait for them; gives back their exit code."""
        directory = RunDirectory(Path(self.root))
        argv = self._command(directory, rank=rank, address=address)
        log = directory.log_file if rank == 0 else directory.root / f"log-{rank}.txt"
        with log.open("ab") as output:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=child_environment(ranks.environment(directory)),
                start_new_session=True,
                # Slurm sends its warning to every process of a job; only this one knows what to do about it.
                preexec_fn=_ignore_warnings,
            )
        # Not wait(): the warning's handler, which runs meanwhile, has to see the end too.
        while process.poll() is None:
            time.sleep(_POLL_SECONDS)
        return process.returncode

    def checkpoint(self) -> Any:
        """Save, and hand back the job that goes on; called by submitit when the job has to leave its machines."""
        from submitit.helpers import DelayedSubmission

        self.stopping = True
        directory = RunDirectory(Path(self.root))
        directory.request(STOP)
        deadline = time.monotonic() + SAVING_SECONDS
        while _is_active(directory) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        directory.clear_stop()
        return DelayedSubmission(Training(self.root, self.machines, self.processes))

    def _command(self, directory: RunDirectory, *, rank: int, address: str) -> list[str]:
        if self.machines == 1:
            return ranks.command(directory)
        return ranks.command_on(rank, root=self.root, machines=self.machines, processes=self.processes, address=address)


def submit(
    directory: RunDirectory,
    *,
    machines: int,
    per_machine: int,
    minutes: int,
    cluster: str = SLURM,
    parameters: Mapping[str, str] | None = None,
) -> str:
    """Hand the run to the scheduler; gives back the job's id.

    ``per_machine`` is the processes, and so the GPUs, of each machine; ``parameters`` are sbatch's own (partition,
    account, ...). ``cluster`` ``HERE`` runs the job on this machine at once. Raises ``UsageError`` without submitit or
    Slurm, ``RunError`` when the scheduler refuses.
    """
    submitit = _submitit(cluster)
    total = machines * per_machine
    directory.adjust({PROCESSES: total})
    if total > 1:
        ranks.write_config(directory, processes=total, machines=machines)
    executor = submitit.AutoExecutor(folder=directory.root / FOLDER, cluster=cluster)
    executor.update_parameters(name=directory.root.name, nodes=machines, tasks_per_node=1, timeout_min=minutes)
    if cluster == SLURM:
        executor.update_parameters(
            slurm_gpus_per_node=per_machine,
            slurm_additional_parameters=dict(parameters or {}),
            slurm_signal_delay_s=120,
        )
    try:
        job = str(executor.submit(Training(str(directory.root), machines, total)).job_id)
    except (RuntimeError, OSError, submitit.core.utils.FailedJobError) as error:
        raise RunError(f"Slurm did not take the job: {error}") from error
    if cluster == SLURM:
        directory.write_text(directory.root / FOLDER / JOB, job)
    return job


def waiting_job(directory: RunDirectory) -> str:
    """The job of a run that was handed to Slurm and has not begun there; "" for any other."""
    status = directory.status()
    if status is None or status.state is not RunState.CANCELLED:
        return ""
    try:
        return (directory.root / FOLDER / JOB).read_text(encoding="utf-8")
    except OSError:
        return ""


def take_back(directory: RunDirectory) -> None:
    """Take a run that has not begun out of Slurm's queue; raises ``RunError`` with what Slurm says to it."""
    command = ["scancel", job := waiting_job(directory)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CANCEL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"scancel {job} did not work: {error}", hint="run it on a login node of the cluster") from error
    if done.returncode:
        raise RunError(f"Slurm keeps job {job}: {done.stderr.strip()}", hint=f"squeue --job {job} shows it")
    (directory.root / FOLDER / JOB).unlink(missing_ok=True)


def _submitit(cluster: str) -> Any:
    try:
        import submitit  # 0.2 s
    except ImportError:
        raise UsageError("Slurm is reached through submitit, which is not installed", hint=_EXTRA) from None
    if cluster == SLURM and shutil.which("sbatch") is None:
        raise UsageError("there is no sbatch on this machine", hint="run this on a login node of the cluster")
    return submitit


_EXTRA = "pip install 'workbench[slurm]'"


def _is_active(directory: RunDirectory) -> bool:
    status = directory.status()
    return status is not None and status.state.is_active


def _ignore_warnings() -> None:
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT):
        signal.signal(number, signal.SIG_IGN)
