"""The engine: time to the first token cold, warm and in long chats, and two models in one batch or one after the other.

``python -m tests.bench.bench_engine [RUNS]``; a random Llama of 85 million parameters with a LoRA adapter, made in a
temporary folder, through the real process and its socket. Prints, never fails.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from workbench.domain.chats import Sampling, Turn
from workbench.domain.serving import AnswerEnd, ChatRequest, ModelPlace, TextPiece
from workbench.jobs.engine import EngineClient
from workbench.paths import Workspace, shipped

TOKENS = 48
QUESTION = "How long must I cook potatoes, and where should I keep what is left of them? " * 3


def build(folder: Path) -> dict[str, ModelPlace]:
    """A random base with the embedded model's tokenizer, and a random adapter on it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(shipped("sample_data") / "model")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=12,
        max_position_embeddings=2048,
        eos_token_id=None,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    tokenizer.eos_token = None
    for each in (model, tokenizer):
        each.save_pretrained(folder / "base")
    get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", init_lora_weights=False)).save_pretrained(
        folder / "tuned"
    )
    base = ModelPlace("base", str(folder / "base"))
    return {"base": base, "tuned": ModelPlace("tuned", str(folder / "tuned"), base)}


def ask(client: EngineClient, place: ModelPlace) -> AnswerEnd:
    """One greedy answer."""
    request = ChatRequest(place, (Turn("user", QUESTION),), Sampling(0.0, 1.0, TOKENS, 1))
    *_, end = client.stream(request, cancelled=threading.Event())
    assert isinstance(end, AnswerEnd)
    return end


def both_at_once(client: EngineClient, places: dict[str, ModelPlace]) -> None:
    """Base and tuned, asked in the same moment."""
    threads = [threading.Thread(target=ask, args=(client, place)) for place in places.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def long_chat(client: EngineClient, place: ModelPlace, turns: int) -> list[tuple[int, int, int]]:
    """Per turn: tokens of the prompt, and ms to the first token with the chat remembered and read anew.

    Anew: the same prompt with another first word, which nothing that was remembered begins with.
    """
    said: list[Turn] = []
    times = []
    for number in range(turns):
        said.append(Turn("user", f"{number} {QUESTION}"))
        strange = [Turn("user", f"({number}) {said[0].content}"), *said[1:]]
        anew, remembered = (stream(client, place, tuple(each)) for each in (strange, said))
        times.append((remembered[1].prompt_tokens, remembered[1].first_token_ms, anew[1].first_token_ms))
        said.append(Turn("assistant", remembered[0]))
    return times


def stream(client: EngineClient, place: ModelPlace, turns: tuple[Turn, ...]) -> tuple[str, AnswerEnd]:
    """A short greedy answer."""
    request = ChatRequest(place, turns, Sampling(0.0, 1.0, 24, 1))
    *pieces, end = client.stream(request, cancelled=threading.Event())
    assert isinstance(end, AnswerEnd)
    return "".join(piece.text for piece in pieces if isinstance(piece, TextPiece)), end


def main(runs: int) -> None:
    """Measure and print the medians."""
    folder = Path(tempfile.mkdtemp(prefix="wb-bench-"))
    client = EngineClient(Workspace(folder / "workspace"), idle_minutes=5)
    try:
        places = build(folder)
        began = time.monotonic()
        cold = ask(client, places["base"])
        cold_s = time.monotonic() - began - (cold.duration_ms - cold.first_token_ms) / 1000
        ask(client, places["tuned"])
        warm, apart, together = [], [], []
        for _ in range(runs):
            began = time.monotonic()
            ends = [ask(client, place) for place in places.values()]
            apart.append(time.monotonic() - began)
            warm.append(ends[0].first_token_ms)
            began = time.monotonic()
            both_at_once(client, places)
            together.append(time.monotonic() - began)
        prompt = ends[0].prompt_tokens
        print(f"prompt {prompt} tokens, answers {TOKENS} tokens, {runs} runs, medians")
        print(f"first token, engine off:      {cold_s:.2f} s")
        print(f"first token, model in memory: {statistics.median(warm):.0f} ms")
        slow, fast = statistics.median(apart), statistics.median(together)
        print(f"base, then tuned:             {slow:.2f} s  ({2 * TOKENS / slow:.0f} tokens/s)")
        print(
            f"both in one batch:            {fast:.2f} s  ({2 * TOKENS / fast:.0f} tokens/s, {slow / fast:.2f} times)"
        )
        for turn, (tokens, remembered, anew) in enumerate(long_chat(client, places["base"], 10), start=1):
            if turn in {1, 5, 10}:
                print(f"turn {turn:2d}, prompt {tokens:4d} tokens: {remembered} ms remembered, {anew} ms read anew")
        print(f"engine's memory:              {client.status().memory_bytes / 1e6:.0f} MB")
    finally:
        client.shutdown()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
