"""What the engine is measured against: models loaded one by one, and asked by ``generate``. JSON lines in and out."""

from __future__ import annotations

import json
import sys
import time
from typing import Any


class FirstToken:
    """A streamer that keeps the moment of the first new token."""

    def __init__(self) -> None:
        self.calls = 0
        self.at = 0.0

    def put(self, value: Any) -> None:
        """The prompt comes first, then each token."""
        self.calls += 1
        if self.calls == 2:
            self.at = time.monotonic()

    def end(self) -> None:
        """Nothing is left to do."""


def load(folder: str, base: str) -> Any:
    """A model of its own, for an adapter too."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base).eval()
    return model if folder == base else PeftModel.from_pretrained(model, folder).eval()


def main(folders: dict[str, str]) -> None:
    """Serve standard input: ``load`` gives the memory before it, a question its answer."""
    import psutil
    import torch
    from transformers import AutoTokenizer

    models: dict[str, Any] = {}
    tokenizer = AutoTokenizer.from_pretrained(folders["base"])
    for line in sys.stdin:
        request = json.loads(line)
        if name := request.get("load"):
            memory = psutil.Process().memory_info().rss
            if name not in models:
                models[name] = load(folders[name], folders["base"])
            print(json.dumps({"memory_bytes": memory}), flush=True)
            continue
        began, first = time.monotonic(), FirstToken()
        prompt = tokenizer.apply_chat_template(request["messages"], add_generation_prompt=True, return_tensors="pt")
        with torch.inference_mode():
            whole = models[request["model"]].generate(
                **prompt, max_new_tokens=request["tokens"], do_sample=False, streamer=first
            )
        new = whole[0, prompt["input_ids"].shape[1] :]
        text = tokenizer.decode(new, skip_special_tokens=True)
        seconds = {"first_s": first.at - began, "whole_s": time.monotonic() - began}
        print(json.dumps({"text": text, "tokens": len(new), **seconds}), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
