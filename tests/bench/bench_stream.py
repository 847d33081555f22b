"""Answers that stream, seen from the terminal: bytes for each token, and how late a typed key is shown meanwhile.

``python -m tests.bench.bench_stream [--tokens N] [--rate N] [--out FILE]`` prints a table; run by hand. The chat is
the whole program, asked over HTTP by a server of this process; the columns are two transcripts under one composer,
each at the full rate; the Arena is the whole program, where both answers are watched while they are written. The echo
of a key ends when the bytes have come that show it: a letter in a composer, in the Arena the order that ``o`` changes.
Budgets: 200 bytes for each token of prose, 100 ms until a key is shown (95 of 100).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler
from itertools import count as count_up
from itertools import cycle
from pathlib import Path

import psutil

from tests.bench.shapes import SHAPES, tokens
from tests.terminal import Terminal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from endpoints import USAGE, FakeServer, begin, chunk, send

SIZES = ((80, 24), (160, 45))
KEY_EVERY_S = 0.1
LETTERS = "abcdefghijklmnopqrstuvwxyz"
_NUMBERS = count_up(1)


@dataclass(frozen=True)
class Measured:
    """One stream."""

    name: str
    bytes_per_token: float
    kilobytes_per_second: float
    cpu_percent: float
    echoes_ms: list[float]
    seconds: float

    def line(self) -> str:
        """A row of the table."""
        ordered = sorted(self.echoes_ms)
        p95 = ordered[round(0.95 * (len(ordered) - 1))]
        sent = f"{self.bytes_per_token:,.0f} | {self.kilobytes_per_second:,.1f} | {self.cpu_percent:.0f}"
        shown = f"{statistics.median(ordered):.0f} | {p95:.0f} | {ordered[-1]:.0f} | {len(ordered)}"
        return f"| {self.name} | {sent} | {shown} | {self.seconds:.1f} |"


Key = tuple[str, Callable[[str], bool]]
"""What is typed, and whether a screen shows that it was."""


def letters() -> Iterator[Key]:
    """Letters into a composer."""
    typed = ""
    for letter in cycle(LETTERS):
        typed += letter
        yield letter, partial(_ends_with, typed[-20:])


def _ends_with(typed: str, text: str) -> bool:
    return typed in text.replace("\n", "").replace(" ", "")


def orders() -> Iterator[Key]:
    """The Arena's ``o``: the order that the line at the top names comes and goes."""
    for is_named in cycle((True, False)):
        yield "o", partial(_names_order, is_named)


def _names_order(is_named: bool, text: str) -> bool:
    return ("most different first" in text.splitlines()[1]) == is_named


def measured(
    name: str, terminal: Terminal, rate: float, seconds: float, over: str, keys: Callable[[], Iterator[Key]] = letters
) -> Measured:
    """Count the bytes of the first half; in the second send a key ten times a second, until ``over`` is there.

    ``rate`` is that of all columns together, ``seconds`` how long they stream.
    """
    process = psutil.Process(terminal.pid)
    before, cpu, begun = len(terminal.raw), sum(process.cpu_times()[:2]), time.perf_counter()
    while time.perf_counter() - begun < seconds / 2:
        terminal.read(0.005)
    quiet_s, amount = time.perf_counter() - begun, len(terminal.raw) - before
    used = sum(process.cpu_times()[:2]) - cpu
    last_key = time.perf_counter()
    echoes: list[float] = []
    waiting: tuple[float, Callable[[str], bool]] | None = None
    to_send = keys()
    last_output = last_key
    while over not in terminal.text:
        if time.perf_counter() - begun > 120:
            raise TimeoutError(f"{over!r} did not come; the screen was:\n{terminal.text}")
        if waiting is None and time.perf_counter() - last_key >= KEY_EVERY_S:
            key, is_shown = next(to_send)
            last_key = time.perf_counter()
            waiting = last_key, is_shown
            terminal.send(key)
        was = len(terminal.raw)
        terminal.read(0.005)
        if len(terminal.raw) != was:
            last_output = terminal.last_read_at
        if waiting is not None and waiting[1](terminal.text):
            echoes.append(1000 * (terminal.last_read_at - waiting[0]))
            waiting = None
    took, kilobytes = last_output - begun, amount / 1000 / quiet_s
    return Measured(name, amount / (rate * quiet_s), kilobytes, 100 * used / quiet_s, echoes, took)


def columns(shape: str, size: tuple[int, int], *, rate: float, count: int) -> Measured:
    """Two columns at once."""
    argv = [sys.executable, "-m", "tests.bench.columns", str(rate), str(count), shape]
    with Terminal(argv, columns=size[0], rows=size[1]) as terminal:
        terminal.wait_for("────")
        terminal.settle(1.0)
        terminal.send("go\r")
        return measured(f"two columns, {shape}, {size[0]}×{size[1]}", terminal, 2 * rate, count / rate, "THE END")


def chat(shape: str, size: tuple[int, int], server: FakeServer, *, rate: float, count: int) -> Measured:
    """The whole program, asked over HTTP."""
    server.default = partial(_reply, tokens(shape, count), rate)
    with workspace_on(server) as folder:
        argv = [sys.executable, "-m", "workbench", "--workspace", f"{folder}/w"]
        with Terminal(argv, columns=size[0], rows=size[1], env=environment(folder)) as terminal:
            terminal.wait_for("T0.7")
            terminal.settle(1.0)
            terminal.send("go\r")
            terminal.wait_for("#1 go")
            return measured(f"chat, {shape}, {size[0]}×{size[1]}", terminal, rate, count / rate, "THE END")


def arena(shape: str, size: tuple[int, int], server: FakeServer, *, rate: float, count: int) -> Measured:
    """The whole program: two models answer over HTTP, watched side by side."""
    server.default = partial(_reply, tokens(shape, count), rate)
    with workspace_on(server) as folder:
        argv = [sys.executable, "-m", "workbench", "--workspace", f"{folder}/w"]
        with Terminal(argv, columns=size[0], rows=size[1], env=environment(folder)) as terminal:
            terminal.wait_for("T0.7")
            terminal.send("\x1b[17~")  # F6
            terminal.wait_for("No pair waits")
            terminal.send("n")
            terminal.wait_for("both at once")
            terminal.send("\x1b[Z" + "\x1b[C")  # Shift+Tab to the last field, → to its other value
            terminal.wait_for("as they are written")
            terminal.settle(1.0)
            terminal.send("\x13")
            terminal.wait_for("watched live")
            name = f"arena, {shape}, {size[0]}×{size[1]}"
            return measured(name, terminal, 2 * rate, count / rate, "strength clear", orders)


def _reply(texts: Sequence[str], rate: float, handler: BaseHTTPRequestHandler) -> None:
    begin(handler)
    begun = time.perf_counter()
    for number, text in enumerate(texts):
        time.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        send(handler, chunk(text))
    time.sleep(0.3)
    ending = f"\n\n{next(_NUMBERS)}: THE END"  # equal answers would be a tie without a vote
    send(handler, chunk(ending), chunk(finish="stop"), USAGE, "[DONE]")


def environment(folder: str) -> dict[str, str]:
    """Places of its own for the program."""
    return {"XDG_CONFIG_HOME": folder, "XDG_STATE_HOME": folder, "WORKBENCH_CONFIG": f"{folder}/config.toml"}


@contextmanager
def workspace_on(server: FakeServer) -> Iterator[str]:
    """A folder with a workspace whose chats ask this server."""
    from workbench.flows import registry
    from workbench.flows.bench import Bench
    from workbench.paths import Workspace

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench.open(Workspace(Path(folder) / "w"))
        for name in ("other", "tuned"):
            registry.add_endpoint(bench, server.url, name)
        bench.close()
        (Path(folder) / "config.toml").write_text('[chat]\nmodel = "tuned"\n')
        yield folder


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--only", choices=["chat", "arena", "columns"], default=None)
    args = parser.parse_args()
    how = {"rate": args.rate, "count": args.tokens}
    rows: list[str] = []
    programs = {"chat": chat, "arena": arena}
    with FakeServer().running() as server:
        for name, program in programs.items():
            for size in SIZES if args.only in {None, name} else ():
                for shape in ("prose", "mixed", "thought") if size == SIZES[0] else ("prose",):
                    rows.append(program(shape, size, server, **how).line())
                    print(rows[-1], file=sys.stderr, flush=True)
        for size in SIZES if args.only in {None, "columns"} else ():
            for shape in SHAPES if size == SIZES[0] else ("prose", "mixed"):
                rows.append(columns(shape, size, **how).line())
                print(rows[-1], file=sys.stderr, flush=True)
    load = os.getloadavg()[1]
    text = "\n".join(
        [
            f"{args.rate:g} tokens a second into each column, {args.tokens:,} tokens each; "
            f"load of the machine {load:.1f} on {os.cpu_count()} processors.",
            "",
            "| stream | bytes/token | kB/s | CPU % | key shown after, median ms | p95 | longest | keys | s |",
            "|---|---|---|---|---|---|---|---|---|",
            *rows,
        ]
    )
    print(text)
    if args.out is not None:
        args.out.write_text(f"# Streaming\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
