"""Blind comparisons, the votes on them, and what the votes add up to."""

from __future__ import annotations

import builtins
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

from workbench.domain.chats import Turn, storable
from workbench.domain.checks import ComparedPrompt
from workbench.domain.comparisons import Candidate, Comparison, Rating, Score, Verdict, draw_left_is_a
from workbench.errors import NotFoundError
from workbench.store.rows import generation_from_json, generation_json, now_utc, turns_from_json, turns_json

if TYPE_CHECKING:
    from workbench.store.store import Store

_BETWEEN = "((c.a_model = :a AND c.b_model = :b) OR (c.a_model = :b AND c.b_model = :a))"
_UNRATED = """
FROM comparisons c WHERE NOT c.identical AND NOT EXISTS (
    SELECT 1 FROM ratings r WHERE r.comparison_id = c.id AND r.rater = :rater AND NOT r.undone
)
"""


class Comparisons:
    """Comparisons and ratings. One rater has at most one standing vote on a comparison."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, prompt: tuple[Turn, ...], a: Candidate, b: Candidate, *, draw_seed: int) -> Comparison:
        """A new comparison; the sides follow from ``draw_seed``."""
        fresh = Comparison(0, prompt, a, b, draw_left_is_a(draw_seed), draw_seed)
        with self._store.write() as db:
            cursor = db.execute(
                "INSERT INTO comparisons (prompt, a_model, a_text, a_generation, b_model, b_text, b_generation, "
                "left_is_a, identical, draw_seed, created_utc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    turns_json(prompt),
                    *(a.model, storable(a.text), generation_json(a.generation)),
                    *(b.model, storable(b.text), generation_json(b.generation)),
                    fresh.left_is_a,
                    fresh.identical,
                    draw_seed,
                    now_utc(),
                ],
            )
            assert cursor.lastrowid is not None
            return self.get(cursor.lastrowid)

    def get(self, comparison_id: int) -> Comparison:
        """The comparison; raises ``NotFoundError``."""
        row = self._store.read().execute("SELECT * FROM comparisons WHERE id = ?", [comparison_id]).fetchone()
        if row is None:
            raise NotFoundError(f"there is no comparison {comparison_id}", hint="`workbench compare A B` makes some")
        return _comparison(row)

    def list(self, limit: int = 200) -> list[Comparison]:
        """Comparisons, newest first."""
        rows = self._store.read().execute("SELECT * FROM comparisons ORDER BY id DESC LIMIT ?", [limit])
        return [_comparison(row) for row in rows]

    def prompts(self) -> builtins.list[ComparedPrompt]:
        """Every prompt on which models were compared, and whether that counts: by a vote, or by two equal answers."""
        sql = (
            "SELECT c.id, c.prompt, c.identical OR EXISTS (SELECT 1 FROM ratings r WHERE r.comparison_id = c.id "
            "AND NOT r.undone AND r.blind AND r.verdict <> ?) AS voted FROM comparisons c ORDER BY c.id"
        )
        rows = self._store.read().execute(sql, [Verdict.SKIP.value])
        return [ComparedPrompt(row["id"], turns_from_json(row["prompt"]), bool(row["voted"])) for row in rows]

    def next_unrated(self, rater: str, *, a: str | None = None, b: str | None = None) -> Comparison | None:
        """The oldest one with two different answers that this rater has neither rated nor skipped; None when done."""
        among = f"AND {_BETWEEN}" if a and b else "AND (c.a_model = :a OR c.b_model = :a)" if a else ""
        sql = f"SELECT c.* {_UNRATED} {among} ORDER BY c.id LIMIT 1"
        row = self._store.read().execute(sql, {"rater": rater, "a": a, "b": b}).fetchone()
        return _comparison(row) if row else None

    def waiting(self, rater: str) -> int:
        """How many comparisons this rater has yet to see."""
        row = self._store.read().execute(f"SELECT count(*) AS n {_UNRATED}", {"rater": rater}).fetchone()
        return int(row["n"])

    def rate(
        self, comparison_id: int, verdict: Verdict, *, rater: str, comment: str = "", duration_ms: int = 0
    ) -> Rating:
        """Keep a vote. An earlier one of the same rater on the same comparison is kept too, but counts no more.

        After an earlier one, also one that was taken back, the rater knows the names: the vote is kept as not blind.
        """
        with self._store.write() as db:
            self.get(comparison_id)
            earlier = [rating for rating in self.ratings(comparison_id) if rating.rater == rater]
            standing = next((rating.id for rating in earlier if not rating.undone), None)
            db.execute("UPDATE ratings SET undone = 1 WHERE comparison_id = ? AND rater = ?", [comparison_id, rater])
            cursor = db.execute(
                "INSERT INTO ratings (comparison_id, verdict, rater, comment, duration_ms, created_utc, blind, "
                "replaces) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    *(comparison_id, verdict.value, rater, storable(comment), duration_ms, now_utc()),
                    *(not earlier, standing),
                ],
            )
            return _rating(db.execute("SELECT * FROM ratings WHERE id = ?", [cursor.lastrowid]).fetchone())

    def undo_rating(self, rater: str) -> Rating | None:
        """Take back this rater's last standing vote and return it; None when there is none.

        The one that it replaced stands again.
        """
        with self._store.write() as db:
            if (last := self.last_rating(rater)) is None:
                return None
            db.execute("UPDATE ratings SET undone = 1 WHERE id = ?", [last.id])
            db.execute("UPDATE ratings SET undone = 0 WHERE id = ?", [last.replaces])
            return _rating(db.execute("SELECT * FROM ratings WHERE id = ?", [last.id]).fetchone())

    def last_rating(self, rater: str) -> Rating | None:
        """This rater's last standing vote."""
        sql = "SELECT * FROM ratings WHERE rater = ? AND undone = 0 ORDER BY id DESC LIMIT 1"
        row = self._store.read().execute(sql, [rater]).fetchone()
        return _rating(row) if row else None

    def ratings(self, comparison_id: int) -> builtins.list[Rating]:
        """Every vote on a comparison, also those taken back, oldest first."""
        sql = "SELECT * FROM ratings WHERE comparison_id = ? ORDER BY id"
        return [_rating(row) for row in self._store.read().execute(sql, [comparison_id])]

    def scores(self, a: str | None = None, b: str | None = None) -> builtins.list[Score]:
        """The counted votes of every pair of models, or of the pairs with ``a``, or of ``a`` against ``b``.

        Skips, votes taken back and votes that were not blind do not count; two identical answers are a tie without a
        vote. A pair stands from the side of ``a`` when it is given, otherwise of the model that was asked first.
        """
        counts: dict[tuple[str, str], Counter[str]] = {}
        for row in self._store.read().execute(_OUTCOMES):
            first, second, outcome = row["a_model"], row["b_model"], row["outcome"]
            if (second, first) in counts or (second == a and first != a):
                first, second, outcome = second, first, _FLIPPED.get(outcome, outcome)
            counts.setdefault((first, second), Counter())[outcome] += row["n"]
        wanted = {name for name in (a, b) if name}
        return [_score(*pair, found) for pair, found in counts.items() if wanted <= set(pair)]


_OUTCOMES = """
SELECT c.a_model, c.b_model, min(c.id) AS first, count(*) AS n, CASE
    WHEN c.identical THEN 'tie'
    WHEN r.verdict = 'left' THEN CASE WHEN c.left_is_a THEN 'a' ELSE 'b' END
    WHEN r.verdict = 'right' THEN CASE WHEN c.left_is_a THEN 'b' ELSE 'a' END
    ELSE r.verdict END AS outcome
FROM comparisons c LEFT JOIN ratings r
    ON r.comparison_id = c.id AND NOT r.undone AND r.blind AND r.verdict <> 'skip' AND NOT c.identical
WHERE c.identical OR r.id IS NOT NULL
GROUP BY c.a_model, c.b_model, outcome ORDER BY first
"""
_FLIPPED = {"a": "b", "b": "a"}


def _score(a: str, b: str, counts: Counter[str]) -> Score:
    return Score(a, b, counts["a"], counts["b"], counts[Verdict.TIE.value], counts[Verdict.BOTH_BAD.value])


def _comparison(row: sqlite3.Row) -> Comparison:
    return Comparison(
        id=row["id"],
        prompt=turns_from_json(row["prompt"]),
        a=Candidate(row["a_model"], row["a_text"], generation_from_json(row["a_generation"])),
        b=Candidate(row["b_model"], row["b_text"], generation_from_json(row["b_generation"])),
        left_is_a=bool(row["left_is_a"]),
        draw_seed=row["draw_seed"],
        created_utc=row["created_utc"],
    )


def _rating(row: sqlite3.Row) -> Rating:
    return Rating(
        **{**dict(row), "verdict": Verdict(row["verdict"]), "undone": bool(row["undone"]), "blind": bool(row["blind"])}
    )
