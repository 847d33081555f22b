"""What one more token costs: the engine's sheet, transformers' caches, and ``torch.compile`` over a static one.

``python -m tests.bench.bench_decoding`` (about three minutes, of which one is the compiler's); the random Llama of
``bench_engine``, one row, float32 on the CPU. Kinds take turns, and what counts is the processor time of this process,
which neighbours disturb less than the clock. Writes ``tests/bench/results/decoding.md``; never fails for a figure.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "decoding.md"
KINDS = {
    "sheet": "the engine's sheet",
    "dynamic": "`DynamicCache`",
    "static": "`StaticCache`",
    "compiled": "`StaticCache`, `torch.compile`",
}
PROMPT_TOKENS = 200
STEPS = 12
ROUNDS = 4


def stepper(model: Any, compiled: Any, kind: str) -> Callable[[Any, int], Any]:
    """Runs ``(1, new)`` token ids at a position and gives the logits of the last; each has its own cache."""
    import torch
    from transformers import DynamicCache, StaticCache

    from workbench.worker.engine.sheet import Past, Sheet

    if kind == "sheet":
        sheet = Sheet(torch.device("cpu"))
        sheet.lay([PROMPT_TOKENS], 0, [Past()])

        def step(ids: Any, position: int) -> Any:
            new = ids.shape[1]
            sheet.reserve(new)
            past = {"attention_mask": sheet.mask(new), "position_ids": sheet.positions(new)}
            logits = model(input_ids=ids, past_key_values=sheet.cache, use_cache=True, logits_to_keep=1, **past).logits
            sheet.advance(new)
            return logits

        return step
    static = {"config": model.config, "max_cache_len": PROMPT_TOKENS + STEPS + 1}
    cache = DynamicCache(config=model.config) if kind == "dynamic" else StaticCache(**static)

    def plain(ids: Any, position: int) -> Any:
        run = compiled if kind == "compiled" and ids.shape[1] == 1 else model
        positions = torch.arange(position, position + ids.shape[1])[None]
        return run(
            input_ids=ids, past_key_values=cache, position_ids=positions, use_cache=True, logits_to_keep=1
        ).logits

    return plain


def answer(step: Callable[[Any, int], Any]) -> list[tuple[float, float]]:
    """Processor and clock seconds of each token after a prompt of zeros."""
    import torch

    taken = []
    with torch.inference_mode():
        step(torch.zeros(1, PROMPT_TOKENS, dtype=torch.long), 0)
        token = torch.zeros(1, 1, dtype=torch.long)
        for number in range(STEPS):
            began = time.process_time(), time.perf_counter()
            token = step(token, PROMPT_TOKENS + number)[:, -1].argmax(-1, keepdim=True)
            taken.append((time.process_time() - began[0], time.perf_counter() - began[1]))
    return taken


def main() -> None:
    """Measure and write."""
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    load = os.getloadavg()[0]
    import torch
    from transformers import AutoModelForCausalLM

    from tests.bench.bench_engine import build

    with tempfile.TemporaryDirectory(prefix="wb-bench-") as folder:
        places = build(Path(folder))
        model = AutoModelForCausalLM.from_pretrained(places["base"].path, dtype=torch.float32).eval()
    compiled = torch.compile(model.forward, dynamic=False)
    first: dict[str, float] = {}
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for kind in KINDS:
        began = time.perf_counter()
        answer(stepper(model, compiled, kind))
        first[kind] = time.perf_counter() - began
    for _ in range(ROUNDS):
        for kind in KINDS:
            taken[kind] += answer(stepper(model, compiled, kind))[1:]
    write(taken, first, load)


def write(taken: dict[str, list[tuple[float, float]]], first: dict[str, float], load: float) -> None:
    """The page of results, with the line that says whether compiling pays."""
    used = {kind: 1000 * statistics.median(cpu for cpu, _ in values) for kind, values in taken.items()}
    clock = {kind: 1000 * statistics.median(wall for _, wall in values) for kind, values in taken.items()}
    saved = used["sheet"] - used["compiled"]
    pays = (
        f"it has paid for itself after {1000 * first['compiled'] / saved:,.0f} tokens" if saved > 0 else "it never pays"
    )
    lines = [
        "# What one more token costs",
        "",
        f"Llama of 85 million random parameters in float32, one row after {PROMPT_TOKENS} tokens,"
        f" {os.environ['OMP_NUM_THREADS']} threads, {os.cpu_count()} cores; load {load:.1f} at the beginning and"
        f" {os.getloadavg()[0]:.1f} at the end. Medians of {len(taken['sheet'])} tokens each, by turns.",
        "",
        "| | processor ms a token | clock ms | first answer, s |",
        "|---|---|---|---|",
    ]
    for kind, name in KINDS.items():
        lines.append(f"| {name} | {used[kind]:.1f} | {clock[kind]:.1f} | {first[kind]:.1f} |")
    lines += [
        "",
        f"Compiling took {first['compiled']:.0f} s and saves {saved:.1f} ms a token: {pays}, and that for one number of"
        " rows, one room for the past and one set of adapters; each other one is compiled anew. The engine's rows join,"
        " leave and change adapters, so it compiles nothing on the CPU, and has no static cache, which alone saves"
        f" {used['sheet'] - used['static']:.1f} ms. A GPU was not measured.",
    ]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
