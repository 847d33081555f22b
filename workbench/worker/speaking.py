"""Which tokenizer and chat template a model speaks with: one rule for the engine, the trainer and the view of tokens.

An adapter that was saved with a tokenizer and a chat template brings both; one with a ``chat_template.jinja`` alone
speaks by it with its base's tokenizer; every other one speaks as its base does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tokenizer_of(base_path: str, adapter_path: str = "") -> PreTrainedTokenizerBase:
    """The tokenizer of a base (a folder or hub id), or of the adapter on it; it may have no chat template."""
    return (own_tokenizer(base_path, adapter_path) if adapter_path else None) or _load(base_path)


def own_tokenizer(base_path: str, adapter_path: str) -> PreTrainedTokenizerBase | None:
    """The tokenizer that the adapter brings, or its template on the base's; None when it speaks as its base does."""
    if (Path(adapter_path) / "tokenizer_config.json").is_file():
        tokenizer = _load(adapter_path)
        return tokenizer if tokenizer.chat_template else None
    if not (template := Path(adapter_path) / "chat_template.jinja").is_file():
        return None
    tokenizer = _load(base_path)
    tokenizer.chat_template = template.read_text(encoding="utf-8")
    return tokenizer


def _load(path: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
