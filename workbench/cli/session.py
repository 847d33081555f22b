"""What every command works with: the workspace, the bench opened when first used, and the output."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import paths
from workbench.cli.output import Output
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.config import Settings
    from workbench.flows.bench import Bench


class Session:
    """One run of the command line."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.out = Output(as_json=bool(args.json), quiet=bool(args.quiet))
        self.workspace = paths.workspace(args.workspace)
        self._bench: Bench | None = None
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """The settings from flags, environment and ``config.toml``."""
        if self._settings is None:
            from workbench.config import load_settings

            self._settings = load_settings()
        return self._settings

    @property
    def bench(self) -> Bench:
        """The bench on this workspace, opened at first use."""
        if self._bench is None:
            from workbench.flows.bench import Bench

            self._bench = Bench.open(self.workspace, rater=getattr(self.args, "rater", None), settings=self.settings)
        return self._bench

    def close(self) -> None:
        """Close what was opened."""
        if self._bench is not None:
            self._bench.close()

    def confirm(self, question: str) -> bool:
        """Ask on the terminal; ``--yes`` answers; without a terminal it raises ``UsageError``."""
        if self.args.yes:
            return True
        if not sys.stdin.isatty():
            raise UsageError(question, hint="add --yes to say so without a terminal")
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in {"y", "yes"}


def text_argument(words: list[str]) -> str:
    """The words joined, or standard input when there are none or only ``-``."""
    return sys.stdin.read() if words in ([], ["-"]) else " ".join(words)


def existing_file(name: str) -> Path:
    """The path; raises ``NotFoundError`` when nothing is there."""
    from workbench.errors import NotFoundError

    path = Path(name).expanduser()
    if not path.exists():
        raise NotFoundError(f"{name} does not exist", hint="check the path", where=name)
    return path
