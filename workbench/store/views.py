"""Views: lists of examples that somebody gave a name, by what they show and in which order."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from workbench.domain.models import check_name
from workbench.domain.queries import View
from workbench.errors import NotFoundError
from workbench.store.rows import now_utc

if TYPE_CHECKING:
    from workbench.store.store import Store


class Views:
    """Views by name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, view: View) -> None:
        """Keep a view under its name, instead of the one before; raises ``DataError`` for what cannot be a name."""
        check_name(view.name, what="view")
        with self._store.write() as db:
            db.execute(
                "INSERT INTO views (name, dataset, query, sort, created_utc) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET dataset = excluded.dataset, query = excluded.query, "
                "sort = excluded.sort",
                [view.name, view.dataset, view.query, view.order, now_utc()],
            )

    def list(self) -> builtins.list[View]:
        """Every view, by name."""
        rows = self._store.read().execute("SELECT name, dataset, query, sort FROM views ORDER BY name")
        return [View(*row) for row in rows]

    def get(self, name: str) -> View:
        """The view of this name; raises ``NotFoundError``."""
        sql = "SELECT name, dataset, query, sort FROM views WHERE name = ?"
        row = self._store.read().execute(sql, [name]).fetchone()
        if row is None:
            raise NotFoundError(f"there is no view {name!r}", hint="`workbench views list` shows them")
        return View(*row)

    def delete(self, name: str) -> None:
        """Forget a view; raises ``NotFoundError``. The examples in it stay as they are."""
        with self._store.write() as db:
            if db.execute("DELETE FROM views WHERE name = ?", [name]).rowcount == 0:
                raise NotFoundError(f"there is no view {name!r}", hint="`workbench views list` shows them")
