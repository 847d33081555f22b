"""Training runs as the bench last saw them, and their metrics. The run's folder is the original; this is the copy."""

from __future__ import annotations

import builtins
import math
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.domain.chats import storable
from workbench.domain.runs import Metric, Run, RunSpec, RunState, RunStatus, last_step
from workbench.errors import NotFoundError, StoreError, is_disk_full
from workbench.store.naming import find
from workbench.store.rows import now_utc

if TYPE_CHECKING:
    from workbench.store.store import Store

# The metrics whose last value is shown in the list of runs: each has a column of its name.
_SHOWN = ("loss", "eval_loss", "base_eval_loss")
_COLUMNS = (
    "id, name, method, dataset, base, directory, state, step, total_steps, loss, eval_loss, base_eval_loss, "
    'adapter, error, hint, created_utc, started_utc, ended_utc, group_name AS "group", group_kind'
)
_STATUS = ("state", "step", "total_steps", "error", "hint", "started_utc", "ended_utc")


class Runs:
    """Runs and their curves."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unwritten: dict[int, RunStatus] = {}

    def next_id(self) -> int:
        """The id that the next ``add`` gives, for naming the run's folder. Only sure inside the same ``write()``."""
        row = self._store.read().execute("SELECT seq FROM sqlite_sequence WHERE name = 'runs'").fetchone()
        return int(row["seq"]) + 1 if row else 1

    def add(self, spec: RunSpec, directory: str) -> Run:
        """A new run, queued."""
        with self._store.write() as db:
            cursor = db.execute(
                "INSERT INTO runs (name, method, dataset, base, directory, state, created_utc, group_name, group_kind) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    spec.name,
                    spec.method,
                    spec.dataset,
                    spec.base,
                    str(directory),
                    RunState.QUEUED.value,
                    spec.created_utc or now_utc(),
                    spec.group,
                    spec.group_kind,
                ],
            )
            assert cursor.lastrowid is not None
            return self._by_id(cursor.lastrowid)

    def get(self, address: str | int) -> Run:
        """The run of this name (the newest of several), id or unique start of a name; raises ``NotFoundError``."""
        return self._by_id(find(self._store.read(), "runs", address))

    def list(self) -> list[Run]:
        """Every run, newest first."""
        return [self._run(row) for row in self._store.read().execute(f"SELECT {_COLUMNS} FROM runs ORDER BY id DESC")]

    def update(self, run_id: int, status: RunStatus) -> Run:
        """Take over what the run's ``state.json`` says.

        What a full disk does not take is given back and listed all the same, by this store, until it is written.
        """
        try:
            self._write(run_id, status)
        except StoreError as error:
            if not is_disk_full(error):
                raise
            self._unwritten[run_id] = status
        else:
            self._unwritten.pop(run_id, None)
        return self._by_id(run_id)

    def is_written(self, run_id: int) -> bool:
        """False while the disk has not taken the last ``update``."""
        return run_id not in self._unwritten

    def _write(self, run_id: int, status: RunStatus) -> None:
        with self._store.write() as db:
            self._by_id(run_id)
            db.execute(
                "UPDATE runs SET state = ?, step = ?, total_steps = ?, error = ?, hint = ?, started_utc = ?, "
                "ended_utc = ? WHERE id = ?",
                [
                    status.state.value,
                    status.step,
                    status.total_steps,
                    storable(status.error),
                    storable(status.hint),
                    status.started_utc,
                    status.ended_utc,
                    run_id,
                ],
            )

    def record(self, run_id: int, metrics: Sequence[Metric], *, offset: int, after: int | None = None) -> bool:
        """Keep what was read of ``events.jsonl`` up to byte ``offset``; False when that much was kept before.

        Reading the same part twice, or two benches reading it at once, changes nothing. A step that is repeated
        replaces the one before. Of a run that was resumed all that was kept of the steps ``after`` this one goes first.
        """
        with self._store.write() as db:
            if offset <= self.offset(run_id):
                return False
            if after is not None:
                db.execute("DELETE FROM metrics WHERE run_id = ? AND step > ?", [run_id, after])
            db.conn.executemany(
                "INSERT OR REPLACE INTO metrics (run_id, name, step, value, at_utc) VALUES (?, ?, ?, ?, ?)",
                ((run_id, m.name, m.step, _stored(m.value), m.at_utc) for m in metrics),
            )
            db.execute("UPDATE runs SET events_offset = ? WHERE id = ?", [offset, run_id])
            for column, value in _last_values(metrics).items():
                db.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", [_stored(value), run_id])
            if (step := last_step(metrics, -1)) >= 0:
                db.execute("UPDATE runs SET step = ? WHERE id = ?", [step, run_id])
            return True

    def offset(self, run_id: int) -> int:
        """How many bytes of the run's ``events.jsonl`` are in the store."""
        row = self._store.read().execute("SELECT events_offset FROM runs WHERE id = ?", [run_id]).fetchone()
        if row is None:
            raise _no_run(run_id)
        return int(row["events_offset"])

    def metrics(self, run_id: int, name: str, *, since: int | None = None) -> builtins.list[Metric]:
        """One curve, by step, all of it or from step ``since`` on; a value that was no number is NaN."""
        where = "run_id = ? AND name = ?" if since is None else "run_id = ? AND name = ? AND step >= ?"
        sql = f"SELECT step, value, at_utc FROM metrics WHERE {where} ORDER BY step"
        rows = self._store.read().execute(sql, [run_id, name] if since is None else [run_id, name, since])
        return [_metric(name, row) for row in rows]

    def newest_metric(self, run_id: int, name: str) -> Metric | None:
        """The last point of a curve; None where the run has no such curve."""
        sql = "SELECT step, value, at_utc FROM metrics WHERE run_id = ? AND name = ? ORDER BY step DESC LIMIT 1"
        row = self._store.read().execute(sql, [run_id, name]).fetchone()
        return _metric(name, row) if row else None

    def set_result(self, run_id: int, *, adapter: str) -> Run:
        """The model that the run made, by its name in the registry."""
        with self._store.write() as db:
            self._by_id(run_id)
            db.execute("UPDATE runs SET adapter = ? WHERE id = ?", [adapter, run_id])
            return self._by_id(run_id)

    def remove(self, run_id: int) -> Run:
        """Take a run out with its curves and scores; models that it made stay, without a run."""
        with self._store.write() as db:
            run = self._by_id(run_id)
            db.execute("UPDATE models SET run_id = NULL WHERE run_id = ?", [run_id])
            db.execute("DELETE FROM runs WHERE id = ?", [run_id])
            return run

    def _by_id(self, run_id: int) -> Run:
        row = self._store.read().execute(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", [run_id]).fetchone()
        if row is None:
            raise _no_run(run_id)
        return self._run(row)

    def _run(self, row: sqlite3.Row) -> Run:
        run = Run(**{**dict(row), "state": RunState(row["state"])})
        if (status := self._unwritten.get(run.id)) is None:
            return run
        told = {name: getattr(status, name) for name in _STATUS}
        return replace(run, **told)


def _metric(name: str, row: sqlite3.Row) -> Metric:
    return Metric(row["step"], name, math.nan if row["value"] is None else row["value"], row["at_utc"])


def _no_run(run_id: int) -> NotFoundError:
    return NotFoundError(f"there is no run {run_id}", hint="`workbench runs list` shows them")


def _last_values(metrics: Iterable[Metric]) -> dict[str, float]:
    return {metric.name: metric.value for metric in metrics if metric.name in _SHOWN}


def _stored(value: float) -> float | None:
    return None if math.isnan(value) else value
