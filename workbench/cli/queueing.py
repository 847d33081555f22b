"""The queue's commands: the order of runs, their GPUs, and the runner that works on them without a terminal."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from workbench.cli.parsing import add, add_group
from workbench.cli.session import Session, run_called
from workbench.errors import RunError

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``runner``."""
    verbs = add_group(commands, common, "runner", "the process that works on the queue: start, status, stop, install")
    start = add(verbs, common, "start", runner_start, "let the queue go on, with a runner at work while runs wait")
    start.add_argument("--wait", action="store_true", help="be the runner, here, until the queue is empty")
    add(verbs, common, "status", runner_status, "who is at work, who waits, and who else is on the GPUs")
    add(verbs, common, "stop", runner_stop, "start no further run until start; runs at work go on")
    install = add(verbs, common, "install", runner_install, "go on with the queue after a reboot")
    install.add_argument("--cron", action="store_true", help="print a line for crontab -e instead of a systemd unit")
    install.add_argument("--print", action="store_true", dest="only_print", help="print the unit, write nothing")


def add_verbs(verbs: Commands, common: argparse.ArgumentParser) -> None:
    """Add the queue's verbs to ``runs``."""
    move = add(verbs, common, "move", runs_move, "earlier or later in the queue")
    move.add_argument("run_name", metavar="RUN")
    move.add_argument("where", choices=("up", "down", "first", "last"))
    cancel = add(verbs, common, "cancel", runs_cancel, "take a run from the queue before it starts")
    cancel.add_argument("run_name", metavar="RUN")
    gpus = add(verbs, common, "gpus", runs_gpus, "the GPUs of a run that is not at work: auto, auto:2, 0,1 or cpu")
    gpus.add_argument("run_name", metavar="RUN")
    gpus.add_argument("gpus", metavar="GPUS")


def runs_move(session: Session, args: argparse.Namespace) -> None:
    """Change the place of a queued run."""
    from workbench.flows import queueing

    steps = {"up": -1, "down": 1, "first": -(10**6), "last": 10**6}[args.where]
    run = run_called(session, args.run_name)
    place = queueing.move(session.bench, run, steps)
    session.out.data({"run": run.name, "place": place}, f"{run.name} is number {place} in the queue")


def runs_cancel(session: Session, args: argparse.Namespace) -> None:
    """Take a run from the queue."""
    from workbench.domain.runs import RunState
    from workbench.flows import train as flow

    run = run_called(session, args.run_name)
    if run.state is not RunState.QUEUED:
        raise RunError(f"{run.name} is {run.state.value}, not queued", hint="runs stop saves a checkpoint and stops it")
    run = flow.stop(session.bench, run)
    session.out.data({"run": run.name, "status": run.state.value}, f"{run.name} is taken from the queue")


def runs_gpus(session: Session, args: argparse.Namespace) -> None:
    """Give a run other GPUs."""
    from workbench.flows import queueing

    run = run_called(session, args.run_name)
    session.out.data({"run": run.name, "gpus": args.gpus}, queueing.set_gpus(session.bench, run, args.gpus))


def runner_start(session: Session, args: argparse.Namespace) -> None:
    """Let the queue go on."""
    from workbench.flows import queueing, sweeps
    from workbench.flows import train as flow

    queueing.go_on(session.bench, here=args.wait)
    flow.sync(session.bench)
    sweeps.keep_asking(session.bench)
    _say_standing(session)


def runner_stop(session: Session, args: argparse.Namespace) -> None:
    """Hold the queue."""
    from workbench.flows import queueing

    queueing.hold(session.bench)
    session.out.data({"held": True}, "no further run starts until: workbench runner start (runs at work go on)")


def runner_status(session: Session, args: argparse.Namespace) -> None:
    """Where the queue stands."""
    from workbench.flows import train as flow

    flow.sync(session.bench)
    _say_standing(session)


def _say_standing(session: Session) -> None:
    from workbench.flows import queueing

    found = queueing.standing(session.bench)
    name = {run.id: run.name for run in session.bench.store.runs.list()}
    idle = "starting" if found.waiting else "not needed now"
    state = "held" if found.held else f"at work (process {found.runner})" if found.runner else idle
    lines = [f"runner: {state}"]
    lines += [f"at work: {name[i]} on {found.on.get(i) or 'the CPU'}" for i in found.active]
    lines += [f"waiting {place}: {name[i]}" for place, i in enumerate(found.waiting, start=1)]
    lines += [f"GPU {g.label}: {g.free / 1e9:.1f} of {g.total / 1e9:.1f} GB free" for g in found.gpus]
    lines += [f"also there: {found.others}"] if found.others else []
    document = {
        "runner": found.runner,
        "held": found.held,
        "active": [{"run": name[i], "gpus": found.on.get(i, "")} for i in found.active],
        "waiting": [name[i] for i in found.waiting],
        "gpus": [{"index": g.index, "name": g.name, "free": g.free, "total": g.total} for g in found.gpus],
        "others": found.others,
    }
    session.out.data(document, "\n".join(lines))


def runner_install(session: Session, args: argparse.Namespace) -> None:
    """Write what starts the runner after a reboot, or print it."""
    from workbench.flows import boot

    if args.cron:
        line = boot.cron_line(session.workspace)
        session.out.data({"cron": line}, line)
        return
    unit = boot.unit_text(session.workspace)
    if args.only_print:
        session.out.data({"unit": unit}, unit.rstrip())
        return
    path = boot.write_unit(session.workspace)
    then = boot.commands(path)
    session.out.data({"written": str(path), "then": then}, f"wrote {path}; now:\n" + "\n".join(f"  {c}" for c in then))
