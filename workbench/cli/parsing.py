"""Adding a command or a verb to the parser, the same way everywhere."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from workbench.errors import UsageError

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


def positive(text: str) -> int:
    """The type of an option that counts something: a whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ``UsageError``, so that they leave by the same door as all others."""

    def error(self, message: str) -> NoReturn:
        """Raise ``UsageError`` with the command's usage as the hint."""
        raise UsageError(message, hint=" ".join(self.format_usage().split()))
