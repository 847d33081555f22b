"""The data commands: what a person decides about examples, and datasets. Import and export are beside this."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.cli import exchange
from workbench.cli.parsing import add, add_group, add_ids, positive
from workbench.cli.session import Session
from workbench.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.domain.examples import Example
    from workbench.domain.runs import ExampleScore

_COLUMNS = ["id", "dataset", "kind", "status", "split", "tags", "prompt", "chosen", "rejected", "label"]
_UNLOCK = "also in the test split, which is locked: what was measured on it means nothing afterwards"


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the data commands."""
    exchange.register(commands, common)

    verbs = add_group(commands, common, "examples", "list, show and decide about examples")
    sub = add(verbs, common, "list", examples_list, "examples that a query finds")
    sub.add_argument("query", nargs="*", metavar="QUERY", help="such as: status:pending split:train refund")
    sub.add_argument("--dataset", default="", metavar="D")
    sub.add_argument("--view", default="", metavar="NAME", help="a saved view; what else is given narrows it")
    sub.add_argument(
        "--order", default="", metavar="O", help="such as --order=-loss@RUN, margin or words; default: by id"
    )
    sub.add_argument("--limit", type=positive, default=100, metavar="N")
    sub.add_argument("--after", type=int, default=0, metavar="ID")
    add(verbs, common, "show", examples_show, "one example whole, with its history").add_argument("id", type=int)
    for verb in ("accept", "reject"):
        add_ids(add(verbs, common, verb, examples_decide, f"{verb} examples")).set_defaults(verb=verb)
    sub = add_ids(add(verbs, common, "tag", examples_tag, "add and remove tags"))
    sub.add_argument("--add", nargs="+", default=[], metavar="TAG")
    sub.add_argument("--remove", nargs="+", default=[], metavar="TAG")
    sub = add_ids(add(verbs, common, "flag", examples_flag, "flag examples by hand, or no longer"))
    sub.add_argument("--add", nargs="+", default=[], metavar="FLAG")
    sub.add_argument("--remove", nargs="+", default=[], metavar="FLAG")
    sub = add_ids(add(verbs, common, "split", examples_split, "put examples into a split"))
    sub.add_argument("--to", required=True, choices=["none", "train", "validation", "test"])
    sub.add_argument("--unlock", action="store_true", help=_UNLOCK)
    sub = add_ids(add(verbs, common, "note", examples_note, "write a note"))
    sub.add_argument("--text", required=True)
    sub = add(verbs, common, "edit", examples_edit, "change a part of one example")
    sub.add_argument("id", type=int)
    sub.add_argument("--part", choices=["prompt", "chosen", "rejected", "system", "tools"], default="chosen")
    sub.add_argument("--calls", action="store_true", help="the text is the JSON list of the tool calls of that turn")
    sub.add_argument("--turn", type=positive, metavar="N", help="which turn of the part, from 1 (default: the last)")
    sub.add_argument("--text", required=True, help="the new text, - for standard input")
    sub.add_argument("--unlock", action="store_true", help=_UNLOCK)
    sub = add_ids(add(verbs, common, "thumb", examples_thumb, "judge answers good or bad"))
    judged = sub.add_mutually_exclusive_group(required=True)
    judged.add_argument("--up", action="store_true", help="a good answer")
    judged.add_argument("--down", action="store_true", help="a bad one")
    sub.add_argument("--unlock", action="store_true", help=_UNLOCK)
    sub = add_ids(add(verbs, common, "swap", examples_swap, "exchange chosen and rejected"))
    sub.add_argument("--unlock", action="store_true", help=_UNLOCK)
    add(verbs, common, "undo", examples_undo, "take the last decision back")
    add(verbs, common, "redo", examples_redo, "do the undone decision again")


def example_row(example: Example) -> dict[str, object]:
    """One example as ``--json`` gives it: turns whole, the source with its ids."""
    content = example.content
    source = {k: v for k, v in dataclasses.asdict(example.source).items() if v not in (None, "", ()) and v is not False}
    return {
        "id": example.id,
        "dataset": example.dataset,
        "kind": content.kind.value,
        "status": example.status.value,
        "split": example.split.value,
        "tags": list(example.tags),
        "source": source,
        "prompt": [t.as_dict() for t in content.prompt],
        "chosen": [t.as_dict() for t in content.chosen],
        "rejected": [t.as_dict() for t in content.rejected],
        "label": content.label,
        "tools": json.loads(content.tools) if content.tools else [],
        "note": example.note,
        "rating": example.rating,
        "rater": example.rater,
        "flags": list(example.flags),
        "hash": content.hash(),
    }


def examples_list(session: Session, args: argparse.Namespace) -> None:
    """What a query or a view finds: by id, or in the order that is named or that of the view."""
    from workbench.flows import run_scores
    from workbench.flows.unseen import asked, left_out, unfound, veiled

    order = _open_view(session, args) if args.view else "id"
    if args.order:
        order = run_scores.named_order(session.bench, args.order)
        _refuse_after(args, order)
    query, examples = asked(session.bench, " ".join(args.query)), session.bench.store.examples
    if order == "id":
        found = examples.list(query, dataset=args.dataset or None, after=args.after, limit=args.limit)
        _say_more(session, args, found)
    else:
        ids = examples.ids(query, dataset=args.dataset or None, order=order)[: args.limit]
        by_id = {example.id: example for example in examples.many(ids)}
        found = [by_id[example_id] for example_id in ids if example_id in by_id]
    if hidden := unfound(session.bench, query, dataset=args.dataset):
        session.out.say(left_out(hidden, "rows"))
    scores = run_scores.newest(session.bench, [e.id for e in found], order=order)
    rows = [example_row(veiled(session.bench, e)) | {"score": _score_row(scores.get(e.id))} for e in found]
    if session.out.as_json:
        session.out.table(rows, _COLUMNS)
        return
    columns = _COLUMNS
    if "loss" in order or "margin" in order:
        columns = ["id", "loss", "margin", *_COLUMNS[1:]]
    rows = [
        row
        | {
            "loss": scores[e.id].loss if e.id in scores else None,
            "margin": scores[e.id].margin if e.id in scores else None,
            "prompt": e.prompt_text,
            "chosen": e.answer_text,
            "rejected": e.content.rejected[-1].content if e.content.rejected else None,
        }
        for e, row in zip(found, rows, strict=True)
    ]
    session.out.table(rows, columns)


def _score_row(score: ExampleScore | None) -> dict[str, object] | None:
    """What a run measured of an example, as ``--json`` gives it; None when none did."""
    if score is None:
        return None
    return {name: value for name, value in dataclasses.asdict(score).items() if name != "example_id"}


def _refuse_after(args: argparse.Namespace, order: str) -> None:
    if order != "id" and args.after:
        raise UsageError(f"the rows are in the order {order}", hint="--after goes by ids only")


def _open_view(session: Session, args: argparse.Namespace) -> str:
    """Put the view's query and dataset into ``args``; gives its order."""
    from workbench.flows import views

    view = views.view(session.bench, args.view)
    args.query, args.dataset = [view.query, *args.query], args.dataset or view.dataset
    if view.order != "id" and args.after:
        raise UsageError(f"the view {view.name} is in the order {view.order}", hint="--after goes by ids only")
    return view.order


def _say_more(session: Session, args: argparse.Namespace, found: Sequence[Example]) -> None:
    from workbench.flows.unseen import asked

    if len(found) < args.limit:
        return
    in_all = session.bench.store.examples.count(asked(session.bench, " ".join(args.query)), args.dataset or None)
    if in_all > len(found):
        session.out.say(f"{len(found):,} of {in_all:,}; go on with --after {found[-1].id}")


def examples_show(session: Session, args: argparse.Namespace) -> None:
    """One example with all its turns, its source and its history."""
    from workbench.flows import curate, trace
    from workbench.flows.unseen import veiled

    example = veiled(session.bench, curate.get(session.bench, args.id))
    history = [
        {"action": d.action.value, "rater": d.rater, "created_utc": d.created_utc, "undone": d.undone}
        for d in curate.history(session.bench, args.id)
    ]
    facts = example_row(example) | {"source": trace.came_from(session.bench, example.source)}
    apart = {"prompt", "chosen", "rejected"}
    lines = [f"{key}: {value}" for key, value in facts.items() if key not in apart and value not in (None, "", [])]
    turns = [f"[{t.role}] {t.content}" for t in (*example.content.prompt, *example.content.chosen)]
    turns += [f"[rejected] {t.content}" for t in example.content.rejected]
    past = [f"{h['created_utc']} {h['rater']} {h['action']}{' (undone)' if h['undone'] else ''}" for h in history]
    session.out.data(example_row(example) | {"history": history}, "\n".join([*lines, *turns, *past]))


def _decided(session: Session, said: str, ids: Sequence[int]) -> None:
    from workbench.flows.unseen import veiled

    rows = [example_row(veiled(session.bench, session.bench.store.examples.get(i))) for i in ids]
    session.out.data({"said": said, "examples": rows}, said)


def examples_decide(session: Session, args: argparse.Namespace) -> None:
    """Accept or reject."""
    from workbench.flows import curate

    decide = curate.accept if args.verb == "accept" else curate.reject
    _decided(session, decide(session.bench, args.ids).said, args.ids)


def examples_tag(session: Session, args: argparse.Namespace) -> None:
    """Add and remove tags."""
    from workbench.flows import curate

    done = curate.tag(session.bench, args.ids, add=tuple(args.add), remove=tuple(args.remove))
    _decided(session, done.said, args.ids)


def examples_flag(session: Session, args: argparse.Namespace) -> None:
    """Add and remove flags."""
    from workbench.flows import curate

    done = curate.flag(session.bench, args.ids, add=tuple(args.add), remove=tuple(args.remove))
    _decided(session, done.said, args.ids)


def examples_split(session: Session, args: argparse.Namespace) -> None:
    """Set the split by hand."""
    from workbench.domain.examples import Split
    from workbench.flows import curate

    _decided(session, curate.split(session.bench, args.ids, Split(args.to), unlock=args.unlock).said, args.ids)


def examples_note(session: Session, args: argparse.Namespace) -> None:
    """Write a note on examples."""
    from workbench.flows import curate

    _decided(session, curate.note(session.bench, args.ids, args.text).said, args.ids)


def examples_edit(session: Session, args: argparse.Namespace) -> None:
    """Change the text of one part."""
    from workbench.flows import curate

    text = sys.stdin.read().rstrip("\n") if args.text == "-" else args.text
    where = {"part": args.part, "turn": args.turn, "calls": args.calls}
    done = curate.edit(session.bench, args.id, text=text, unlock=args.unlock, **where)
    _decided(session, done.said, [args.id])


def examples_thumb(session: Session, args: argparse.Namespace) -> None:
    """Judge the one answer of each example."""
    from workbench.flows import curate

    _decided(session, curate.thumb(session.bench, args.ids, up=args.up, unlock=args.unlock).said, args.ids)


def examples_swap(session: Session, args: argparse.Namespace) -> None:
    """Exchange chosen and rejected of pairs."""
    from workbench.flows import curate

    _decided(session, curate.swap(session.bench, args.ids, unlock=args.unlock).said, args.ids)


def examples_undo(session: Session, args: argparse.Namespace) -> int:
    """Take the newest decision of this rater back; asks first when it is one on many examples."""
    from workbench.flows import curate

    newest = curate.newest(session.bench)
    large = newest is not None and newest.examples > curate.ASK_ABOVE
    if newest is not None and large and not session.confirm(f"undo {newest.text}?"):
        return 1
    undone = curate.undo(session.bench)
    if undone is None:
        raise NotFoundError("there is nothing to undo", hint="decisions are undone per rater")
    session.out.data({"undone": undone.action.value, "examples": list(undone.example_ids)}, undone.text)
    return 0


def examples_redo(session: Session, args: argparse.Namespace) -> None:
    """Do the decision again that was undone last."""
    from workbench.flows import curate

    redone = curate.redo(session.bench)
    if redone is None:
        raise NotFoundError("there is nothing to redo")
    session.out.data({"redone": redone.action.value, "examples": list(redone.example_ids)}, redone.text)
