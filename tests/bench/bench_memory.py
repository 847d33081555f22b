"""The memory estimate against the measured peak, for models, adapters, checkpointing and batches of many sizes.

Every setting is a run of its own process: a random Llama is written, the product's own trainer rehearses a step on rows
that fill the window, and tells the peak of resident memory; what the process took before the model was there is taken
off. So are pages of weight files that no weight uses any more: a 4-bit base leaves the file that it was read from
mapped, and the kernel takes its pages back when it needs the room. Writes ``tests/bench/results/memory.md``. Run by
hand: ``python tests/bench/bench_memory.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from workbench.domain.memory import MemoryParts, estimate, gigabytes, load_of
from workbench.flows import preflight, registry
from workbench.jobs.run_directory import RunDirectory
from workbench.methods import get

if TYPE_CHECKING:
    from transformers import Trainer

RESULTS = Path(__file__).parent / "results" / "memory.md"
SMALL = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 8, "vocab_size": 4096}
MIDDLE = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "vocab_size": 16384}
WIDE = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 6, "vocab_size": 32000}
DEEP = {"hidden_size": 320, "intermediate_size": 1280, "num_hidden_layers": 20, "vocab_size": 8192}
MODELS = {"small": SMALL, "middle": MIDDLE, "wide": WIDE, "deep": DEEP}


Outcome = tuple["Setting", list[int], int, int]
"""A setting, the estimate's parts, what was measured, and the idle file pages that are not in that, in bytes."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table."""

    model: str
    method: str
    adapter: str
    batch: int
    window: int
    checkpointing: bool = False
    precision: str = "fp32"


SETTINGS = (
    Setting("small", "sft", "lora", 4, 512),
    Setting("small", "sft", "full", 8, 512),
    Setting("small", "sft", "lora", 16, 512, checkpointing=True),
    Setting("small", "sft", "qlora", 8, 512),
    Setting("middle", "sft", "lora", 2, 1024),
    Setting("middle", "sft", "lora", 4, 512, precision="bf16"),
    Setting("middle", "sft", "full", 2, 512),
    Setting("middle", "sft", "full", 4, 512, checkpointing=True),
    Setting("middle", "sft", "full", 4, 256, precision="bf16"),
    Setting("middle", "dpo", "lora", 2, 512),
    Setting("middle", "kto", "lora", 4, 256),
    Setting("wide", "sft", "lora", 4, 256),
    Setting("wide", "sft", "qlora", 4, 256),
    Setting("wide", "dpo", "full", 1, 256),
    Setting("deep", "sft", "lora", 4, 512),
    Setting("deep", "sft", "qlora", 4, 512, checkpointing=True),
    Setting("middle", "distillation", "lora", 4, 256),
    Setting("wide", "distillation", "lora", 2, 512),
    Setting("wide", "distillation", "full", 2, 256),
    Setting("middle", "reward", "lora", 2, 512),
    Setting("middle", "cpo", "lora", 2, 512),
)


def made(folder: Path, model: str) -> Path:
    """A random Llama of these sizes, with the tokenizer of the tests' own tiny one."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    import tiny_llama

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama.make(folder / "tokens"))
    torch.manual_seed(1)
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    heads = {"num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 4096}
    config = LlamaConfig(**MODELS[model], **heads, **ids, tie_word_embeddings=True)
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def rows(method: str, count: int, window: int) -> list[str]:
    """Rows of about ``window`` tokens: the tokenizer gives nearly one to each of these letters."""
    prompt, answer = [{"role": "user", "content": "zq"}], [{"role": "assistant", "content": "zq" * window}]
    asked = [{"role": "user", "content": "zq" * ((window - answer_tokens(window)) // 2 - 10)}]
    short = [{"role": "assistant", "content": "zq" * (window // 2 - 20)}]  # a longer one is left out, not cut
    row = {
        "reward": {"prompt": prompt, "chosen": short, "rejected": short},
        "distillation": {"prompt": asked, "answer": ""},
        "sft": {"prompt": prompt, "completion": answer},
        "dpo": {"prompt": prompt, "chosen": answer, "rejected": answer},
    }
    kto = [{"prompt": prompt, "completion": answer, "label": bool(n % 2)} for n in range(count)]
    return [json.dumps(one) for one in (kto if method == "kto" else [row.get(method, row["dpo"])] * count)]


def answer_tokens(window: int) -> int:
    """How long the answers are that a method draws: half of the window."""
    return window // 2


def measure(setting: Setting, folder: Path) -> None:
    """In a process of its own: train two steps, print the estimate's parts and the measured bytes."""
    import gc

    import psutil

    import tiny_llama
    from workbench.worker.trainer import rehearsal, training
    from workbench.worker.trainer.failures import Stopped

    base = made(folder, setting.model)
    own: dict[str, object] = {}
    if setting.method == "distillation":
        own = {"teacher_path": base, "max_completion_length": answer_tokens(setting.window)}
    directory = tiny_llama.make_run(
        folder / "run",
        base,
        setting.method,
        train=setting.batch * 2,
        held_out=0,
        adapter=setting.adapter,
        max_steps=2,
        max_length=setting.window,
        per_device_train_batch_size=setting.batch,
        gradient_checkpointing=setting.checkpointing,
        precision=setting.precision,
        lines=rows(setting.method, setting.batch * 2, setting.window),
        **own,
    )
    import peft  # noqa: F401 - what the libraries take is taken before the measurement starts
    import trl

    _ = trl.SFTTrainer, trl.DPOTrainer, trl.KTOTrainer, trl.DistillationTrainer, trl.RewardTrainer
    seen: list[tuple[rehearsal.Rehearsed, int]] = []

    def rehearse_and_look(trainer: Trainer, batch: Sequence[dict[str, Any]]) -> rehearsal.Rehearsed:
        seen.append((rehearse(trainer, batch), idle_file_bytes()))
        raise Stopped  # the rehearsal is what is measured; steps would only take time

    rehearse, rehearsal.rehearse = rehearsal.rehearse, rehearse_and_look
    gc.collect()
    before = psutil.Process().memory_info().rss
    assert training.train(directory.root) == 0, directory.log_file
    ((found, idle),) = seen
    parts = estimated(directory, base, found.rows, found.tokens)
    print("!" + json.dumps({"parts": [*_bytes(parts)], "resident": found.peak_bytes - before, "idle": idle}))


def idle_file_bytes() -> int:
    """Resident pages of weight files that are still mapped, without those that a model's weights lie in."""
    import gc

    import psutil
    import torch

    maps = [one for one in psutil.Process().memory_maps(grouped=False) if one.path.endswith(".safetensors")]
    places = [tuple(int(end, 16) for end in one.addr.split("-")) for one in maps]
    modules = [one for one in gc.get_objects() if isinstance(one, torch.nn.Module)]
    weights = {w.data_ptr(): w.nbytes for m in modules for w in (*m.parameters(False), *m.buffers(False))}
    used = sum(size for at, size in weights.items() if any(low <= at < high for low, high in places))
    return max(0, sum(one.rss for one in maps) - used)


def estimated(directory: RunDirectory, base: Path, sequences: int, tokens: int) -> MemoryParts:
    """What the product would say of this run before it starts."""
    spec = directory.spec()
    shape = registry.shape(base)
    assert shape is not None
    bf16 = spec.knobs["precision"] == "bf16"
    # By the product's own rules what is compared with, and what is held beside.
    is_compared = preflight._is_compared(get(spec.method), spec.knobs)
    beside = preflight._beside(spec)
    head = preflight._HEADS.get(get(spec.method).measure, "fused")
    sizes = {"sequences": sequences, "tokens": tokens, "bf16": bf16}
    load = load_of(shape, spec.knobs, **sizes, device="cpu", is_compared=is_compared, beside=beside, head=head)
    return estimate(shape, load)


def _bytes(parts: MemoryParts) -> tuple[int, ...]:
    return (parts.weights, parts.adapter, parts.gradients, parts.optimiser, parts.activations, parts.logits)


def one(number: int) -> dict[str, Any]:
    """The outcome of one setting, from a fresh process."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}
    environment |= {"MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, __file__, "--one", str(number)], env=environment, capture_output=True, text=True, check=False
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("!")), "")
    if not line:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
    return dict(json.loads(line[1:]))


def table(found: list[Outcome]) -> str:
    """The table in Markdown."""
    head = (
        "| model | method | adapter | batch × window | weights | adapter, gradients, optimiser | activations | head |"
    )
    lines = [f"{head} estimate | measured | off | idle file pages, not in it |", "|---" * 12 + "|"]
    for setting, parts, measured, idle in found:
        weights, adapter, gradients, optimiser, activations, logits = parts
        adapter_name = f"{setting.adapter} {setting.precision}" + (", checkpointing" if setting.checkpointing else "")
        total = sum(parts)
        cells = [weights, adapter + gradients + optimiser, activations, logits, total, measured]
        shown = " | ".join(gigabytes(cell) for cell in cells)
        lines.append(
            f"| {setting.model} | {setting.method} | {adapter_name} | {setting.batch} × {setting.window} | {shown} "
            f"| {100 * (total - measured) / measured:+.0f} % | {gigabytes(idle)} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure all settings and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--one", type=int, default=-1)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    if args.one >= 0:
        with tempfile.TemporaryDirectory() as folder:
            measure(SETTINGS[args.one], Path(folder))
        return
    found: list[Outcome] = []
    for number, setting in enumerate(SETTINGS):
        if args.only and str(number) not in args.only.split(","):
            continue
        told = one(number)
        found.append((setting, told["parts"], told["resident"] - told["idle"], told["idle"]))
        print(table(found[-1:]).splitlines()[-1], flush=True)
    off = [abs(sum(parts) - measured) / measured for _, parts, measured, _ in found]
    said = f"{sum(o <= 0.15 for o in off)} of {len(off)} within 15 %, the worst {100 * max(off):.0f} % off"
    print(said)
    if not args.only:
        intro = (
            "# Memory: the estimate against the measured peak\n\nOn a CPU, gigabytes of resident memory above what the "
            "program takes without a model, at the peak of one step on the longest batch. Made by "
            "`python tests/bench/bench_memory.py`, all settings in one go; the estimate's constants were fitted on "
            "other settings before."
        )
        quantised = (
            "Not in the measured figure, and in a column of their own: resident pages of weight files that are still "
            "mapped though no weight lies in them any more. A 4-bit base leaves the file mapped that it was read from. "
            "Such pages are clean: the kernel takes them back when it needs the room, so they are no reason to refuse "
            "a run, and the estimate leaves them out. Pages in which a weight lies are counted."
        )
        text = f"{intro}\n\n{table(found)}\n\n{said}. A GPU was not measured.\n\n{quantised}\n"
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
