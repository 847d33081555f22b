"""The engine against bare transformers and ``transformers serve``, paired in one run.

``python -m tests.bench.bench_engine [RUNS]`` (about ten minutes on two quiet cores); a random Llama of 85 million
parameters with a LoRA adapter, made in a temporary folder. Everything answers greedily with the same number of threads.
Writes ``tests/bench/results/engine.md``; never fails for a figure. ``transformers serve`` takes part when it starts,
for which it needs the extra ``bench`` (``pip install 'workbench[bench]'``).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.domain.chats import Sampling, Turn
from workbench.domain.serving import AnswerEnd, ChatRequest, ModelPlace, TextPiece
from workbench.jobs.engine import EngineClient
from workbench.paths import Workspace, shipped

RESULTS = Path(__file__).parent / "results" / "engine.md"
TOKENS = 48
QUESTION = "How long must I cook potatoes, and where should I keep what is left of them? " * 3
SHOWN_TURNS = (1, 5, 10)
TURN_TOKENS = 24
LOADS = (1, 4, 16)
LOAD_TOKENS = 32


@dataclass(frozen=True)
class Heard:
    """One answer as its client saw it: seconds from the question.

    ``read`` counts the tokens of the prompt that were computed, where the server tells.
    """

    text: str
    first_s: float
    whole_s: float
    tokens: int
    read: int | None = None

    @property
    def tokens_per_second(self) -> float:
        """Between the first token and the last."""
        return (self.tokens - 1) / max(self.whole_s - self.first_s, 1e-9)


Ask = Callable[[Sequence[dict[str, str]], int], Heard]


def build(folder: Path) -> dict[str, ModelPlace]:
    """A random base with the embedded model's tokenizer, which never stops by itself, and a random adapter on it."""
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
        max_position_embeddings=4096,
        eos_token_id=None,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    tokenizer.eos_token = None
    for each in (model, tokenizer):
        each.save_pretrained(folder / "base")
    adapter = LoraConfig(r=16, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(model, adapter).save_pretrained(folder / "tuned")
    base = ModelPlace("base", str(folder / "base"))
    return {"base": base, "tuned": ModelPlace("tuned", str(folder / "tuned"), base)}


# Those who are asked


def engine_asker(client: EngineClient, place: ModelPlace) -> Ask:
    """The engine through its own client."""

    def ask(messages: Sequence[dict[str, str]], tokens: int) -> Heard:
        turns = tuple(Turn(each["role"], each["content"]) for each in messages)
        began, first, text = time.monotonic(), 0.0, ""
        for event in client.stream(
            ChatRequest(place, turns, Sampling(0.0, 1.0, tokens, 1)), cancelled=threading.Event()
        ):
            match event:
                case TextPiece(piece):
                    first = first or time.monotonic() - began
                    text += piece
                case AnswerEnd(tokens=count, prompt_tokens=prompt, remembered_tokens=known):
                    return Heard(text, first, time.monotonic() - began, count, prompt - known)
        raise AssertionError("an answer ends")

    return ask


def http_asker(url: str, model: str) -> Ask:
    """Any server of OpenAI's protocol, by its own client."""
    import openai

    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=300)

    def ask(messages: Sequence[dict[str, str]], tokens: int) -> Heard:
        given: list[Any] = list(messages)
        began, first, pieces = time.monotonic(), 0.0, []
        for chunk in client.chat.completions.create(
            model=model, messages=given, max_tokens=tokens, temperature=0, stream=True
        ):
            if chunk.choices and (piece := chunk.choices[0].delta.content):
                first = first or time.monotonic() - began
                pieces.append(piece)
        return Heard("".join(pieces), first, time.monotonic() - began, tokens)

    return ask


class BareProcess:
    """Transformers' ``generate`` in a process of its own, so that its memory can be told."""

    def __init__(self, places: dict[str, ModelPlace]) -> None:
        folders = {name: place.path for name, place in places.items()}
        argv = [sys.executable, "-m", "tests.bench.bare_generate", json.dumps(folders)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, **request: Any) -> dict[str, Any]:
        """One request and its reply."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        reply: dict[str, Any] = json.loads(next(self._process.stdout))
        return reply

    def ask(self, messages: Sequence[dict[str, str]], tokens: int, model: str = "base") -> Heard:
        """One answer."""
        return Heard(**self.say(messages=list(messages), tokens=tokens, model=model))

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


@contextmanager
def transformers_serve(*flags: str) -> Iterator[str]:
    """Its URL, empty when it does not start; it loads the folder that is asked for as a model."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [str(Path(sys.executable).parent / "transformers"), "serve", "--port", str(port)]
    argv += ["--device", "cpu", "--dtype", "float32", *flags]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://localhost:{port}"
        yield f"{url}/v1" if answers(f"{url}/health", process) else ""
    finally:
        process.terminate()
        process.wait()


def answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """True once the server answers; False when it ends instead, or takes more than a minute."""
    import httpx

    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(url).status_code == 200:
                return True
        except httpx.HTTPError:
            time.sleep(0.2)
    return False


# What is measured


def user(text: str) -> list[dict[str, str]]:
    """A chat with one question."""
    return [{"role": "user", "content": text}]


def at_once(asks: Sequence[Callable[[], Heard]]) -> list[Heard]:
    """All of them in the same moment."""
    heard: list[Heard] = []
    threads = [threading.Thread(target=lambda each=ask: heard.append(each())) for ask in asks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return heard


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def two_models(client: EngineClient, bare: BareProcess, places: dict[str, ModelPlace], runs: int) -> list[str]:
    """Base and tuned on one question: one mixed batch, one after the other, and two models in memory."""
    base, tuned = (engine_asker(client, place) for place in places.values())
    start = client.status().memory_bytes
    question = iter(range(1000))
    for ask in (base, tuned):
        ask(user(QUESTION), 2)
    with_engine = client.status().memory_bytes
    bare_start = bare.say(load="base")["memory_bytes"]
    bare.ask(user(QUESTION), 2)
    one = bare.say(load="tuned")["memory_bytes"]
    bare.ask(user(QUESTION), 2, "tuned")
    two = bare.say(load="tuned")["memory_bytes"]
    times: dict[str, list[float]] = {"mixed": [], "turns": [], "two": []}
    for _ in range(runs):
        asked = user(f"{next(question)} {QUESTION}")
        times["mixed"].append(timed(lambda a=asked: at_once([lambda: base(a, TOKENS), lambda: tuned(a, TOKENS)])))
        asked = user(f"{next(question)} {QUESTION}")
        times["turns"].append(timed(lambda a=asked: [ask(a, TOKENS) for ask in (base, tuned)]))
        times["two"].append(timed(lambda a=asked: [bare.ask(a, TOKENS, name) for name in ("base", "tuned")]))
    slow = statistics.median(times["two"])
    rows = [
        ("engine, both in one mixed batch", "mixed", with_engine - start),
        ("engine, one after the other", "turns", with_engine - start),
        ("two models in memory, bare `generate`, one after the other", "two", two - bare_start),
    ]
    lines = [
        f"Base and tuned answer one question, {TOKENS} tokens each; medians of {runs} runs.",
        "",
        "| | seconds | against two models | memory over the bare process |",
        "|---|---|---|---|",
    ]
    for name, key, memory in rows:
        seconds = statistics.median(times[key])
        lines.append(f"| {name} | {seconds:.2f} | {slow / seconds:.2f} × | {memory / 1e6:,.0f} MB |")
    return [*lines, "", f"One bare model takes {(one - bare_start) / 1e6:,.0f} MB of it."]


def long_chat(askers: dict[str, Ask], runs: int) -> list[str]:
    """The first token of each turn of a chat, where each says its own answers; and the rate after it."""
    lines = [
        f"Milliseconds to the first token of a turn, in a chat that grows, and tokens per second after it: medians of"
        f" {runs} chats. Read: tokens of the prompt that were computed for turn 1 and turn 10.",
        "",
        f"| | {' | '.join(f'turn {turn}' for turn in SHOWN_TURNS)} | turn 10 against 1 | tokens/s | read |",
        "|---|" + "---|" * (len(SHOWN_TURNS) + 3),
    ]
    heard: dict[str, list[list[Heard]]] = {name: [[] for _ in range(max(SHOWN_TURNS))] for name in askers}
    for run in range(runs):
        chats: dict[str, list[dict[str, str]]] = {name: [] for name in askers}
        for turn in range(max(SHOWN_TURNS)):
            for name, ask in askers.items():  # turn by turn, so that a neighbour's noise reaches them all
                chats[name].append({"role": "user", "content": f"{run}-{turn} {QUESTION}"})
                heard[name][turn].append(ask(chats[name], TURN_TOKENS))
                chats[name].append({"role": "assistant", "content": heard[name][turn][-1].text})
    for name, turns in heard.items():
        firsts = [1000 * statistics.median(each.first_s for each in turns[turn - 1]) for turn in SHOWN_TURNS]
        rate = statistics.median(each.tokens_per_second for turn in turns for each in turn)
        shown = " | ".join(f"{each:,.0f}" for each in firsts)
        read = " and ".join(told_read(turns[turn - 1]) for turn in (1, 10))
        lines.append(f"| {name} | {shown} | {firsts[-1] / firsts[0]:.1f} × | {rate:.1f} | {read} |")
    return lines


def told_read(heard: Sequence[Heard]) -> str:
    """The median of what was read of the prompt; "all" where the server keeps nothing, or does not tell."""
    read = [each.read for each in heard if each.read is not None]
    return f"{statistics.median(read):.0f}" if read else "all"


def load(askers: dict[str, Ask]) -> list[str]:
    """Several clients at once, each with a question of its own."""
    lines = [
        f"Clients that ask at once, {LOAD_TOKENS} tokens each; seconds.",
        "",
        "| | clients | tokens/s | first token, median | first token, p95 | answer, p95 |",
        "|---|---|---|---|---|---|",
    ]
    for count in LOADS:
        for name, ask in askers.items():
            questions = [user(f"{count}-{number} {QUESTION[:120]}") for number in range(count)]
            asks = [lambda q=question, ask=ask: ask(q, LOAD_TOKENS) for question in questions]
            rounds = 3 if count == 1 else 1
            heard: list[Heard] = []
            seconds = 0.0
            for _ in range(rounds):
                began = time.monotonic()
                heard += at_once(asks)
                seconds += time.monotonic() - began
            firsts, wholes = [each.first_s for each in heard], [each.whole_s for each in heard]
            lines.append(
                f"| {name} | {count} | {LOAD_TOKENS * len(heard) / seconds:.1f} | {statistics.median(firsts):.2f}"
                f" | {p95(firsts):.2f} | {p95(wholes):.2f} |"
            )
    return lines


def p95(values: Sequence[float]) -> float:
    """The value that 95 in 100 stay below, by the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-95 * len(ordered) // 100) - 1)]


def stall(client: EngineClient, place: ModelPlace) -> list[str]:
    """The longest time that a stream stands still while a prompt of some thousand tokens is read beside it."""
    gaps: list[float] = []
    reading = threading.Event()
    long_prompt = "".join(f"{number} {QUESTION}" for number in range(25))

    def stream() -> None:
        request = ChatRequest(place, (Turn("user", "Tell me all."),), Sampling(0.0, 1.0, 400, 1))
        last = time.monotonic()
        for event in client.stream(request, cancelled=done):
            if isinstance(event, TextPiece):
                gaps.append(time.monotonic() - last)
                last = time.monotonic()
                reading.set()

    done = threading.Event()
    thread = threading.Thread(target=stream)
    thread.start()
    reading.wait()
    gaps.clear()
    heard = engine_asker(client, place)(user(long_prompt), 2)
    done.set()
    thread.join()
    beside = f"A stream beside a prompt that takes {heard.first_s:.1f} s to read: {len(gaps)} pieces came meanwhile"
    return [
        f"{beside}, the longest pause was {1000 * max(gaps):.0f} ms, the median {1000 * statistics.median(gaps):.0f}."
    ]


def tell(doing: str) -> None:
    """Progress, for who waits."""
    print(f"{time.strftime('%H:%M:%S')} {doing}", file=sys.stderr, flush=True)


def main(runs: int) -> None:
    """Measure and write."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or those that were started here would go on
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    began, load_before = time.monotonic(), os.getloadavg()[0]
    folder = Path(tempfile.mkdtemp(prefix="wb-bench-"))
    client = EngineClient(Workspace(folder / "workspace"), idle_minutes=5)
    places = build(folder)
    bare = BareProcess(places)
    try:
        client.ensure()
        while client.status().state != "idle":
            time.sleep(0.1)
        tell("base and tuned")
        parts = [two_models(client, bare, places, runs)]
        tell("a stream beside a long prompt")
        parts.append(stall(client, places["base"]))
        askers: dict[str, Ask] = {"engine": engine_asker(client, places["base"]), "bare `generate`": bare.ask}
        with transformers_serve() as url:
            if url:
                askers["`transformers serve`"] = http_asker(url, places["base"].path)
                askers["`transformers serve`"](user("Hi"), 2)
            tell("chats of ten turns")
            parts.append(long_chat(askers, runs))
        askers = {"engine": askers["engine"]}
        with transformers_serve() as one, transformers_serve("--continuous-batching") as batching:
            for name, server in (("", one), (" --continuous-batching", batching)):
                if server:
                    askers[f"`transformers serve{name}`"] = http_asker(server, places["base"].path)
                    askers[f"`transformers serve{name}`"](user("Hi"), 2)
            tell("many clients")
            parts.append(load(askers))
    finally:
        bare.end()
        client.shutdown()
        shutil.rmtree(folder)
    write(parts, runs, began, load_before, compared=bool(url))


def write(parts: list[list[str]], runs: int, began: float, load_before: float, *, compared: bool) -> None:
    """The page of results."""
    left_out = [] if compared else ["`transformers serve` did not start (`pip install 'workbench[bench]'`).", ""]
    head = [
        "# The engine, paired with bare transformers",
        "",
        f"Llama of 85 million random parameters in float32 on the CPU, {os.environ['OMP_NUM_THREADS']} threads,"
        f" {os.cpu_count()} cores; load {load_before:.1f} at the beginning and {os.getloadavg()[0]:.1f} at the end;"
        f" {time.monotonic() - began:.0f} seconds.",
        "",
        *left_out,
    ]
    body = [line for part in parts for line in (*part, "")]
    RESULTS.write_text("\n".join([*head, *body]), encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
