"""A run that trains elsewhere than in this machine's queue: on machines of a list, under Slurm, in a cloud.

Its directory stays what the bench knows of it: events and results are taken over from there as from any run's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import methods
from workbench.domain.placement import Host, shared
from workbench.domain.runs import Run, RunState, RunStatus
from workbench.errors import RunError, UsageError
from workbench.flows import train
from workbench.flows.run_news import take_over
from workbench.jobs import hosts as machines_list
from workbench.jobs import ranks, skypilot, slurm
from workbench.jobs.ranks import PORT
from workbench.jobs.run_directory import RunDirectory, now_utc

if TYPE_CHECKING:
    from workbench.flows.bench import Bench


@dataclass(frozen=True, slots=True)
class Sent:
    """What was written or started: the files in the run directory, the job's id where there is one, and a sentence."""

    files: tuple[Path, ...]
    said: str
    job: str = ""


def to_hosts(bench: Bench, run: Run, hosts: Sequence[Host], *, ssh: bool = False, port: int = PORT) -> Sent:
    """Write the script that each machine has to run; with ``ssh`` also start them.

    Raises ``RunError`` when the run is at work, or a machine cannot be reached, and ``RefusedError`` when a step's rows
    cannot be shared out; the run is then as it was.
    """
    names = ", ".join(host.name for host in hosts)
    with _taken(bench, run, sum(host.slots for host in hosts), to=f"to {names}") as directory:
        scripts = machines_list.prepare(directory, hosts, port=port)
        if ssh:
            machines_list.reach(hosts, scripts)
    if ssh:
        machines_list.start(hosts, scripts)
        return Sent(tuple(scripts), f"{run.name} was started on {len(hosts)} machines")
    words = "\n".join(f"{host.name}: sh {script}" for host, script in zip(hosts, scripts, strict=True))
    return Sent(tuple(scripts), f"run on each machine, in any order:\n{words}")


def to_slurm(
    bench: Bench,
    run: Run,
    *,
    machines: int,
    per_machine: int,
    minutes: int,
    parameters: Mapping[str, str] | None = None,
    cluster: str = "slurm",
) -> Sent:
    """Hand the run to Slurm; raises as ``jobs.slurm.submit`` and ``to_hosts`` do. ``cluster`` as there."""
    with _taken(bench, run, machines * per_machine, to="to Slurm") as directory:
        job = slurm.submit(
            directory,
            machines=machines,
            per_machine=per_machine,
            minutes=minutes,
            cluster=cluster,
            parameters=parameters,
        )
    place = "Slurm's job" if cluster == slurm.SLURM else "the process"
    said = f"{run.name} is {place} {job}; `workbench runs stop {run.name}` takes it back, `runs logs` shows its log"
    return Sent((directory.root / slurm.FOLDER,), said, job)


def to_skypilot(
    bench: Bench, run: Run, *, machines: int, per_machine: int, accelerator: str, bucket: str = "", install: str = ""
) -> Sent:
    """Write the task file that ``sky launch`` takes; raises as ``jobs.skypilot.write`` and ``to_hosts`` do."""
    with _taken(bench, run, machines * per_machine, to="to SkyPilot") as directory:
        file = skypilot.write(
            directory,
            machines=machines,
            per_machine=per_machine,
            accelerator=accelerator,
            bucket=bucket,
            install=install,
        )
    name = skypilot.cluster(directory)
    return Sent((file,), f"sky launch -c {name} {file}\nthen: rsync -a {name}:run/ {directory.root}/")


def waiting(bench: Bench, run: Run) -> tuple[Run, str]:
    """The run as it is now and, where it waits in Slurm's queue, its job and why, in Slurm's words; else ""."""
    job = slurm.waiting_job(RunDirectory(Path(run.directory)))
    said = f"job {job}: {slurm.said_of(job) or 'Slurm does not answer'}" if job else ""
    return take_over(bench, run), said


def per_machine(run: Run, machines: int) -> int:
    """How many of the run's processes each of so many machines has; raises ``UsageError`` when that is no number."""
    processes = ranks.processes_of(RunDirectory(Path(run.directory)))
    share, rest = divmod(max(processes, machines), machines)
    if rest:
        said = f"the {processes} processes of {run.name} cannot be shared out evenly between {machines} machines"
        raise UsageError(said, hint="--per-machine N")
    return share


@contextmanager
def _taken(bench: Bench, run: Run, processes: int, *, to: str) -> Iterator[RunDirectory]:
    """The directory of a run that nobody works on, out of this machine's queue; back in it when the block fails."""
    directory = RunDirectory(Path(run.directory))
    told = train.spec(run)
    shared(methods.get(told.method), told.knobs, processes)
    before, adjusted = directory.status(), directory.adjusted()
    status = before or RunStatus(RunState.CANCELLED)
    if status.state.is_active or status.state is RunState.FINISHED:
        raise RunError(f"{run.name} is {status.state.value}: it cannot be sent", hint="stop it, or make a new run")
    if job := slurm.waiting_job(directory):
        raise RunError(f"{run.name} waits as Slurm's job {job}", hint="stop takes it back; then send it")
    directory.clear_stop()
    hint = f"sent {to}: what happens there is shown once its trainer has begun"
    directory.write_status(replace(status, state=RunState.CANCELLED, ended_utc=now_utc(), error="", hint=hint))
    try:
        yield directory
    except BaseException:
        directory.write_adjusted(adjusted)
        directory.write_status(status)
        raise
    finally:
        train.sync(bench)
