"""A child process that is talked to in lines: rows go in on its standard input, answers come back on its output.

Owns the pipes, and what a child's death means. Knows nothing of what the lines say.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress

from workbench.errors import WorkbenchError
from workbench.jobs.processes import child_environment, module_argv

_SHOWN_LINES = 3
_WATCH_S = 0.1


def converse(
    module: str,
    arguments: Sequence[str],
    lines: Iterable[str],
    *,
    cancelled: threading.Event | None = None,
    files: Sequence[int] = (),
) -> Iterator[str]:
    """The lines that ``python -m module`` prints while it is fed ``lines``, each without its newline.

    Lines are read from the iterable in another thread, and only as fast as the child takes them. Raises
    ``WorkbenchError`` with the child's last words when it ends with an error, and whatever ``lines`` raises. Leaving
    the iterator early ends the child, and so does setting ``cancelled``, also while an answer is awaited: then it
    raises ``WorkbenchError`` too. ``files`` are descriptors that the child has open under the same numbers.
    """
    stopped = threading.Event()
    with tempfile.TemporaryFile() as said, ThreadPoolExecutor(2, thread_name_prefix="feed") as feeders:
        process = subprocess.Popen(
            module_argv(module, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=child_environment(),
            pass_fds=files,
            encoding="utf-8",
            errors="surrogatepass",
        )
        fed: Future[None] = feeders.submit(_feed, process, lines, stopped)
        if cancelled is not None:
            feeders.submit(_end_when, cancelled, process, stopped)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                yield line.rstrip("\n")
            code = process.wait()
            fed.result()
            if code:
                said.seek(0)
                raise _failure(module, code, said.read().decode("utf-8", "replace"))
        finally:
            stopped.set()
            _kill(process)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _feed(process: subprocess.Popen[str], lines: Iterable[str], stopped: threading.Event) -> None:
    pipe = process.stdin
    assert pipe is not None
    # A child that ends before it has read everything says why by itself.
    with suppress(BrokenPipeError), closing(pipe):
        for line in lines:
            if stopped.is_set():
                break
            pipe.write(line + "\n")


def _end_when(cancelled: threading.Event, process: subprocess.Popen[str], stopped: threading.Event) -> None:
    while not stopped.wait(_WATCH_S):
        if cancelled.is_set():
            _kill(process)
            return


def _kill(process: subprocess.Popen[str]) -> None:
    """The child, and what it has started itself: that would work on for nobody."""
    if process.poll() is not None:
        return
    import psutil  # 15 ms

    try:
        started = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        started = []
    process.kill()
    for child in started:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def _failure(module: str, code: int, said: str) -> WorkbenchError:
    lines = [line for line in said.splitlines() if line.strip()]
    reason = lines[-1] if lines else f"it ended with {code}"
    return WorkbenchError(f"{module.rpartition('.')[2]} failed: {reason}", hint="\n".join(lines[-_SHOWN_LINES:-1]))
