"""The thread that owns the model: takes rows from the desk, has their prompts read, and lets them join the batch.

In each round the prompts that are still being read get one chunk of a tenth of a second, and every batch one step: a
newcomer joins those that are answering, and nobody's stream stands still for long. Rows that arrive within
``WINDOW_SECONDS`` are read together, whatever adapters they want. Order is kept between bases: a row that needs
another base waits until the rows before it have ended, and the rows after it wait for it.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch

from workbench.worker.engine.adapters import Fit, Loaded
from workbench.worker.engine.batch import Batch, Reading
from workbench.worker.engine.desk import Desk, Row, Unload
from workbench.worker.engine.lane import Lane
from workbench.worker.engine.resident import Resident
from workbench.worker.engine.trimming import fitted, too_long
from workbench.worker.engine.wire import Refusal

WINDOW_SECONDS = 0.015
MAX_ROWS = 16
PADDING_TOKENS = 256
T = TypeVar("T")


class Scheduler:
    """Runs in one thread for ever; everything that touches the model happens here."""

    def __init__(self, desk: Desk, precision: str = "auto") -> None:
        self._desk = desk
        self._public = desk.public
        self._resident = Resident(desk.public, self._announce, precision)
        self._readings: list[Reading] = []
        self._batches: list[Batch] = []
        self._round = 0
        self._settle()

    def run(self) -> None:
        """Serve until the process ends."""
        while True:
            self._wait()
            for work in self._work():
                self._drop_cancelled(work)
            self._admit()
            self._read_on()
            for batch in list(self._batches):
                self._step(batch)
            self._readings = [reading for reading in self._readings if reading.rows]
            self._batches = [batch for batch in self._batches if batch.lanes]
            self._show_load()

    # What comes next

    def _wait(self) -> None:
        with self._desk.changed:
            while not self._is_busy and (remaining := self._until_ripe()) != 0:
                self._desk.changed.wait(remaining)

    @property
    def _is_busy(self) -> bool:
        return bool(self._readings or self._batches)

    def _until_ripe(self) -> float | None:
        """Seconds until the oldest in the queue has waited for company long enough; None for an empty queue."""
        if not self._desk.queue:
            return None
        return max(0.0, self._desk.queue[0].arrived + WINDOW_SECONDS - time.monotonic())

    def _admit(self) -> None:
        lanes: list[Lane] = []
        while self._until_ripe() == 0 or (lanes and self._desk.queue):
            item = self._desk.queue[0]
            if isinstance(item, Unload):
                if self._is_busy or lanes:
                    break
                self._take_first()
                self._unload(item)
            elif item.cancelled:
                self._take_first()
                self._desk.end(item, None)
            elif self._may_start(item, lanes):
                self._take_first()
                lanes += self._open(item, lanes)
            else:
                break
        self._start(lanes)
        self._show_load()

    def _take_first(self) -> None:
        with self._desk.changed:
            self._desk.queue.popleft()

    def _may_start(self, row: Row, lanes: list[Lane]) -> bool:
        busy = len(self._lanes()) + len(lanes)
        if not busy:
            return True
        if busy >= MAX_ROWS:
            return False
        able = self._guard(f"reading {row.place.name}", lambda: self._resident.can_join(row.place))
        return able if isinstance(able, bool) else True  # a broken one is opened, and told so

    def _open(self, row: Row, lanes: list[Lane]) -> list[Lane]:
        """The row made ready to run; empty when it was refused, and told so."""
        opened = self._guard(f"loading {row.place.name}", lambda: self._make_lane(row, lanes))
        if isinstance(opened, Lane):
            self._settle()
            return [opened]
        self._settle(failure=opened.message if opened.status >= 500 else "")
        self._desk.end(row, opened)
        return []

    def _make_lane(self, row: Row, lanes: list[Lane]) -> Lane:
        in_use = [lane.loaded for lane in (*self._lanes(), *lanes)]
        loaded = self._resident.prepare(row.place, in_use=in_use)
        if loaded.fit is Fit.VIRTUAL and not self._resident.can_batch:
            raise Refusal(f"{row.place.name}: its base keeps no keys and values", code="unsupported_adapter")
        context = self._resident.context_tokens
        prompt, notice = self._prompt(row, loaded, context)
        ids = loaded.virtual_ids + prompt
        lane = Lane(row, loaded, prompt, context, self._resident.recall(loaded, ids))
        if notice:
            lane.notice(notice)
        return lane

    def _prompt(self, row: Row, loaded: Loaded, context: int | None) -> tuple[list[int], str]:
        """The prompt's tokens and what is to be told about them; raises ``Refusal`` when they are too many."""
        if context is not None:
            context -= loaded.virtual.tokens
        if row.asked.trim and context is not None:
            asked = row.asked
            return fitted(loaded.speaker, asked.turns, context, asked.max_tokens, row.place.name, go_on=asked.go_on)
        prompt = loaded.speaker.encode(row.asked.turns, go_on=row.asked.go_on)
        if context is not None and len(prompt) > context - 1:
            raise too_long(row.place.name, len(prompt), context)
        return prompt, ""

    def _start(self, lanes: list[Lane]) -> None:
        """Have the prompts read; lanes for which there is no room, or no model any more, are told so."""
        plans = self._guard("reading the prompt", lambda: self._plan(lanes))
        if isinstance(plans, Refusal):
            self._turn_away(lanes, plans)
            return
        for members in plans:
            reading = self._guard("reading the prompt", partial(Reading, self._resident, members, self._desk.end))
            if isinstance(reading, Reading):
                self._readings.append(reading)
            else:
                self._turn_away(members, reading)

    def _turn_away(self, lanes: list[Lane], refusal: Refusal) -> None:
        for lane in lanes:
            self._desk.end(lane.row, refusal)
        self._resident.free_memory()

    def _plan(self, lanes: list[Lane]) -> list[list[Lane]]:
        """Which lanes are read together: those that can, and whose prompts do not drown in padding."""
        plans: list[list[Lane]] = []
        for lane in sorted(lanes, key=lambda each: -len(each.unread)):
            for plan in plans:
                if self._may_read_together(plan[0], lane):
                    plan.append(lane)
                    break
            else:
                plans.append([lane])
        return plans

    def _may_read_together(self, longer: Lane, lane: Lane) -> bool:
        if not self._resident.can_batch:
            return False
        if longer.loaded is lane.loaded and longer.prompt == lane.prompt:
            return True
        if Fit.VIRTUAL in (longer.loaded.fit, lane.loaded.fit):  # padding would read their learnt words anew
            return False
        padding = len(longer.unread) - len(lane.unread)
        alike = self._resident.batch_key(longer.loaded) == self._resident.batch_key(lane.loaded)
        return alike and padding <= max(PADDING_TOKENS, len(lane.unread))

    # Work

    def _read_on(self) -> None:
        """One chunk of one prompt: by turns the one that has least to go, so that it starts soon, and the oldest."""
        if not self._readings:
            return
        self._round += 1
        shortest = min(self._readings, key=lambda each: each.remaining)
        reading = self._readings[0] if self._round % 2 else shortest
        if not reading.rows:
            return
        pace = self._resident.pace
        columns = pace.columns(len(reading.rows), is_alone=not self._batches)
        failure = self._guard("reading the prompt", lambda: pace.timed(reading, columns))
        if failure is None and not reading.remaining:
            self._join(reading)
        elif failure is not None:
            reading.fail(failure)
            self._resident.free_memory()

    def _join(self, reading: Reading) -> None:
        batch = self._batch_for(reading)
        was_mixed = batch.is_mixed
        failure = self._guard("answering", lambda: batch.join(reading))
        self._public.mixed_batches += batch.is_mixed and not was_mixed
        if failure is not None:
            reading.fail(failure)
            batch.fail(failure)
            self._resident.free_memory()

    def _batch_for(self, reading: Reading) -> Batch:
        key = self._resident.batch_key(reading.rows[0][0].loaded)
        found = [batch for batch in self._batches if batch.key == key and self._resident.can_batch]
        if not found:
            found = [Batch(self._resident, key, self._desk.end)]
            self._batches += found
        return found[0]

    def _step(self, batch: Batch) -> None:
        if not batch.lanes:
            return
        failure = self._guard("answering", batch.step)
        if failure is not None:
            batch.fail(failure)
            self._resident.free_memory()

    def _drop_cancelled(self, work: Reading | Batch) -> None:
        failure = self._guard("stopping an answer", work.drop_cancelled)
        if failure is not None:
            work.fail(failure)
            self._resident.free_memory()

    def _unload(self, item: Unload) -> None:
        self._guard("unloading", self._resident.unload)
        self._settle()
        item.done.set()

    def _lanes(self) -> list[Lane]:
        return [lane for work in self._work() for lane in work.lanes]

    def _work(self) -> list[Reading | Batch]:
        return [*self._readings, *self._batches]

    # What is said about it

    def _announce(self, detail: str) -> None:
        self._public.state, self._public.detail = "loading", detail

    def _show_load(self) -> None:
        self._public.active = len(self._lanes())
        self._public.waiting = len(self._desk.queue)
        self._public.remembered_bytes = self._resident.memory.bytes

    def _settle(self, *, failure: str = "") -> None:
        """Show what the engine is after a step: ready with a base, idle without, failed when a load went wrong."""
        self._public.detail = failure
        if self._public.base:
            self._public.state = "ready"
        else:
            self._public.state = "failed" if failure else "idle"

    def _guard(self, doing: str, work: Callable[[], T]) -> T | Refusal:
        """This thread's one door: whatever a model's code raises becomes an error for its rows, and the rest live."""
        try:
            return work()
        except Refusal as refusal:
            return refusal
        except Exception as error:  # noqa: BLE001
            traceback.print_exc(file=sys.stderr)
            return plain_refusal(error, doing)


def plain_refusal(error: Exception, doing: str) -> Refusal:
    """A library's exception in the words of a person."""
    text = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error):
        hint = "use a shorter prompt or a smaller model, or close what else uses the memory"
        return Refusal(f"out of memory while {doing}", code="out_of_memory", status=503, hint=hint)
    if "trust_remote_code" in str(error):
        hint = "use a model that transformers knows by itself"
        return Refusal(
            f"{doing} failed: it brings its own program code, which is never run", code="custom_code", hint=hint
        )
    if "safetensors" in str(error) and isinstance(error, OSError):
        hint = "pickled weights (.bin) are never read: convert them to safetensors"
        return Refusal(f"{doing} failed: no safetensors weights there", code="no_safetensors", status=500, hint=hint)
    message = f"{doing} failed: {text[0]}"
    return Refusal(message, code="engine_error", status=500, hint="the engine's log has the whole story")
