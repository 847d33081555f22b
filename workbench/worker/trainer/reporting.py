"""What the trainer says while it works: events, state, heartbeat, device figures; and how it hears that it should stop.

Everything goes into the run directory. Knows nothing of models; the callback that feeds it is ``progress``.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench.domain.runs import RunState, RunStatus
from workbench.errors import is_disk_full
from workbench.jobs import devices, reserve
from workbench.jobs.processes import ProcessIdentity
from workbench.jobs.run_directory import RunDirectory, now_utc
from workbench.worker.trainer import ranks
from workbench.worker.trainer.failures import FolderGone, Stopped

BEAT_SECONDS = 1.0
DISK_SECONDS = 0.5
HURRIED_TRIES = 10
DEVICE_EVERY_BEATS = 2
TIMES_ITS_OWN, LONGEST_INTERVAL_SECONDS = 300, 10.0
FULL_HINT = "free some space: it goes on by itself; stopped, it can be resumed from its last checkpoint"


class Reporter:
    """Writes a run's events and state. Safe to use from the training thread and from the heartbeat's.

    Of several processes only one ``speaks``; the others listen for a request to stop, and end with their launcher.
    """

    def __init__(self, directory: RunDirectory, *, speaks: bool = True) -> None:
        self.directory = directory
        self._speaks = speaks
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._heart: threading.Thread | None = None
        self._is_torn = False
        # Several processes are named by their launcher, which lives as long as any of them.
        self._launcher = ranks.launcher(directory)
        own = (
            ProcessIdentity.of(self._launcher) if self._launcher and self._launcher > 0 else None
        ) or ProcessIdentity.own()
        old = directory.status() or RunStatus(RunState.STARTING)
        self._status = replace(
            old,
            state=RunState.STARTING,
            pid=own.pid,
            process_started=own.started,
            started_utc=old.started_utc or now_utc(),
            ended_utc="",
            error="",
            hint="",
        )
        self._before_pause = RunState.RUNNING
        if speaks:
            reserve.keep(directory.root)
            _end_torn_line(directory)
        # No buffer: what a full disk did not take must not linger in one and come twice.
        self._events = (directory.events_file if speaks else Path(os.devnull)).open("ab", buffering=0)
        self._next_at = 0.0
        # No event runs ahead of the state: a reader who takes the step from either never sees it go back.
        self._written_step = self._status.step

    @property
    def step(self) -> int:
        """The last optimiser step that was reported."""
        return self._status.step

    @property
    def stop_requested(self) -> bool:
        """True once a person or the system asked the run to end."""
        return self._stop.is_set() or bool(self.directory.requested())

    def event(self, kind: str, **values: Any) -> None:
        """Append one event; numbers that JSON cannot say (not finite) become null."""
        line = json.dumps({"event": kind, **_finite(values), "at_utc": now_utc()}, ensure_ascii=True)
        self._when_there_is_room(lambda: self._append(f"{line}\n".encode()))

    def note(self, text: str) -> None:
        """A sentence for the person who watches, also in the log."""
        self.event("note", text=text)
        say(text)

    def state(self, state: RunState, *, error: str = "", hint: str = "") -> None:
        """Change the run's state, in ``state.json`` and as an event."""
        with self._lock:
            ended = now_utc() if state.is_over else ""
            self._status = replace(self._status, state=state, error=error, hint=hint, ended_utc=ended)
            if state.is_over:
                self._status = replace(self._status, pid=None, process_started=None)
        # Not under the lock: a wait for the disk must not stop the heart.
        self._when_there_is_room(self._write_status)
        say(f"{state.value}: {error}" if error else state.value)
        try:
            self.event("state", state=state.value, step=self._status.step, error=error)
        except OSError as full:
            if not (state.is_over and is_disk_full(full)):
                raise  # of a run that is over, state.json has said it

    def pause(self) -> bool:
        """Say that the run waits for room on the disk; False when it does not work, or waits already."""
        with self._lock:
            if self._status.state not in {RunState.STARTING, RunState.RUNNING}:
                return False
            self._before_pause = self._status.state
        self.state(RunState.PAUSED, error=f"the disk is full at step {self.step}", hint=FULL_HINT)
        return True

    def go_on(self) -> None:
        """Say that a pause is over."""
        reserve.keep(self.directory.root)
        if self._status.state is RunState.PAUSED:
            self.state(self._before_pause)
        self.note(f"there is room on the disk again: went on from step {self.step}")

    def progress(self, step: int, total_steps: int, *, write: bool = False) -> None:
        """Note how far the run is; written at most once a second, on a slow disk less often, unless ``write`` says now.

        Raises ``FolderGone`` when the run's folder is not there any more.
        """
        self.check_folder()
        with self._lock:
            self._status = replace(self._status, step=step, total_steps=total_steps)
        if write or time.monotonic() >= self._next_at:
            self._when_there_is_room(self._write_status)

    def check_folder(self) -> None:
        """Raise ``FolderGone`` when the run's folder was taken away; the libraries would make another in its place."""
        if not (self.directory.root / "spec.json").exists():
            raise FolderGone(str(self.directory.root))

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Beat each second, watch for a request to stop, and take SIGTERM and SIGINT as one, until the block ends."""
        done = threading.Event()
        before = {s: signal.signal(s, self._on_signal) for s in _signals()}
        if before:
            # A terminal that hangs up is none of a run's business, whoever started it from where.
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        thread = threading.Thread(target=self._beat, args=(done,), name="heartbeat", daemon=True)
        self._heart = thread
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            for number, handler in before.items():
                signal.signal(number, handler)

    def close(self) -> None:
        """Close the event file."""
        self._events.close()

    def _on_signal(self, number: int, frame: object) -> None:
        # Only the flag: a handler runs between two bytecodes of the training thread, which may hold our lock.
        self._stop.set()

    def _beat(self, done: threading.Event) -> None:
        figures = DeviceFigures()
        beats = 0
        while not done.is_set():
            self._end_without_launcher()
            with suppress(OSError):  # a full disk is the training thread's to tell; the heart goes on
                if self._speaks:
                    self.directory.beat()
                if self.stop_requested:
                    self._show_stopping()
                if self._speaks and beats % DEVICE_EVERY_BEATS == 0:
                    self.event("device", step=self._written_step, values=figures.read())
            beats += 1
            done.wait(BEAT_SECONDS)

    def _end_without_launcher(self) -> None:
        """Nobody would end this process when another of the run falls, and nobody would find it."""
        if self._launcher is not None and os.getppid() != self._launcher:
            os._exit(1)

    def _when_there_is_room(self, write: Callable[[], object]) -> None:
        """``write``, once the disk takes it; until then the run is paused, and says so.

        The heart does not wait, and a run that should end not for long: it then raises ``Stopped``, or what the disk
        says where it is over already.
        """
        tries, paused = 0, False
        while True:
            try:
                with self._lock:
                    write()
                break
            except OSError as error:
                if not is_disk_full(error) or threading.current_thread() is self._heart:
                    raise
                is_over = self._status.state.is_over
                if (self.stop_requested or is_over) and (tries := tries + 1) > HURRIED_TRIES:
                    if is_over:
                        raise
                    raise Stopped from error
            paused = self.pause() or paused
            self._wait_for_room()
        if paused:
            self.go_on()

    def _wait_for_room(self) -> None:
        """A moment, and on while there is next to no room, so that the run does not go on for half a line."""
        time.sleep(DISK_SECONDS)
        with suppress(OSError):
            while reserve.free_bytes(self.directory.root) < reserve.AMPLE_BYTES:
                if self.stop_requested or self._status.state.is_over:
                    return
                self.check_folder()
                time.sleep(DISK_SECONDS)

    def _append(self, line: bytes) -> None:
        if self._is_torn:
            line = b"\n" + line
        while line:
            line = line[self._events.write(line) or 0 :]
            # Until the rest is written too: a full disk may have taken but half of it.
            self._is_torn = bool(line)

    def _show_stopping(self) -> None:
        if self._status.state in {RunState.RUNNING, RunState.PAUSED}:
            self.state(RunState.STOPPING)

    def _write_status(self) -> None:
        began = time.monotonic()
        if self._speaks:
            self._status = self.directory.write_status(self._status)
        self._written_step = self._status.step
        # Twice as late as the figures of a log line are, which bring the step with them.
        self._next_at = 2 * next_at(began, least=BEAT_SECONDS) - began


class DeviceFigures:
    """Memory and load of this process and, where there is one, of the first GPU."""

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._process.cpu_percent()
        self._gpu = _first_gpu()

    def read(self) -> dict[str, float]:
        """The figures now; GPU ones only with a GPU that answers."""
        figures = {
            "memory_bytes": float(self._process.memory_info().rss),
            "cpu_percent": self._process.cpu_percent(),
        }
        return figures | self._gpu_figures()

    def _gpu_figures(self) -> dict[str, float]:
        if self._gpu is None:
            return {}
        import pynvml

        figures: dict[str, float] = {}
        # Each for itself: a part of a card tells no load, some cards no temperature, and one that is lost nothing.
        with suppress(pynvml.NVMLError):
            memory = pynvml.nvmlDeviceGetMemoryInfo(self._gpu)
            figures |= {"gpu_memory_bytes": float(memory.used), "gpu_memory_total_bytes": float(memory.total)}
        with suppress(pynvml.NVMLError):
            figures["gpu_percent"] = float(pynvml.nvmlDeviceGetUtilizationRates(self._gpu).gpu)
        with suppress(pynvml.NVMLError):
            figures["gpu_celsius"] = float(pynvml.nvmlDeviceGetTemperature(self._gpu, pynvml.NVML_TEMPERATURE_GPU))
        with suppress(pynvml.NVMLError):
            figures["gpu_watts"] = pynvml.nvmlDeviceGetPowerUsage(self._gpu) / 1000
        return figures


def next_at(began: float, *, least: float) -> float:
    """When to write again after a writing that began then and ends now: ``least`` seconds on, and on a slow disk so
    much later that writing takes but a 300th of the time. Moments are those of the monotonic clock.
    """
    ended = time.monotonic()
    return ended + max(least, min(LONGEST_INTERVAL_SECONDS, (ended - began) * TIMES_ITS_OWN))


def say(text: str) -> None:
    """One line in the log, from the process that speaks; a disk that is too full for it is told elsewhere."""
    if not ranks.is_first():
        return
    with suppress(OSError):
        print(f"{datetime.now():%H:%M:%S} {text}", flush=True)


def _first_gpu() -> Any:
    try:
        import pynvml

        pynvml.nvmlInit()
        return next(iter(devices.visible(pynvml)), None)
    except ImportError:
        return None
    except pynvml.NVMLError:
        return None


def _signals() -> tuple[signal.Signals, ...]:
    in_main = threading.current_thread() is threading.main_thread()
    return (signal.SIGTERM, signal.SIGINT) if in_main else ()


def _end_torn_line(directory: RunDirectory) -> None:
    # A kill can leave half a line behind; the next event must not be glued to it.
    try:
        with directory.events_file.open("rb+") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
    except FileNotFoundError:
        return


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
