"""Drafts: text that a person has typed and not sent yet, kept by key so that no crash takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.domain.chats import storable
from workbench.store.rows import now_utc

if TYPE_CHECKING:
    from workbench.store.store import Store


class Drafts:
    """Texts by key, such as ``chat:3`` or ``edit:message:12``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, key: str, text: str, *, durable: bool = True) -> None:
        """Keep ``text`` under ``key``, instead of what was there. One that is not ``durable`` a power cut may take."""
        with self._store.write(durable=durable) as db:
            db.execute(
                "INSERT INTO drafts (key, text, updated_utc) VALUES (?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET text = excluded.text, updated_utc = excluded.updated_utc",
                [key, storable(text), now_utc()],
            )

    def get(self, key: str) -> str:
        """The text under ``key``; empty when there is none."""
        row = self._store.read().execute("SELECT text FROM drafts WHERE key = ?", [key]).fetchone()
        return str(row["text"]) if row else ""

    def delete(self, key: str) -> None:
        """Forget the text under ``key``, if any."""
        with self._store.write() as db:
            db.execute("DELETE FROM drafts WHERE key = ?", [key])
