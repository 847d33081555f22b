"""What an engine is held against: greedy answers by transformers' and PEFT's own ``generate``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

TOKENS = 24


class Bare:
    """Greedy answers by transformers' and PEFT's own generate, one prompt at a time."""

    def __init__(self, root: Path, *, bases: tuple[str, ...] = ("base", "second"), **options: Any) -> None:
        self._root = root
        self._bases = bases
        self._options = options
        self.answer = cache(self._answer)

    def model(self, name: str) -> Any:
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        is_base = name in self._bases
        model = AutoModelForCausalLM.from_pretrained(self._root / (name if is_base else "base"), **self._options)
        for module in model.modules():  # else bitsandbytes repacks weights of a width that it cannot repack
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
        return (model if is_base else PeftModel.from_pretrained(model, self._root / name)).eval()

    def _answer(self, name: str, text: str, tokens: int = TOKENS) -> str:
        import torch
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self._root / "base")
        turns = [{"role": "user", "content": text}]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
        with torch.no_grad():
            whole = self.model(name).generate(**prompt, max_new_tokens=tokens, do_sample=False)
        new = whole[0, prompt["input_ids"].shape[1] :]
        # The engine never gives out a character that was cut in half at the end.
        return tokenizer.decode(new, skip_special_tokens=True).rstrip("\ufffd")
