"""Datasets by name, with the counts of their examples."""

from __future__ import annotations

import builtins
import sqlite3
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from workbench.domain.datasets import Dataset
from workbench.domain.models import check_name
from workbench.store.naming import find
from workbench.store.queries import VISIBLE
from workbench.store.rows import now_utc

if TYPE_CHECKING:
    from workbench.store.store import Store

# Answered by this index alone, in its order.
_COUNTS = f"""
SELECT e.dataset_id, e.status, e.kind, count(*) AS n FROM examples e INDEXED BY examples_counts WHERE {VISIBLE}
"""
_IS_THERE = (
    "NOT EXISTS (SELECT 1 FROM imports i WHERE i.state IN ('staging', 'removing') "
    "AND i.dataset = d.name AND i.created_utc = d.created_utc)"
)


class Datasets:
    """Named sets of examples. A dataset is made by the first use of its name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ensure(self, name: str) -> Dataset:
        """The dataset of this name, made now if there is none; raises ``DataError`` for a name that cannot be one."""
        return self.get(self.ensure_id(name))

    def ensure_id(self, name: str, *, now: str = "") -> int:
        """The id of the dataset of this name, made now if there is none; counts nothing."""
        check_name(name, what="dataset")
        with self._store.write() as db:
            db.execute(
                "INSERT INTO datasets (name, created_utc) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
                [name, now or now_utc()],
            )
            return int(db.execute("SELECT id FROM datasets WHERE name = ?", [name]).fetchone()["id"])

    def get(self, name_or_id: str | int) -> Dataset:
        """The dataset of this name or, failing that, id or unique start of a name; raises ``NotFoundError``."""
        dataset_id = self.id_of(name_or_id)
        connection = self._store.read()
        row = connection.execute("SELECT * FROM datasets WHERE id = ?", [dataset_id]).fetchone()
        counts = connection.execute(f"{_COUNTS} AND e.dataset_id = ? GROUP BY 1, 2, 3", [dataset_id])
        return _dataset(row, counts)

    def id_of(self, name_or_id: str | int) -> int:
        """The id of the dataset that is meant, as for ``get``; counts nothing."""
        return find(self._store.read(), "datasets", name_or_id)

    def list(self) -> list[Dataset]:
        """Every dataset by name, except one that was made for an import that is still on its way."""
        connection = self._store.read()
        counts: dict[int, builtins.list[sqlite3.Row]] = {}
        for row in connection.execute(f"{_COUNTS} GROUP BY 1, 2, 3"):
            counts.setdefault(row["dataset_id"], []).append(row)
        rows = connection.execute(f"SELECT * FROM datasets d WHERE {_IS_THERE} ORDER BY name")
        return [_dataset(row, counts.get(row["id"], ())) for row in rows]


def _dataset(row: sqlite3.Row, counts: Iterable[sqlite3.Row]) -> Dataset:
    by_name: Counter[str] = Counter()
    for found in counts:
        by_name.update({"total": found["n"], found["status"]: found["n"], f"{found['kind']}s": found["n"]})
    return Dataset(row["id"], row["name"], row["created_utc"], **by_name)
