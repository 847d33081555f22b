"""Trains the embedded model from nothing but the world's file: `python -m workbench.worker.tiny.train --out DIR`.

Owns the architecture, the optimisers and the schedule, and writes weights, tokenizer and template. The same
seed, thread count and machine give the same weights. Nothing here is needed to use the model: it loads with
plain `AutoModelForCausalLM`.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from workbench.worker.tiny.corpus import Chat, PlainText, chats, documents
from workbench.worker.tiny.examine import perplexity, report_facts
from workbench.worker.tiny.muon import Muon
from workbench.worker.tiny.packing import rows, segments, tensors
from workbench.worker.tiny.tokenizer import train_tokenizer
from workbench.worker.tiny.world import World, load_world

ROW_LENGTH = 256


@dataclass(frozen=True)
class Recipe:
    """What decides the weights."""

    seed: int = 7
    steps: int = 3000
    batch_size: int = 8
    muon_rate: float = 0.02
    embedding_rate: float = 1e-2
    warmup_steps: int = 60
    tokenizer_documents: int = 12_000
    threads: int = 2
    copying: float = 2.0


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The untrained model, initialised from torch's current seed."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def train(recipe: Recipe, world: World, *, log_every: int = 100) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A trained model in float32 and its tokenizer."""
    with _deterministic(recipe):
        return _train(recipe, world, log_every)


@contextmanager
def _deterministic(recipe: Recipe) -> Iterator[None]:
    """The recipe's seed and thread count, and deterministic kernels; the process gets its own settings back."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def _train(recipe: Recipe, world: World, log_every: int) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    tokenizer = train_tokenizer(_texts(world, recipe))
    model = build_model(tokenizer).train()
    muon, adam = optimisers(model, recipe)
    started, total, seen = time.monotonic(), 0.0, 0
    for step, batch in enumerate(_batches(world, tokenizer, recipe)):
        share = rate_share(step, recipe)
        for optimiser, rate in ((muon, recipe.muon_rate), (adam, recipe.embedding_rate)):
            for group in optimiser.param_groups:
                group["lr"] = rate * share
        loss = weighted_loss(model, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in (muon, adam):
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        total, seen = total + loss.item(), seen + int((batch["weights"] > 0).sum())
        if (step + 1) % log_every == 0:
            elapsed = time.monotonic() - started
            print(
                f"step {step + 1:5d}  loss {total / log_every:.4f}  {elapsed:5.0f} s  {seen / 1e6:.2f} M targets",
                flush=True,
            )
            total = 0.0
    return model.eval(), tokenizer


def optimisers(model: LlamaForCausalLM, recipe: Recipe) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the embeddings and norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    muon = Muon(matrices, lr=recipe.muon_rate)
    adam = torch.optim.AdamW(others, lr=recipe.embedding_rate, betas=(0.9, 0.98), weight_decay=0.0)
    return muon, adam


def rate_share(step: int, recipe: Recipe) -> float:
    """Share of the full rate at this step: linear warm-up, then linear decay to zero."""
    warming = (step + 1) / max(1, recipe.warmup_steps)
    return min(1.0, warming, (recipe.steps - step) / max(1, recipe.steps - recipe.warmup_steps))


def weighted_loss(model: LlamaForCausalLM, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy over the tokens that carry a weight, averaged by weight."""
    hidden = model.model(input_ids=batch["ids"], position_ids=batch["positions"], use_cache=False).last_hidden_state
    weights = batch["weights"][:, 1:]
    covered = weights > 0
    logits = model.lm_head(hidden[:, :-1][covered])  # (targets, vocab)
    losses = functional.cross_entropy(logits, batch["ids"][:, 1:][covered], reduction="none")
    return (losses * weights[covered]).sum() / weights[covered].sum()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights in bf16, tokenizer, template and generation settings."""
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=128,
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _texts(world: World, recipe: Recipe) -> Iterator[str]:
    for document in documents(world, recipe.seed, recipe.tokenizer_documents):
        yield "".join(text for text, _ in segments(document))


def _batches(world: World, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Iterator[dict[str, torch.Tensor]]:
    endless: Iterator[Chat | PlainText] = itertools.chain.from_iterable(
        documents(world, recipe.seed * 1000 + part, 10_000, copying=recipe.copying) for part in itertools.count()
    )
    packed = rows(endless, tokenizer, length=ROW_LENGTH)
    for _ in range(recipe.steps):
        batch = list(itertools.islice(packed, recipe.batch_size))
        yield tensors(batch, length=ROW_LENGTH, pad_id=tokenizer.pad_token_id)


def main() -> None:
    """Train, save, and print held-out perplexity and the share of facts that are right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--threads", type=int, default=Recipe.threads)
    parser.add_argument("--per-intent", type=int, default=12, help="questions of each intent in the examination")
    arguments = parser.parse_args()
    world = load_world()
    recipe = Recipe(seed=arguments.seed, steps=arguments.steps, threads=arguments.threads)
    model, tokenizer = train(recipe, world)
    save(model, tokenizer, arguments.out)
    model = model.float()
    measured = perplexity(model, tokenizer, [(c.prompt(), c.completion()) for c in chats(world, 99, 400, heldout=True)])
    print(f"held-out perplexity {measured:.3f}   parameters {model.num_parameters() / 1e6:.2f} M")
    if arguments.per_intent and math.isfinite(measured):
        report_facts(model, tokenizer, world, per_intent=arguments.per_intent)


if __name__ == "__main__":
    main()
