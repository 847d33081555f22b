"""A bare TRL script, as a user would write it without the workbench: it knows an exported file and a model folder only.

Run as ``python bare_trl.py MODEL DATA OUT PROMPTS``: trains a LoRA adapter by SFT on DATA, loads it with bare PEFT,
and prints the greedy answers to PROMPTS (a JSON list of texts) as one JSON line.
"""

from __future__ import annotations

import json
import os
import sys

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")

import torch
from datasets import load_dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


def train(model: str, data: str, out: str) -> None:
    """Five optimiser steps of SFT with LoRA."""
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        args=SFTConfig(
            output_dir=f"{out}/work",
            max_steps=5,
            per_device_train_batch_size=4,
            learning_rate=5e-3,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            bf16=False,
            seed=7,
        ),
        train_dataset=load_dataset("json", data_files=data, split="train"),
        processing_class=AutoTokenizer.from_pretrained(model),
        peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    trainer.train()
    trainer.model.save_pretrained(f"{out}/adapter")


def answers(model: str, adapter: str, prompts: list[str]) -> list[str]:
    """Greedy answers of base plus adapter, loaded with bare PEFT."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    tuned = PeftModel.from_pretrained(base, adapter).eval()
    found = []
    for prompt in prompts:
        turns = [{"role": "user", "content": prompt}]
        inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        made = tuned.generate(**inputs, max_new_tokens=40, do_sample=False)
        found.append(tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    return found


if __name__ == "__main__":
    model_path, data_path, out_path, prompt_list = sys.argv[1:5]
    train(model_path, data_path, out_path)
    print(json.dumps(answers(model_path, f"{out_path}/adapter", json.loads(prompt_list))))
