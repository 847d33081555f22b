"""Presets: a system prompt and sampling under a name, for any chat."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from workbench.domain.chats import Preset, Sampling, storable
from workbench.errors import NotFoundError
from workbench.store.rows import now_utc, sampling_from_json, sampling_json

if TYPE_CHECKING:
    from workbench.store.store import Store


class Presets:
    """Saved ways to ask."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, name: str, *, system: str, sampling: Sampling) -> Preset:
        """Keep both under ``name``, instead of what was there."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO presets (name, system, sampling, created_utc) VALUES (?, ?, ?, ?) ON CONFLICT (name) "
                "DO UPDATE SET system = excluded.system, sampling = excluded.sampling",
                [storable(name), storable(system), sampling_json(sampling), now_utc()],
            )
        return self.get(name)

    def get(self, name: str) -> Preset:
        """The preset; raises ``NotFoundError``."""
        row = self._store.read().execute("SELECT * FROM presets WHERE name = ?", [storable(name)]).fetchone()
        if row is None:
            raise NotFoundError(f"there is no preset {name!r}", hint="`workbench presets list` shows them")
        return Preset(row["name"], row["system"], sampling_from_json(row["sampling"]))

    def list(self) -> builtins.list[Preset]:
        """Every preset, by name."""
        rows = self._store.read().execute("SELECT * FROM presets ORDER BY name")
        return [Preset(row["name"], row["system"], sampling_from_json(row["sampling"])) for row in rows]

    def remove(self, name: str) -> None:
        """Forget it; raises ``NotFoundError``."""
        with self._store.write() as db:
            self.get(name)
            db.execute("DELETE FROM presets WHERE name = ?", [storable(name)])
