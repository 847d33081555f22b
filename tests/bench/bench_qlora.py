"""QLoRA against LoRA: how far a base in 4 or 8 bits falls behind the same base whole, over five seeds.

Every run is the product's own trainer with the tiny preset on the sample data, one after another in this process; only
the seed and the bits differ. Losses do not depend on the machine's load. Writes ``tests/bench/results/qlora.md``. Run
by hand (an hour of one core): ``python tests/bench/bench_qlora.py``; with ``--keep FILE`` it notes each run there as it
ends, and goes on behind those that are noted already; with ``--page`` it only writes what is noted.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny_llama import make_run
from workbench.jobs.run_directory import RunDirectory
from workbench.paths import shipped
from workbench.worker.trainer import environment

RESULTS = Path(__file__).parent / "results" / "qlora.md"
SAMPLES = shipped("sample_data")
BASE = SAMPLES / "model"
PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes")
SEEDS = range(1, 6)
BITS = ("none", "4bit", "8bit")
KINDS = {"none": "LoRA", "4bit": "QLoRA, 4 bits", "8bit": "QLoRA, 8 bits"}
PAIRS = "polite pairs (dpo)"
TASKS = {"tickets (sft)": "tickets", "polite answers (sft)": "polite", PAIRS: "polite"}


@dataclass(frozen=True, slots=True)
class Result:
    """One run's held-out figures by name, before and after; ``whole`` is the loss over the base not quantised."""

    task: str
    bits: str
    seed: int
    before: dict[str, float]
    after: dict[str, float]
    whole: float


def lines(task: str, part: str) -> list[str]:
    """The rows of a task as a run directory holds them; ``part`` is "" or "-eval"."""
    rows = [json.loads(line) for line in (SAMPLES / f"{TASKS[task]}{part}.jsonl").read_text("utf-8").splitlines()]
    if task == "polite answers (sft)":
        rows = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]
    return [json.dumps(row) for row in rows]


def directory(root: Path, task: str, **given: object) -> RunDirectory:
    """A run of a task, ready to train."""
    train, held_out = lines(task, ""), lines(task, "-eval")
    counts = {"train": len(train), "held_out": len(held_out)}
    method = "dpo" if task == PAIRS else "sft"
    return make_run(root, BASE, method, lines=train + held_out, sample_prompts=0, **counts, **given)


def trained(root: Path, task: str, bits: str, seed: int) -> Result:
    """Train one, and measure it once more over the whole base."""
    from workbench.worker.trainer import training

    kind = {"adapter": "lora"} if bits == "none" else {"adapter": "qlora", "quantization": bits}
    run = directory(root / "run", task, seed=seed, **kind)
    # Rows are looked at one by one afterwards, which says nothing here and takes time.
    training._examiner = lambda *_: None
    if training.train(run.root):
        raise RuntimeError(run.status())
    told = {event["which"]: event for event in run.events()[0] if event["event"] == "eval"}
    names = ("loss", "pair_loss", "accuracy", "margin")
    before, after = ({n: float(told[w][n]) for n in names if n in told[w]} for w in ("base", "tuned"))
    return Result(task, bits, seed, before, after, whole(root / "whole", task, run.adapter))


def whole(root: Path, task: str, adapter: Path) -> float:
    """The held-out loss of an adapter over the base as it is, not quantised."""
    from workbench import methods
    from workbench.worker.trainer.building import build
    from workbench.worker.trainer.measures import MEASURES

    run = directory(root, task, adapter="lora", adapter_path=adapter)
    method = methods.get(run.spec().method)
    built = build(method, run.spec(), run, [])
    measure = MEASURES[method.measure](built.trainer, batch_size=8, beta=1.0, check=lambda: None)
    return measure.measure()["loss"]


def run_all(kept: list[Result], keep: Path | None) -> Iterable[Result]:
    """Those that are not there yet, by seeds, so that what is there when it is cut short can be compared."""
    done = {(one.task, one.bits, one.seed) for one in kept}
    for seed in SEEDS:
        for task in TASKS:
            for bits in BITS:
                if (task, bits, seed) in done:
                    continue
                folder = Path(tempfile.mkdtemp())
                result = trained(folder, task, bits, seed)
                shutil.rmtree(folder)
                if keep is not None:
                    with keep.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(result)) + "\n")
                yield result


def ratio(results: Sequence[Result], task: str, bits: str, name: str) -> list[float]:
    """QLoRA's figure over LoRA's of the same seed."""
    plain = {one.seed: one for one in results if one.task == task and one.bits == "none"}
    mine = [one for one in results if one.task == task and one.bits == bits and one.seed in plain]
    return [one.after[name] / plain[one.seed].after[name] for one in mine]


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean and standard deviation."""
    off = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{off}"


def page(results: Sequence[Result]) -> str:
    """The page in Markdown."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return "\n".join(
        [
            "# QLoRA against LoRA",
            "",
            f"Written by `python tests/bench/bench_qlora.py`, {datetime.datetime.now(datetime.UTC).date()}, on a CPU;",
            f"{packages}.",
            "",
            "The embedded model (1 M parameters), the sample data with its own held-out rows, the tiny preset; only",
            "the seed and the bits of the frozen base differ. 4 bits are nf4 with double quantisation. Mean ± standard",
            "deviation over the seeds; every ratio is of two runs with the same seed. “Loss” is the held-out one per",
            "token of the answers (of the better ones, for pairs); “over the whole base” is the same adapter measured",
            "over the base with all its bits. On this CPU layers whose width is no multiple of 64 stay whole in 4 bits",
            "(down_proj here), because bitsandbytes misreads them. nf4 moves the others by 9 % (root mean square).",
            "Larger models were not measured.",
            "",
            *_losses(results),
            "",
            *_pairs(results),
            "",
            *_said(results),
            "",
        ]
    )


def _losses(results: Sequence[Result]) -> list[str]:
    head = "| task | base | seeds | loss before | loss after | against LoRA | over the whole base |"
    rows = [head, "|---|---|---:|---:|---:|---:|---:|"]
    for task in TASKS:
        for bits in BITS:
            if not (mine := [one for one in results if one.task == task and one.bits == bits]):
                continue
            before = mean(one.before["loss"] for one in mine)
            after = spread([one.after["loss"] for one in mine], 4)
            over = spread([one.whole for one in mine], 4)
            against = "" if bits == "none" else f"{spread(ratio(results, task, bits, 'loss'), 2)} ×"
            rows.append(f"| {task} | {KINDS[bits]} | {len(mine)} | {before:.3f} | {after} | {against} | {over} |")
    return rows


def _pairs(results: Sequence[Result]) -> list[str]:
    rows = ["| pairs, before → after | loss of the pairs | accuracy | reward margin |", "|---|---:|---:|---:|"]
    for bits in BITS:
        if not (mine := [one for one in results if one.task == PAIRS and one.bits == bits]):
            continue
        shown = [
            f"{mean(one.before[name] for one in mine):.2f} → {spread([one.after[name] for one in mine])}"
            for name in ("pair_loss", "accuracy", "margin")
        ]
        rows.append(f"| {KINDS[bits]} | {' | '.join(shown)} |")
    return rows


def _said(results: Sequence[Result]) -> list[str]:
    """The result in a sentence per task and number of bits."""
    told = []
    for task in TASKS:
        for bits in BITS[1:]:
            if found := [100 * (each - 1) for each in ratio(results, task, bits, "loss")]:
                which = f"{abs(mean(found)):.0f} % {'higher' if mean(found) > 0 else 'lower'} than LoRA's"
                least, most = (f"{each:+.0f}" for each in (min(found), max(found)))
                start = 100 * (_start(results, task, bits) / _start(results, task, "none") - 1)
                told.append(
                    f"- {task}: {KINDS[bits]}: the loss ends {which} ({least} to {most} % over the seeds); "
                    f"the base alone begins {start:+.0f} %."
                )
    return told


def _start(results: Sequence[Result], task: str, bits: str) -> float:
    """The loss before training, which no seed changes."""
    return next(one.before["loss"] for one in results if one.task == task and one.bits == bits)


def main() -> None:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--page", action="store_true", help="write what is noted, run nothing")
    asked = parser.parse_args()
    noted = asked.keep.read_text(encoding="utf-8").splitlines() if asked.keep and asked.keep.is_file() else []
    results = [Result(**json.loads(line)) for line in noted]
    if not asked.page:
        os.environ.setdefault("GOMP_SPINCOUNT", "0")
        environment.prepare(str(BASE))
        results += run_all(results, asked.keep)
    RESULTS.write_text(page(results), encoding="utf-8")
    print(page(results))


if __name__ == "__main__":
    main()
