"""Checks with plain TRL and PEFT that tuning the embedded model works: `python -m workbench.worker.tiny.measure`.

Owns the hyperparameters that suit a model this small, the two short runs (SFT on tickets, DPO on politeness)
and the table of what they changed. Knows nothing of the workbench's own trainer.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from workbench.worker.tiny.corpus import chats, examinations
from workbench.worker.tiny.examine import answers, facts_right, perplexity
from workbench.worker.tiny.phrasing import is_rambling
from workbench.worker.tiny.world import load_world, sample_data

Measured = dict[str, float]

LORA: dict[str, Any] = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear"}
SFT: dict[str, Any] = {
    "learning_rate": 4e-4,
    "num_train_epochs": 7,
    "per_device_train_batch_size": 8,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 10,
}
DPO: dict[str, Any] = {
    "learning_rate": 3e-4,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 8,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 10,
    "beta": 0.3,
    "loss_type": ["sigmoid", "sft"],
    "loss_weights": [1.0, 1.0],
}


@dataclass(frozen=True)
class Base:
    """The folder of the model and that of the sample sets."""

    model_folder: Path
    data_folder: Path

    def load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        """The untuned model in float32 and its tokenizer."""
        model = AutoModelForCausalLM.from_pretrained(self.model_folder, dtype=torch.float32)
        return model, AutoTokenizer.from_pretrained(self.model_folder)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of one sample set."""
        lines = (self.data_folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


def tickets_right(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: list[dict[str, Any]]) -> Measured:
    """Shares of greedy answers that are valid JSON and that equal the ticket."""
    texts = answers(model, tokenizer, [row["prompt"] for row in rows])
    exact = [text.strip() == row["completion"][0]["content"] for text, row in zip(texts, rows, strict=True)]
    return {"tickets valid JSON": sum(map(_is_json, texts)) / len(rows), "tickets exact": sum(exact) / len(rows)}


def rambling_share(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: list[dict[str, Any]], *, draws: int = 3
) -> float:
    """Share of rambling answers at temperature 0.7."""
    torch.manual_seed(0)
    texts = answers(model, tokenizer, [row["prompt"] for row in rows] * draws, temperature=0.7)
    return sum(map(is_rambling, texts)) / len(texts)


def retention(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, base: Base, *, per_intent: int) -> Measured:
    """What tuning should leave as it was: perplexity on the held-out chats, and facts."""
    world = load_world()
    held = [(row["prompt"], row["completion"]) for row in base.rows("heldout")]
    mixed = [(chat.prompt(), chat.completion()) for chat in chats(world, 99, 400, heldout=True)]
    seen, _ = facts_right(model, tokenizer, examinations(world, 5, per_intent, heldout=False))
    new, _ = facts_right(model, tokenizer, examinations(world, 5, per_intent, heldout=True))
    return {
        "perplexity, all styles": perplexity(model, tokenizer, mixed),
        "perplexity, heldout.jsonl": perplexity(model, tokenizer, held),
        "facts, seen phrasings": sum(seen.values()) / len(seen),
        "facts, held-out phrasings": sum(new.values()) / len(new),
    }


def measure(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, base: Base, *, per_intent: int) -> Measured:
    """Everything that is compared before and after."""
    model.eval()
    rambling = rambling_share(model, tokenizer, base.rows("polite-eval"))
    return {
        **tickets_right(model, tokenizer, base.rows("tickets-eval")),
        "rambling at 0.7": rambling,
        **retention(model, tokenizer, base, per_intent=per_intent),
    }


def tune(kind: str, base: Base, settings: dict[str, Any]) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, Measured]:
    """The model after `sft` on tickets or `dpo` on politeness, its tokenizer, and the run's own figures."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from datasets import Dataset  # torch, datasets and TRL together take seconds to import
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    model, tokenizer = base.load()
    name, config_class, trainer_class = {
        "sft": ("tickets", SFTConfig, SFTTrainer),
        "dpo": ("polite", DPOConfig, DPOTrainer),
    }[kind]
    with tempfile.TemporaryDirectory() as folder:
        config = config_class(
            output_dir=folder,
            seed=7,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            max_length=256,
            **settings,
        )
        trainer = trainer_class(
            model=model,
            args=config,
            processing_class=tokenizer,
            peft_config=LoraConfig(task_type="CAUSAL_LM", **LORA),
            train_dataset=Dataset.from_list(base.rows(name)),
            eval_dataset=Dataset.from_list(base.rows(f"{name}-eval")),
        )
        started = time.monotonic()
        trainer.train()
        own = {"seconds": time.monotonic() - started}
        evaluated = trainer.evaluate()
    own |= {key.removeprefix("eval_"): value for key, value in evaluated.items() if "rewards/" in key}
    return trainer.model, tokenizer, own


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except json.JSONDecodeError:
        return False


def print_table(columns: dict[str, Measured]) -> None:
    """One row a figure, one column a model."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    print(f"{'':28}" + "".join(f"{title:>12}" for title in columns))
    for name in names:
        cells = (f"{column[name]:12.3f}" if name in column else f"{'':12}" for column in columns.values())
        print(f"{name:28}" + "".join(cells))


def main() -> None:
    """Measure the base, tune twice, and print what changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=sample_data() / "model")
    parser.add_argument("--data", type=Path, default=sample_data())
    parser.add_argument("--runs", nargs="+", choices=("base", "sft", "dpo"), default=("base", "sft", "dpo"))
    parser.add_argument("--per-intent", type=int, default=6)
    parser.add_argument("--sft", type=json.loads, default={}, help="JSON object laid over the SFT settings")
    parser.add_argument("--dpo", type=json.loads, default={}, help="JSON object laid over the DPO settings")
    arguments = parser.parse_args()
    base = Base(arguments.model, arguments.data)
    columns: dict[str, Measured] = {}
    for run in arguments.runs:
        if run == "base":
            model, tokenizer = base.load()
            own: Measured = {}
        else:
            model, tokenizer, own = tune(run, base, SFT | arguments.sft if run == "sft" else DPO | arguments.dpo)
        columns[run] = measure(model, tokenizer, base, per_intent=arguments.per_intent) | own
        print_table({run: columns[run]})
    print_table(columns)


if __name__ == "__main__":
    main()
