"""The labelling command: pairs without names and verdicts on them, as the Prefer screen has them, for scripts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from workbench.cli.parsing import add
from workbench.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.cli.session import Session
    from workbench.domain.preferences import BlindPair, Waiting


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``label``."""
    one = add(commands, common, "label", label, "the next pair to prefer one answer of, without names; or a verdict")
    one.add_argument("pair", nargs="?", default="", metavar="PAIR", help="as the pair was called when it was shown")
    one.add_argument("verdict", nargs="?", choices=["left", "right", "tie", "both-bad", "skip"])
    one.add_argument("--sides", type=int, metavar="N", help="with a verdict: which side was left, as it was shown")
    one.add_argument("--dataset", default="", metavar="D", help="only pairs of this dataset")
    one.add_argument("--strength", choices=["slight", "clear", "much"], default="clear", help="how much better")
    one.add_argument("--reason", action="append", default=[], metavar="R", help="correct, follows, style, length, safe")
    one.add_argument("--note", default="", metavar="T")


def label(session: Session, args: argparse.Namespace) -> None:
    """Show the next pair, or store a verdict on one that was shown."""
    if args.pair:
        _judge(session, args)
    else:
        _show(session, args.dataset)


def _show(session: Session, dataset: str) -> None:
    from workbench.flows import prefer

    name = session.bench.store.datasets.get(dataset).name if dataset else ""
    waiting = prefer.queue(session.bench, dataset=name)
    _, pair = prefer.next_shown(session.bench, waiting, 0)
    if pair is None:
        raise NotFoundError("no pair waits for a verdict", hint="import pairs as pending, or ask a chat twice")
    row = {
        "pair": _called(pair.waiting),
        "sides": pair.draw_seed,
        "prompt": [turn.as_dict() for turn in pair.prompt],
        "left": pair.left_text,
        "right": pair.right_text,
        "waiting": waiting.total,
    }
    session.out.data(row, _text(pair))


def _judge(session: Session, args: argparse.Namespace) -> None:
    from workbench.domain.comparisons import Strength, Verdict
    from workbench.domain.preferences import Judgement
    from workbench.flows import prefer

    if args.verdict is None or args.sides is None:
        raise UsageError(
            f"what is your verdict on {args.pair}?",
            hint="left, right, tie, both-bad or skip, and the --sides that it was shown with",
        )
    judgement = Judgement(Verdict(args.verdict), Strength(args.strength), tuple(args.reason), args.note)
    pair = prefer.show(session.bench, _waiting(args.pair), draw_seed=args.sides)
    if pair is None:
        raise NotFoundError(f"the pair {args.pair} waits for no verdict", hint="workbench label shows one that does")
    done = prefer.judge(session.bench, pair, judgement)
    session.out.data({"example": done.example_id, "said": done.said}, done.said)


def _called(waiting: Waiting) -> str:
    """A stored pair by its example, two answers of a chat by their messages."""
    return str(waiting.example_id) if waiting.example_id else ":".join(map(str, waiting.answers))


def _waiting(called: str) -> Waiting:
    from workbench.domain.preferences import Waiting

    first, colon, second = called.partition(":")
    if not first.isdecimal() or (colon and not second.isdecimal()):
        raise UsageError(f"{called!r} is not a pair", hint="workbench label shows the next one and what it is called")
    return Waiting(answers=(int(first), int(second))) if colon else Waiting(int(first))


def _text(pair: BlindPair) -> str:
    prompt = "\n".join(f"[{turn.role}] {turn.shown}" for turn in pair.prompt)
    how = f"workbench label {_called(pair.waiting)} left|right|tie|both-bad|skip --sides {pair.draw_seed}"
    return f"{prompt}\n--- left\n{pair.left_text}\n--- right\n{pair.right_text}\n---\n{how}"
