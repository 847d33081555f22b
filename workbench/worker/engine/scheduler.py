"""The thread that owns the model: takes rows from the desk, batches those that come together, steps them in turn.

Rows that arrive within ``WINDOW_SECONDS`` start in one batch, whatever adapters they want. Batches that are already
decoding are stepped round-robin with the new ones, so nobody waits for a long answer. Order is kept between bases: a
row that needs another base waits until the rows before it have ended, and the rows after it wait for it.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from typing import TypeVar

import torch

from workbench.worker.engine.desk import Desk, Row, Unload
from workbench.worker.engine.group import Group, Lane
from workbench.worker.engine.resident import Resident
from workbench.worker.engine.wire import Refusal

WINDOW_SECONDS = 0.015
MAX_ROWS = 16
PADDING_TOKENS = 256
T = TypeVar("T")


class Scheduler:
    """Runs in one thread for ever; everything that touches the model happens here."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._public = desk.public
        self._resident = Resident(desk.public, self._announce)
        self._groups: list[Group] = []
        self._settle()

    def run(self) -> None:
        """Serve until the process ends."""
        while True:
            self._wait()
            for group in self._groups:
                group.drop_cancelled()
            self._admit()
            for group in self._groups:
                self._advance(group, group.step)
            self._groups = [group for group in self._groups if group.lanes]
            self._public.active = self._active()

    # What comes next

    def _wait(self) -> None:
        with self._desk.changed:
            while not self._groups and (remaining := self._until_ripe()) != 0:
                self._desk.changed.wait(remaining)

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
                if self._groups or lanes:
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
        for members in self._plan(lanes):
            self._start(members)

    def _take_first(self) -> None:
        with self._desk.changed:
            self._desk.queue.popleft()

    def _may_start(self, row: Row, lanes: list[Lane]) -> bool:
        busy = self._active() + len(lanes)
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
        in_use = [lane.loaded for group in self._groups for lane in group.lanes] + [lane.loaded for lane in lanes]
        loaded = self._resident.prepare(row.place, in_use=in_use)
        prompt = loaded.speaker.encode(row.asked.turns)
        context = self._resident.context_tokens
        if context is not None and len(prompt) > context - 1:
            raise _too_long(row, len(prompt), context)
        return Lane(row, loaded, prompt, context, self._resident.recall(loaded, prompt))

    def _plan(self, lanes: list[Lane]) -> list[list[Lane]]:
        """Which lanes start in one batch: those that can, and whose prompts do not drown in padding."""
        if lanes and not self._resident.can_batch:
            return [[lane] for lane in lanes]
        plans: list[list[Lane]] = []
        for lane in sorted(lanes, key=lambda each: -len(each.unread)):
            for plan in plans:
                padding = len(plan[0].unread) - len(lane.unread)
                alike = self._resident.batch_key(plan[0].loaded) == self._resident.batch_key(lane.loaded)
                if alike and padding <= max(PADDING_TOKENS, len(lane.unread)):
                    plan.append(lane)
                    break
            else:
                plans.append([lane])
        return plans

    # Work

    def _start(self, members: list[Lane]) -> None:
        group = Group(self._resident, members, self._desk.end)
        self._groups.append(group)
        self._public.active = self._active()
        self._public.mixed_batches += group.is_mixed
        self._advance(group, group.prefill)

    def _advance(self, group: Group, work: Callable[[], None]) -> None:
        if not group.lanes:
            return
        failure = self._guard("answering", work)
        if failure is not None:
            group.fail(failure)
            self._resident.free_memory()

    def _unload(self, item: Unload) -> None:
        self._guard("unloading", self._resident.unload)
        self._settle()
        item.done.set()

    def _active(self) -> int:
        return sum(len(group.lanes) for group in self._groups)

    # What is said about it

    def _announce(self, detail: str) -> None:
        self._public.state, self._public.detail = "loading", detail

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


def _too_long(row: Row, tokens: int, context: int) -> Refusal:
    return Refusal(
        f"the conversation is {tokens} tokens long, and {row.place.name} can read {context - 1} at most",
        code="context_length_exceeded",
        hint="start a new chat, or branch from an earlier turn",
    )
