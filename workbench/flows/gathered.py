"""What a run is trained and measured on, with what the gate says of it; kept while nothing in the workspace changes.

Owns the order: which examples, what is held out, what is replayed, rows, gate. Knows no model and no knob that does
not choose rows.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workbench.domain.examples import Example
from workbench.domain.methods import KnobValue, Method
from workbench.domain.training import Dealt, TrainingRow, training_rows
from workbench.errors import RefusedError
from workbench.flows.gate import OnProgress, gate
from workbench.flows.run_rows import examples_of, findings_of, refuse_one_sided, replayed, rows_of

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

_CHOOSING = {"seed", "eval_share", "replay_dataset", "replay_share"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What chooses the rows of a run. ``allow`` are the checks whose errors are meant so."""

    method: Method
    dataset: str
    eval_dataset: str
    knobs: Mapping[str, KnobValue]
    allow: Sequence[str] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for runs of the same rows."""
        names = sorted(name for name in self.knobs if name in _CHOOSING or name.startswith("include_"))
        chosen = tuple((name, self.knobs[name]) for name in names)
        return (self.method.name, self.dataset, self.eval_dataset, chosen, tuple(sorted(self.allow)))


@dataclass(frozen=True, slots=True)
class RunData:
    """The examples trained and measured on (``replay`` among the first), their rows, and what is known of them."""

    dealt: Dealt
    replay: tuple[Example, ...]
    rows: tuple[TrainingRow, ...]
    held_out: tuple[TrainingRow, ...]
    findings: tuple[str, ...]


class Gathered:
    """The rows of the last plan, for the next one that asks for the same while nothing was written in between.

    For a form, where each key makes a plan. Whoever asks while the same rows are gathered waits for them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[object, ...] = ()
        self._data: RunData | RefusedError | None = None

    def of(
        self,
        bench: Bench,
        wanted: Wanted,
        *,
        on_progress: OnProgress | None = None,
        cancelled: threading.Event | None = None,
    ) -> RunData:
        """The rows; raises what ``gather`` raises, a refusal again without looking again."""
        with self._lock:
            key = (bench.store.version(), wanted.key)
            if key != self._key or self._data is None:
                self._key, self._data = (), None
                try:
                    self._data = gather(bench, wanted, on_progress=on_progress, cancelled=cancelled)
                except RefusedError as error:
                    self._data = error
                self._key = key
            found = self._data  # another caller may put its own there as soon as the lock is free
        if isinstance(found, RefusedError):
            raise found
        return found


def gather(
    bench: Bench,
    wanted: Wanted,
    *,
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
) -> RunData:
    """Read the rows and put them through the gate; raises ``RefusedError`` as those do."""
    method, knobs = wanted.method, wanted.knobs
    own = examples_of(bench, method, knobs, wanted.dataset, wanted.eval_dataset)
    replay = replayed(bench, method, knobs, own)
    dealt = replace(own, train=(*own.train, *replay))
    rows = rows_of(method, dealt.train, int(knobs["seed"]))
    held_out = training_rows(dealt.held_out, method.kinds[0])
    refuse_one_sided(method, rows)
    found = gate(
        bench,
        dealt.train,
        dealt.held_out,
        evaluation=bool(wanted.eval_dataset),
        allow=wanted.allow,
        on_progress=on_progress,
        cancelled=cancelled,
    )
    return RunData(dealt, replay, tuple(rows), tuple(held_out), (*found, *findings_of(rows, held_out, replay, knobs)))
