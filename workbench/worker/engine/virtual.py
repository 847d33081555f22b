"""Adapters that are learnt words in front of the prompt: prefix tuning, prompt tuning, p-tuning.

What such words leave behind in the model is a beginning of the key-value cache that is the same for every prompt. Here
it is made once, so that a row of such an adapter is a row of the base with this past, and shares any batch.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftConfig, PeftType
from safetensors.torch import load_file

from workbench.worker.engine.sheet import Past, Sheet

KINDS = {PeftType.PREFIX_TUNING, PeftType.PROMPT_TUNING, PeftType.P_TUNING}


def read(path: str, config: PeftConfig, model: Any, device: torch.device) -> Past:
    """The past of the adapter saved in ``path``, on a base whose own adapters' layers are switched off."""
    learnt = load_file(f"{path}/adapter_model.safetensors")["prompt_embeddings"].to(device)
    if config.peft_type == PeftType.PREFIX_TUNING:
        return _as_saved(learnt, config, model.dtype)
    return _as_read(learnt, model, device)


def _as_saved(learnt: torch.Tensor, config: Any, dtype: torch.dtype) -> Past:
    """Keys and values themselves were learnt: ``(tokens, layers * 2 * heads * size)``, keys before values."""
    tokens, heads = config.num_virtual_tokens, config.num_attention_heads
    states = learnt.to(dtype).view(tokens, config.num_layers, 2, heads, config.token_dim // heads)
    layers = states.permute(1, 2, 3, 0, 4)  # (layers, 2, heads, tokens, size)
    return Past([(layer[0], layer[1]) for layer in layers], tokens)


@torch.inference_mode()
def _as_read(learnt: torch.Tensor, model: Any, device: torch.device) -> Past:
    """Embeddings were learnt, ``(tokens, hidden)``: the model reads them as it reads a prompt's."""
    tokens = len(learnt)
    sheet = Sheet(device)
    sheet.lay([tokens], 0, [Past()])
    embedded = learnt.to(model.get_input_embeddings().weight.dtype)[None]
    model(
        inputs_embeds=embedded,
        attention_mask=sheet.mask(tokens),
        position_ids=sheet.positions(tokens),
        past_key_values=sheet.cache,
        use_cache=True,
    )
    sheet.advance(tokens)
    past = sheet.past(0)
    return Past([(keys.clone(), values.clone()) for keys, values in past.layers], tokens)
