"""kill -9 of the TUI, and signals to it, while a person labels, writes, or watches a run."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import where
from kills import Kill, check_database, import_rows, workbench

from faults import START_SECONDS, finish, running, until_step
from terminal import Terminal
from workbench.domain.decisions import Action
from workbench.domain.examples import Status
from workbench.domain.queries import parse_query
from workbench.domain.runs import RunState
from workbench.flows import curate
from workbench.flows.bench import Bench
from workbench.paths import Workspace

WORDS = ("potatoes", "need", "twenty", "minutes", "and", "a", "little", "salt", "before", "noon")


@contextmanager
def opened(workspace: Workspace) -> Iterator[Terminal]:
    """The program in a terminal, its first pane there."""
    with Terminal(workbench("--workspace", str(workspace.root)), columns=100, rows=30) as terminal:
        terminal.wait_for("(C)HAT", seconds=START_SECONDS)
        yield terminal


def kill_tui(workspace: Workspace, rng: random.Random) -> Kill:
    """Kill the program while a person labels, writes a message, or watches a run."""
    doing = rng.choices([kill_labelling, kill_writing, kill_watching], weights=[5, 4, 1])[0]
    return doing(workspace, rng)


def kill_labelling(workspace: Workspace, rng: random.Random) -> Kill:
    """Accept rows by single keys in Curate and kill the program in the middle: what the screen showed is stored."""
    bench = Bench.open(workspace)
    import_rows(bench, Status.PENDING)
    before = bench.store.examples.count(parse_query("status:accepted"))
    bench.close()
    after = rng.uniform(0.05, 1.5)
    with opened(workspace) as terminal:
        terminal.send("\x1b[13~")  # F3
        terminal.wait_for("demo", seconds=START_SECONDS)
        terminal.send("a")
        terminal.wait_for(lambda screen: _shown_accepted(screen) == 1, seconds=START_SECONDS)
        deadline = time.monotonic() + after
        while time.monotonic() < deadline:
            terminal.send("a")
            terminal.read(0.01)
        shown, doing = _shown_accepted(terminal.text), where.bench(terminal.pid)
        terminal.kill()
    check_database(workspace)
    bench = Bench.open(workspace)
    try:
        stored = bench.store.examples.count(parse_query("status:accepted"))
        assert stored >= shown, f"the screen showed {shown} accepted, the store has {stored}"
        undone = curate.undo(bench)
        assert undone is not None
        assert stored > before and undone.action is Action.ACCEPT
        found = f"labelling: {shown} shown as accepted, {stored} stored"
        return Kill("TUI", after, found, "opened again; undo works", doing)
    finally:
        bench.close()


def _shown_accepted(screen: str) -> int:
    words = screen.split()
    return next((int(words[i + 1]) for i, word in enumerate(words[:-1]) if word == "ok" and words[i + 1].isdigit()), 0)


def kill_writing(workspace: Workspace, rng: random.Random) -> Kill:
    """Write a message in Chat and kill the program in the middle: it opens with what was saved."""
    text = " ".join(rng.choices(WORDS, k=60))
    after = rng.uniform(0.5, 4.0)
    with opened(workspace) as terminal:
        bench = Bench.open(workspace)
        try:
            sent, began, kept = 0, time.monotonic(), ""
            while sent < len(text) and not (kept and time.monotonic() > began + after):
                assert time.monotonic() < began + START_SECONDS, "no draft was saved"
                terminal.send(text[sent])
                sent += 1
                terminal.read(0.02)
                kept = bench.store.drafts.get("chat:new")
            doing = where.bench(terminal.pid)
            terminal.kill()
            check_database(workspace)
            saved = bench.store.drafts.get("chat:new")
        finally:
            bench.close()
    assert saved.startswith(kept) and text.startswith(saved) and saved, (text, kept, saved)
    with opened(workspace) as terminal:
        terminal.wait_for(" ".join(saved.split()[:2]), seconds=START_SECONDS)
    found = f"writing: {sent} letters typed, {len(saved)} kept"
    return Kill("TUI", after, found, "opened again with the draft", doing)


def kill_watching(workspace: Workspace, rng: random.Random) -> Kill:
    """Kill the program while a run is under way."""
    return signal_tui(workspace, rng, number=signal.SIGKILL)


def signal_tui(workspace: Workspace, rng: random.Random, *, number: signal.Signals) -> Kill:
    """A signal to the TUI while a run is under way: the run goes on, the program opens again."""
    with running(workspace) as (bench, run, directory):
        until_step(directory, rng.randrange(6))
        with opened(workspace) as terminal:
            after = rng.uniform(0.0, 2.0)
            deadline = time.monotonic() + after
            while time.monotonic() < deadline:
                terminal.read(0.02)
            doing = where.bench(terminal.pid)
            terminal.kill(number)
            if number is signal.SIGINT:
                terminal.settle(0.5)
                terminal.kill(signal.SIGTERM)
            left = "killed" if number is signal.SIGKILL else f"left with {terminal.wait_for_exit(seconds=60)}"
        first, _ = finish(bench, run)
        assert first is RunState.FINISHED
        with opened(workspace):
            pass
        said = "TUI" if number is signal.SIGKILL else f"TUI {number.name}"
        return Kill(said, after, f"watching a run: {left}; run finished", "opened again; the run went on", doing)


TUI: dict[str, Callable[[Workspace, random.Random], Kill]] = {
    "TUI": kill_tui,
    "TUI SIGHUP": partial(signal_tui, number=signal.SIGHUP),
    "TUI SIGTERM": partial(signal_tui, number=signal.SIGTERM),
    "TUI SIGINT": partial(signal_tui, number=signal.SIGINT),
}
