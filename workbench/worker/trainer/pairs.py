"""Tokens of preference pairs for the trainers that TRL keeps as experimental, made as its DPO trainer makes them.

Left to themselves, those trainers write another stop token behind the one of the chat template, so that a chat would
ask for something else than was learnt.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

_TURNS = ("prompt", "chosen", "rejected")


def makes_own_tokens(trainer_class: type) -> bool:
    """True for a trainer class that tokenises pairs in the old way."""
    return hasattr(trainer_class, "tokenize_row")


def with_tokens(dataset: Dataset | None, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> Dataset | None:
    """The pairs with the columns that those trainers' collator reads, cut at the end; pairs without an answer left out.

    The turns stay in ``*_turns``; the columns that the trainer would render hold a space.
    """
    if dataset is None:
        return None

    def tokens(row: dict[str, Any]) -> dict[str, Any]:
        tools = json.loads(row["tools"]) if isinstance(row.get("tools"), str) else row.get("tools")
        prompt = _ids(tokenizer, row["prompt"], tools, prompt=True)
        made: dict[str, Any] = {"prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}
        for name in ("chosen", "rejected"):
            whole = _ids(tokenizer, row["prompt"] + row[name], tools, prompt=False)
            ids = whole[:max_length]
            made |= {
                f"{name}_input_ids": ids,
                f"{name}_attention_mask": [1] * len(ids),
                f"{name}_labels": [-100] * min(len(prompt), len(ids)) + ids[len(prompt) :],
                f"{name}_whole": len(whole) == len(ids),
            }
        return made | {f"{name}_turns": row[name] for name in _TURNS} | dict.fromkeys(_TURNS, " ")

    made = dataset.map(tokens, remove_columns=list(_TURNS))
    return made.filter(lambda row: all(len(row[f"{n}_input_ids"]) > len(row["prompt_input_ids"]) for n in _TURNS[1:]))


def _ids(tokenizer: PreTrainedTokenizerBase, turns: list[Any], tools: Any, *, prompt: bool) -> list[int]:
    made = tokenizer.apply_chat_template(turns, tools=tools, add_generation_prompt=prompt, return_dict=True)
    return list(made["input_ids"])
