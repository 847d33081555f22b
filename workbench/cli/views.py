"""The commands for views: lists of examples that have a name."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from workbench.cli.parsing import add, add_group
from workbench.cli.session import Session

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the commands."""
    verbs = add_group(commands, common, "views", "lists of examples under a name: a dataset, a query, an order")
    add(verbs, common, "list", views_list, "every view")
    sub = add(verbs, common, "save", views_save, "keep a list under a name, instead of the one before")
    sub.add_argument("name")
    sub.add_argument("query", nargs="*", metavar="QUERY", help="such as: status:pending split:train refund")
    sub.add_argument("--dataset", default="", metavar="D")
    sub.add_argument("--order", default="id", metavar="ORDER", help="such as: words, or =-updated")
    add(verbs, common, "delete", views_delete, "forget a view; its examples stay").add_argument("name")


def views_list(session: Session, args: argparse.Namespace) -> None:
    """Every view."""
    from workbench.flows import views

    found = [dataclasses.asdict(view) for view in views.views(session.bench)]
    session.out.table(found, ["name", "dataset", "query", "order"])


def views_save(session: Session, args: argparse.Namespace) -> None:
    """Keep a list under a name."""
    from workbench.flows import views

    view = views.save(session.bench, args.name, query=" ".join(args.query), dataset=args.dataset, order=args.order)
    session.out.data(dataclasses.asdict(view), f"saved the view {view.name}")


def views_delete(session: Session, args: argparse.Namespace) -> None:
    """Forget a view."""
    from workbench.flows import views

    views.delete(session.bench, args.name)
    session.out.data({"deleted": args.name}, f"deleted the view {args.name}")
