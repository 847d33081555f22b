"""The command line's front door: parse, run one command, and turn every error into a message and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from workbench import __version__
from workbench.cli import (
    arena,
    backups,
    batch,
    chat,
    chats,
    checks,
    data,
    datasets,
    evaluate,
    labelling,
    models,
    queueing,
    serving,
    stages,
    system,
    trace,
    training,
    views,
    votes,
)
from workbench.cli.output import Output
from workbench.cli.parsing import Parser
from workbench.cli.session import OpenBench, Session
from workbench.errors import EXIT_CODES, UsageError, WorkbenchError, disk_full, is_disk_full

# In the order of the help.
_MODULES = (
    chat,
    chats,
    batch,
    data,
    labelling,
    views,
    trace,
    datasets,
    checks,
    models,
    training,
    queueing,
    stages,
    arena,
    votes,
    evaluate,
    serving,
    backups,
    system,
)


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command; each command's function is in ``args.run``."""
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
    parser = Parser(
        prog="workbench",
        description="Chat with a model, turn what you do there into data, train on it, compare blind, go round again."
        " Without a command it opens the terminal interface.",
        epilog=f"exit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"workbench {__version__}")
    common = _common_options()
    _add_common(parser)
    parser.set_defaults(run=system.open_tui)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in _MODULES:
        module.register(commands, common)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("common options")
    group.add_argument(
        "-w",
        "--workspace",
        metavar="DIR",
        help="workspace folder (else $WORKBENCH_WORKSPACE, else the XDG data folder)",
    )
    group.add_argument("--json", action="store_true", help="JSON on stdout and nothing else there")
    group.add_argument("-q", "--quiet", action="store_true", help="no messages on stderr but errors")
    group.add_argument("--no-color", action="store_true", help="no colours (also $NO_COLOR)")
    group.add_argument("--yes", action="store_true", help="answer yes to every question")


def _common_options() -> argparse.ArgumentParser:
    """A parent for the subcommands: the same options, which must not overwrite those given before the command."""
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    _add_common(common)
    return common


def main(argv: Sequence[str] | None = None, *, open_bench: OpenBench | None = None) -> int:
    """Run one command and give back its exit code. ``open_bench`` stands in for ``Bench.open`` in tests."""
    try:
        args = build_parser().parse_args(argv)
    except UsageError as error:
        words = sys.argv[1:] if argv is None else argv
        Output(as_json="--json" in words, quiet=False).error(error)
        return error.exit_code
    if args.no_color:
        os.environ["NO_COLOR"] = "1"
    session = Session(args, open_bench)
    try:
        return int(args.run(session, args) or 0)
    except KeyboardInterrupt:
        session.out.say("interrupted")
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the reader is gone; keep the exit quiet
        return 0
    except WorkbenchError as error:
        session.out.error(error)
        return error.exit_code
    except UnicodeDecodeError as error:
        session.out.error(UsageError(f"the input is not UTF-8: {error}"))
        return 2
    except OSError as error:
        if not is_disk_full(error):
            return _unexpected(session, error)
        session.out.error(disk_full(error))
        return 1
    except Exception as error:  # noqa: BLE001 - the command line's one door: a plain sentence, details in a log
        return _unexpected(session, error)
    finally:
        session.close()


def _unexpected(session: Session, error: Exception) -> int:
    from workbench.tui.crash import write_crash_log  # loads nothing of Textual

    log = write_crash_log(error)
    hint = f"details are in {log}" if log else ""
    session.out.error(WorkbenchError(f"unexpected {type(error).__name__}: {error}", hint=hint))
    return 1


if __name__ == "__main__":
    sys.exit(main())
