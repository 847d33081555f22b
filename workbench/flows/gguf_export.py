"""A model as one GGUF file, for llama.cpp and what is built on it.

A plain Llama is written here, by the ``gguf`` package; for any other the command of llama.cpp's own converter is told.
"""

from __future__ import annotations

import json
import shlex
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.domain.counting import an
from workbench.domain.models import ModelKind
from workbench.errors import NotFoundError, RefusedError, WorkbenchError
from workbench.jobs.children import converse

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

TYPES = ("f16", "bf16", "f32")


@dataclass(frozen=True, slots=True)
class Exported:
    """The file, how many tensors are in it, and by how much a weight differs at most from the one it was made from."""

    file: Path
    tensors: int
    largest_difference: float
    bytes: int
    type: str


def export(
    bench: Bench, name: str, to: Path, *, kind: str = "f16", cancelled: threading.Event | None = None
) -> Exported:
    """Write the model ``name`` as ``to``; raises ``RefusedError`` for one of another shape, with what converts it."""
    model = bench.store.models.get(name)
    if model.kind is not ModelKind.BASE:
        is_adapter = model.kind is ModelKind.ADAPTER
        hint = f"merge it first: workbench models merge {model.name}" if is_adapter else ""
        raise RefusedError(f"{model.name} is {an(model.kind.value)}: only whole models are exported", hint=hint)
    folder = Path(model.path)
    if not folder.is_dir():
        raise NotFoundError(f"{model.name} is not on this disk", where=model.path)
    if to.exists():
        raise RefusedError(f"{to} is there already", hint="give another file", where=str(to))
    to.parent.mkdir(parents=True, exist_ok=True)
    aside = to.with_name(f".{to.name}.part")
    try:
        lines = list(
            converse("workbench.worker.gguf_file", [str(folder), str(aside), "--type", kind], [], cancelled=cancelled)
        )
        found = json.loads(lines[-1])
        aside.replace(to)
    except WorkbenchError as error:
        raise RefusedError(f"{model.name} as GGUF: {_reason(error)}", hint=_way(error, folder, to, kind)) from None
    finally:
        aside.unlink(missing_ok=True)
    return Exported(to, found["tensors"], found["largest_difference"], found["bytes"], kind)


def _reason(error: WorkbenchError) -> str:
    return error.message.removeprefix("gguf_file failed: ")


def _way(error: WorkbenchError, folder: Path, to: Path, kind: str) -> str:
    if "gguf is not installed" in error.message:
        return "pip install 'workbench[gguf]'"
    command = shlex.join(["python", "convert_hf_to_gguf.py", str(folder), "--outfile", str(to), "--outtype", kind])
    return f"llama.cpp's converter knows many shapes: in a checkout of github.com/ggml-org/llama.cpp: {command}"
