"""Datasets by name, with the counts of their examples."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from workbench.domain.datasets import Dataset
from workbench.domain.models import check_name
from workbench.store.naming import find
from workbench.store.queries import VISIBLE
from workbench.store.rows import now_utc

if TYPE_CHECKING:
    from workbench.store.store import Store

# One pass over the covering index (dataset_id, status, kind); hidden examples are not in it.
_WITH_COUNTS = f"""
SELECT d.id, d.name, d.created_utc, count(e.dataset_id) AS total,
    sum(e.status IS 'pending') AS pending, sum(e.status IS 'accepted') AS accepted,
    sum(e.status IS 'rejected') AS rejected, sum(e.kind IS 'demonstration') AS demonstrations,
    sum(e.kind IS 'preference') AS preferences, sum(e.kind IS 'judgement') AS judgements,
    sum(e.kind IS 'text') AS texts, sum(e.kind IS 'prompt') AS prompts
FROM datasets d LEFT JOIN examples e ON e.dataset_id = d.id AND {VISIBLE}
"""


class Datasets:
    """Named sets of examples. A dataset is made by the first use of its name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ensure(self, name: str) -> Dataset:
        """The dataset of this name, made now if there is none; raises ``DataError`` for a name that cannot be one."""
        check_name(name, what="dataset")
        with self._store.write() as db:
            db.execute(
                "INSERT INTO datasets (name, created_utc) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
                [name, now_utc()],
            )
            return self.get(name)

    def get(self, name_or_id: str | int) -> Dataset:
        """The dataset of this name or, failing that, id or unique start of a name; raises ``NotFoundError``."""
        found = find(self._store.read(), "datasets", name_or_id)
        row = self._store.read().execute(f"{_WITH_COUNTS} WHERE d.id = ? GROUP BY d.id", [found]).fetchone()
        return _dataset(row)

    def list(self) -> list[Dataset]:
        """Every dataset by name."""
        return [_dataset(row) for row in self._store.read().execute(f"{_WITH_COUNTS} GROUP BY d.id ORDER BY d.name")]


def _dataset(row: sqlite3.Row) -> Dataset:
    return Dataset(**dict(row))
