"""The ``eval`` command: models on an evaluation set, in numbers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from workbench.cli.parsing import add, positive
from workbench.cli.session import Session

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``eval``."""
    one = add(commands, common, "eval", run, "models on an evaluation set: greedy answers against the references")
    one.add_argument("models", metavar="MODEL", nargs="+")
    one.add_argument("--dataset", default="", metavar="D", help="default: the evaluation set made of votes")
    one.add_argument("--suite", default="answers", metavar="S", help="what is measured (default: answers)")
    one.add_argument("--limit", type=positive, default=None, metavar="N")
    one.add_argument("--max-tokens", type=positive, default=256, metavar="N")


def run(session: Session, args: argparse.Namespace) -> None:
    """A line for each model."""
    from workbench.flows.evaluate import evaluate

    rows = []
    for model in args.models:

        def progress(done: int, total: int, model: str = model) -> None:
            session.out.progress(f"{model}: {done} of {total} answered")

        found = evaluate(
            session.bench,
            model,
            dataset=args.dataset,
            suite=args.suite,
            limit=args.limit,
            max_tokens=args.max_tokens,
            on_progress=progress,
        )
        session.out.end_progress()
        row = {"model": found.model, "dataset": found.dataset, "suite": found.suite}
        rows.append(row | ({"metrics": found.metrics} if session.out.as_json else found.metrics))
    session.out.table(rows, ["model", "dataset", "rows", "exact_match", "token_f1", "chrf", "bleu"])
