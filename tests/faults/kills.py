"""kill -9 at random moments: of the engine, of the trainer, of the runner. What was lost, what went on.

The suite takes a few moments of each (``tests/faults/test_kills.py``); the longer table, with the other faults of
``tests/faults/faults.py``, is ``python -m tests.faults.kills [MOMENTS] [NAME[=MOMENTS] ...]``. Every function below
gives one row per kill and raises ``AssertionError`` when something that was committed is gone or a state is stuck.
"""

from __future__ import annotations

import os
import random
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
from workbench.domain.examples import Status
from workbench.domain.queries import parse_query
from workbench.domain.runs import RunState
from workbench.domain.serving import EngineState
from workbench.errors import EngineError
from workbench.flows import chat, exchange, train
from workbench.flows.bench import Bench
from workbench.jobs.launch import ensure_runner
from workbench.jobs.run_directory import RunDirectory
from workbench.paths import Workspace, shipped

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import warm  # noqa: E402 - found beside this file, wherever it is started
import where  # noqa: E402

RUN_SECONDS = 1200.0
RUN_STEPS = 12
ROWS = 64
KNOBS = {
    "max_steps": str(RUN_STEPS),
    "save_steps": "2",
    "eval_steps": "3",
    "max_length": "128",
    "per_device_train_batch_size": "4",
    "gradient_accumulation_steps": "1",
}


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: of what, after how many seconds, what was found, and what went on."""

    victim: str
    after_s: float
    found: str
    went_on: str
    doing: str = ""
    """What the process (of a runner: its trainer) was doing when it was hit."""


def workbench(*words: str) -> list[str]:
    """A command of the program."""
    return [sys.executable, "-m", "workbench", *words]


def import_rows(bench: Bench, status: Status) -> int:
    """A few dozen rows of tickets in the dataset ``kill``; gives how many."""
    lines = (shipped("sample_data") / "tickets.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    file = bench.workspace.root.parent / "tickets.jsonl"
    file.write_text("".join(lines[:ROWS]), encoding="utf-8")
    exchange.import_file(bench, file, dataset="kill", status=status)
    return bench.store.examples.count(parse_query("source:import"))


def start_runner(runs: Path) -> object:
    """A runner, whose trainers need not load their libraries where a process that has them was started."""
    return ensure_runner(runs, trainer=warm.command())


def check_database(workspace: Workspace) -> None:
    """The database is whole and its foreign keys hold."""
    connection = sqlite3.connect(workspace.database)
    try:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        connection.close()


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
        rows = import_rows(bench, Status.ACCEPTED)
        planned = train.plan(bench, method="sft", dataset="kill", overrides=KNOBS)
        run = train.launch(bench, planned, start_runner=start_runner)
        directory = RunDirectory(Path(run.directory))
        _wait(lambda: _trainer_pid(directory) is not None, RUN_SECONDS, "the trainer to start")
        started, awaited = time.monotonic(), rng.randrange(-3, RUN_STEPS + 1)
        _wait(lambda: _step(bench, run.id) >= awaited, RUN_SECONDS, f"step {awaited}")
        time.sleep(rng.uniform(0.0, 0.6 if awaited > 0 else 4.0))
        after, at_step = time.monotonic() - started, _step(bench, run.id)
        doing = where.trainer(_trainer_pid(directory))
        pid = _trainer_pid(directory) if victim == "trainer" else _runner_pid(bench.workspace)
        if pid is not None:
            _kill(pid)
        state = _settled(bench, run.id)
        found = f"{state.value} after step {at_step}"
        check_database(workspace)
        if state is not RunState.FINISHED:
            assert state in {RunState.LOST, RunState.FAILED}, state
            assert bench.store.runs.get(str(run.id)).error
            train.resume(bench, bench.store.runs.get(str(run.id)), start_runner=start_runner)
            state = _settled(bench, run.id)
        assert state is RunState.FINISHED, bench.store.runs.get(str(run.id))
        assert bench.store.examples.count(parse_query("source:import")) == rows
        return Kill(victim, after, found, "finished" if "finished" in found else "resumed and finished", doing)
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
    train.sync(bench, start_runner=start_runner)
    run = bench.store.runs.get(str(run_id))
    return RUN_STEPS if run.state.is_over else run.step


def _settled(bench: Bench, run_id: int) -> RunState:
    def over() -> bool:
        train.sync(bench, start_runner=start_runner)
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
    "engine": kill_engine,
    "trainer": kill_trainer,
    "runner": lambda workspace, rng: kill_trainer(workspace, rng, "runner"),
}


if __name__ == "__main__":
    import table

    sys.exit(table.main())
