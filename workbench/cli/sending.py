"""``workbench runs send``: a run that trains on other machines, under Slurm or in a cloud."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.parsing import add, positive
from workbench.cli.session import Session
from workbench.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.domain.runs import Run
    from workbench.flows.sending import Sent


def register(verbs: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``runs send``."""
    one = add(verbs, common, "send", send, "train a run elsewhere: machines of a list, Slurm, SkyPilot")
    one.add_argument("run_name", metavar="RUN")
    one.add_argument("--hosts", metavar="FILE", help="machines, one a line: NAME slots=N; they share the run's folder")
    one.add_argument("--ssh", action="store_true", help="with --hosts: also start it on them")
    one.add_argument("--port", type=positive, default=29500, metavar="N", help="with --hosts: where the first listens")
    one.add_argument("--slurm", action="store_true", help="as a job of this cluster, through submitit")
    one.add_argument("--local", action="store_true", help="with --slurm: as a job of this machine, to try it out")
    one.add_argument("--skypilot", metavar="GPU", help="write a task file for sky launch, on this kind of GPU")
    one.add_argument("--machines", type=positive, default=1, metavar="N")
    one.add_argument(
        "--per-machine", type=positive, metavar="N", help="processes, and GPUs, of each (default: the run's)"
    )
    one.add_argument("--minutes", type=positive, default=24 * 60, metavar="N", help="Slurm: time of the job")
    one.add_argument("--sbatch", action="append", default=[], metavar="K=V", help="Slurm: partition=…, account=…")
    one.add_argument(
        "--bucket", default="", metavar="URL", help="SkyPilot: s3://NAME, made to share the run among machines"
    )
    one.add_argument("--install", default="", metavar="WHAT", help="SkyPilot: what pip installs there")


def send(session: Session, args: argparse.Namespace) -> None:
    """Send one run."""
    from workbench.flows import train as flow

    if sum(map(bool, (args.hosts, args.slurm, args.skypilot))) != 1:
        raise UsageError("where to?", hint="one of --hosts FILE, --slurm, --skypilot GPU")
    if args.local and not args.slurm:
        raise UsageError("--local goes with --slurm", hint="`workbench runs resume` trains it in this machine's queue")
    if args.local and args.machines > 1:
        raise UsageError("this machine is one machine", hint="--local without --machines, --per-machine N")
    # No runner for the queue: it could start the very run that is to go elsewhere.
    flow.sync(session.bench, start_runner=lambda runs: None)
    run = session.bench.store.runs.get(args.run_name)
    sent = _sent(session, run, args)
    files = [str(file) for file in sent.files]
    session.out.data({"run": run.name, "files": files, "job": sent.job or None}, sent.said)


def _sent(session: Session, run: Run, args: argparse.Namespace) -> Sent:
    from workbench.domain.placement import parse_hosts
    from workbench.flows import sending

    if args.hosts:
        return sending.to_hosts(session.bench, run, parse_hosts(_text(args.hosts)), ssh=args.ssh, port=args.port)
    per_machine = args.per_machine or sending.per_machine(run, args.machines)
    if args.slurm:
        return sending.to_slurm(
            session.bench,
            run,
            machines=args.machines,
            per_machine=per_machine,
            minutes=args.minutes,
            parameters=dict(_pair(text) for text in args.sbatch),
            cluster="local" if args.local else "slurm",
        )
    return sending.to_skypilot(
        session.bench,
        run,
        machines=args.machines,
        per_machine=per_machine,
        accelerator=args.skypilot,
        bucket=args.bucket,
        install=args.install,
    )


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise NotFoundError(f"{file} cannot be read: {error.strerror}") from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--sbatch {text!r} is not K=V", hint="for example --sbatch partition=gpu")
    return name, value
