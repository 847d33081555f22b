"""Blind comparisons, the votes on them, and what the votes add up to."""

from __future__ import annotations

import builtins
import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING

from workbench.domain.chats import Turn, storable
from workbench.domain.checks import ComparedPrompt
from workbench.domain.comparisons import (
    Candidate,
    Comparison,
    Differing,
    Marks,
    ModelIdentity,
    RaterKind,
    Rating,
    Score,
    Strength,
    Verdict,
    Vote,
    VoteDetails,
    draw_left_is_a,
)
from workbench.domain.examples import SourceKind
from workbench.domain.rounds import Choosing
from workbench.errors import NotFoundError
from workbench.store.queries import AT_HOME, UNSEEN, VISIBLE
from workbench.store.rows import (
    generation_from_json,
    generation_json,
    now_utc,
    placeholders,
    turns_from_json,
    turns_json,
)

if TYPE_CHECKING:
    from workbench.store.store import Store

_BETWEEN = "((c.a_model = :a AND c.b_model = :b) OR (c.a_model = :b AND c.b_model = :a))"
# A hidden repeat waits for the one rater who is asked again.
_UNRATED = """
FROM comparisons c WHERE NOT c.identical AND c.repeat_for IN ('', :rater) AND NOT EXISTS (
    SELECT 1 FROM ratings r WHERE r.comparison_id = c.id AND r.rater = :rater AND NOT r.undone
)
"""
_ORDERS = {
    "made": "c.repeat_of IS NULL, c.id",
    "differing": "c.repeat_of IS NULL, c.difference IS NULL, c.difference DESC, c.id",
}
ORDERS = tuple(_ORDERS)


class Comparisons:
    """Comparisons and ratings. One rater has at most one standing vote on a comparison."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        prompt: tuple[Turn, ...],
        a: Candidate,
        b: Candidate,
        *,
        draw_seed: int,
        example_id: int | None = None,
        tags: Sequence[str] = (),
        chosen: str = "",
        difference: float | None = None,
        repeat_of: int | None = None,
        repeat_for: str = "",
    ) -> Comparison:
        """A new comparison; the sides follow from ``draw_seed``. A repeat waits for ``repeat_for`` alone."""
        fresh = Comparison(0, prompt, a, b, draw_left_is_a(draw_seed), draw_seed)
        with self._store.write() as db:
            cursor = db.execute(
                "INSERT INTO comparisons (prompt, a_model, a_text, a_generation, a_identity, b_model, b_text, "
                "b_generation, b_identity, left_is_a, identical, draw_seed, created_utc, example_id, tags, chosen, "
                f"difference, repeat_of, repeat_for) VALUES ({placeholders(19)})",
                [
                    turns_json(prompt),
                    *_candidate_columns(a),
                    *_candidate_columns(b),
                    *(fresh.left_is_a, fresh.identical, draw_seed, now_utc()),
                    *(example_id, json.dumps(list(tags)), chosen, difference, repeat_of, repeat_for),
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
        """Comparisons, newest first; hidden repeats are left out."""
        sql = "SELECT * FROM comparisons WHERE repeat_of IS NULL ORDER BY id DESC LIMIT ?"
        return [_comparison(row) for row in self._store.read().execute(sql, [limit])]

    def prompts(self) -> builtins.list[ComparedPrompt]:
        """Every prompt on which models were compared, and whether that counts: by a vote, or by two equal answers."""
        sql = (
            "SELECT c.id, c.prompt, c.identical OR EXISTS (SELECT 1 FROM ratings r WHERE r.comparison_id = c.id "
            "AND NOT r.undone AND r.blind AND r.verdict <> ? AND r.kind = ?) AS voted "
            "FROM comparisons c WHERE c.repeat_of IS NULL ORDER BY c.id"
        )
        rows = self._store.read().execute(sql, [Verdict.SKIP.value, RaterKind.HUMAN.value])
        return [ComparedPrompt(row["id"], turns_from_json(row["prompt"]), bool(row["voted"])) for row in rows]

    def next_unrated(
        self, rater: str, *, a: str | None = None, b: str | None = None, order: str = "made"
    ) -> Comparison | None:
        """The first one with two different answers that this rater has neither rated nor skipped; None when done.

        ``order`` is ``made`` (the oldest first) or ``differing`` (the most different answers first).
        """
        among = f"AND {_BETWEEN}" if a and b else "AND (c.a_model = :a OR c.b_model = :a)" if a else ""
        sql = f"SELECT c.* {_UNRATED} {among} ORDER BY {_ORDERS[order]} LIMIT 1"
        row = self._store.read().execute(sql, {"rater": rater, "a": a, "b": b}).fetchone()
        return _comparison(row) if row else None

    def waiting(self, rater: str) -> int:
        """How many comparisons this rater has yet to see; hidden repeats are not told."""
        sql = f"SELECT count(*) AS n {_UNRATED} AND c.repeat_of IS NULL"
        row = self._store.read().execute(sql, {"rater": rater}).fetchone()
        return int(row["n"])

    def rate(
        self,
        comparison_id: int,
        verdict: Verdict,
        *,
        rater: str,
        details: VoteDetails | None = None,
        kind: RaterKind = RaterKind.HUMAN,
    ) -> Rating:
        """Keep a vote. An earlier one of the same rater on the same comparison is kept too, but counts no more.

        After an earlier one, also one that was taken back, the rater knows the names: the vote is kept as not blind. So
        it is when a person's only votes on the same two answers count for nothing.
        """
        told = (details or VoteDetails()).about(verdict)
        with self._store.write() as db:
            is_repeat = self.get(comparison_id).repeat_of is not None
            others = [] if is_repeat or kind is RaterKind.JUDGE else self.on_same_answers(comparison_id, rater)
            is_known = bool(others) and not any(others)
            earlier = [rating for rating in self.ratings(comparison_id) if rating.rater == rater]
            standing = next((rating.id for rating in earlier if not rating.undone), None)
            db.execute("UPDATE ratings SET undone = 1 WHERE comparison_id = ? AND rater = ?", [comparison_id, rater])
            cursor = db.execute(
                "INSERT INTO ratings (comparison_id, verdict, rater, comment, duration_ms, created_utc, blind, "
                f"replaces, kind, strength, rubric, live) VALUES ({placeholders(12)})",
                [
                    *(comparison_id, verdict.value, rater, storable(told.comment), told.duration_ms, now_utc()),
                    *(not (earlier or is_known), standing, kind.value, told.strength.value if told.strength else ""),
                    *(json.dumps(dict(told.rubric)), told.live),
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

    def on_same_answers(self, comparison_id: int, rater: str) -> builtins.list[bool]:
        """This rater's votes on other comparisons of the same two answers, which the models gave again: what counts."""
        same = "d.a_model = c.{0}_model AND d.a_text = c.{0}_text AND d.b_model = c.{1}_model AND d.b_text = c.{1}_text"
        sql = (
            "SELECT NOT r.undone AND r.blind AND r.verdict <> 'skip' AS counts FROM comparisons c JOIN ratings r "
            "ON r.rater = :rater AND r.comparison_id <> c.id JOIN comparisons d ON d.id = r.comparison_id "
            "AND d.repeat_of IS NULL AND d.prompt = c.prompt "
            f"AND ({same.format('a', 'b')} OR {same.format('b', 'a')}) WHERE c.id = :id"
        )
        found = self._store.read().execute(sql, {"id": comparison_id, "rater": rater})
        return [bool(row["counts"]) for row in found]

    def unseen(self, rater: str, *, among: int | None = None) -> dict[int, frozenset[str]]:
        """The models of each comparison whose names this rater does not know: with different answers, without his vote.

        ``among`` looks at that one only.
        """
        sql = f"SELECT c.id, c.a_model, c.b_model FROM comparisons c WHERE {UNSEEN}"
        sql += " AND c.id = ?" if among is not None else ""
        found = self._store.read().execute(sql, [rater] if among is None else [rater, among])
        return {row["id"]: frozenset((row["a_model"], row["b_model"])) for row in found}

    def tell_names(self, comparison_ids: Sequence[int], rater: str) -> None:
        """This rater knows the names of these from now on: a skip that is taken back at once, so that they wait on."""
        with self._store.write() as db:
            db.conn.executemany(
                "INSERT INTO ratings (comparison_id, verdict, rater, comment, duration_ms, created_utc, blind, undone) "
                "VALUES (?, ?, ?, '', 0, ?, 0, 1)",
                [(number, Verdict.SKIP.value, rater, now_utc()) for number in comparison_ids],
            )

    def raters(self) -> builtins.list[str]:
        """Every person with a standing vote."""
        sql = "SELECT DISTINCT rater FROM ratings WHERE NOT undone AND kind = ? ORDER BY rater"
        return [row["rater"] for row in self._store.read().execute(sql, [RaterKind.HUMAN.value])]

    def votes(self, *, kind: RaterKind = RaterKind.HUMAN) -> builtins.list[Vote]:
        """Every standing blind vote that is no skip, with equal answers as ties of nobody; oldest comparison first."""
        sql = _VOTES + ("" if kind is RaterKind.HUMAN else " AND r.id IS NOT NULL") + " ORDER BY c.id, r.id"
        return [_vote(row) for row in self._store.read().execute(sql, {"kind": kind.value})]

    def differences(self) -> builtins.list[Differing]:
        """How different the answers of each comparison are that counts for the rate; equal answers left out."""
        sql = (
            "SELECT c.a_model, c.b_model, c.difference, EXISTS (SELECT 1 FROM ratings r WHERE r.comparison_id = c.id "
            "AND NOT r.undone AND r.kind = ?) AS voted FROM comparisons c "
            "WHERE NOT c.identical AND c.repeat_of IS NULL AND c.difference IS NOT NULL AND c.chosen <> ?"
        )
        found = self._store.read().execute(sql, [RaterKind.HUMAN.value, Choosing.DIFFERING.value])
        return [Differing(row["a_model"], row["b_model"], row["difference"], bool(row["voted"])) for row in found]

    def repeatable(self, rater: str, *, gap: int) -> builtins.list[int]:
        """Comparisons that can be shown again to this rater: decided or tied by him, at least ``gap`` votes ago."""
        sql = (
            "SELECT r.comparison_id FROM ratings r JOIN comparisons c ON c.id = r.comparison_id WHERE r.rater = ? "
            "AND NOT r.undone AND r.blind AND r.verdict <> 'skip' AND c.repeat_of IS NULL AND NOT EXISTS "
            "(SELECT 1 FROM comparisons d WHERE d.repeat_of = c.id AND d.repeat_for = r.rater) ORDER BY r.id DESC "
            "LIMIT -1 OFFSET ?"
        )
        return [row["comparison_id"] for row in self._store.read().execute(sql, [rater, gap])]

    def repeat_waits(self, rater: str) -> bool:
        """Whether a hidden repeat is waiting for this rater."""
        sql = f"SELECT 1 {_UNRATED} AND c.repeat_of IS NOT NULL LIMIT 1"
        return self._store.read().execute(sql, {"rater": rater}).fetchone() is not None

    def mended(self) -> set[int]:
        """The comparisons to which somebody wrote a better answer that still stands."""
        sql = (
            "SELECT DISTINCT json_extract(e.source, '$.comparison_id') AS id FROM examples e "
            f"WHERE e.source_kind = ? AND {AT_HOME} AND {VISIBLE}"
        )
        return {row["id"] for row in self._store.read().execute(sql, [SourceKind.VOTE_FIX.value])}

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
    ON r.comparison_id = c.id AND NOT r.undone AND r.blind AND r.verdict <> 'skip' AND r.kind = 'human'
    AND NOT c.identical
WHERE c.repeat_of IS NULL AND (c.identical OR r.id IS NOT NULL)
GROUP BY c.a_model, c.b_model, outcome ORDER BY first
"""
_FLIPPED = {"a": "b", "b": "a"}
_VOTES = """
SELECT c.id, c.prompt, c.a_model, c.b_model, c.left_is_a, c.a_text, c.b_text,
    c.tags, c.chosen, c.repeat_of, r.verdict, r.rater, r.kind, r.strength, r.rubric, r.duration_ms, r.live
FROM comparisons c LEFT JOIN ratings r
    ON r.comparison_id = c.id AND NOT r.undone AND r.blind AND r.verdict <> 'skip' AND r.kind = :kind
    AND NOT c.identical
WHERE (c.identical OR r.id IS NOT NULL)
"""


def _score(a: str, b: str, counts: Counter[str]) -> Score:
    return Score(a, b, counts["a"], counts["b"], counts[Verdict.TIE.value], counts[Verdict.BOTH_BAD.value])


def _candidate_columns(candidate: Candidate) -> tuple[str, str, str, str]:
    generation, identity = generation_json(candidate.generation), json.dumps(asdict(candidate.identity))
    return candidate.model, storable(candidate.text), generation, identity


def _candidate(row: sqlite3.Row, side: str) -> Candidate:
    return Candidate(
        row[f"{side}_model"],
        row[f"{side}_text"],
        generation_from_json(row[f"{side}_generation"]),
        ModelIdentity(**json.loads(row[f"{side}_identity"])),
    )


def _comparison(row: sqlite3.Row) -> Comparison:
    return Comparison(
        id=row["id"],
        prompt=turns_from_json(row["prompt"]),
        a=_candidate(row, "a"),
        b=_candidate(row, "b"),
        left_is_a=bool(row["left_is_a"]),
        draw_seed=row["draw_seed"],
        created_utc=row["created_utc"],
        example_id=row["example_id"],
        tags=tuple(json.loads(row["tags"])),
        chosen=row["chosen"],
        difference=row["difference"],
        repeat_of=row["repeat_of"],
    )


def _rating(row: sqlite3.Row) -> Rating:
    told = {
        "verdict": Verdict(row["verdict"]),
        "kind": RaterKind(row["kind"]),
        "strength": Strength(row["strength"]) if row["strength"] else None,
        "rubric": _marks(row["rubric"]),
        **{name: bool(row[name]) for name in ("undone", "blind", "live")},
    }
    return Rating(**{**dict(row), **told})


def _marks(text: str) -> Marks:
    return {name: (left, right) for name, (left, right) in json.loads(text).items()}


def _vote(row: sqlite3.Row) -> Vote:
    facts = {
        "comparison_id": row["id"],
        "prompt": _hash(row["prompt"]),
        "answers": _hash(row["prompt"], *sorted(_hash(row[f"{side}_model"], row[f"{side}_text"]) for side in "ab")),
        "a": row["a_model"],
        "b": row["b_model"],
        "left_is_a": bool(row["left_is_a"]),
        "a_length": len(row["a_text"]),
        "b_length": len(row["b_text"]),
        "tags": tuple(json.loads(row["tags"])),
        "chosen": row["chosen"],
        "repeat_of": row["repeat_of"],
    }
    if row["rater"] is None:
        return Vote(**facts, outcome=Verdict.TIE.value)
    return Vote(
        **facts,
        outcome=_outcome(row["verdict"], left_is_a=bool(row["left_is_a"])),
        rater=row["rater"],
        kind=RaterKind(row["kind"]),
        strength=Strength(row["strength"]) if row["strength"] else None,
        rubric=_marks(row["rubric"]),
        duration_ms=row["duration_ms"],
        live=bool(row["live"]),
    )


def _hash(*texts: str) -> str:
    """The same for the same texts."""
    return sha256("\0".join(texts).encode()).hexdigest()


def _outcome(verdict: str, *, left_is_a: bool) -> str:
    if verdict not in {"left", "right"}:
        return verdict
    return "a" if (verdict == "left") == left_is_a else "b"
