"""The model commands: what is registered, adding a folder or a hub id, removing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from workbench.cli.parsing import add, add_group
from workbench.cli.session import Session

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``models`` and its verbs."""
    verbs = add_group(commands, common, "models", "list, add, show and remove models")
    add(verbs, common, "list", models_list, "every model")
    sub = add(verbs, common, "add", models_add, "register a Hugging Face folder, an adapter or a hub id")
    sub.add_argument("path", metavar="PATH_OR_ID")
    sub.add_argument("--name", default="", metavar="N")
    sub = add(verbs, common, "show", models_show, "one model with its lineage")
    sub.add_argument("name")
    sub = add(verbs, common, "remove", models_remove, "forget a model (its files stay)")
    sub.add_argument("name")


def models_list(session: Session, args: argparse.Namespace) -> None:
    """Every registered model."""
    from workbench.flows import registry

    rows = [registry.describe(session.bench, m) for m in registry.list_models(session.bench)]
    session.out.table(rows, ["name", "kind", "base", "run", "format", "path"])


def models_add(session: Session, args: argparse.Namespace) -> None:
    """Register a model; pickled weights and custom code are refused."""
    from workbench.flows import registry

    model = registry.add_model(session.bench, args.path, name=args.name)
    session.out.data(registry.describe(session.bench, model), f"added {model.kind.value} {model.name} ({model.path})")


def models_show(session: Session, args: argparse.Namespace) -> None:
    """One model: where it is, its hash, and the run and rows that made it."""
    from workbench.flows import registry

    shown = registry.describe(session.bench, session.bench.store.models.get(args.name))
    session.out.data(shown, "\n".join(f"{key}: {value}" for key, value in shown.items()))


def models_remove(session: Session, args: argparse.Namespace) -> int:
    """Forget a model after asking."""
    from workbench.flows import registry

    if not session.confirm(f"forget the model {args.name}? Its files stay."):
        return 1
    registry.remove_model(session.bench, args.name)
    session.out.data({"removed": args.name}, f"removed {args.name}; its files were left where they are")
    return 0
