"""The model commands: what is registered, adding a folder, a hub id or a server's model, removing."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from workbench.cli import model_papers
from workbench.cli.parsing import add, add_group
from workbench.cli.session import Session
from workbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands
    from workbench.domain.serving import EngineStatus


def register(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add ``models`` and its verbs."""
    verbs = add_group(commands, common, "models", "list, add, show, verify, merge, export and remove models")
    add(verbs, common, "list", models_list, "every model")
    sub = add(verbs, common, "add", models_add, "register a folder, an adapter, a hub id, or a model on a server")
    sub.add_argument("path", metavar="PATH_OR_ID", nargs="?", default="")
    sub.add_argument("--name", default="", metavar="N")
    sub.add_argument("--endpoint", default="", metavar="URL", help="an OpenAI-compatible server (http://host:8000/v1)")
    sub.add_argument("--model", default="", metavar="NAME", help="with --endpoint: what the model is called there")
    sub.add_argument("--key-env", default="", metavar="VAR", help="the environment variable that has the key")
    sub.add_argument("--keyring", action="store_true", help="the key is in the system's keyring; asks for it if not")
    sub = add(verbs, common, "show", models_show, "one model with its lineage")
    sub.add_argument("name")
    sub = add(verbs, common, "verify", models_verify, "are the weights those that were registered?")
    sub.add_argument("names", metavar="NAME", nargs="*", help="default: every model")
    sub = add(verbs, common, "remove", models_remove, "forget a model (its files stay)")
    sub.add_argument("name")
    add(verbs, common, "unload", models_unload, "take the model out of the engine's memory")
    model_papers.register(verbs, common)


def models_list(session: Session, args: argparse.Namespace) -> None:
    """Every registered model."""
    from workbench.flows import registry

    status = session.bench.engine.status()
    rows = [
        registry.describe(session.bench, m) | {"loaded": _loaded(m.name, status)}
        for m in registry.list_models(session.bench)
    ]
    session.out.table(rows, ["name", "kind", "base", "run", "format", "loaded", "path"])


def models_add(session: Session, args: argparse.Namespace) -> None:
    """Register a model; pickled weights and custom code are refused."""
    from workbench.flows import registry

    if bool(args.path) == bool(args.endpoint):
        raise UsageError("give a folder or hub id, or --endpoint URL with --model NAME")
    if args.endpoint:
        _add_endpoint(session, args)
        return
    if args.model or args.key_env or args.keyring:
        raise UsageError("--model, --key-env and --keyring belong to --endpoint")
    model = registry.add_model(session.bench, args.path, name=args.name)
    session.out.data(registry.describe(session.bench, model), f"added {model.kind.value} {model.name} ({model.path})")


def _add_endpoint(session: Session, args: argparse.Namespace) -> None:
    from workbench.flows import registry

    key = _asked_key(args.endpoint) if args.keyring and sys.stdin.isatty() else ""
    model, warning = registry.add_endpoint(
        session.bench,
        args.endpoint,
        args.model,
        name=args.name,
        key_env=args.key_env,
        key=key,
        keyring=args.keyring,
    )
    if warning:
        session.out.say(warning)
    shown = registry.describe(session.bench, model) | {"warning": warning}
    session.out.data(shown, f"added endpoint {model.name} ({model.path})")


def _asked_key(url: str) -> str:
    from getpass import getpass

    return getpass(f"key for {url} (empty: the one that is in the keyring): ").strip()


def models_show(session: Session, args: argparse.Namespace) -> None:
    """One model: where it is, its hash, and the run and rows that made it."""
    from workbench.flows import registry

    model, status = session.bench.store.models.get(args.name), session.bench.engine.status()
    shown = registry.describe(session.bench, model) | {"loaded": _loaded(model.name, status)}
    if shown["loaded"] and status.note:
        session.out.say(status.note)
    session.out.data(shown, "\n".join(f"{key}: {value}" for key, value in shown.items()))


def _loaded(name: str, status: EngineStatus) -> str:
    """On what and in which numbers the engine holds a model now; "" for one that it does not."""
    return f"{status.device} {status.dtype}" if name in (status.base, *status.adapters) else ""


def models_unload(session: Session, args: argparse.Namespace) -> None:
    """Give the engine's memory back; the next question loads again, as the settings say by then."""
    engine = session.bench.engine
    was = engine.status()
    engine.unload()
    names = [name for name in (was.base, *was.adapters) if name]
    session.out.data(
        {"unloaded": names}, f"unloaded {', '.join(names)}" if names else "the engine has no model in memory"
    )


def models_verify(session: Session, args: argparse.Namespace) -> int:
    """Read the weights and compare their hash; exit code 3 when some have changed or are gone."""
    from workbench.flows import verify

    known = session.bench.store.models
    models = [known.get(name) for name in args.names] or known.list()
    found = verify.check_models(models, on_progress=lambda what, share: session.out.progress(f"{what} …"))
    session.out.end_progress()
    rows = []
    for model in models:
        flaw = found.get(model.name)
        state = "faulty" if flaw else "ok" if model.name in found else "unchecked"
        said = flaw.what if flaw else "" if model.name in found else "no hash was recorded: no weights were here"
        rows.append({"name": model.name, "state": state, "said": said, "hint": flaw.hint if flaw else ""})
    session.out.table(rows, ["name", "state", "said"])
    faulty = [flaw for flaw in found.values() if flaw is not None]
    for flaw in faulty:
        session.out.say(f"{flaw.what}\n  {flaw.where}\n  {flaw.hint}")
    return DataError.exit_code if faulty else 0


def models_remove(session: Session, args: argparse.Namespace) -> int:
    """Forget a model after asking."""
    from workbench.flows import registry

    is_elsewhere = session.bench.store.models.get(args.name).endpoint is not None
    stays = "Nothing changes on its server" if is_elsewhere else "Its files stay"
    if not session.confirm(f"forget the model {args.name}? {stays}."):
        return 1
    registry.remove_model(session.bench, args.name)
    session.out.data({"removed": args.name}, f"removed {args.name}; {stays[0].lower()}{stays[1:]}")
    return 0
