"""The card of a model: base, rows by hash, numbers, what they say, and how to use it, as the hub's ``README.md``.

What nobody told is left open for the person to write: the licence and what the model is meant for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import __version__
from workbench.domain.counting import counted
from workbench.domain.models import Model, ModelKind
from workbench.domain.pages import Table, plain, table_lines
from workbench.errors import NotFoundError, RefusedError, RunError
from workbench.flows.card import MARKER, card_place
from workbench.flows.registry import is_hub_id
from workbench.jobs.run_directory import RunDirectory
from workbench.jobs.run_facts import RunFacts, file_hash, read_facts

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

_UNWRITTEN = "[More Information Needed]"
"""In the card that PEFT leaves beside an adapter: one that nobody has written in may be replaced."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card as it was written, and what it still leaves open."""

    file: Path
    text: str
    open: tuple[str, ...]


def write_card(bench: Bench, name: str, *, licence: str = "", summary: str = "") -> Card:
    """Write the card beside a model's weights; a person's own ``README.md`` is never replaced.

    Raises ``NotFoundError`` when the model is not on this disk, ``RefusedError`` for a model that other programs own.
    """
    model = bench.store.models.get(name)
    folder = Path(model.path)
    if not folder.is_dir():
        raise NotFoundError(f"{model.name} is not on this disk", where=model.path)
    if not folder.is_relative_to(bench.workspace.root):
        raise RefusedError(f"{model.name} lies outside the workspace: its folder is left as it is", where=model.path)
    text = card_text(bench, model, licence=licence, summary=summary)
    place = _place(folder)
    place.write_text(text, encoding="utf-8")
    base = _base_on_the_hub(bench, model)
    parts = (
        ("licence", licence),
        ("what it is meant for", summary),
        ("the base's id on the hub", base is None or base),
    )
    left = [what for what, value in parts if not value]
    return Card(place, text, tuple(left))


def card_text(bench: Bench, model: Model, *, licence: str = "", summary: str = "") -> str:
    """The card as Markdown, with the front matter that the hub reads."""
    base = bench.store.models.get(model.base) if model.base else None
    facts = _facts(bench, model)
    parts = [_front(model, base, facts, licence), MARKER, f"# {plain(model.name)}"]
    parts.append(plain(summary) if summary else "*What it is meant for, and what not: to be written.*")
    parts += ["## Where it comes from", "\n".join(table_lines(Table((), tuple(_origin(model, base, facts)))))]
    if facts is not None:
        parts += _numbers(facts)
    parts += ["## How to use it", _usage(model, base)]
    parts.append(f"*Written by workbench {__version__}.*")
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(bench: Bench, model: Model) -> RunFacts | None:
    if model.run_id is None:
        return None
    try:
        return read_facts(RunDirectory(Path(bench.store.runs.get(model.run_id).directory)))
    except (NotFoundError, RunError):
        return None


def _front(model: Model, base: Model | None, facts: RunFacts | None, licence: str) -> str:
    library = "peft" if model.kind is ModelKind.ADAPTER else "transformers"
    lines = ["---", f"library_name: {library}"]
    origin = base.path if base else facts.spec.base_path if facts else ""
    if is_hub_id(origin):
        lines.append(f"base_model: {json.dumps(origin)}")
    elif base:
        # A place on this disk says nothing to the hub, and its name here may be another model's there.
        lines.append(f"# base_model: the id on the hub of {plain(base.name)}")
    lines.append(
        f"license: {json.dumps(licence)}" if licence else "# license: to be chosen, in keeping with the base's"
    )
    kind = [str(facts.spec.knobs.get("adapter", "lora"))] if facts and library == "peft" else []
    tags = ["workbench", *([facts.spec.method] if facts else []), *kind]
    return "\n".join([*lines, "tags:", *(f"- {json.dumps(tag)}" for tag in tags), "---"])


def _origin(model: Model, base: Model | None, facts: RunFacts | None) -> Iterator[tuple[str, ...]]:
    yield "weights, SHA-256", model.sha256
    if base is not None:
        yield "base", f"{base.name}, SHA-256 {base.sha256 or 'not known'}"
    if model.note:
        yield "note", model.note
    if facts is None:
        return
    spec = facts.spec
    yield (
        "run",
        f"{spec.name}: {spec.method}, preset {spec.preset}, seed {spec.seed}, {counted(facts.status.step, 'steps')}",
    )
    if spec.adapter:
        yield "went on from", f"{spec.adapter}, SHA-256 {facts.origin.get('adapter_sha256') or 'not known'}"
    for name, rows, path in (
        ("trained on", spec.train_rows, facts.directory.train_file),
        ("measured on", spec.eval_rows, facts.directory.eval_file),
    ):
        yield name, f"{counted(rows, 'rows')} of {spec.dataset}, SHA-256 {file_hash(path)}"
    versions = ", ".join(f"{name} {version}" for name, version in spec.versions.items())
    yield "versions", versions


def _numbers(facts: RunFacts) -> Iterator[str]:
    rows = [
        (f"held-out {name}", *("-" if value is None else f"{value:.4g}" for value in pair))
        for name, pair in facts.figures.items()
    ]
    kept = facts.retention
    if kept.base_loss is not None and kept.loss is not None:
        rows.append((f"loss on general text ({kept.source})", f"{kept.base_loss:.4g}", f"{kept.loss:.4g}"))
    if rows:
        yield "## Numbers"
        yield "\n".join(table_lines(Table(("measured", "before", "after"), tuple(rows))))
    for finding in facts.findings:
        yield plain(finding.said)


def _usage(model: Model, base: Model | None) -> str:
    if model.kind is ModelKind.ADAPTER and base is not None:
        lines = [
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            f"base = AutoModelForCausalLM.from_pretrained({json.dumps(_shown(base))})",
            'model = PeftModel.from_pretrained(base, "PATH_OR_ID_OF_THIS")',
        ]
    else:
        lines = [
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            'model = AutoModelForCausalLM.from_pretrained("PATH_OR_ID_OF_THIS")',
        ]
    lines += [
        'tokenizer = AutoTokenizer.from_pretrained("PATH_OR_ID_OF_THIS")',
        'turns = [{"role": "user", "content": "Hello"}]',
        "asked = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True, "
        'return_tensors="pt")',
        "print(tokenizer.decode(model.generate(**asked, max_new_tokens=128)[0], skip_special_tokens=True))",
    ]
    return "\n".join(["```python", *lines, "```"])


def _shown(base: Model) -> str:
    return base.path if is_hub_id(base.path) else f"PATH_OR_ID_OF_{base.name}"


def _base_on_the_hub(bench: Bench, model: Model) -> str | None:
    """The id of a model's base on the hub, "" when it lies on this disk; None without a base."""
    if not model.base:
        return None
    path = bench.store.models.get(model.base).path
    return path if is_hub_id(path) else ""


def _place(folder: Path) -> Path:
    own = folder / "README.md"
    try:
        if _UNWRITTEN in own.read_text(encoding="utf-8"):
            return own
    except (OSError, ValueError):
        pass
    return card_place(folder)
