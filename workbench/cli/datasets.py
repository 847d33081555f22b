"""The commands about whole datasets: what they hold, their splits, and new ones made from them."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

from workbench.cli.parsing import add, add_group, positive
from workbench.domain.counting import counted
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.cli.session import Session

_NAMED = "its name or id"
_SEED = "the same seed draws the same (default: 7)"


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the ``datasets`` command."""
    verbs = add_group(commands, common, "datasets", "datasets as a whole: figures, splits, mixtures, readiness")
    add(verbs, common, "list", list_datasets, "every dataset with its counts")
    add(verbs, common, "show", show, "one dataset's counts").add_argument("name", help=_NAMED)
    _register_split(verbs, common)
    sub = add(verbs, common, "merge", merge, "copy the rows of several datasets into one")
    sub.add_argument("names", nargs="+", metavar="NAME", help="datasets whose rows are copied, also rejected ones")
    sub.add_argument("--into", required=True, metavar="C", help="where they go: a new dataset, or one that is there")
    _register_mix(verbs, common)
    _register_figures(verbs, common)
    _register_augment(verbs, common)
    sub = add(verbs, common, "delete", delete, "hide all rows of a dataset; examples undo brings them back")
    sub.add_argument("name", help=_NAMED)


def _register_split(verbs: Commands, common: argparse.ArgumentParser) -> None:
    sub = add(verbs, common, "split", split, "deal the rows without a split; what belongs together stays together")
    sub.add_argument("name", help=_NAMED)
    sub.add_argument("--train", type=float, metavar="SHARE", help="default: what the others leave")
    sub.add_argument("--validation", type=float, default=0.1, metavar="SHARE", help="default: 0.1")
    sub.add_argument("--test", type=float, default=0.0, metavar="SHARE", help="locked and never trained on; default: 0")
    sub.add_argument("--by", choices=["tag", "source"], default="", help="make the shares right in each of them")
    sub.add_argument("--seed", type=int, default=7, metavar="N", help=_SEED)


def _register_mix(verbs: Commands, common: argparse.ArgumentParser) -> None:
    sub = add(verbs, common, "mix", mix, "a new dataset with accepted rows of others, by weight")
    sub.add_argument("name", help="the new dataset")
    sub.add_argument("--of", action="append", required=True, metavar="D=WEIGHT", help="such as: --of chats=0.7")
    sub.add_argument("--cap", type=positive, default=0, metavar="N", help="at most so many rows in all")
    sub.add_argument("--prefix", action="append", default=[], metavar="D=TEXT", help="put before the prompts of D")
    sub.add_argument("--tag", action="append", default=[], metavar="D=TAG", help="put on the rows of D")
    sub.add_argument("--seed", type=int, default=7, metavar="N", help=_SEED)


def _register_figures(verbs: Commands, common: argparse.ArgumentParser) -> None:
    sub = add(verbs, common, "stats", stats, "figures, and what each means for training")
    sub.add_argument("name", help="a dataset; - for all of them")
    sub.add_argument("query", nargs="*", metavar="QUERY", help="only what a query finds")
    sub.add_argument("--model", default="", metavar="M", help="also count in this model's tokens")
    sub.add_argument("--method", default="", metavar="M", help="what the steps are estimated for")
    sub.add_argument("--preset", default="auto", metavar="P", help="of the method, for the estimate (default: auto)")
    sub = add(verbs, common, "ready", ready, "is it ready to train a model on, and what is missing")
    sub.add_argument("name", help=_NAMED)
    sub.add_argument("--model", default="", metavar="M", help="default: the workspace's model")


def _register_augment(verbs: Commands, common: argparse.ArgumentParser) -> None:
    sub = add(verbs, common, "augment", augment, "make rows from its rows: pending, and marked as synthetic")
    sub.add_argument("name", help=_NAMED)
    how = sub.add_mutually_exclusive_group(required=True)
    how.add_argument("--template", metavar="FILE", help="a line for each way of asking, with {prompt} in it")
    how.add_argument("--paraphrase-with", metavar="MODEL", help="let a model put the questions in other words")
    sub.add_argument("--limit", type=positive, default=0, metavar="N", help="make at most so many (default: no limit)")
    sub.add_argument("--seed", type=int, default=7, metavar="N", help=_SEED)


def list_datasets(session: Session, args: argparse.Namespace) -> None:
    """Every dataset that has rows, with its counts."""
    from workbench.flows import datasets

    rows = [dataclasses.asdict(d) for d in datasets.shown(session.bench)]
    session.out.table(rows, ["name", "total", "pending", "accepted", "rejected"])


def show(session: Session, args: argparse.Namespace) -> None:
    """One dataset's counts."""
    found = dataclasses.asdict(session.bench.store.datasets.get(args.name))
    session.out.data(found, "\n".join(f"{k}: {v}" for k, v in found.items()))


def split(session: Session, args: argparse.Namespace) -> None:
    """Deal rows without a split into train, validation and test."""
    from workbench.domain.datasets import Shares
    from workbench.flows import datasets

    train = 1.0 - args.validation - args.test if args.train is None else args.train
    shares = Shares(train, args.validation, args.test)
    done = datasets.deal_splits(session.bench, args.name, seed=args.seed, shares=shares, by=args.by)
    lines = [f"{name}: {_counts(counts)}" for name, counts in done.strata.items()]
    session.out.data(dataclasses.asdict(done), "\n".join([done.sentence(), *lines]))


def merge(session: Session, args: argparse.Namespace) -> None:
    """Copy every row of several datasets into one."""
    from workbench.flows import datasets

    done = datasets.merge(session.bench, args.names, into=args.into)
    session.out.data(done.as_dict(), done.sentence())


def mix(session: Session, args: argparse.Namespace) -> None:
    """A new dataset, mixed by weight."""
    from workbench.domain.mixing import Part
    from workbench.flows import datasets

    weights = {name: _weight(name, text) for name, text in _pairs(args.of, "--of chats=0.7")}
    prefixes, tags = dict(_pairs(args.prefix, '--prefix chats="[C] "')), dict(_pairs(args.tag, "--tag chats=talk"))
    for name in (*prefixes, *tags):
        if name not in weights:
            raise UsageError(f"{name} is not in the mixture", hint=f"add --of {name}=WEIGHT")
    parts = [Part(name, weight, prefixes.get(name, ""), tags.get(name, "")) for name, weight in weights.items()]
    done = datasets.mix(session.bench, args.name, parts, cap=args.cap, seed=args.seed)
    session.out.data(done.as_dict(), done.sentence())


def stats(session: Session, args: argparse.Namespace) -> None:
    """The figures of a dataset, drawn."""
    from workbench.flows import datasets
    from workbench.tui.dataset_figures import drawn

    found = datasets.statistics(
        session.bench,
        "" if args.name == "-" else args.name,
        query=" ".join(args.query),
        model=args.model,
        method=args.method,
        preset=args.preset,
        on_progress=lambda what, rows, total: session.out.progress(f"{what} of {rows:,} of {total:,} rows"),
    )
    session.out.end_progress()
    session.out.data({"dataset": args.name, **found.as_dict()}, drawn(found))


def ready(session: Session, args: argparse.Namespace) -> None:
    """The verdict, with the rules that it comes from."""
    from workbench.flows import datasets

    found = datasets.ready(session.bench, args.name, model=args.model)
    facts = found.facts
    said = "ready" if found.ready else "not ready"
    lines = [f"{args.name}: {said}; {facts.accepted:,} accepted rows, {facts.usable:,} of them to train or measure on"]
    fired = [("do", found.approach), ("start from", found.start), *(("missing", one) for one in found.missing)]
    fired += [("better", one) for one in found.advice]
    for what, one in fired:
        lines += [f"{what}: {one.answer}", f"    {one.reason}", f"    rule {one.rule}; {one.source}"]
    session.out.data({"dataset": args.name, "model": args.model, **found.as_dict()}, "\n".join(lines))


def augment(session: Session, args: argparse.Namespace) -> None:
    """Make rows from rows."""
    from pathlib import Path

    from workbench.flows import augment as flow

    if args.template is not None:
        done = flow.by_templates(session.bench, args.name, Path(args.template).expanduser(), limit=args.limit)
    else:
        done = flow.by_paraphrase(
            session.bench,
            args.name,
            args.paraphrase_with,
            limit=args.limit,
            seed=args.seed,
            on_progress=lambda n, total: session.out.progress(f"{n:,} of {total:,} questions"),
        )
        session.out.end_progress()
    session.out.data(done.as_dict(), done.sentence())


def delete(session: Session, args: argparse.Namespace) -> int:
    """Hide a dataset's rows, once that is confirmed."""
    from workbench.domain.queries import parse_query
    from workbench.flows import datasets

    found = session.bench.store.datasets.get(args.name)
    locked = session.bench.store.examples.count(parse_query("split:test"), found.name)
    test = f", {locked:,} of them in the locked test split" if locked else ""
    if not session.confirm(f"delete {found.name} with its {counted(found.total, 'rows')}{test}?"):
        session.out.say("nothing was deleted")
        return 1
    done = datasets.delete(session.bench, found.name)
    session.out.data({"deleted": found.name, "rows": found.total}, done.said)
    return 0


def _pairs(given: Iterable[str], example: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name or not value:
            raise UsageError(f"{text!r} is not NAME=VALUE", hint=f"for example {example}")
        if name in dict(found):
            raise UsageError(f"{name} is given twice", hint=f"for example {example}")
        found.append((name, value))
    return found


def _weight(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"the weight of {name} is {text!r}, not a number", hint="for example --of chats=0.7") from None


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in counts.items())
