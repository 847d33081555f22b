"""The commands that make something of a model: merged weights, a GGUF file, a card, a place on the hub."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.parsing import add
from workbench.cli.session import Session
from workbench.domain.counting import counted, size

if TYPE_CHECKING:
    from workbench.cli.parsing import Commands


def register(verbs: Commands, common: argparse.ArgumentParser) -> None:
    """Add the verbs to ``models``."""
    sub = add(verbs, common, "merge", models_merge, "an adapter as a model of its own, with the same answers")
    sub.add_argument("name", metavar="ADAPTER")
    sub.add_argument("--as", default="", metavar="N", dest="as_name", help="default: ADAPTER-merged")
    sub.add_argument("--to", default="", metavar="DIR", help="default: in the workspace")
    sub.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"])
    sub.add_argument("--allow-difference", action="store_true", help="keep it although answers differ")
    sub = add(verbs, common, "export", models_export, "a model as one GGUF file, for llama.cpp")
    sub.add_argument("name", metavar="MODEL")
    sub.add_argument("--format", default="gguf", choices=["gguf"])
    sub.add_argument("--to", required=True, metavar="FILE")
    sub.add_argument("--type", default="f16", choices=["f16", "bf16", "f32"], help="of the matrices")
    sub = add(verbs, common, "card", models_card, "write a model's card beside its weights")
    sub.add_argument("name", metavar="MODEL")
    sub.add_argument("--license", default="", metavar="ID", help="as the hub names it, such as apache-2.0")
    sub.add_argument("--summary", default="", metavar="TEXT", help="what it is meant for, and what not")
    sub = add(verbs, common, "push", models_push, "put a model on the Hugging Face hub, after asking")
    sub.add_argument("name", metavar="MODEL")
    sub.add_argument("repo", metavar="OWNER/NAME")
    sub.add_argument("--public", action="store_true", help="a repository that is made now is private otherwise")


def models_merge(session: Session, args: argparse.Namespace) -> None:
    """Merge an adapter and say how the answers compare."""
    from workbench.flows import merging, registry

    made = merging.merge(
        session.bench,
        args.name,
        as_name=args.as_name,
        to=Path(args.to).expanduser().absolute() if args.to else None,
        dtype=args.dtype,
        allow=args.allow_difference,
        on_step=session.out.say,
    )
    figures = {k: v for k, v in dataclasses.asdict(made).items() if k != "model"}
    session.out.data(registry.describe(session.bench, made.model) | {"merged": figures}, made.said)


def models_export(session: Session, args: argparse.Namespace) -> None:
    """Write one GGUF file."""
    from workbench.flows import gguf_export

    made = gguf_export.export(session.bench, args.name, Path(args.to).expanduser(), kind=args.type)
    said = (
        f"{made.file}: {made.tensors} tensors, {size(made.bytes)}; read again, weights differ by at most "
        f"{made.largest_difference:.2g} ({made.type})"
    )
    session.out.data(dataclasses.asdict(made) | {"file": str(made.file), "format": "gguf"}, said)


def models_card(session: Session, args: argparse.Namespace) -> None:
    """Write the card."""
    from workbench.flows import model_card

    made = model_card.write_card(session.bench, args.name, licence=args.license, summary=args.summary)
    left = f"; still open: {', '.join(made.open)}" if made.open else ""
    session.out.data({"file": str(made.file), "open": list(made.open)}, f"{made.file}{left}")


def models_push(session: Session, args: argparse.Namespace) -> int:
    """Put a model on the hub, after asking with the list of files."""
    from workbench.flows import publishing

    files = publishing.files_to_push(session.bench, args.name)
    who = "everybody can read it" if args.public else "private, unless the repository is there already"
    total = sum(path.stat().st_size for path in files)
    names = ", ".join(path.name for path in files)
    session.out.say(f"{counted(len(files), 'files')}, {size(total)}: {names}")
    if not session.confirm(f"put {args.name} into {args.repo} on the Hugging Face hub ({who})?"):
        return 1
    made = publishing.push(session.bench, args.name, args.repo, private=not args.public)
    session.out.data({"url": made.url, "files": made.files}, made.url)
    return 0
