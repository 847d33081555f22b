"""How a base is brought into memory: on which device, in which numbers, chosen from what it needs and what is there.

Owns that choice and the words it is told in. Knows nothing of adapters and of rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoModelForCausalLM

from workbench.domain.serving import PRECISIONS
from workbench.worker.engine.desk import Place
from workbench.worker.quantising import (
    bring_back_bitsandbytes,
    is_quantised,
    keep_four_bit_layers_as_they_are,
    quantised,
)

# Bytes a weight takes in memory; embeddings and norms stay as they are where the others have 8 or 4 bits.
WEIGHT_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "8bit": 1.2, "4bit": 0.7}
# The share of the free memory that weights may take; the rest is for keys and values, activations and others.
WEIGHTS_SHARE = {"cpu": 0.7, "cuda": 0.85}


@dataclass(frozen=True)
class Choice:
    """``precision`` is a dtype's name, ``8bit`` or ``4bit``; ``device_map`` is what accelerate calls so."""

    precision: str
    device_map: str | dict[str, Any] | None = None
    reason: str = ""


def best_device() -> torch.device:
    """The first GPU that torch can use, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def memory_of(device: torch.device) -> int:
    """Bytes of memory of all devices of this kind together."""
    if device.type == "cuda":
        return sum(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))
    return psutil.virtual_memory().total


def natural(device: torch.device) -> str:
    """The numbers in which this device computes best."""
    if device.type == "cpu":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def load(place: Place, device: torch.device, wanted: str) -> tuple[Any, Choice]:
    """The base model, ready to answer, and how it was loaded. Safetensors only, and never code that came with it."""
    choice = choose(place.path, device, wanted)
    if is_quantised(place.path) or not Path(place.path).is_dir():
        bring_back_bitsandbytes()
    options: dict[str, Any] = {"trust_remote_code": False, "use_safetensors": True, "device_map": choice.device_map}
    if choice.precision in ("8bit", "4bit"):
        compute = getattr(torch, natural(device))
        on_cpu = device.type == "cpu"
        options |= quantised(choice.precision, compute, AutoModelForCausalLM, place.path, on_cpu=on_cpu)
        options["dtype"] = compute
    else:
        options["dtype"] = getattr(torch, choice.precision)
    model = AutoModelForCausalLM.from_pretrained(place.path, **options)
    keep_four_bit_layers_as_they_are(model)
    return model.eval().requires_grad_(False), choice


def choose(path: str, device: torch.device, wanted: str = "auto") -> Choice:
    """Precision and place for the base in ``path``.

    What is ``wanted`` is done. ``auto`` is what the device computes best, or the first of fewer bits that fits.
    """
    rooms = _rooms(device)
    count = parameters(path)
    ladder = [wanted] if wanted != "auto" else _ladder(device)
    if is_quantised(path):
        return Choice(natural(device), _map(device, rooms, needed=0))
    if count is None:
        return Choice(ladder[0], _map(device, rooms, needed=0))
    for precision in ladder:
        needed = int(count * WEIGHT_BYTES[precision])
        if needed <= sum(rooms):
            reason = "" if precision == ladder[0] else f"in {precision}, because {ladder[0]} needs more memory"
            return Choice(precision, _map(device, rooms, needed), reason)
    # Nothing fits: accelerate puts on the CPU what is too much for the GPUs, which is slow and works.
    return Choice(ladder[0], "auto" if device.type == "cuda" else None, "it is larger than the free memory")


def _ladder(device: torch.device) -> list[str]:
    best = natural(device)
    ladder = ["float32", "bfloat16", "4bit"] if device.type == "cpu" else [best, "8bit", "4bit"]
    assert set(ladder) <= set(PRECISIONS)
    return ladder


def _rooms(device: torch.device) -> list[int]:
    """Free bytes for weights, per device of the kind."""
    share = WEIGHTS_SHARE[device.type]
    if device.type == "cpu":
        return [int(share * psutil.virtual_memory().available)]
    return [int(share * torch.cuda.mem_get_info(i)[0]) for i in range(torch.cuda.device_count())]


def _map(device: torch.device, rooms: list[int], needed: int) -> str | dict[str, Any] | None:
    """One device when the weights fit on one (the freest), else spread over all; None leaves it to torch."""
    if device.type == "cpu":
        return {"": "cpu"}
    freest = max(range(len(rooms)), key=lambda i: rooms[i])
    return {"": freest} if needed <= rooms[freest] else "balanced"


def parameters(path: str) -> int | None:
    """How many numbers the safetensors files in a folder hold, from their headers; None for a hub id."""
    files = list(Path(path).glob("*.safetensors")) if Path(path).is_dir() else []
    if not files:
        return None
    return sum(math.prod(shape) for file in files for shape in _shapes(file))


def _shapes(file: Path) -> Iterator[list[int]]:
    """Format: 8 bytes with the length of the header, then JSON (https://github.com/huggingface/safetensors)."""
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
    yield from (entry["shape"] for name, entry in header.items() if name != "__metadata__")
