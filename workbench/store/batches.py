"""Batches and their prompts: what was asked, what is answered, and which process works on it."""

from __future__ import annotations

import builtins
import json
import os
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.domain.batches import Batch, BatchPrompt, BatchState
from workbench.domain.chats import Sampling, Turn, storable
from workbench.errors import BusyError, NotFoundError
from workbench.store.owners import process_started
from workbench.store.rows import now_utc, sampling_from_json, sampling_json, turns_from_json, turns_json

if TYPE_CHECKING:
    from workbench.store.store import Store

_COUNTS = """
SELECT b.*,
    (SELECT count(*) FROM batch_prompts p WHERE p.batch_id = b.id) AS total,
    (SELECT count(*) FROM batch_prompts p WHERE p.batch_id = b.id AND p.state = 'done') AS done,
    (SELECT count(*) FROM batch_prompts p WHERE p.batch_id = b.id AND p.state = 'failed') AS failed
FROM batches b
"""


class Batches:
    """Batches. One process works on a batch: its owner."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(
        self, source: str, models: Sequence[str], prompts: Sequence[tuple[Turn, ...]], *, sampling: Sampling
    ) -> Batch:
        """A new batch that nobody works on yet."""
        with self._store.write() as db:
            cursor = db.execute(
                "INSERT INTO batches (source, models, sampling, state, created_utc) VALUES (?, ?, ?, 'open', ?)",
                [storable(source), json.dumps(list(models)), sampling_json(sampling), now_utc()],
            )
            assert cursor.lastrowid is not None
            rows = [(cursor.lastrowid, number, turns_json(turns)) for number, turns in enumerate(prompts)]
            db.conn.executemany(
                "INSERT INTO batch_prompts (batch_id, number, prompt, state) VALUES (?, ?, ?, 'waiting')", rows
            )
            return self.get(cursor.lastrowid)

    def get(self, batch_id: int) -> Batch:
        """The batch; raises ``NotFoundError``."""
        row = self._store.read().execute(f"{_COUNTS} WHERE b.id = ?", [batch_id]).fetchone()
        if row is None:
            raise NotFoundError(f"there is no batch {batch_id}", hint="`workbench batch list` shows them")
        return self._batch(row)

    def list(self) -> builtins.list[Batch]:
        """Every batch, the newest first."""
        return [self._batch(row) for row in self._store.read().execute(f"{_COUNTS} ORDER BY b.id DESC")]

    def reopen(self, batch_id: int) -> None:
        """It is wanted again, also when it was stopped or done, unless a process works on it; its error is past."""
        with self._store.write() as db:
            if not self.get(batch_id).is_running:
                db.execute("UPDATE batches SET state = 'open', error = '' WHERE id = ?", [batch_id])

    def claim(self, batch_id: int, *, unless_stopped: bool = False) -> Batch:
        """This process works on it from now on; raises ``BusyError`` when another one does.

        With ``unless_stopped`` a stopped one is given back as it is, and nobody works on it.
        """
        with self._store.write() as db:
            batch = self.get(batch_id)
            row = db.execute("SELECT owner_pid FROM batches WHERE id = ?", [batch_id]).fetchone()
            if batch.is_running and row["owner_pid"] != os.getpid():
                raise BusyError(f"process {row['owner_pid']} works on batch {batch_id} already")
            if unless_stopped and batch.state is BatchState.STOPPED:
                return batch
            db.execute(
                "UPDATE batches SET owner_pid = ?, owner_started = ?, state = 'open', error = '' WHERE id = ?",
                [os.getpid(), process_started(os.getpid()), batch_id],
            )
            return self.get(batch_id)

    def release(self, batch_id: int, *, state: BatchState, error: str = "") -> None:
        """Nobody works on it any more."""
        with self._store.write() as db:
            db.execute(
                "UPDATE batches SET owner_pid = NULL, owner_started = NULL, state = ?, error = ? WHERE id = ?",
                [state.value, storable(error), batch_id],
            )

    def stop(self, batch_id: int) -> None:
        """Ask whoever works on it to leave off; what is answered stays."""
        with self._store.write() as db:
            self.get(batch_id)
            db.execute("UPDATE batches SET state = 'stopped' WHERE id = ? AND state = 'open'", [batch_id])

    def waiting(self, batch_id: int) -> builtins.list[BatchPrompt]:
        """The prompts that are neither answered nor given up, in their order."""
        sql = "SELECT * FROM batch_prompts WHERE batch_id = ? AND state = 'waiting' ORDER BY number"
        return [
            BatchPrompt(row["number"], turns_from_json(row["prompt"]), row["question_id"])
            for row in self._store.read().execute(sql, [batch_id])
        ]

    def prompts(self, batch_id: int) -> builtins.list[tuple[Turn, ...]]:
        """Every prompt, in order."""
        sql = "SELECT prompt FROM batch_prompts WHERE batch_id = ? ORDER BY number"
        return [turns_from_json(row["prompt"]) for row in self._store.read().execute(sql, [batch_id])]

    def chats(self, batch_id: int) -> builtins.list[int]:
        """The chats that its answers are in, oldest first."""
        sql = (
            "SELECT DISTINCT m.chat_id FROM batch_prompts p JOIN messages m ON m.id = p.question_id "
            "WHERE p.batch_id = ? ORDER BY m.chat_id"
        )
        return [row["chat_id"] for row in self._store.read().execute(sql, [batch_id])]

    def asked(self, batch_id: int, number: int, question_id: int) -> None:
        """The prompt stands in a chat; in the same transaction as its message."""
        with self._store.write() as db:
            db.execute(
                "UPDATE batch_prompts SET question_id = ? WHERE batch_id = ? AND number = ?",
                [question_id, batch_id, number],
            )

    def finish(self, batch_id: int, number: int, *, failed: bool = False) -> None:
        """The prompt is answered, or given up."""
        with self._store.write() as db:
            db.execute(
                "UPDATE batch_prompts SET state = ? WHERE batch_id = ? AND number = ?",
                ["failed" if failed else "done", batch_id, number],
            )

    def retry(self, batch_id: int) -> None:
        """What failed waits again."""
        with self._store.write() as db:
            db.execute("UPDATE batch_prompts SET state = 'waiting' WHERE batch_id = ? AND state = 'failed'", [batch_id])

    def joined(self, batch_id: int, round_id: int) -> None:
        """Its prompts are those of a round; in the same transaction as the round."""
        with self._store.write() as db:
            db.execute("UPDATE batches SET round_id = ? WHERE id = ?", [round_id, batch_id])

    def _batch(self, row: sqlite3.Row) -> Batch:
        done, failed = row["done"], row["failed"]
        if row["round_id"] is not None:
            sql = (
                "SELECT count(*) FILTER (WHERE state = 'done') AS done, "
                "count(*) FILTER (WHERE state = 'failed') AS failed FROM round_pairs WHERE round_id = ?"
            )
            counts = self._store.read().execute(sql, [row["round_id"]]).fetchone()
            done, failed = counts["done"], counts["failed"]
        pid, started = row["owner_pid"], row["owner_started"]
        return Batch(
            id=row["id"],
            source=row["source"],
            models=tuple(json.loads(row["models"])),
            sampling=sampling_from_json(row["sampling"]),
            state=BatchState(row["state"]),
            total=row["total"],
            done=done,
            failed=failed,
            round_id=row["round_id"],
            is_running=pid is not None and process_started(pid, near=started) != 0.0,
            error=row["error"],
            created_utc=row["created_utc"],
        )
