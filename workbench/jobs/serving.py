"""A model server for applications, as a child of the command that asked for it: started, told to end, waited for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import IO, Any

from workbench.domain.serving import ServeSpec
from workbench.errors import BusyError, EngineError
from workbench.jobs.processes import child_environment, module_argv

BUSY = 6
PATIENCE_SECONDS = 10.0


def serve(spec: ServeSpec, on_ready: Callable[[str], None]) -> None:
    """Serve until a signal comes, and then until the answers under way have ended.

    ``on_ready`` hears the URL once the models answer. To be called in the main thread: SIGTERM and SIGINT are passed on
    meanwhile. Raises ``BusyError`` when the port is taken, ``EngineError`` when a model cannot be served.
    """
    argv = module_argv("workbench.worker.engine.port", json.dumps(spec.as_dict()), str(os.getpid()))
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=child_environment(),
        text=True,
        process_group=0,  # so that a terminal's Ctrl-C reaches it through us, once
    )
    assert child.stdout is not None
    try:
        with _passing_signals_on(child):
            told = _listen(child.stdout, on_ready)
            code = child.wait()
    finally:
        _end(child, spec.drain_seconds)
    if told:
        kind = BusyError if told.get("code") == BUSY else EngineError
        raise kind(told["error"], hint=told.get("hint", ""))
    if code:
        raise EngineError(f"the server ended by itself (exit code {code})", hint="what it printed above says why")


def _listen(lines: IO[str], on_ready: Callable[[str], None]) -> dict[str, Any]:
    """Read what the child says until it ends; gives back its error, or nothing."""
    error: dict[str, Any] = {}
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue  # a library's print
        if "url" in said:
            on_ready(said["url"])
        elif "error" in said:
            error = said
    return error


@contextmanager
def _passing_signals_on(child: subprocess.Popen[str]) -> Iterator[None]:
    """Have the child end in its own time on SIGTERM and SIGINT, and at once on a second one."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, pass_on), signal.signal(signal.SIGINT, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def _end(child: subprocess.Popen[str], drain_seconds: float) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(drain_seconds + PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
