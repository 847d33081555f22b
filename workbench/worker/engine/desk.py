"""What the server (an event loop) and the scheduler (a thread) tell each other: rows in, pieces out, the state between.

Owns the queue, the registry of model names and the public state. Knows no HTTP and no torch.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from workbench.domain.chats import StopReason
from workbench.domain.serving import TokenChance
from workbench.worker.engine.wire import Asked, Refusal

WEIGHT_AND_CONFIG_SUFFIXES = (".safetensors", ".json", ".jinja", ".model")


@dataclass(frozen=True, slots=True)
class Place:
    """A registered model. ``stamp`` changes when its files do; ``base`` is None for a base model."""

    name: str
    path: str
    base: Place | None = None
    stamp: tuple[tuple[str, int, int], ...] = ()

    @property
    def root(self) -> Place:
        """The base model under it, or itself."""
        return self.base or self

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for places that hold the same weights."""
        return (self.path, self.stamp)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more text, and how many tokens were drawn so far."""

    text: str
    tokens: int
    chances: tuple[TokenChance, ...] = ()


@dataclass(frozen=True, slots=True)
class Read:
    """How much of the prompt is read so far; ``remembered_tokens`` of it were known before."""

    prompt_tokens: int
    remembered_tokens: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to show beside the answer: what was done to the prompt that nobody asked for in so many words."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a row; ``StopReason.STOP`` or ``LENGTH``. ``remembered_tokens`` of the prompt were not run again."""

    stop_reason: StopReason
    prompt_tokens: int
    tokens: int
    first_token_ms: int
    duration_ms: int
    remembered_tokens: int = 0


RowEvent = Piece | Read | Notice | Done | Refusal


@dataclass(eq=False)
class Row:
    """One answer to make. ``emit`` may be called from any thread, never blocks, and hears a Done or Refusal last."""

    asked: Asked
    place: Place
    emit: Callable[[RowEvent], None]
    arrived: float = field(default_factory=time.monotonic)
    cancelled: bool = False


@dataclass(eq=False)
class Unload:
    """A request to give the memory back, after the rows that were there before it."""

    done: threading.Event = field(default_factory=threading.Event)
    arrived: float = field(default_factory=time.monotonic)


@dataclass
class PublicState:
    """What ``/health`` shows; written by the scheduler, read by the server."""

    state: str = "loading"
    detail: str = "starting: importing torch"
    base: str = ""
    note: str = ""
    adapters: tuple[str, ...] = ()
    device: str = ""
    dtype: str = ""
    precision: str = ""
    active: int = 0
    waiting: int = 0
    remembered_bytes: int = 0
    mixed_batches: int = 0


class Desk:
    """The meeting point. All methods may be called from any thread."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.queue: deque[Row | Unload] = deque()
        self.public = PublicState()
        self.last_used = time.monotonic()
        self.broken: Refusal | None = None
        self._places: dict[str, Place] = {}
        self._live: set[Row] = set()

    def register(self, name: str, path: str, base: tuple[str, str] | None) -> Place:
        """Remember where a model is, with the present stamp of its files. Loads nothing."""
        under = Place(base[0], base[1], stamp=stamp_of(base[1])) if base else None
        place = Place(name, path, under, stamp_of(path))
        with self.changed:
            self._places[name] = place
        return place

    def place(self, name: str) -> Place:
        """The registered model; raises ``Refusal`` (404) with the names there are."""
        with self.changed:
            if found := self._places.get(name):
                return found
            names = ", ".join(sorted(self._places)) or "none"
        hint = f"registered here: {names}"
        raise Refusal(f"there is no model {name!r}", code="model_not_found", status=404, hint=hint)

    def places(self) -> list[Place]:
        """Every registered model."""
        with self.changed:
            return list(self._places.values())

    def submit(self, item: Row | Unload) -> None:
        """Queue a row or an unload; raises the ``Refusal`` of an engine that cannot work at all."""
        with self.changed:
            if self.broken:
                raise self.broken
            self.last_used = time.monotonic()
            self.queue.append(item)
            if isinstance(item, Row):
                self._live.add(item)
            self.changed.notify_all()

    def cancel(self, row: Row) -> None:
        """Nobody waits for this row any more; harmless for one that has ended."""
        with self.changed:
            row.cancelled = True
            self.changed.notify_all()

    def end(self, row: Row, event: Done | Refusal | None) -> None:
        """Tell the row its last event (None when nobody listens), and forget it."""
        with self.changed:
            self._live.discard(row)
            self.last_used = time.monotonic()
        if event is not None:
            row.emit(event)

    def fail_all(self, refusal: Refusal, *, broken: bool = False) -> None:
        """End every row there is with an error; with ``broken``, every later one too."""
        with self.changed:
            rows = list(self._live)
            for item in self.queue:
                if isinstance(item, Unload):
                    item.done.set()
            self.queue.clear()
            if broken:
                self.broken = refusal
        for row in rows:
            self.end(row, refusal)

    def idle_seconds(self) -> float:
        """How long nobody has wanted anything; 0 while a row is being answered or waits."""
        with self.changed:
            return 0.0 if self._live or self.queue else time.monotonic() - self.last_used


def stamp_of(path: str) -> tuple[tuple[str, int, int], ...]:
    """Name, size and change time of a folder's weights and settings; empty for a hub id."""
    folder = Path(path)
    if not folder.is_dir():
        return ()
    with os.scandir(folder) as entries:
        found = [e for e in entries if e.name.endswith(WEIGHT_AND_CONFIG_SUFFIXES) and e.is_file()]
        return tuple(sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in found))
