"""The commands about the workspace as a whole: back it up, put a backup in its place, look whether it is sound."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.parsing import add
from workbench.cli.session import Session
from workbench.errors import DataError, StoreError, UsageError, is_disk_full

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.flows.backups import OnProgress


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``backup``, ``restore`` and ``verify``."""
    sub = add(commands, common, "backup", backup, "the workspace as one file, while others work in it")
    sub.add_argument(
        "file", metavar="FILE", nargs="?", default="", help="default: a new one in backups/ of the workspace"
    )
    sub.add_argument("--runs", action="store_true", help="with the runs' folders, each with its last checkpoint")
    sub.add_argument("--models", action="store_true", help="with the adapters and models that lie in the workspace")
    sub.add_argument("--force", action="store_true", help="write over FILE (--yes does too)")
    sub.add_argument("--daily", action="store_true", help="today's, unless there is one; old ones go (for cron)")
    sub.add_argument("--check", action="store_true", help="write nothing: is the backup FILE sound, and what is in it?")
    sub = add(commands, common, "restore", restore, "a backup in the place of the workspace; what was there is kept")
    sub.add_argument("file", metavar="FILE", help="a backup, or a folder that an earlier restore kept")
    sub = add(commands, common, "verify", verify, "is everything in the workspace as it was written?")
    sub.add_argument("--quick", action="store_true", help="read no weights, and the database once")
    sub.add_argument(
        "--fix",
        action="store_true",
        help="make search and list of contents agree with the rows again",
    )


def backup(session: Session, args: argparse.Namespace) -> None:
    """Write a backup, or look at one."""
    from workbench.flows import backups as flow

    if (args.daily or args.check) and (args.runs or args.models or bool(args.file) != args.check):
        raise UsageError("--daily goes alone, --check with FILE alone")
    if args.check:
        contents = flow.examine(Path(args.file), on_progress=_progress(session))
        session.out.end_progress()
        session.out.data({"ok": True, "file": args.file} | flow.told(contents), f"it is sound; {contents.said}")
        return
    if args.daily:
        made = flow.daily(session.bench, on_progress=_progress(session))
        session.out.end_progress()
        if made is None:
            session.out.data({"ok": True, "file": None}, "nothing to do: today's backup is there, or no work yet")
            return
    else:
        to = Path(args.file).expanduser() if args.file else flow.default_file(session.bench)
        made = flow.back_up(
            session.bench,
            to,
            runs=args.runs,
            models=args.models,
            replace=args.force or args.yes,
            on_progress=_progress(session),
        )
        session.out.end_progress()
    session.out.data(made.as_dict(), made.said)


def restore(session: Session, args: argparse.Namespace) -> int:
    """Put a backup in place, after asking."""
    from workbench.flows import backups
    from workbench.flows import restore as flow

    contents = backups.look(Path(args.file))
    if flow.is_in_use(session.workspace):
        session.out.say(f"{args.file}: {contents.said}")
        if not session.confirm(f"put it in the place of {session.workspace.root}? What is there is kept."):
            return 1
    made = flow.restore(session.workspace, Path(args.file), on_progress=_progress(session))
    session.out.end_progress()
    session.out.data(made.as_dict(), made.said)
    return 0


def verify(session: Session, args: argparse.Namespace) -> int:
    """Look at everything; exit code 3 when something is lost or changed."""
    from workbench.domain.backups import Flaw, Level, Verified
    from workbench.flows import verify as flow

    try:
        found = flow.verify(session.bench, quick=args.quick, fix=args.fix, on_progress=_progress(session))
    except StoreError as error:
        if not session.workspace.database.exists() or is_disk_full(error):
            raise
        flaw = Flaw(Level.ERROR, error.message, error.where, "workbench restore brings a backup back")
        found = Verified([flaw], {})
    session.out.end_progress()
    session.out.data(found.as_dict(), found.said)
    return 0 if found.ok else DataError.exit_code


def _progress(session: Session) -> OnProgress:
    return lambda what, share: session.out.progress(f"{what} … {share:.0%}" if share else f"{what} …")
