"""What every command works with: the workspace, the bench opened when first used, and the output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import paths
from workbench.cli.output import Output
from workbench.errors import UsageError
from workbench.paths import Workspace

if TYPE_CHECKING:
    from workbench.config import Settings
    from workbench.domain.runs import Run
    from workbench.flows.bench import Bench


OpenBench = Callable[[Workspace], "Bench"]


class Session:
    """One run of the command line."""

    def __init__(self, args: argparse.Namespace, open_bench: OpenBench | None = None) -> None:
        self.args = args
        self._open_bench = open_bench or self._open
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
            self._bench = self._open_bench(self.workspace)
        return self._bench

    def _open(self, workspace: Workspace) -> Bench:
        from workbench.flows.bench import Bench

        return Bench.open(workspace, rater=getattr(self.args, "rater", None), settings=self.settings)

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


def run_called(session: Session, name: str) -> Run:
    """The run of this name, id or start of a name, after taking in what is new; raises ``NotFoundError``."""
    from workbench.flows import train as flow

    flow.sync(session.bench)
    return session.bench.store.runs.get(name)


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
