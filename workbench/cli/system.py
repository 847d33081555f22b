"""The commands about the program itself: open the TUI, the demo, the doctor."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.parsing import add
from workbench.cli.session import Session

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``demo`` and ``doctor``."""
    one = add(commands, common, "demo", demo, "the whole loop on the embedded model")
    one.add_argument(
        "--dir", default="", metavar="DIR", help="where the workspace goes (default: a new temporary folder)"
    )
    one.add_argument("--fast", action="store_true", help="fewer rows and steps: shows the way, not the effect")
    add(commands, common, "doctor", doctor, "what is installed, what works, what to do about the rest")


def open_tui(session: Session, args: argparse.Namespace, pane: str = "chat") -> int:
    """Open the terminal interface."""
    from workbench.tui.launch import run_tui

    return run_tui(session.workspace, session.settings, pane=pane)


def demo(session: Session, args: argparse.Namespace) -> int:
    """Run the loop; exit code 0 only if every stage did what it should."""
    from workbench.flows import demo as flow

    summary = flow.run_demo(
        Path(args.dir).expanduser() if args.dir else None,
        fast=args.fast,
        settings=session.settings,
        say=session.out.say,
    )
    session.out.data(summary.as_dict(), summary.table())
    return 0


def doctor(session: Session, args: argparse.Namespace) -> int:
    """Print each check; exit code 1 when one found a fault."""
    from workbench.flows import doctor as flow

    checks = flow.examine(session.workspace)
    rows = [dataclasses.asdict(c) for c in checks]
    if session.out.as_json:
        session.out.data({"checks": rows})
    else:
        for check in checks:
            fix = f"\n      {check.fix}" if check.fix else ""
            session.out.data({}, f"{check.state:>6}  {check.name}: {check.detail}{fix}")
    return 1 if any(c.state == "fault" for c in checks) else 0
