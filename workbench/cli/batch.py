"""The batch commands: run a set of prompts through one or two models, in the background if wanted, and look at it."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.parsing import add, add_group, positive
from workbench.cli.session import Session

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.domain.batches import Batch


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``batch`` and its verbs."""
    verbs = add_group(commands, common, "batch", "run a set of prompts through one or two models")
    sub = add(verbs, common, "run", batch_run, "ask all prompts: answers go into a chat, of two models to the Arena")
    sub.add_argument("prompts", metavar="FILE|DATASET", help="a file, DATASET or DATASET:SPLIT, @chats, @to-fix")
    sub.add_argument("--model", action="append", default=[], metavar="M", help="given twice: pairs for the Arena")
    sub.add_argument("--limit", type=positive, default=None, metavar="N")
    sub.add_argument("--seed", type=int, default=None, metavar="N")
    sub.add_argument("--temperature", type=float, default=None, metavar="X")
    sub.add_argument("--max-tokens", type=positive, default=None, metavar="N")
    sub.add_argument("--detach", action="store_true", help="in a process of its own; give back its number at once")
    add(verbs, common, "list", batch_list, "every batch and how far it is")
    sub = add(verbs, common, "resume", batch_resume, "go on where a batch stopped; no prompt is answered twice")
    sub.add_argument("id", type=int)
    sub.add_argument("--retry", action="store_true", help="what failed, too")
    sub.add_argument("--unless-stopped", action="store_true", help="leave one alone that was stopped")
    sub.add_argument("--detach", action="store_true")
    add(verbs, common, "stop", batch_stop, "leave off; what is answered stays").add_argument("id", type=int)


def batch_run(session: Session, args: argparse.Namespace) -> None:
    """Begin a batch, and ask its prompts here or in the background."""
    from dataclasses import replace

    from workbench.flows import batch as flow
    from workbench.flows.prompts import prompt_rows

    bench = session.bench
    path = Path(args.prompts).expanduser()
    rows = prompt_rows(bench, path if path.is_file() else args.prompts)[: args.limit]
    given = {"temperature": args.temperature, "max_tokens": args.max_tokens}
    sampling = replace(session.settings.chat.sampling, **{k: v for k, v in given.items() if v is not None})
    models = args.model or [session.settings.chat.model]
    begun = flow.begin(
        bench, models, [row.turns for row in rows], source=args.prompts, sampling=sampling, seed=args.seed
    )
    _ask(session, begun.id, detach=args.detach)


def batch_resume(session: Session, args: argparse.Namespace) -> None:
    """Go on with a batch."""
    from workbench.domain.batches import BatchState

    batch = session.bench.store.batches.get(args.id)
    if args.unless_stopped and batch.state is BatchState.STOPPED:
        _print(session, batch, batch.said)
        return
    _ask(session, args.id, detach=args.detach, retry=args.retry, unless_stopped=args.unless_stopped)


def _ask(session: Session, batch_id: int, *, detach: bool, retry: bool = False, unless_stopped: bool = False) -> None:
    from workbench.flows import batch as flow

    if detach:
        _print(session, flow.launch(session.bench, batch_id, retry=retry), "goes on in the background")
        return
    cancelled = threading.Event()
    try:
        done = flow.run(
            session.bench,
            batch_id,
            cancelled=cancelled,
            retry=retry,
            unless_stopped=unless_stopped,
            on_progress=lambda batch: session.out.progress(batch.said),
        )
    finally:
        cancelled.set()
        session.out.end_progress()
    _print(session, done, done.said)


def batch_list(session: Session, args: argparse.Namespace) -> None:
    """Every batch."""
    rows = [_row(session, batch) for batch in session.bench.store.batches.list()]
    session.out.table(rows, ["id", "source", "models", "state", "done", "total", "failed", "running"])


def batch_stop(session: Session, args: argparse.Namespace) -> None:
    """Leave off."""
    from workbench.flows import batch as flow

    _print(session, flow.stop(session.bench, args.id), "stops")


def _print(session: Session, batch: Batch, said: str) -> None:
    session.out.data(_row(session, batch), f"batch {batch.id}: {said}")


def _row(session: Session, batch: Batch) -> dict[str, object]:
    return {
        "id": batch.id,
        "source": batch.source,
        "models": list(batch.models),
        "state": batch.state.value,
        "done": batch.done,
        "total": batch.total,
        "failed": batch.failed,
        "running": batch.is_running,
        "error": batch.error,
        "chats": session.bench.store.batches.chats(batch.id),
        "round": batch.round_id,
    }
