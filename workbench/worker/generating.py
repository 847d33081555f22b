"""Greedy answers to prompts in one padded batch: for measurements, where the engine's streaming is not needed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_ids(tokenizer: PreTrainedTokenizerBase, turns: Sequence[dict[str, Any]]) -> list[int]:
    """A prompt as a chat asks it."""
    return list(tokenizer.apply_chat_template(list(turns), add_generation_prompt=True, return_dict=True)["input_ids"])


def greedy(
    model: Any, prompts: Sequence[Sequence[int]], *, ends: Collection[int], filler: int, max_new_tokens: int
) -> list[list[int]]:
    """The most likely answers to prompts of token ids, each up to and with its stop token.

    The model is left as it was; no random number is drawn.
    """
    import torch
    from transformers import GenerationConfig

    width = max(map(len, prompts))
    device = next(model.parameters()).device
    ids = torch.tensor([[filler] * (width - len(p)) + list(p) for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    config = GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens, pad_token_id=filler, eos_token_id=sorted(ends)
    )
    with torch.no_grad():
        told = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)[:, width:].tolist()
    return [_until_end(tokens, ends) for tokens in told]


def _until_end(tokens: list[int], ends: Collection[int]) -> list[int]:
    return next((tokens[: i + 1] for i, token in enumerate(tokens) if token in ends), tokens)
