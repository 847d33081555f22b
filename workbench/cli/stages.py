"""Several runs at once: ``train --recipe``, ``train --sweep``, the ``sweep`` commands, a run written as a recipe."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.parsing import add, add_group, positive
from workbench.cli.session import Session, existing_file
from workbench.domain.counting import counted
from workbench.domain.runs import figure_name
from workbench.domain.sweeps import GRID, SEARCHES
from workbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workbench.cli.parsing import Commands
    from workbench.domain.runs import Run
    from workbench.domain.sweeps import SweepTable
    from workbench.flows.train import RunPlan

ASK_SECONDS = 2.0
_NOT_WITH_RECIPE: Mapping[str, object] = {
    "method": "", "dataset": "", "model": "", "eval_dataset": "", "settings": [], "name": "", "preset": "auto",
    "gpus": "auto", "general": "", "canaries": "", "sweep": [], "search": GRID, "trials": None, "rank_by": "",
}  # fmt: skip
_RANK_BY = "the held-out figure that says which run is best: loss, accuracy, margin, ... (default: the method's own)"


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``sweep``."""
    verbs = add_group(commands, common, "sweep", "the runs of a sweep compared: list, show")
    add(verbs, common, "list", sweep_list, "every sweep, newest first")
    show = add(verbs, common, "show", sweep_show, "settings and held-out result of every run, the best first")
    show.add_argument("sweep", metavar="SWEEP")
    show.add_argument("--rank-by", default="", metavar="M", help=_RANK_BY)
    ask = add(verbs, common, "ask", sweep_ask, "queue what Optuna wants next until no trial is left (runs by itself)")
    ask.add_argument("sweep", metavar="SWEEP")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``train`` that make several runs, and where they train."""
    parser.add_argument("--gpus", default="auto", metavar="G", help="auto (the freest), auto:2, 0,1 or cpu")
    parser.add_argument("--recipe", default="", metavar="FILE", help="stages one after another, from a TOML file")
    parser.add_argument(
        "--sweep", action="append", default=[], metavar="K=V1,V2", help="a run for each value; K=LOW..HIGH for a range"
    )
    parser.add_argument("--search", choices=SEARCHES, default=GRID, help="how a sweep goes through its settings")
    parser.add_argument("--trials", type=positive, default=None, metavar="N", help="runs of a random or Optuna sweep")
    parser.add_argument("--rank-by", default="", metavar="M", help=_RANK_BY)


def add_verbs(verbs: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``runs recipe``."""
    recipe = add(verbs, common, "recipe", runs_recipe, "write a run, or all stages of its recipe, as a recipe file")
    recipe.add_argument("run_name", metavar="RUN")
    recipe.add_argument("--to", default="-", metavar="FILE", help="default: standard output")


def train_recipe(session: Session, args: argparse.Namespace) -> int:
    """Check every stage of a recipe, then queue them all."""
    from workbench.flows import recipes

    for name, usual in _NOT_WITH_RECIPE.items():
        if getattr(args, name) != usual:
            flag = {"settings": "set"}.get(name, name.replace("_", "-"))
            raise UsageError(f"--{flag} does not go with --recipe", hint="write it into the recipe")
    _refuse_hold(args)
    recipe = recipes.read(existing_file(args.recipe))
    plans = recipes.plan(session.bench, recipe, allow=args.allow)
    preflights = _checked(session, plans, args)
    if args.dry_run:
        return _planned(session, plans, preflights)
    return _queued(session, args, recipes.launch(session.bench, plans), recipe.name)


def train_sweep(session: Session, args: argparse.Namespace) -> int:
    """Queue a run for each combination of settings."""
    from workbench.cli.training import settings_of
    from workbench.flows import sweeps

    _refuse_hold(args)
    sweep = sweeps.Sweep(
        args.name,
        args.method,
        args.dataset,
        tuple(args.sweep),
        search=args.search,
        trials=args.trials or 0,
        model=args.model,
        preset=args.preset,
        overrides=settings_of(args),
        eval_dataset=args.eval_dataset,
        allow=tuple(args.allow),
        gpus=args.gpus,
        general=args.general,
        canaries=args.canaries,
        rank_by=args.rank_by,
    )
    plans = sweeps.plan(session.bench, sweep)
    preflights = _checked(session, plans, args)
    if args.dry_run:
        return _planned(session, plans, preflights)
    made = sweeps.launch(session.bench, sweep, plans)
    group = plans[0].spec.group
    code = _queued(session, args, made, group)
    if args.wait:
        _say_table(session, sweeps.table(session.bench, group))
    return code


def refuse_without_sweep(args: argparse.Namespace) -> None:
    """Raise ``UsageError`` for an option that says how to sweep when nothing is swept."""
    for name, usual in (("search", GRID), ("trials", None), ("rank_by", "")):
        if getattr(args, name) != usual:
            raise UsageError(
                f"--{name.replace('_', '-')} says how to sweep, and nothing is swept", hint="--sweep K=V1,V2"
            )


def _refuse_hold(args: argparse.Namespace) -> None:
    if args.hold:
        raise UsageError("--hold makes one run, and these are several", hint="--dry-run plans them and starts nothing")


def _checked(session: Session, plans: Sequence[RunPlan], args: argparse.Namespace) -> list[dict[str, object]]:
    from workbench.cli.training import checked

    found = []
    for plan in plans:
        session.out.say(f"{plan.spec.name}:")
        found.append(checked(session, plan, args))
    return found


def _planned(session: Session, plans: Sequence[RunPlan], preflights: Sequence[dict[str, object]]) -> int:
    runs = [
        {"run": plan.spec.name, "after": plan.after or None, "command": plan.command, "preflight": preflight}
        for plan, preflight in zip(plans, preflights, strict=True)
    ]
    lines = [plan.said for plan in plans]
    document = {"runs": runs, "status": "planned", "group": plans[0].spec.group}
    session.out.data(document, "\n".join([*lines, f"{counted(len(plans), 'runs')}; nothing was started"]))
    return 0


def _queued(session: Session, args: argparse.Namespace, runs: Sequence[Run], group: str) -> int:
    from workbench.cli.training import follow, run_row

    session.out.say(f"queued {counted(len(runs), 'runs')} of {group}; they go on when this terminal is gone")
    if args.wait:
        runs = [follow(session, run) for run in runs]
    rows = [run_row(run) | {"run": run.name} for run in runs]
    told = "\n".join(f"{run.name}: {run.state.value}" for run in runs)
    session.out.data({"group": group, "runs": rows}, told)
    return 0 if not args.wait or all(run.state.value == "finished" for run in runs) else 1


def runs_recipe(session: Session, args: argparse.Namespace) -> None:
    """A run's own configuration as a recipe."""
    from workbench.flows import recipes

    run = session.bench.store.runs.get(args.run_name)
    text = recipes.written(session.bench, recipes.stages_of(session.bench, run))
    if args.to == "-":
        session.out.data({"recipe": text}, text.rstrip())
        return
    Path(args.to).expanduser().write_text(text, encoding="utf-8")
    session.out.data({"written": args.to}, f"wrote {args.to}; workbench train --recipe {args.to} makes it again")


def sweep_list(session: Session, args: argparse.Namespace) -> None:
    """Every sweep with its best run so far."""
    from workbench.flows import sweeps
    from workbench.flows import train as flow

    flow.sync(session.bench)
    sweeps.keep_asking(session.bench)
    rows = []
    for name in sweeps.names(session.bench):
        found = sweeps.table(session.bench, name)
        best = found.best
        rows.append(
            {
                "sweep": name,
                "varied": list(found.varied),
                "runs": len(found.outcomes),
                "finished": sum(one.is_finished for one in found.outcomes),
                "best": best.name if best else None,
                "ranked_by": found.measure,
                "value": best.value if best else None,
            }
        )
    session.out.table(rows, ["sweep", "varied", "runs", "finished", "best", "ranked_by", "value"])


def sweep_show(session: Session, args: argparse.Namespace) -> None:
    """The table of one sweep."""
    from workbench.flows import sweeps
    from workbench.flows import train as flow

    flow.sync(session.bench)
    sweeps.keep_asking(session.bench)
    _say_table(session, sweeps.table(session.bench, args.sweep, rank_by=args.rank_by))


def _say_table(session: Session, table: SweepTable) -> None:
    best = table.best
    names = (table.measure, *table.others)
    shown = {name: name if session.out.as_json else figure_name(name).replace(" ", "_") for name in names}
    columns = {name: f"held-out_{shown[name]}" for name in names}
    rows: list[dict[str, object]] = [
        {
            "run": one.name,
            **one.settings,
            **{
                columns[name]: value
                for name, value in ((table.measure, one.value), *one.others.items())
                if name in names
            },
            "status": one.state,
            "warned": list(one.warnings),
            "best": one is best,
        }
        for one in table.outcomes
    ]
    if not session.out.as_json:
        rows = [row | {"best": "best" if row["best"] else ""} for row in rows]
    session.out.table(rows, ["run", *table.varied, *columns.values(), "status", "warned", "best"])
    session.out.say(table.order)
    session.out.say(table.advice)


def sweep_ask(session: Session, args: argparse.Namespace) -> None:
    """Ask Optuna for runs until all trials are queued."""
    from filelock import FileLock, Timeout  # 20 ms

    from workbench.flows import sweeps

    asked = 0
    try:
        with FileLock(sweeps.asking_lock(session.bench, args.sweep), timeout=0):
            while not sweeps.is_asking_over(session.bench, args.sweep):
                asked += len(sweeps.ask_on(session.bench, args.sweep))
                time.sleep(ASK_SECONDS)
    except Timeout:
        session.out.say(f"somebody asks for {args.sweep} already")
    session.out.data({"sweep": args.sweep, "asked": asked}, f"queued {counted(asked, 'runs')} of {args.sweep}")
