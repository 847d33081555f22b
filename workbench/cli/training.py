"""The training commands: queue a run, watch it, stop and resume it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from workbench.cli import queueing, run_papers, sending, stages
from workbench.cli.parsing import add, add_group, positive
from workbench.cli.session import Session, run_called
from workbench.domain.methods import knob_text
from workbench.domain.runs import figure_name
from workbench.errors import RunError, UsageError

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.domain.runs import Run
    from workbench.flows.preflight import Preflight
    from workbench.flows.train import RunPlan

_COLUMNS = ["id", "name", "method", "status", "place", "step", "total_steps", "loss", "eval_loss", "group"]


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``train`` and ``runs``."""
    one = add(commands, common, "train", train, "queue a training run; it outlives this terminal")
    one.add_argument("--method", default="", metavar="M", help="the README lists them, with what each takes")
    one.add_argument("--dataset", default="", metavar="D")
    one.add_argument("--eval-dataset", default="", metavar="D", help="held-out rows (default: a share of the dataset)")
    one.add_argument("--model", default="", metavar="B", help="base or adapter to start from")
    one.add_argument("--preset", default="auto", metavar="P")
    one.add_argument("--set", action="append", default=[], metavar="K=V", dest="settings")
    one.add_argument("--name", default="", metavar="N")
    one.add_argument("--processes", type=positive, metavar="N", help="processes that train together, one per GPU")
    one.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="CHECK",
        help="train although this check says no; also memory, disk, rows, deepspeed",
    )
    one.add_argument("--general", default="", metavar="F", help="text or dataset to see what the run forgets; or none")
    one.add_argument("--canaries", default="", metavar="F", help="prompts answered before and after; or none")
    stages.add_options(one)
    one.add_argument("--dry-run", action="store_true", help="plan and check, start nothing")
    one.add_argument("--hold", action="store_true", help="make the run, and leave it to runs send or runs resume")
    one.add_argument("--wait", action="store_true", help="follow the run to its end")

    verbs = add_group(commands, common, "runs", "list, show, watch, stop, resume, compare and keep runs")
    add(verbs, common, "list", runs_list, "every run, newest first")
    for verb, function, text in (
        ("show", runs_show, "one run whole"),
        ("logs", runs_logs, "what the trainer printed"),
        ("watch", runs_watch, "follow a run to its end"),
        ("stop", runs_stop, "finish the step, save a checkpoint, stop"),
        ("kill", runs_kill, "end the trainer at once; the last checkpoint stays"),
        ("resume", runs_resume, "go on from the last complete checkpoint"),
    ):
        sub = add(verbs, common, verb, function, text)
        sub.add_argument("run_name", metavar="RUN")
        if verb == "resume":
            sub.add_argument("--processes", type=positive, default=0, metavar="N", help="(default: as before)")
        if verb == "logs":
            sub.add_argument("--lines", type=positive, default=40, metavar="N")
    queueing.add_verbs(verbs, common)
    stages.add_verbs(verbs, common)
    run_papers.register(verbs, common)
    sending.register(verbs, common)


def train(session: Session, args: argparse.Namespace) -> int:
    """Plan, check and queue one run, or all runs of a recipe or a sweep."""
    from workbench.flows import train as flow

    if args.processes:
        args.settings.append(f"processes={args.processes}")
    if args.recipe:
        return stages.train_recipe(session, args)
    for name in ("method", "dataset"):
        if not getattr(args, name):
            raise UsageError(f"train needs --{name}, or --recipe FILE", hint="workbench train --help")
    if args.sweep:
        return stages.train_sweep(session, args)
    stages.refuse_without_sweep(args)
    plan = flow.plan(
        session.bench,
        method=args.method,
        dataset=args.dataset,
        model=args.model,
        preset=args.preset,
        overrides=settings_of(args),
        name=args.name,
        eval_dataset=args.eval_dataset,
        allow=args.allow,
        general=args.general,
        canaries=args.canaries,
        gpus=args.gpus,
        on_progress=lambda doing, seen, total: session.out.progress(f"{doing}: {seen:,} of {total:,} rows"),
    )
    session.out.end_progress()
    preflight = checked(session, plan, args)
    if args.dry_run:
        why = {name: {"value": plan.spec.knobs[name], "reason": text} for name, text in plan.reasons.items()}
        for name, one in why.items():
            session.out.say(f"{name} = {knob_text(one['value'])}: {one['reason']}")
        rows = f"{plan.spec.train_rows} training and {plan.spec.eval_rows} held-out rows"
        text = f"{rows}; nothing was started\n{plan.command}"
        planned = {"run": None, "status": "planned", "directory": None, "preflight": preflight}
        session.out.data(planned | {"preset": plan.spec.preset, "reasons": why}, text)
        return 0
    if args.hold:
        run = flow.hold(session.bench, plan)
        row, _ = _told(session, run)
        said = f"made run {run.name} ({run.directory}); runs send or runs resume starts it"
        session.out.data(row | {"run": run.name, "directory": run.directory, "preflight": preflight}, said)
        return 0
    run = flow.launch(session.bench, plan)
    session.out.say(f"queued run {run.name} ({run.directory}); it goes on when this terminal is gone")
    if args.wait:
        run = follow(session, run)
    row, said = _told(session, run)
    session.out.data(row | {"run": run.name, "directory": run.directory, "preflight": preflight}, said)
    return 0 if not args.wait or run.state.value == "finished" else 1


def checked(session: Session, plan: RunPlan, args: argparse.Namespace) -> dict[str, object]:
    """Look before a start, say what was found, and raise ``RefusedError`` for what is not allowed."""
    from workbench.flows import preflight as before

    found = before.look(session.bench, plan) if args.dry_run else before.look_before(session.bench, plan)
    for finding in (*plan.findings, *found.facts):
        session.out.say(finding)
    found.refuse((*args.allow, *plan.allow))
    return _preflight_row(plan, found)


def settings_of(args: argparse.Namespace) -> dict[str, str]:
    """What was given with ``--set``."""
    return dict(_pair(text) for text in args.settings)


def _preflight_row(plan: RunPlan, found: Preflight) -> dict[str, object]:
    window = int(plan.spec.knobs["max_length"])
    return {
        "train_rows": plan.spec.train_rows,
        "eval_rows": plan.spec.eval_rows,
        "findings": [*plan.findings, *found.facts],
        "cut": list(found.lengths.cut(window)) if found.lengths else None,
        "left_out": list(found.lengths.empty(window)) if found.lengths else None,
        "is_sample": found.lengths.is_sample if found.lengths else None,
        "memory_bytes": asdict(found.memory) | {"total": found.memory.total} if found.memory else None,
        "free_bytes": found.device.free if found.device else None,
        "seconds": found.seconds,
        "replay": {"dataset": plan.spec.replay_dataset, "rows": plan.spec.replay_rows}
        if plan.spec.replay_rows
        else None,
        "remedies": [{"said": one.said, "set": dict(one.knobs)} for one in found.all_remedies],
    }


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text!r} is not K=V", hint="for example --set learning_rate=2e-4")
    return name.strip(), value


def run_row(run: Run) -> dict[str, object]:
    """One run as ``--json`` gives it."""
    return {
        "id": run.id,
        "name": run.name,
        "method": run.method,
        "status": run.state.value,
        "step": run.step,
        "total_steps": run.total_steps,
        "loss": run.loss,
        "eval_loss": run.eval_loss,
        "base_eval_loss": run.base_eval_loss,
        "started_utc": run.started_utc,
        "ended_utc": run.ended_utc,
        "adapter": run.adapter,
        "dataset": run.dataset,
        "base": run.base,
        "group": run.group or None,
        "error": run.error,
        "hint": run.hint,
        "directory": run.directory,
    }


def _told(session: Session, run: Run) -> tuple[dict[str, object], str]:
    """One run with what was measured on it, as ``--json`` gives it and as lines: a sentence, and what it means."""
    from workbench.flows import train as flow

    measured = flow.measured(session.bench, run)
    told = {name: {"base": before, "tuned": after} for name, (before, after) in measured.items()}
    said = "".join(f", {figure_name(name)} {a:.3g} → {b:.3g}" for name, (a, b) in measured.items() if name != "loss")
    findings = _findings(run)
    lines = [_sentence(run) + said, *(f"{'! ' if f['level'] == 'warning' else ''}{f['said']}" for f in findings)]
    return run_row(run) | {"held_out": told, "findings": findings}, "\n".join(lines)


def _findings(run: Run) -> list[dict[str, str]]:
    """What the numbers of a run that is over say; none without its folder."""
    from workbench.flows import run_papers

    if not run.state.is_over:
        return []
    with suppress(RunError):
        return [{"name": f.name, "level": f.level.value, "said": f.said} for f in run_papers.facts(run).findings]
    return []


def _sentence(run: Run) -> str:
    if run.error:
        return f"{run.name}: {run.state.value}. {run.error} {run.hint}".rstrip()
    held_out = ""
    if run.eval_loss is not None and run.base_eval_loss is not None:
        held_out = f", held-out loss {run.base_eval_loss:.3f} → {run.eval_loss:.3f}"
    return f"{run.name}: {run.state.value}, step {run.step} of {run.total_steps}{held_out}"


def follow(session: Session, run: Run) -> Run:
    """Print progress until the run is over; Ctrl+C leaves the run alone."""
    from workbench.flows import train as flow

    while True:
        flow.sync(session.bench)
        run = session.bench.store.runs.get(str(run.id))
        if run.state.is_over:
            session.out.end_progress()
            return run
        session.out.progress(
            f"{run.name}: {_standing(run_row(run))} {run.step}/{run.total_steps or '?'}  loss {run.loss or '-'}"
        )
        time.sleep(0.5)


def _standing(row: Mapping[str, object]) -> object:
    """The state; of a run that waits for a person, with what it waits for."""
    return f"paused: {row['error']}" if row["status"] == "paused" else row["status"]


def runs_list(session: Session, args: argparse.Namespace) -> None:
    """Every run after taking in what is new."""
    from workbench.flows import train as flow
    from workbench.flows.queueing import places as places_in

    flow.sync(session.bench)
    places = places_in(session.bench)
    rows = [run_row(r) | {"place": places.get(r.id)} for r in flow.runs(session.bench)]
    if not session.out.as_json:
        for row in rows:
            row["status"] = _standing(row)
    session.out.table(rows, _COLUMNS)


def runs_show(session: Session, args: argparse.Namespace) -> None:
    """One run with its result and, when it went wrong, why and what to do."""
    from workbench.flows import sending
    from workbench.flows import train as flow

    run, waits = sending.waiting(session.bench, run_called(session, args.run_name))
    row, said = _told(session, run)
    if waits:
        row["slurm"] = waits
    with suppress(RunError):
        row["went_on_from"] = flow.spec(run).adapter or None
    shown = {key: value for key, value in row.items() if key not in {"held_out", "findings"}}
    figures = flow.measured(session.bench, run).items()
    lines = [f"{key}: {'-' if value is None else value}" for key, value in shown.items()]
    lines += [f"held-out {figure_name(name)}: {before:.6g} → {after:.6g}" for name, (before, after) in figures]
    session.out.data(row, "\n".join([*lines, *said.splitlines()[1:]]))


def runs_logs(session: Session, args: argparse.Namespace) -> None:
    """The last lines of the trainer's log."""
    from workbench.flows import train as flow

    run = run_called(session, args.run_name)
    lines = list(flow.log_tail(session.bench, run, lines=args.lines))
    session.out.data({"run": run.name, "lines": lines}, "\n".join(lines))


def runs_watch(session: Session, args: argparse.Namespace) -> int:
    """Follow a run to its end."""
    run = follow(session, run_called(session, args.run_name))
    session.out.data(*_told(session, run))
    return 0 if run.state.value == "finished" else 1


def runs_stop(session: Session, args: argparse.Namespace) -> None:
    """Ask the trainer to save and stop."""
    from workbench.flows import train as flow

    run = flow.stop(session.bench, run_called(session, args.run_name))
    session.out.data(run_row(run), flow.stop_said(run))


def runs_kill(session: Session, args: argparse.Namespace) -> int:
    """End the trainer at once, after asking."""
    from workbench.flows import train as flow

    run = run_called(session, args.run_name)
    if not run.state.is_active:
        raise RunError(f"{run.name} is {run.state.value}, not running", hint="workbench runs list shows all")
    if not session.confirm(f"kill {run.name}? What came after its last checkpoint is lost."):
        return 1
    flow.kill(session.bench, run)
    session.out.data(run_row(run_called(session, args.run_name)), f"killed {run.name}")
    return 0


def runs_resume(session: Session, args: argparse.Namespace) -> None:
    """Queue the run again from its last complete checkpoint."""
    from workbench.flows import train as flow

    flow.resume(session.bench, run_called(session, args.run_name), processes=args.processes)
    run = run_called(session, args.run_name)
    session.out.data(run_row(run), f"{run.name} is queued again")
