"""The commands about runs that were made: their page, their differences, once more, packed, taken over, removed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.parsing import add
from workbench.cli.session import Session, existing_file, run_called
from workbench.domain.counting import size

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands


def register(verbs: Commands, common: argparse.ArgumentParser) -> None:
    """Add the verbs to ``runs``."""
    sub = add(verbs, common, "report", runs_report, "write a run's page: Markdown and one HTML file")
    sub.add_argument("run_name", metavar="RUN")
    sub.add_argument("--to", default="", metavar="FILE", help="a copy, .md or .html (both are in the run's folder)")
    sub = add(verbs, common, "diff", runs_diff, "how two runs differ: settings, rows by hash, numbers, versions")
    sub.add_argument("a", metavar="A")
    sub.add_argument("b", metavar="B")
    sub = add(verbs, common, "rerun", runs_rerun, "the same run once more: same rows by hash, settings and seed")
    sub.add_argument("run_name", metavar="RUN")
    sub.add_argument("--name", default="", metavar="N")
    allowed = "versions or base: although these differ; else as for train"
    sub.add_argument("--allow", action="append", default=[], metavar="CHECK", help=allowed)
    sub.set_defaults(dry_run=False)
    sub.add_argument("--wait", action="store_true", help="follow the run to its end, and compare the losses")
    sub = add(verbs, common, "bundle", runs_bundle, "pack a run into one file that goes on elsewhere")
    sub.add_argument("run_name", metavar="RUN")
    sub.add_argument("--to", default="", metavar="FILE", help="default: NAME.tar.gz here")
    sub.add_argument("--no-checkpoint", action="store_true", help="leave out what a resume needs")
    sub = add(verbs, common, "add", runs_add, "take a packed run over into this workspace")
    sub.add_argument("file", metavar="FILE")
    sub.add_argument("--name", default="", metavar="N")
    add(verbs, common, "delete", runs_delete, "remove a run with its folder").add_argument("run_name", metavar="RUN")


def runs_report(session: Session, args: argparse.Namespace) -> None:
    """Write the page and say what the numbers say."""
    from workbench.flows import run_papers

    to = Path(args.to).expanduser() if args.to else None
    made = run_papers.report(run_called(session, args.run_name), to=to)
    said = [f"{'! ' if f['level'] == 'warning' else ''}{f['said']}" for f in made.summary["findings"]]
    document = made.summary | {"markdown": str(made.markdown), "html": str(made.html), "copy": str(to) if to else None}
    session.out.data(document, "\n".join([*said, str(to or made.html)]))


def runs_diff(session: Session, args: argparse.Namespace) -> None:
    """How two runs differ."""
    from workbench.flows import run_diff

    found = run_diff.diff(run_called(session, args.a), run_called(session, args.b))
    session.out.data(found.as_dict(), "\n".join(run_diff.lines(found)))


def runs_rerun(session: Session, args: argparse.Namespace) -> int:
    """Queue the same run again; with ``--wait`` say whether the losses are equal."""
    from workbench.cli.training import checked, follow, run_row
    from workbench.flows import rerun, run_diff
    from workbench.flows import train as flow

    run = run_called(session, args.run_name)
    planned = rerun.plan_again(session.bench, run, name=args.name, allow=args.allow)
    checked(session, planned, args)
    again = flow.launch(session.bench, planned)
    session.out.say(f"queued run {again.name} ({again.directory})")
    if not args.wait:
        session.out.data(run_row(again) | {"rerun_of": run.name, "equal_losses": None}, f"{again.name} is queued")
        return 0
    again = follow(session, again)
    equal = run_diff.equal_losses(run, again)
    said = f"{again.name}: {again.state.value}; {run_diff.equal_said(equal)}"
    row = run_row(again) | {"rerun_of": run.name, "equal_losses": equal.is_equal, "compared_steps": equal.steps}
    session.out.data(row | {"largest_difference": equal.largest}, said)
    return 0 if again.state.value == "finished" else 1


def runs_bundle(session: Session, args: argparse.Namespace) -> None:
    """Pack a run."""
    from workbench.flows import bundles

    run = run_called(session, args.run_name)
    to = Path(args.to).expanduser() if args.to else Path(f"{run.name.replace('/', '-')}.tar.gz")
    made = bundles.bundle(run, to, checkpoint=not args.no_checkpoint)
    text = f"{made.file}: {made.files} files, {size(made.bytes)}; elsewhere: workbench runs add {made.file.name}"
    session.out.data(bundles.as_dict(made), text)


def runs_add(session: Session, args: argparse.Namespace) -> None:
    """Take a packed run over."""
    from workbench.cli.training import run_row
    from workbench.flows import bundles

    run = bundles.take(session.bench, existing_file(args.file), name=args.name)
    run = run_called(session, str(run.id))
    for sentence in bundles.needs(run):
        session.out.say(sentence)
    session.out.data(
        run_row(run), f"{run.name} is here: {run.state.value}, step {run.step} of {run.total_steps or '?'}"
    )


def runs_delete(session: Session, args: argparse.Namespace) -> int:
    """Remove a run after asking."""
    from workbench.flows import run_papers

    run = run_called(session, args.run_name)
    run_papers.refuse_removal(session.bench, run)
    if not session.confirm(f"delete {run.name} with its rows, checkpoints and curves? There is no way back."):
        return 1
    run_papers.delete(session.bench, run)
    session.out.data({"deleted": run.name, "directory": run.directory}, f"deleted {run.name}")
    return 0
