"""``python -m workbench.worker.merging``: an adapter put into the original weights of its base, and the proof of it.

Prompts come as JSON lines on standard input. The answers of base and adapter, before, are compared with those of what
was written, read again from the disk. The last line on standard output is the report. Merging happens in float32: in
quantised weights it would change the answers.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.errors import RefusedError, WorkbenchError
from workbench.worker.trainer import environment

ANSWER_TOKENS = 48


@dataclass(frozen=True, slots=True)
class Compared:
    """How the merged model answers beside base and adapter: greedy answers, and the scores of the next token."""

    prompts: int
    same: int
    largest_difference: float
    dtype: str
    first_other: str = ""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a model says to the prompts: greedy answers, and the logits ``(vocab,)`` of each one's first token."""

    answers: list[list[int]]
    logits: list[Any]


def merge(base: str, adapter: str, to: Path, prompts: Sequence[list[dict[str, Any]]], *, dtype: str) -> Compared:
    """Write the merged model to ``to``; raises ``RefusedError`` for an adapter that is no change of weights.

    ``dtype`` auto is the base's own, or float32 when rounding to it would change an answer.
    """
    import torch
    from peft import PeftConfig, PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM

    from workbench.worker.speaking import tokenizer_of

    kind = PeftConfig.from_pretrained(adapter)
    if kind.is_prompt_learning:
        raise RefusedError(f"a {str(kind.peft_type.value).lower()} adapter changes no weights: it cannot be merged")
    own = AutoConfig.from_pretrained(base, trust_remote_code=False).dtype or torch.float32
    target = own if dtype == "auto" else getattr(torch, dtype)
    options = {"dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False}
    tokenizer = tokenizer_of(base, adapter)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, **options), adapter).eval()
    _say("asking base and adapter")
    before = _ask(model, tokenizer, prompts)
    _say("merging")
    merged = model.merge_and_unload(safe_merge=True)
    merged.to(target).save_pretrained(to)
    tokenizer.save_pretrained(to)
    del model, merged
    gc.collect()
    _say("asking what was written")
    after = _ask(AutoModelForCausalLM.from_pretrained(to, **options).eval(), tokenizer, prompts)
    found = _compared(before, after, prompts, str(target).removeprefix("torch."))
    if found.same < found.prompts and dtype == "auto" and target is not torch.float32:
        _say(f"{found.prompts - found.same} of {found.prompts} answers change in {found.dtype}: float32 then")
        shutil.rmtree(to)
        return merge(base, adapter, to, prompts, dtype="float32")
    return found


def _ask(model: Any, tokenizer: Any, prompts: Sequence[list[dict[str, Any]]]) -> Spoken:
    import torch

    from workbench.worker.generating import greedy, prompt_ids
    from workbench.worker.trainer.rows import stop_ids

    ends, filler = stop_ids(model, tokenizer), tokenizer.pad_token_id or 0
    answers, logits = [], []
    for turns in prompts:  # one by one: padding would change the last bits
        ids = prompt_ids(tokenizer, turns)
        answers += greedy(model, [ids], ends=ends, filler=filler, max_new_tokens=ANSWER_TOKENS)
        with torch.no_grad():
            logits.append(model(input_ids=torch.tensor([ids])).logits[0, -1].float())
    return Spoken(answers, logits)


def _compared(before: Spoken, after: Spoken, prompts: Sequence[list[dict[str, Any]]], dtype: str) -> Compared:
    same = [a == b for a, b in zip(before.answers, after.answers, strict=True)]
    differences = [(a - b).abs().max().item() for a, b in zip(before.logits, after.logits, strict=True)]
    other = next((turns[-1]["content"] for turns, is_same in zip(prompts, same, strict=True) if not is_same), "")
    return Compared(len(same), sum(same), max(differences, default=0.0), dtype, other)


def _say(text: str) -> None:
    print(json.dumps({"step": text}), flush=True)


def main(argv: list[str]) -> int:
    """Exit code 0 when it was merged and compared; what the comparison says is for the caller to judge."""
    parser = argparse.ArgumentParser(prog="python -m workbench.worker.merging")
    for name in ("--base", "--adapter", "--to"):
        parser.add_argument(name, required=True)
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"])
    args = parser.parse_args(argv)
    environment.prepare(args.base)
    try:
        prompts = [json.loads(line)["prompt"] for line in sys.stdin if line.strip()]
        found = merge(args.base, args.adapter, Path(args.to), prompts, dtype=args.dtype)
    except WorkbenchError as error:
        shutil.rmtree(args.to, ignore_errors=True)
        print(error.message, file=sys.stderr)
        return error.exit_code
    print(json.dumps({"merged": asdict(found)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
