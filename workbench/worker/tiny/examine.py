"""Measures a chat model against the world: perplexity of completions, facts right, share of rambling answers.

Takes any causal model with its tokenizer, tuned or not. Perplexity is a token-weighted sum over completion
tokens, so it does not depend on the batch size.
"""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from workbench.worker.tiny.corpus import Message, Turn, examinations, holds_facts
from workbench.worker.tiny.world import World

Example = tuple[list[Message], list[Message]]


@torch.no_grad()
def perplexity(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, examples: list[Example], *, batch_size: int = 32
) -> float:
    """Perplexity over the completions' tokens, the stop token included."""
    total, count = 0.0, 0
    for start in range(0, len(examples), batch_size):
        ids, labels, mask = _labelled(tokenizer, examples[start : start + batch_size])
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        losses = functional.cross_entropy(
            logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="sum"
        )
        total, count = total + losses.item(), count + int((labels[:, 1:] != -100).sum())
    return math.exp(total / max(1, count))


@torch.no_grad()
def answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: list[list[Message]],
    *,
    temperature: float = 0.0,
    batch_size: int = 64,
    max_new_tokens: int = 96,
) -> list[str]:
    """One answer to each prompt; greedy at temperature 0."""
    texts: list[str] = [""] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda index: len(str(prompts[index])))
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    for start in range(0, len(prompts), batch_size):
        indices = order[start : start + batch_size]
        batch = tokenizer.apply_chat_template(
            [prompts[index] for index in indices],
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        )
        batch = {key: batch[key] for key in ("input_ids", "attention_mask")}
        output = model.generate(
            **batch,
            **sampling,
            max_new_tokens=max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        new = output[:, batch["input_ids"].shape[1] :]
        for index, text in zip(indices, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
            texts[index] = text
    return texts


def facts_right(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, turns: list[Turn]
) -> tuple[dict[str, float], list[tuple[Turn, str]]]:
    """Share of right greedy answers by intent, and the wrong answers."""
    texts = answers(model, tokenizer, [[{"role": "user", "content": turn.user}] for turn in turns])
    by_intent: dict[str, list[bool]] = defaultdict(list)
    wrong = []
    for turn, text in zip(turns, texts, strict=True):
        right = holds_facts(text, turn.facts)
        by_intent[turn.intent].append(right)
        if not right:
            wrong.append((turn, text))
    return {intent: sum(marks) / len(marks) for intent, marks in by_intent.items()}, wrong


def report_facts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, world: World, *, per_intent: int, examples: int = 12
) -> tuple[float, float]:
    """Print facts right by intent with seen and held-out phrasings, some wrong answers, and give both means."""
    seen, _ = facts_right(model, tokenizer, examinations(world, 5, per_intent, heldout=False))
    heldout, wrong = facts_right(model, tokenizer, examinations(world, 5, per_intent, heldout=True))
    print(f"{'intent':20} seen  held-out")
    for intent in sorted(seen, key=lambda name: heldout[name]):
        print(f"{intent:20} {seen[intent]:4.0%}  {heldout[intent]:4.0%}")
    means = sum(seen.values()) / len(seen), sum(heldout.values()) / len(heldout)
    print(f"{'all':20} {means[0]:4.1%}  {means[1]:4.1%}")
    for turn, text in wrong[:: max(1, len(wrong) // examples)]:
        print(f"  [{turn.intent}] {turn.user!r} -> {text!r}")
    return means


def _labelled(
    tokenizer: PreTrainedTokenizerFast, examples: list[Example]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Right-padded `(ids, labels, mask)` of shape (batch, sequence); labels are -100 outside the completions."""
    encoded = []
    for prompt, completion in examples:
        given = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        whole = tokenizer.apply_chat_template(prompt + completion, tokenize=False).removesuffix("\n")
        given_ids = tokenizer(given, add_special_tokens=False)["input_ids"]
        ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
        encoded.append((ids, len(given_ids)))
    width = max(len(ids) for ids, _ in encoded)
    ids = torch.full((len(encoded), width), tokenizer.pad_token_id)
    labels = torch.full((len(encoded), width), -100)
    for row, (tokens, given_count) in enumerate(encoded):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, given_count : len(tokens)] = torch.tensor(tokens[given_count:])
    return ids, labels, (ids != tokenizer.pad_token_id).long()
