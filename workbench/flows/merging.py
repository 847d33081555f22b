"""An adapter as a model of its own: merged into its base's original weights, compared, and registered.

The work is a child process's. What answers otherwise than base and adapter did is thrown away again.
"""

from __future__ import annotations

import json
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.domain.counting import an
from workbench.domain.models import Model, ModelKind
from workbench.errors import NotFoundError, RefusedError, RunError, WorkbenchError
from workbench.flows import compare
from workbench.jobs.children import converse
from workbench.jobs.run_directory import RunDirectory
from workbench.jobs.run_facts import weights_hash

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

MOST_PROMPTS = 12
DTYPES = ("auto", "float32", "bfloat16", "float16")

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged model as it is registered, and how it answers beside base and adapter.

    ``largest_difference`` is that of the scores of an answer's first token.
    """

    model: Model
    prompts: int
    same: int
    largest_difference: float
    dtype: str

    @property
    def said(self) -> str:
        """One sentence for the person."""
        return (
            f"merged into {self.model.name} ({self.dtype}): {self.same} of {self.prompts} greedy answers are the same, "
            f"scores differ by at most {self.largest_difference:.2g}"
        )


def merge(
    bench: Bench,
    name: str,
    *,
    as_name: str = "",
    to: Path | None = None,
    dtype: str = "auto",
    allow: bool = False,
    on_step: OnStep = lambda _: None,
    cancelled: threading.Event | None = None,
) -> Merged:
    """Merge the adapter ``name`` and register what comes out, by default in the workspace's folder ``models``.

    ``dtype`` auto is the base's own, or float32 when that would change an answer. Raises ``RefusedError`` for what is
    no adapter or cannot be merged, and, unless ``allow``, when a greedy answer is another than before; then nothing is
    left behind.
    """
    adapter = bench.store.models.get(name)
    if adapter.kind is not ModelKind.ADAPTER:
        raise RefusedError(f"{adapter.name} is {an(adapter.kind.value)}: only adapters are merged")
    base = bench.store.models.get(adapter.base)
    taken = bench.store.models.taken_names("", "")
    chosen = as_name or next(
        n for i in range(1, 1000) if (n := f"{adapter.name}-merged{i if i > 1 else ''}") not in taken
    )
    if chosen in taken:
        raise RefusedError(f"a model called {chosen!r} is there already", hint="give another name")
    target = to or bench.workspace.models / chosen.replace("/", "-")
    if target.exists():
        raise RefusedError(f"{target} is there already", hint="give another place", where=str(target))
    aside = target.with_name(f".{target.name}-{secrets.token_hex(3)}")
    prompts = [json.dumps({"prompt": turns}) for turns in islice(_prompts(bench, adapter), MOST_PROMPTS)]
    arguments = ["--base", base.path, "--adapter", adapter.path, "--to", str(aside), "--dtype", dtype]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        found = _told(converse("workbench.worker.merging", arguments, prompts, cancelled=cancelled), on_step)
        if found["same"] < found["prompts"] and not allow:
            raise RefusedError(
                f"{found['prompts'] - found['same']} of {found['prompts']} greedy answers are not those of base and "
                f"adapter in {found['dtype']}, such as to {found['first_other']!r}",
                hint="--dtype float32 keeps them (a larger file), or --allow-difference",
            )
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    digest = weights_hash(tuple(sorted(target.glob("*.safetensors"))))
    note = f"{adapter.name} merged into {base.name}"
    model = bench.store.models.add(chosen, ModelKind.BASE, str(target), run_id=adapter.run_id, sha256=digest, note=note)
    figures = {name: found[name] for name in ("prompts", "same", "largest_difference", "dtype")}
    return Merged(model, **figures)


def _told(lines: Iterator[str], on_step: OnStep) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in lines:
        values = json.loads(line)
        if "step" in values:
            on_step(values["step"])
        found = values.get("merged", found)
    if not found:
        raise WorkbenchError("merging ended without a report")
    return found


def _prompts(bench: Bench, adapter: Model) -> Iterator[list[dict[str, Any]]]:
    """What to ask before and after: the run's held-out prompts and canaries, then those that come with the program."""
    if adapter.run_id is not None:
        try:
            directory = RunDirectory(Path(bench.store.runs.get(adapter.run_id).directory))
            for path, most in ((directory.eval_file, 8), (directory.canary_file, 4)):
                if path.is_file():
                    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
                    yield from islice((row["prompt"] for row in rows if row.get("prompt")), most)
        except (NotFoundError, RunError, OSError, ValueError):
            pass
    for turns in compare.prompts_from(bench, None):
        yield [turn.as_dict() for turn in turns]
