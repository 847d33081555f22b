"""The model registry's rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.domain.models import Model, ModelKind, check_name
from workbench.errors import NotFoundError, RefusedError
from workbench.store.naming import find
from workbench.store.rows import now_utc

if TYPE_CHECKING:
    from workbench.store.store import Store


class Models:
    """Registered models."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        name: str,
        kind: ModelKind,
        path: str,
        *,
        base: str = "",
        run_id: int | None = None,
        sha256: str = "",
        format: str = "safetensors",
        note: str = "",
        key_source: str = "",
    ) -> Model:
        """Register a model; raises ``RefusedError`` when the name is taken, ``DataError`` when it cannot be a name.

        Comparisons name models: a name that stands in some is only given to the model that had it then.
        """
        check_name(name)
        with self._store.write() as db:
            if db.execute("SELECT 1 FROM models WHERE name = ?", [name]).fetchone():
                raise RefusedError(f"a model called {name!r} is registered already", hint="give another name")
            if name in self._compared_as_another(path, sha256):
                raise RefusedError(
                    f"{name!r} was another model, and comparisons stand under that name", hint="give another name"
                )
            cursor = db.execute(
                "INSERT INTO models (name, kind, path, base, run_id, sha256, format, note, created_utc, key_source) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [name, kind.value, path, base, run_id, sha256, format, note, now_utc(), key_source],
            )
            row = db.execute("SELECT * FROM models WHERE id = ?", [cursor.lastrowid]).fetchone()
            return _model(row)

    def get(self, address: str | int) -> Model:
        """The model of this name, id or unique start of a name; raises ``NotFoundError`` or ``UsageError``."""
        connection = self._store.read()
        model_id = find(connection, "models", address)
        return _model(connection.execute("SELECT * FROM models WHERE id = ?", [model_id]).fetchone())

    def list(self) -> list[Model]:
        """Every model, in the order in which they were registered."""
        return [_model(row) for row in self._store.read().execute("SELECT * FROM models ORDER BY id")]

    def speakers(self) -> Sequence[Model]:
        """Every model that answers: all but those that score the answers of others."""
        return [model for model in self.list() if model.kind is not ModelKind.REWARD]

    def trainable(self) -> Sequence[Model]:
        """Every model that a run can start from: those that answer and whose weights are here."""
        return [model for model in self.speakers() if model.kind is not ModelKind.ENDPOINT]

    def remove(self, address: str | int) -> Model:
        """Take a model out of the registry and return it; its files stay. Refused while adapters need it as a base."""
        with self._store.write() as db:
            model = self.get(address)
            needing = [row["name"] for row in db.execute("SELECT name FROM models WHERE base = ?", [model.name])]
            if needing:
                raise RefusedError(f"{model.name} is the base of {', '.join(needing)}", hint="remove those first")
            db.execute("DELETE FROM models WHERE id = ?", [model.id])
            db.execute(
                "INSERT OR REPLACE INTO removed_models (name, path, sha256, removed_utc) VALUES (?, ?, ?, ?)",
                [model.name, model.path, model.sha256, now_utc()],
            )
            return model

    def move(self, model_id: int, path: str) -> None:
        """Have a model lie at another place."""
        with self._store.write() as db:
            db.execute("UPDATE models SET path = ? WHERE id = ?", [path, model_id])

    def take_key_from(self, model_id: int, key_source: str) -> Model:
        """Have a model on a server send the key that is at another place; gives the model back."""
        with self._store.write() as db:
            db.execute("UPDATE models SET key_source = ? WHERE id = ?", [key_source, model_id])
        return self.get(model_id)

    def taken_names(self, path: str, sha256: str) -> set[str]:
        """The names that this model cannot have: of registered ones, and of other ones on which people compared."""
        return {model.name for model in self.list()} | self._compared_as_another(path, sha256)

    def _compared_as_another(self, path: str, sha256: str) -> set[str]:
        sql = (
            "SELECT name, path, sha256 FROM removed_models m WHERE EXISTS "
            "(SELECT 1 FROM comparisons c WHERE c.a_model = m.name OR c.b_model = m.name)"
        )
        return {
            row["name"]
            for row in self._store.read().execute(sql)
            if (row["sha256"] != sha256 if row["sha256"] and sha256 else row["path"] != path)
        }

    def default(self) -> Model:
        """The model that is used when none is named: the base registered first, without one the first endpoint.

        Raises ``NotFoundError``.
        """
        sql = "SELECT * FROM models WHERE kind IN (?, ?) ORDER BY kind, id LIMIT 1"  # "base" sorts before "endpoint"
        row = self._store.read().execute(sql, [ModelKind.BASE.value, ModelKind.ENDPOINT.value]).fetchone()
        if row is None:
            raise NotFoundError("no model is registered", hint="`workbench models add PATH_OR_ID`")
        return _model(row)


def _model(row: sqlite3.Row) -> Model:
    return Model(**{**dict(row), "kind": ModelKind(row["kind"])})
