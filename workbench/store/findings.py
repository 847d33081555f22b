"""What checks found in examples, in which language these are, and the originals of what was redacted.

A finding speaks of the text as it was when the check ran: ``forget`` takes them away with the text. Errors and warnings
stand as flags on their example too, under the check's name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.domain.chats import storable
from workbench.domain.checks import Finding, Severity
from workbench.store.queries import VISIBLE
from workbench.store.rows import IDS_PER_STATEMENT, chunks, now_utc, placeholders

if TYPE_CHECKING:
    from sqlite_utils import Database

    from workbench.store.store import Store


@dataclass(frozen=True, slots=True)
class Redaction:
    """The text of one turn before it was redacted; ``part`` is ``chosen:0`` or ``chosen:0:extra``."""

    example_id: int
    part: str
    before: str


class Findings:
    """Findings by example, and what belongs to them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def replace(self, ids: Sequence[int], checks: Collection[str], findings: Iterable[Finding]) -> None:
        """Put ``findings`` in the place of all that ``checks`` found in these examples before.

        A few hundred examples at a time: it is one transaction.
        """
        with self._store.write() as db:
            for chunk in chunks(ids, IDS_PER_STATEMENT - len(checks)):
                _remove(db, chunk, checks)
            add(db, findings)

    def of(self, example_id: int) -> list[Finding]:
        """What was found in an example, the worst first."""
        sql = "SELECT * FROM findings WHERE example_id = ? ORDER BY severity = 'info', severity = 'warning', id"
        return [
            Finding(
                Severity(row["severity"]),
                row["reason"],
                row["place"],
                bool(row["fixable"]),
                row["example_id"],
                row["check_name"],
            )
            for row in self._store.read().execute(sql, [example_id])
        ]

    def counts(self, ids: Sequence[int], checks: Collection[str]) -> dict[str, int]:
        """In how many of these examples each of ``checks`` has left an error or a warning."""
        found: dict[str, int] = {}
        for chunk in chunks(ids, IDS_PER_STATEMENT - len(checks)):
            sql = (
                f"SELECT check_name, count(DISTINCT example_id) AS n FROM findings WHERE severity <> 'info' AND "
                f"check_name IN ({placeholders(len(checks))}) AND example_id IN ({placeholders(len(chunk))}) "
                "GROUP BY check_name"
            )
            for row in self._store.read().execute(sql, [*checks, *chunk]):
                found[row["check_name"]] = found.get(row["check_name"], 0) + int(row["n"])
        return found

    def by_check(self, dataset_id: int | None = None) -> dict[str, int]:
        """In how many examples each check found anything when it last ran, the most frequent first."""
        of_it = "" if dataset_id is None else "AND e.dataset_id = ?"
        sql = (
            "SELECT f.check_name AS name, count(DISTINCT e.id) AS n FROM findings f JOIN examples e "
            f"ON e.id = f.example_id WHERE {VISIBLE} {of_it} GROUP BY f.check_name ORDER BY n DESC, name"
        )
        rows = self._store.read().execute(sql, [] if dataset_id is None else [dataset_id])
        return {row["name"]: int(row["n"]) for row in rows}

    def set_languages(self, languages: Mapping[int, str]) -> None:
        """Keep the language of each of these examples, for ``lang:`` in queries."""
        with self._store.write() as db:
            db.conn.executemany("UPDATE examples SET lang = ? WHERE id = ?", [(c, i) for i, c in languages.items()])

    def keep_originals(self, redactions: Iterable[Redaction]) -> None:
        """Keep what stood there before a redaction. Of a turn that was redacted before, the first text is kept."""
        with self._store.write() as db:
            for one in redactions:
                db.execute(
                    "INSERT INTO redactions (example_id, part, before, created_utc) SELECT ?, ?, ?, ? WHERE NOT EXISTS "
                    "(SELECT 1 FROM redactions WHERE example_id = ? AND part = ?)",
                    [one.example_id, one.part, one.before, now_utc(), one.example_id, one.part],
                )

    def originals(self, example_id: int) -> list[Redaction]:
        """What was redacted in an example and can still be brought back."""
        sql = "SELECT * FROM redactions WHERE example_id = ? ORDER BY id"
        rows = self._store.read().execute(sql, [example_id])
        return [Redaction(row["example_id"], row["part"], row["before"]) for row in rows]

    def drop_originals(self, example_id: int) -> None:
        """The redactions of an example are taken back: nothing is kept any more."""
        with self._store.write() as db:
            db.execute("DELETE FROM redactions WHERE example_id = ?", [example_id])

    def settle(self, ids: Iterable[int]) -> int:
        """Make the redactions of these examples final; returns in how many of them there were any.

        The originals are forgotten, also in the history: an undo no longer changes the texts of such an example.
        """
        settled = 0
        if self._store.read().execute("SELECT 1 FROM redactions LIMIT 1").fetchone() is None:
            return settled
        with self._store.write() as db:
            for chunk in chunks(ids):
                sql = f"SELECT DISTINCT example_id FROM redactions WHERE example_id IN ({placeholders(len(chunk))})"
                found = [row[0] for row in db.execute(sql, chunk).fetchall()]
                for example_id in found:
                    db.execute("DELETE FROM redactions WHERE example_id = ?", [example_id])
                    db.execute(
                        "UPDATE decisions SET before = json_remove(before, '$.content'), "
                        "after = json_remove(after, '$.content') WHERE example_id = ?",
                        [example_id],
                    )
                settled += len(found)
        return settled


def forget(db: Database, example_id: int) -> None:
    """Take away what was found in an example whose text has changed, with its flags and its language."""
    db.execute(
        "DELETE FROM example_flags WHERE example_id = ? AND flag IN "
        "(SELECT check_name FROM findings WHERE example_id = ?)",
        [example_id, example_id],
    )
    db.execute("DELETE FROM findings WHERE example_id = ?", [example_id])
    db.execute("UPDATE examples SET lang = '' WHERE id = ?", [example_id])


def add(db: Database, findings: Iterable[Finding]) -> None:
    """Keep findings of examples that are there; those without an example are passed over."""
    kept = [found for found in findings if found.example_id is not None]
    now = now_utc()
    db.conn.executemany(
        "INSERT INTO findings (example_id, check_name, severity, place, reason, fixable, created_utc) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(f.example_id, f.check, f.severity.value, f.place, storable(f.reason), int(f.fixable), now) for f in kept],
    )
    db.conn.executemany(
        "INSERT OR IGNORE INTO example_flags (example_id, flag) VALUES (?, ?)",
        [(f.example_id, f.check) for f in kept if f.severity is not Severity.INFO],
    )


def _remove(db: Database, ids: Sequence[int], checks: Collection[str]) -> None:
    where = f"example_id IN ({placeholders(len(ids))})"
    names = placeholders(len(checks))
    db.execute(f"DELETE FROM findings WHERE {where} AND check_name IN ({names})", [*ids, *checks])
    db.execute(f"DELETE FROM example_flags WHERE {where} AND flag IN ({names})", [*ids, *checks])
