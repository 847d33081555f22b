"""Rounds: prompts that models are being asked, and the answers that wait for the other side's."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.domain.chats import Sampling, storable
from workbench.domain.rounds import Answered, PromptRow, Round, RoundPair
from workbench.errors import NotFoundError
from workbench.store.owners import process_started
from workbench.store.rows import (
    generation_from_json,
    generation_json,
    now_utc,
    sampling_from_json,
    sampling_json,
    turns_from_json,
    turns_json,
)

if TYPE_CHECKING:
    from workbench.store.store import Store

_COUNTS = (
    "SELECT r.*, (SELECT count(*) FROM round_pairs p WHERE p.round_id = r.id) AS total, "
    "(SELECT count(*) FROM round_pairs p WHERE p.round_id = r.id AND p.state <> 'waiting') AS done FROM rounds r"
)
_OF_NO_BATCH = "NOT EXISTS (SELECT 1 FROM batches b WHERE b.round_id = r.id)"
_GIVEN_UP = (
    "r.state = 'stopped' AND EXISTS (SELECT 1 FROM round_pairs p WHERE p.round_id = r.id AND p.state = 'failed')"
)


class Rounds:
    """Rounds and their pairs. One process works on a round: its owner."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, pairs: Sequence[RoundPair], *, sampling: Sampling) -> Round:
        """A new round, owned by this process."""
        with self._store.write() as db:
            cursor = db.execute(
                "INSERT INTO rounds (sampling, state, owner_pid, owner_started, created_utc) "
                "VALUES (?, 'open', ?, ?, ?)",
                [sampling_json(sampling), *_owner(), now_utc()],
            )
            assert cursor.lastrowid is not None
            db.conn.executemany(
                "INSERT INTO round_pairs (round_id, number, prompt, a_model, b_model, seed, draw_seed, example_id, "
                "tags, chosen, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting')",
                [(cursor.lastrowid, *_pair_columns(pair)) for pair in pairs],
            )
            return self.get(cursor.lastrowid)

    def get(self, round_id: int) -> Round:
        """The round; raises ``NotFoundError``."""
        row = self._store.read().execute(f"{_COUNTS} WHERE r.id = ?", [round_id]).fetchone()
        if row is None:
            raise NotFoundError(f"there is no round {round_id}")
        return _round(row)

    def waiting(self, round_id: int) -> list[RoundPair]:
        """The pairs that are not done, in order, with the answers that are there."""
        sql = "SELECT * FROM round_pairs WHERE round_id = ? AND state = 'waiting' ORDER BY number"
        return [_pair(row) for row in self._store.read().execute(sql, [round_id])]

    def keep_answer(self, round_id: int, number: int, side: str, answer: Answered) -> None:
        """One side's answer (``a`` or ``b``), until the other one is there."""
        assert side in {"a", "b"}
        with self._store.write() as db:
            db.execute(
                f"UPDATE round_pairs SET {side}_text = ?, {side}_generation = ? WHERE round_id = ? AND number = ?",
                [storable(answer.text), generation_json(answer.generation), round_id, number],
            )

    def finish(self, round_id: int, number: int, *, comparison_id: int | None) -> None:
        """Both sides answered and are a comparison now; None when one of them failed."""
        with self._store.write() as db:
            db.execute(
                "UPDATE round_pairs SET state = ?, comparison_id = ?, a_text = NULL, a_generation = NULL, "
                "b_text = NULL, b_generation = NULL WHERE round_id = ? AND number = ?",
                ["done" if comparison_id is not None else "failed", comparison_id, round_id, number],
            )

    def failed(self, round_id: int) -> int:
        """How many pairs have no answer of one side, because it failed."""
        sql = "SELECT count(*) FROM round_pairs WHERE round_id = ? AND state = 'failed'"
        return int(self._store.read().execute(sql, [round_id]).fetchone()[0])

    def retry(self, round_id: int) -> None:
        """The pairs that failed wait again."""
        with self._store.write() as db:
            db.execute("UPDATE round_pairs SET state = 'waiting' WHERE round_id = ? AND state = 'failed'", [round_id])

    def close(self, round_id: int, *, stopped: bool) -> None:
        """Nobody works on the round any more: it is done, or somebody stopped it."""
        with self._store.write() as db:
            db.execute("UPDATE rounds SET state = ? WHERE id = ?", ["stopped" if stopped else "done", round_id])

    def take(self, round_id: int) -> Round | None:
        """This round, owned by this process from now on; None while another process works on it."""
        with self._store.write() as db:
            row = db.execute(f"{_COUNTS} WHERE r.id = ?", [round_id]).fetchone()
            is_held = row is None or process_started(row["owner_pid"], near=row["owner_started"]) != 0.0
            if is_held and (row is None or row["owner_pid"] != os.getpid()):
                return None
            sql = "UPDATE rounds SET owner_pid = ?, owner_started = ?, state = 'open' WHERE id = ?"
            db.execute(sql, [*_owner(), round_id])
            return _round(row)

    def adopt(self, *, given_up: bool = False) -> Round | None:
        """The newest open round whose process is gone, owned by this process from now on; None when there is none.

        With ``given_up`` also one that was stopped and has pairs which failed: these wait again. The round of a batch
        is the batch's to go on with, or to leave.
        """
        wanted = f"(r.state = 'open' OR {_GIVEN_UP})" if given_up else "r.state = 'open'"
        with self._store.write() as db:
            for row in db.execute(f"{_COUNTS} WHERE {wanted} AND {_OF_NO_BATCH} ORDER BY r.id DESC").fetchall():
                is_open = row["state"] == "open"
                if is_open and process_started(row["owner_pid"], near=row["owner_started"]) != 0.0:
                    continue
                sql = "UPDATE rounds SET owner_pid = ?, owner_started = ?, state = 'open' WHERE id = ?"
                db.execute(sql, [*_owner(), row["id"]])
                if not is_open:
                    self.retry(row["id"])
                return self.get(row["id"])
        return None


def _owner() -> tuple[int, float]:
    return os.getpid(), process_started(os.getpid())


def _pair_columns(pair: RoundPair) -> tuple[object, ...]:
    prompt = pair.prompt
    tags = json.dumps(list(prompt.tags))
    asked = (pair.number, turns_json(prompt.turns), pair.a, pair.b, pair.seed, pair.draw_seed)
    return *asked, prompt.example_id, tags, prompt.chosen


def _round(row: sqlite3.Row) -> Round:
    return Round(row["id"], sampling_from_json(row["sampling"]), row["total"], row["done"], row["created_utc"])


def _pair(row: sqlite3.Row) -> RoundPair:
    return RoundPair(
        row["number"],
        PromptRow(turns_from_json(row["prompt"]), row["example_id"], tuple(json.loads(row["tags"])), row["chosen"]),
        row["a_model"],
        row["b_model"],
        row["seed"],
        row["draw_seed"],
        _answered(row, "a"),
        _answered(row, "b"),
    )


def _answered(row: sqlite3.Row, side: str) -> Answered | None:
    text, generation = row[f"{side}_text"], row[f"{side}_generation"]
    return None if generation is None else Answered(text, generation_from_json(generation))
