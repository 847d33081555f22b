"""Adding a command or a verb to the parser, the same way everywhere."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.cli.session import Session

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    Function = Callable[[Session, argparse.Namespace], int | None]


def add(
    commands: Commands, common: argparse.ArgumentParser, name: str, function: Function, help_text: str
) -> argparse.ArgumentParser:
    """A command (or verb) that runs ``function``; its options are for the caller to add."""
    parser = commands.add_parser(name, parents=[common], help=help_text, description=help_text)
    parser.set_defaults(run=function)
    return parser


def add_group(commands: Commands, common: argparse.ArgumentParser, name: str, help_text: str) -> Commands:
    """A command that has verbs; gives the place to add them."""
    parser = commands.add_parser(name, parents=[common], help=help_text, description=help_text)
    return parser.add_subparsers(required=True, metavar="VERB")


def add_ids(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Let the command take one example id or more."""
    parser.add_argument("ids", type=int, nargs="+", metavar="ID")
    return parser
