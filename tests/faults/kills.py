"""kill -9 at random moments: of the TUI, of the engine, of the trainer. What was lost, what went on.

The suite takes a few moments of each (``tests/faults/test_kills.py``); the longer table, with the other faults of
``tests/faults/faults.py``, is ``python -m tests.faults.kills [MOMENTS] [NAME ...]``. Every function below gives one
row per kill and raises ``AssertionError`` when something that was committed is gone or a state is stuck.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workbench.domain.chats import Sampling, StopReason
from workbench.domain.decisions import Action
from workbench.domain.examples import Status
from workbench.domain.queries import parse_query
from workbench.domain.runs import RunState
from workbench.domain.serving import EngineState
from workbench.errors import EngineError
from workbench.flows import chat, curate, exchange, train
from workbench.flows.bench import Bench
from workbench.jobs.run_directory import RunDirectory
from workbench.paths import Workspace, shipped

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from terminal import Terminal

RUN_SECONDS = 180.0
RUN_STEPS = 12


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: of what, after how many seconds, what was found, and what went on."""

    victim: str
    after_s: float
    found: str
    went_on: str


def check_database(workspace: Workspace) -> None:
    """The database is whole and its foreign keys hold."""
    connection = sqlite3.connect(workspace.database)
    try:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        connection.close()


def kill_tui(workspace: Workspace, rng: random.Random) -> Kill:
    """Accept rows by single keys in Curate and kill the program in the middle: what the screen showed is stored."""
    bench = Bench.open(workspace)
    exchange.import_file(bench, shipped("sample_data") / "tickets.jsonl", dataset="kill", status=Status.PENDING)
    before = bench.store.examples.count(parse_query("status:accepted"))
    bench.close()
    after = rng.uniform(0.05, 1.5)
    argv = [sys.executable, "-m", "workbench", "--workspace", str(workspace.root)]
    with Terminal(argv, columns=100, rows=30) as terminal:
        terminal.wait_for("(C)HAT", seconds=60)
        terminal.send("\x1b[13~")  # F3
        terminal.wait_for("demo", seconds=30)
        terminal.send("a")
        terminal.wait_for(lambda screen: _shown_accepted(screen) == 1, seconds=30)
        deadline = time.monotonic() + after
        while time.monotonic() < deadline:
            terminal.send("a")
            terminal.read(0.01)
        shown = _shown_accepted(terminal.text)
        terminal.kill()
    check_database(workspace)
    bench = Bench.open(workspace)
    try:
        stored = bench.store.examples.count(parse_query("status:accepted"))
        assert stored >= shown, f"the screen showed {shown} accepted, the store has {stored}"
        undone = curate.undo(bench)
        assert undone is not None
        assert stored > before and undone.action is Action.ACCEPT
        return Kill("TUI", after, f"{shown} shown as accepted, {stored} stored", "opened again; undo works")
    finally:
        bench.close()


def _shown_accepted(screen: str) -> int:
    words = screen.split()
    return next((int(words[i + 1]) for i, word in enumerate(words[:-1]) if word == "ok" and words[i + 1].isdigit()), 0)


def kill_engine(workspace: Workspace, rng: random.Random) -> Kill:
    """Kill the engine while it loads or answers: the text so far is a message, and the next question works."""
    bench = Bench.open(workspace)
    try:
        opened = chat.new_chat(bench, sampling=Sampling(temperature=1.0, max_tokens=400, seed=rng.randrange(1000)))
        bench.engine.ensure()
        said = chat.say(bench, opened.id, "Tell me a long story about potatoes.")
        awaited = rng.choice([chat.AnswerStarted, chat.AnswerText])
        after = rng.uniform(0.0, 0.5)
        pid = bench.engine.status().pid
        assert pid is not None
        killer = threading.Timer(after, lambda: _kill(pid))
        pieces, error = [], ""
        try:
            for event in chat.answer(bench, opened.id, parent_id=said.id, cancelled=threading.Event()):
                if isinstance(event, chat.AnswerText):
                    pieces.append(event.text)
                if isinstance(event, awaited) and killer.ident is None:
                    killer.start()
        except EngineError as broken:
            error = broken.message
        killer.join()
        _wait(lambda: _is_gone(bench, pid), 30, "the engine to be seen dead")
        answers = [m for m in bench.store.chats.tree(opened.id).messages.values() if m.parent_id == said.id]
        if pieces:
            assert answers and answers[-1].content.startswith("".join(pieces).strip()[:20])
        if error and answers:
            generation = answers[-1].generation
            assert generation is not None and generation.stop_reason is StopReason.ERROR
        again = chat.say(bench, opened.id, "who are you?", parent_id=None)
        events = list(chat.answer(bench, opened.id, parent_id=again.id, cancelled=threading.Event()))
        assert isinstance(events[-1], chat.AnswerEnded) and events[-1].message.content
        kept = len(answers[-1].content) if answers else 0
        return Kill("engine", after, f"{error or 'had finished'}; {kept} characters kept", "started again and answered")
    finally:
        bench.engine.shutdown()
        bench.close()


def _is_gone(bench: Bench, pid: int) -> bool:
    """The engine is seen dead, or another one answers (a question that finds none starts one)."""
    status = bench.engine.status()
    return status.state in {EngineState.DIED, EngineState.OFF} or status.pid != pid


def kill_trainer(workspace: Workspace, rng: random.Random, victim: str = "trainer") -> Kill:
    """Kill the trainer (or the runner) while a run is under way: lost or going on, never stuck; it can be finished."""
    bench = Bench.open(workspace)
    try:
        exchange.import_file(bench, shipped("sample_data") / "tickets.jsonl", dataset="kill", status=Status.ACCEPTED)
        overrides = {"max_steps": str(RUN_STEPS), "save_steps": "2", "max_length": "128"}
        run = train.launch(bench, train.plan(bench, method="sft", dataset="kill", overrides=overrides))
        directory = RunDirectory(Path(run.directory))
        _wait(lambda: _trainer_pid(directory) is not None, 60, "the trainer to start")
        started, awaited = time.monotonic(), rng.randrange(RUN_STEPS)
        _wait(lambda: _step(bench, run.id) >= awaited, RUN_SECONDS, f"step {awaited}")
        time.sleep(rng.uniform(0.0, 1.0 if awaited else 6.0))
        after, at_step = time.monotonic() - started, _step(bench, run.id)
        pid = _trainer_pid(directory) if victim == "trainer" else _runner_pid(bench.workspace)
        if pid is not None:
            _kill(pid)
        state = _settled(bench, run.id)
        found = f"{state.value} after step {at_step}"
        rows = bench.store.examples.count(parse_query("source:import"))
        check_database(workspace)
        if state is not RunState.FINISHED:
            assert state in {RunState.LOST, RunState.FAILED}, state
            assert bench.store.runs.get(str(run.id)).error
            train.resume(bench, bench.store.runs.get(str(run.id)))
            state = _settled(bench, run.id)
        assert state is RunState.FINISHED, bench.store.runs.get(str(run.id))
        assert bench.store.examples.count(parse_query("source:import")) == rows
        return Kill(victim, after, found, "finished" if "finished" in found else "resumed and finished")
    finally:
        bench.close()


def _trainer_pid(directory: RunDirectory) -> int | None:
    status = directory.status()
    return status.pid if status and status.state.is_active else None


def _runner_pid(workspace: Workspace) -> int | None:
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "workbench.jobs.runner" in line and str(workspace.runs) in line:
            return int(process.pid)
    return None


def _step(bench: Bench, run_id: int) -> int:
    """How far the run has come; past any step once it is over."""
    train.sync(bench)
    run = bench.store.runs.get(str(run_id))
    return RUN_STEPS if run.state.is_over else run.step


def _settled(bench: Bench, run_id: int) -> RunState:
    def over() -> bool:
        train.sync(bench)
        return bench.store.runs.get(str(run_id)).state.is_over

    _wait(over, RUN_SECONDS, "the run to be over")
    return bench.store.runs.get(str(run_id)).state


def _wait(ready: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


VICTIMS: dict[str, Callable[[Workspace, random.Random], Kill]] = {
    "TUI": kill_tui,
    "engine": kill_engine,
    "trainer": kill_trainer,
    "runner": lambda workspace, rng: kill_trainer(workspace, rng, "runner"),
}


def main() -> int:
    """Let each fault happen at that many moments and print the table; names choose some of the faults."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import table
    from import_kills import IMPORTS

    from faults import FAULTS

    every = VICTIMS | IMPORTS | FAULTS
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kills")
    parser.add_argument("moments", type=int, nargs="?", default=10, help="random moments of each fault")
    parser.add_argument("names", nargs="*", choices=[*every, []], metavar="NAME", help=", ".join(every))
    parser.add_argument("--write", action="store_true", help=f"also write {table.RESULTS.name}")
    parser.add_argument("--record", type=Path, metavar="FILE", help="add the moments to FILE; the page then has all")
    arguments = parser.parse_args()
    moments = table.recorded(arguments.record) if arguments.record else []
    before = len(moments)
    # Round by round, so that a run that is cut short has some moments of each.
    for _ in range(arguments.moments):
        for name in arguments.names or every:
            moments.append(table.moment(name, every[name], secrets.randbelow(10**6)))
            if arguments.record:
                table.record(moments[-1], arguments.record)
            if arguments.write:
                table.write(moments)
    failed = sum(bool(one.failure) for one in moments[before:])
    print(
        f"{len(moments) - before} faults, {failed} failed"
        + ("" if failed else ": no committed row lost, nothing stuck")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
