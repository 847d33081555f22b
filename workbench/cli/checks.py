"""The checking commands: look for what should not be trained on, mend it, see a row as the trainer sees it."""

from __future__ import annotations

import argparse

from workbench.cli.parsing import positive
from workbench.cli.session import Session
from workbench.errors import RefusedError

_COLUMNS = ["severity", "check", "example", "place", "reason", "fix"]


def register(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:  # type: ignore[type-arg]
    """Add ``check``, ``unredact`` and ``tokens``."""
    one = commands.add_parser("check", parents=[common], help="look for rows that should not be trained on")
    one.add_argument("query", nargs="*", metavar="QUERY", help="which examples (default: all that are not rejected)")
    one.add_argument("--dataset", default="", metavar="D")
    one.add_argument("--model", default="", metavar="M", help="also count tokens, as training this model would")
    one.add_argument(
        "--max-length", type=positive, default=0, metavar="N", help="tokens per row (default: the training's)"
    )
    one.add_argument("--only", action="append", default=[], metavar="NAME", help="this check alone; can be repeated")
    one.add_argument("--fix", action="store_true", help="mend, redact or reject what can be; one undo takes it back")
    one.add_argument("--list", action="store_true", dest="list_checks", help="the checks there are; looks at nothing")
    one.set_defaults(run=check)

    one = commands.add_parser("unredact", parents=[common], help="bring back what check --fix redacted")
    one.add_argument("ids", type=int, nargs="+", metavar="EXAMPLE")
    one.set_defaults(run=unredact)

    one = commands.add_parser("tokens", parents=[common], help="one example as the trainer sees it, token by token")
    one.add_argument("id", type=int, metavar="EXAMPLE")
    one.add_argument("--model", default="", metavar="M", help="whose tokenizer and template (default: the first model)")
    one.add_argument(
        "--max-length", type=positive, default=0, metavar="N", help="tokens per row (default: the training's)"
    )
    one.set_defaults(run=tokens)


def check(session: Session, args: argparse.Namespace) -> int:
    """Run the checks; exit code 5 while an error-level finding is left."""
    from workbench.flows import check as flow

    if args.list_checks:
        return _list(session)
    out = session.out
    report = flow.run(
        session.bench,
        " ".join(args.query),
        dataset=args.dataset,
        model=args.model,
        only=args.only,
        fix=args.fix,
        max_length=args.max_length,
        on_progress=lambda title, done, total: out.progress(f"{title}: {done:,} of {total:,}"),
    )
    out.end_progress()
    if out.as_json:
        out.data(report.as_dict())
    else:
        shown = report.as_dict()["findings"]
        out.table(sorted(shown, key=lambda f: (f["severity"] != "error", f["severity"] == "info")), _COLUMNS)
    for reason in report.skipped:
        out.say(f"not run: {reason}")
    out.say(report.sentence())
    if report.errors:
        out.say(
            "  rows with errors are kept out of training: --fix mends or rejects what it can, examples edit the rest"
        )
    return RefusedError.exit_code if report.errors else 0


def unredact(session: Session, args: argparse.Namespace) -> None:
    """Bring the originals back."""
    from workbench.flows import check as flow

    done = flow.unredact(session.bench, args.ids)
    session.out.data({"said": done.said, "examples": list(args.ids)}, done.said)


def tokens(session: Session, args: argparse.Namespace) -> None:
    """The row as the trainer's tokens: what is in the loss is in brackets, what would be cut is struck out."""
    from workbench.flows import tokens as flow

    view = flow.view(session.bench, args.id, model=args.model, max_length=args.max_length)
    session.out.data(view.as_dict(), view.text())


def _list(session: Session) -> int:
    from workbench import checks

    rows = [
        {"check": c.name, "title": c.title, "finds": c.summary, "fix": c.fix.said if c.fix else None}
        for c in checks.find().values()
    ]
    session.out.table(rows, ["check", "finds", "fix"])
    return 0
