"""A run as a Slurm job, through submitit: one task on each machine, which starts that machine's processes.

A job that is preempted or runs out of its time saves a checkpoint, is queued again, and goes on from there. While it
waits for that its run is shown as cancelled, with a hint, so that no runner takes it. Needs the run directory on a file
system that the machines share.
"""

from __future__ import annotations

import io
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.domain.placement import PROCESSES
from workbench.domain.queues import wish
from workbench.domain.runs import RunState
from workbench.errors import RunError, UsageError
from workbench.jobs import ranks
from workbench.jobs.processes import child_environment
from workbench.jobs.run_directory import STOP, RunDirectory
from workbench.jobs.settling import settle_sent

FOLDER = "slurm"
JOB = "job"
SLURM, HERE = "slurm", "local"
SAVING_SECONDS = 80.0
ANSWER_SECONDS = 30.0
TIMES = 10_000
FEWEST_MINUTES = 5
PORTS = range(20_000, 30_000)  # none that a machine hands out by itself
WARNING_SECONDS = 120
GPUS = {"gpus", "gpus_per_node", "gpus_per_task", "gpus_per_socket", "gres"}
CORES = "cpus_per_task"
_NEVER = "None"
_POLL_SECONDS = 0.2


@dataclass
class Training:
    """What a job does on each of its machines. Pickled by submitit, hence a plain class of plain values."""

    root: str
    machines: int
    processes: int
    stopping: bool = field(default=False, init=False)
    terminated: bool = field(default=False, init=False)

    def __call__(self) -> int:
        """Train until the run is over; raises ``RunError`` when the processes of this machine failed."""
        import submitit

        place = submitit.JobEnvironment()
        signal.signal(signal.SIGTERM, self._note_end)
        number = str(place.job_id)
        # Jobs that share a machine must not meet at one port.
        port = PORTS.start + int(number) % len(PORTS) if number.isdigit() else ranks.PORT
        code = self.train(rank=place.node, address=place.hostnames[0], port=port)
        if self.terminated and place.node == 0 and place.cluster == SLURM:
            go_on_later(RunDirectory(Path(self.root)), number)
        elif code and not self.stopping:
            directory = RunDirectory(Path(self.root))
            settle_sent(directory, returncode=code, log=ranks.log_of(directory, place.node))
            raise RunError(f"the trainer ended with exit code {code}", hint="log.txt in the run's folder says why")
        return code

    def _note_end(self, number: int, frame: object) -> None:
        # The trainer hears it too, as every process of a job does, and saves.
        self.terminated = True

    def train(self, *, rank: int, address: str, port: int = ranks.PORT) -> int:
        """Start this machine's processes and wait for them; gives back their exit code."""
        directory = RunDirectory(Path(self.root))
        argv = self._command(directory, rank=rank, address=address, port=port)
        with ranks.log_of(directory, rank).open("ab") as output:
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
        import submitit
        from submitit.helpers import DelayedSubmission

        self.stopping = True
        directory = RunDirectory(Path(self.root))
        is_wanted = bool(directory.requested())
        directory.request(STOP)
        deadline = time.monotonic() + SAVING_SECONDS
        while _is_active(directory) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        status = directory.status()
        if is_wanted or (status is not None and status.state is RunState.FINISHED):
            return None  # a person had it stopped, or it came to its end: the job is over
        directory.clear_stop()
        place = submitit.JobEnvironment()
        if place.cluster == SLURM:  # a job of this machine goes on at once
            _say_queued_again(directory, str(place.job_id))
        return DelayedSubmission(Training(self.root, self.machines, self.processes))

    def _command(self, directory: RunDirectory, *, rank: int, address: str, port: int) -> list[str]:
        if self.machines == 1:
            return ranks.command(directory)
        return ranks.command_on(
            rank, root=self.root, machines=self.machines, processes=self.processes, address=address, port=port
        )


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
    if cluster == SLURM and minutes < FEWEST_MINUTES:
        said = f"{minutes} minutes are too few: the last {WARNING_SECONDS // 60} are kept for saving"
        raise UsageError(said, hint=f"--minutes {FEWEST_MINUTES}, or more")
    total = machines * per_machine
    directory.adjust({PROCESSES: total})
    if total > 1:
        ranks.write_config(directory, processes=total, machines=machines)
    # Each end of its time counts, and the fourth would be the last.
    often = {"slurm_max_num_timeout": TIMES} if cluster == SLURM else {}
    executor = submitit.AutoExecutor(folder=directory.root / FOLDER, cluster=cluster, **often)
    executor.update_parameters(name=directory.root.name, nodes=machines, tasks_per_node=1, timeout_min=minutes)
    if cluster == SLURM:
        is_cpu = wish(directory.ticket().gpus).is_cpu
        executor.update_parameters(**_asked(parameters or {}, per_machine=per_machine, is_cpu=is_cpu))
    try:
        # sbatch's words are part of the error, which is shown once.
        with redirect_stderr(io.StringIO()):
            job = str(executor.submit(Training(str(directory.root), machines, total)).job_id)
    except (RuntimeError, OSError, submitit.core.utils.FailedJobError) as error:
        raise RunError(f"Slurm did not take the job: {error}", hint=_why_refused(str(error), directory)) from error
    if cluster == SLURM:
        directory.write_text(directory.root / FOLDER / JOB, job)
    return job


def waiting_job(directory: RunDirectory) -> str:
    """The job of a run that waits in Slurm's queue, to begin there or to go on; "" for any other.

    Slurm is asked, where it can be: a job that is gone from there waits no longer.
    """
    status = directory.status()
    if status is None or status.state.is_active or status.state is RunState.FINISHED:
        return ""
    try:
        job = (directory.root / FOLDER / JOB).read_text(encoding="utf-8")
    except OSError:
        return ""
    said = said_of(job)
    if said is None:
        return job if status.state is RunState.CANCELLED else ""
    if not said:
        (directory.root / FOLDER / JOB).unlink(missing_ok=True)
        if status.state is RunState.CANCELLED:
            directory.write_status(replace(status, hint=f"Slurm has no job {job} any more: resume queues the run here"))
    return job if said else ""


def take_back(directory: RunDirectory, job: str) -> None:
    """Take a run that waits out of Slurm's queue; raises ``RunError`` with what Slurm says to it."""
    try:
        done = _ask("scancel", job)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"scancel {job} did not work: {error}", hint="run it on a login node of the cluster") from error
    if done.returncode:
        raise RunError(f"Slurm keeps job {job}: {done.stderr.strip()}", hint=f"squeue --job {job} shows it")
    (directory.root / FOLDER / JOB).unlink(missing_ok=True)


def go_on_later(directory: RunDirectory, job: str) -> None:
    """Have a job queued again whose processes were told to end because others need its machines; called in the job.

    Slurm does so itself in some settings; in others a job that ends in time counts as done. One that a person took
    away, or whose run is over, stays as it is.
    """
    status = directory.status()
    if status is None or status.state is not RunState.STOPPED or directory.requested():
        return
    try:
        facts = _facts(_ask("scontrol", "show", "job", "--oneliner", job).stdout)
        state = facts.get("JobState", "")
        if state == "RUNNING" and facts.get("PreemptTime", _NEVER) not in {_NEVER, ""}:
            # Before it is asked for: Slurm ends this very process with it.
            _say_queued_again(directory, job)
            done = _ask("scontrol", "requeue", job)
            if done.returncode:
                directory.write_status(replace(status, hint=f"Slurm took job {job} away: {done.stderr.strip()}"))
        elif state in {"PENDING", "REQUEUED"}:
            _say_queued_again(directory, job)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"Slurm could not be asked about job {job}: {error}", flush=True)


def _say_queued_again(directory: RunDirectory, job: str) -> None:
    status = directory.status()
    if status is None or status.state not in {RunState.STOPPED, RunState.CANCELLED}:
        return
    hint = f"Slurm queued job {job} again: the run goes on there from step {status.step}; stop takes it back"
    directory.write_status(replace(status, state=RunState.CANCELLED, hint=hint))


def said_of(job: str) -> str | None:
    """What Slurm says of a job that it still has: its state, and why it waits. "" when it has it no more, None where it
    cannot be asked.
    """
    try:
        done = _ask("squeue", "--noheader", "--format=%T (%r)", "--jobs", job)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return "" if "nvalid job id" in done.stderr else None
    return done.stdout.strip()


def _ask(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS)


def _facts(line: str) -> dict[str, str]:
    """``scontrol``'s line of NAME=VALUE words."""
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def _why_refused(said: str, directory: RunDirectory) -> str:
    """What to do about what sbatch said, where that is known; "" elsewhere."""
    if "generic resource" in said:
        name = directory.root.name.partition("-")[2]
        return f"no such GPUs there: runs gpus {name} cpu asks for none, --sbatch gres=… for others"
    return "sinfo lists the partitions" if "partition" in said else ""


def _submitit(cluster: str) -> Any:
    try:
        import submitit  # 0.2 s
    except ImportError:
        raise UsageError("Slurm is reached through submitit, which is not installed", hint=_EXTRA) from None
    if cluster == SLURM and shutil.which("sbatch") is None:
        raise UsageError("there is no sbatch on this machine", hint="run this on a login node of the cluster")
    return submitit


_EXTRA = "pip install 'workbench[slurm]'"


def _asked(parameters: Mapping[str, str], *, per_machine: int, is_cpu: bool) -> dict[str, Any]:
    """What submitit is told for sbatch and srun; what a person gave wins over what would be asked for here."""
    given = {name.replace("-", "_"): value for name, value in parameters.items()}
    asked: dict[str, Any] = {"slurm_signal_delay_s": WARNING_SECONDS}
    if not is_cpu and not GPUS & given.keys():
        asked["slurm_gpus_per_node"] = per_machine
    if is_cpu:
        given = {CORES: str(per_machine), **given}
    if CORES in given:
        # srun would take one core, whatever the job has: https://slurm.schedmd.com/srun.html#OPT_cpus-per-task
        asked["slurm_srun_args"] = [f"--cpus-per-task={given[CORES]}"]
    return asked | {"slurm_additional_parameters": given}


def _is_active(directory: RunDirectory) -> bool:
    status = directory.status()
    return status is not None and status.state.is_active


def _ignore_warnings() -> None:
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT):
        signal.signal(number, signal.SIG_IGN)
