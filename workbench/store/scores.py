"""How well the models of runs know single examples: the loss of each before and after, copied from run directories.

Written once for each run, as a whole: doing it again changes nothing. Examples that are gone are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from workbench.domain.runs import ExampleScore
from workbench.store.rows import IDS_PER_STATEMENT, chunks, placeholders

if TYPE_CHECKING:
    import sqlite3

    from workbench.store.store import Store

_COLUMNS = "s.run_id, s.example_id, s.held_out, s.tokens, s.base_loss, s.loss, s.base_margin, s.margin"
_READ = f"SELECT {_COLUMNS}, r.name AS run FROM example_scores s JOIN runs r ON r.id = s.run_id"


class Scores:
    """Scores of examples, by run."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def replace(self, run_id: int, scores: Iterable[ExampleScore]) -> int:
        """Put these in the place of all that the run has; gives how many there are now."""
        sql = (
            "INSERT OR REPLACE INTO example_scores "
            "(run_id, example_id, held_out, tokens, base_loss, loss, base_margin, margin) "
            "SELECT ?, id, ?, ?, ?, ?, ?, ? FROM examples WHERE id = ?"
        )
        with self._store.write() as db:
            db.execute("DELETE FROM example_scores WHERE run_id = ?", [run_id])
            db.conn.executemany(
                sql,
                (
                    (run_id, s.held_out, s.tokens, s.base_loss, s.loss, s.base_margin, s.margin, s.example_id)
                    for s in scores
                ),
            )
            return int(db.execute("SELECT count(*) FROM example_scores WHERE run_id = ?", [run_id]).fetchone()[0])

    def of(self, example_id: int) -> list[ExampleScore]:
        """What every run measured of an example, the newest run first."""
        sql = f"{_READ} WHERE s.example_id = ? ORDER BY s.run_id DESC"
        return [_score(row) for row in self._store.read().execute(sql, [example_id])]

    def newest(self, ids: Sequence[int], *, run_id: int | None = None) -> dict[int, ExampleScore]:
        """For each of these examples that a run measured what the newest one did, or the run ``run_id``."""
        found: dict[int, ExampleScore] = {}
        for chunk in chunks(ids, IDS_PER_STATEMENT):
            only = "" if run_id is None else f"AND s.run_id = {int(run_id)} "
            sql = f"{_READ} WHERE s.example_id IN ({placeholders(len(chunk))}) {only}ORDER BY s.run_id"
            found |= {row["example_id"]: _score(row) for row in self._store.read().execute(sql, list(chunk))}
        return found

    def of_run(self, run_id: int) -> list[ExampleScore]:
        """All that a run measured, the highest loss first."""
        sql = f"{_READ} WHERE s.run_id = ? ORDER BY s.loss IS NULL, s.loss DESC, s.example_id"
        return [_score(row) for row in self._store.read().execute(sql, [run_id])]

    def runs(self, limit: int = 100) -> list[tuple[int, str, bool]]:
        """The newest runs that measured single examples: id, name, and whether they measured margins."""
        sql = (
            "SELECT r.id, r.name, EXISTS "
            "(SELECT 1 FROM example_scores s WHERE s.run_id = r.id AND s.margin IS NOT NULL) AS has_margins "
            "FROM runs r WHERE EXISTS (SELECT 1 FROM example_scores s WHERE s.run_id = r.id) "
            "ORDER BY r.id DESC LIMIT ?"
        )
        found = self._store.read().execute(sql, [limit])
        return [(row["id"], row["name"], bool(row["has_margins"])) for row in found]


def _score(row: sqlite3.Row) -> ExampleScore:
    return ExampleScore(**{**dict(row), "held_out": bool(row["held_out"])})
