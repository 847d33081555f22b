"""Which tokenizer and chat template a model speaks with: one rule for the engine, the trainer and the view of tokens.

An adapter that was saved with a tokenizer and a chat template brings both; every other one speaks as its base does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tokenizer_of(base_path: str, adapter_path: str = "") -> PreTrainedTokenizerBase:
    """The tokenizer of a base (a folder or hub id), or of the adapter on it; it may have no chat template."""
    return (own_tokenizer(adapter_path) if adapter_path else None) or _load(base_path)


def own_tokenizer(adapter_path: str) -> PreTrainedTokenizerBase | None:
    """The tokenizer that the adapter brings; None when it speaks as its base does."""
    if not (Path(adapter_path) / "tokenizer_config.json").is_file():
        return None
    tokenizer = _load(adapter_path)
    return tokenizer if tokenizer.chat_template else None


def _load(path: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
