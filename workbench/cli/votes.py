"""The commands on votes: list them, mend what lost, make data of them, let a model judge beside the people."""

from __future__ import annotations

import argparse
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli.parsing import add, add_group, positive
from workbench.cli.session import Session, text_argument
from workbench.domain.counting import counted

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.domain.comparisons import Vote
    from workbench.flows.fixes import ToFix


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``votes`` and ``judge``."""
    verbs = add_group(commands, common, "votes", "the votes behind the results, and what becomes of them")
    one = add(verbs, common, "list", list_votes, "the votes, oldest first")
    _add_models(one)
    one.add_argument("--rater", dest="by", default="", metavar="R", help="only the votes of this person")
    one = add(verbs, common, "collect", collect, "make rows of all votes: pairs, labels or an evaluation set")
    one.add_argument("--as", dest="shape", choices=["pairs", "labels", "evaluation"], default="pairs")
    one.add_argument("--dataset", default="", metavar="D", help="default: votes, vote-labels or vote-evaluation")
    battles = "write the votes that a rate rests on as battles, as FastChat's elo_analysis.py reads them"
    one = add(verbs, common, "export", export, battles)
    one.add_argument("--to", required=True, metavar="FILE")
    one = add(verbs, common, "to-fix", to_fix, "answers that lost a vote or were bad, until a better one is written")
    one.add_argument("--model", default="", metavar="M", help="only the answers of this model")
    tells = "tell the names of pairs that others voted on before you do; your votes on them do not count then"
    _add_models(add(verbs, common, "reveal", reveal, tells))
    one = add(verbs, common, "fix", fix, "write a better answer: a pair over the one that lost")
    one.add_argument("id", type=int, metavar="ID", help="of the comparison")
    one.add_argument("--text", default="-", metavar="T", help="the better answer; - is standard input")
    one.add_argument("--model", default="", metavar="M", help="of two bad answers, the one to mend")

    one = add(commands, common, "judge", judge, "let a model judge the pairs in both orders, beside the people")
    one.add_argument("model", metavar="MODEL")
    _add_models(one)
    one.add_argument("--limit", type=positive, default=None, metavar="N", help="at most so many pairs")


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", nargs="?", default="", metavar="A")
    parser.add_argument("b", nargs="?", default="", metavar="B")


def list_votes(session: Session, args: argparse.Namespace) -> None:
    """A line for each vote that counts; of one on a pair that waits for this rater, only that it is there."""
    from workbench.domain.results import VoteFilter
    from workbench.flows import compare, results, unseen

    a, b = (compare.compared_model(session.bench, name) for name in (args.a, args.b))
    shown, hidden = results.votes_between(session.bench, a, b, VoteFilter(rater=args.by))
    told = [asdict(vote) | {"rubric": dict(vote.rubric), "side": vote.side, "hidden": False} for vote in shown]
    if hidden and (a or b):  # which two models a pair is of would be told by its being in this list
        session.out.say(unseen.left_out(len(hidden)))
    else:
        told += [_hidden_row(vote, as_json=session.out.as_json) for vote in hidden]
    told.sort(key=lambda row: row["comparison_id"])
    session.out.table(told, ["comparison_id", "a", "b", "outcome", "side", "rater", "strength", "duration_ms", "tags"])


def _hidden_row(vote: Vote, *, as_json: bool) -> dict[str, Any]:
    """Who voted on which pair, and that the rest is not told."""
    from workbench.flows.unseen import HIDDEN

    row = dict.fromkeys([field.name for field in fields(vote)] + ["side"])
    known = {"comparison_id": vote.comparison_id, "rater": vote.rater, "hidden": True, "tags": list(vote.tags)}
    return row | known | ({} if as_json else {"a": HIDDEN})


def reveal(session: Session, args: argparse.Namespace) -> None:
    """The names of all pairs that others voted on."""
    from workbench.flows import compare, unseen

    a, b = (compare.compared_model(session.bench, name) for name in (args.a, args.b))
    count = unseen.reveal(session.bench, a, b)
    text = f"the names of {counted(count, 'pairs')} are told to {session.bench.rater} now; votes on them do not count"
    session.out.data({"revealed": count}, text if count else "no pair that others voted on waits for you")


def collect(session: Session, args: argparse.Namespace) -> None:
    """Rows of all votes."""
    from workbench.flows import votes

    made = votes.collect(session.bench, votes.Shape(args.shape), dataset=args.dataset)
    session.out.data(asdict(made) | {"as": args.shape}, made.said)


def export(session: Session, args: argparse.Namespace) -> None:
    """Battles for FastChat's scripts."""
    from workbench.flows import battles

    path = Path(args.to).expanduser()
    made = battles.export_battles(
        session.bench, path, replace=lambda there: session.confirm(f"{there} exists; replace it?")
    )
    document = {"file": str(path), "battles": made.battles, "left_out": made.waiting, "differing": made.differing}
    document |= {"tokenizer": made.tokenizer, "alike": list(made.alike), "long": made.long}
    session.out.data(document, made.said)


def _fix_row(one: ToFix) -> dict[str, object]:
    return asdict(one) | {"prompt": [turn.as_dict() for turn in one.prompt], "question": one.prompt[-1].content}


def to_fix(session: Session, args: argparse.Namespace) -> None:
    """The list, newest first."""
    from workbench.flows import fixes, unseen

    rows = [_fix_row(one) for one in fixes.to_fix(session.bench, model=args.model)]
    if waiting := fixes.waiting(session.bench, model=args.model):
        session.out.say(unseen.left_out(waiting, "answers"))
    session.out.table(rows, ["comparison_id", "why", "model", "question", "text"])


def fix(session: Session, args: argparse.Namespace) -> None:
    """One better answer."""
    from workbench.flows import fixes

    found = fixes.find(session.bench, args.id, model=args.model)
    made = fixes.mend(session.bench, found, text_argument([args.text]).rstrip("\n"))
    session.out.data({"example": made.examples[0].id, "comparison": args.id}, made.said)


def judge(session: Session, args: argparse.Namespace) -> None:
    """Ask the judge, then tell how it stands beside the people."""
    from workbench.flows import compare, judging
    from workbench.flows.registry import place
    from workbench.flows.results_told import judge_lines

    a, b = (compare.compared_model(session.bench, name) for name in (args.a, args.b))

    def progress(done: int, total: int) -> None:
        session.out.progress(f"{done} of {total} pairs judged")

    count = sum(1 for _ in judging.judge(session.bench, args.model, a=a, b=b, limit=args.limit, on_progress=progress))
    session.out.end_progress()
    name = place(session.bench, args.model).name
    one = next(one for one in judging.standings(session.bench) if one.judge == name)
    session.out.data(one.as_dict() | {"asked": count}, "\n".join(judge_lines(one)))
