"""The command that walks from a row back to its chat, and forward to what was trained on it."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from workbench.cli.parsing import add, add_group
from workbench.cli.session import Session

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.flows.trace import ExampleTrace, RunTrace


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    verbs = add_group(commands, common, "trace", "where a row came from, and what was trained on it")
    about = {
        "example": "one example: back to its chat, forward to its runs and adapters",
        "message": "the examples that a message is part of, and their runs",
        "chat": "the examples made in a chat, and their runs",
    }
    for noun, said in about.items():
        sub = add(verbs, common, noun, trace_examples, said)
        sub.add_argument("id", type=int)
        sub.set_defaults(noun=noun)
    about = {"model": "a model back to its runs, rows and chats", "run": "a run back to its rows and chats"}
    for noun, said in about.items():
        sub = add(verbs, common, noun, trace_runs, said)
        sub.add_argument("name")
        sub.set_defaults(noun=noun)


def trace_examples(session: Session, args: argparse.Namespace) -> None:
    """From an example, a message or a chat."""
    from workbench.flows import trace, train

    train.sync(session.bench)
    found: list[ExampleTrace] = (
        [trace.example(session.bench, args.id)]
        if args.noun == "example"
        else (trace.chat if args.noun == "chat" else trace.message)(session.bench, args.id)
    )
    text = "\n".join(map(trace.example_text, found)) or f"no example was made of this {args.noun}"
    session.out.data({"examples": [dataclasses.asdict(one) for one in found]}, text)


def trace_runs(session: Session, args: argparse.Namespace) -> None:
    """From a run or a model."""
    from workbench.flows import trace, train

    train.sync(session.bench)
    is_run = args.noun == "run"
    found: list[RunTrace] = [trace.run(session.bench, args.name)] if is_run else trace.model(session.bench, args.name)
    text = "\n".join(map(trace.run_text, found)) or f"{args.name} was made by no run of this workspace"
    session.out.data({"runs": [dataclasses.asdict(one) for one in found]}, text)
