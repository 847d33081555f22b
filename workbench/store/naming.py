"""How a person addresses a dataset, model or run: by name, by id, or by the start of a name when only one has it."""

from __future__ import annotations

import sqlite3

from workbench.domain.methods import nearest
from workbench.errors import NotFoundError, UsageError

_WORDS = {"datasets": "dataset", "models": "model", "runs": "run"}


def find(connection: sqlite3.Connection, table: str, address: str | int) -> int:
    """The id in ``table`` that is meant; of several rows with the very same name, the newest.

    Raises ``NotFoundError`` with the nearest name, or ``UsageError`` when a start of names fits several.
    """
    what = _WORDS[table]
    text = str(address)
    row = None
    if isinstance(address, str):
        row = connection.execute(f"SELECT id FROM {table} WHERE name = ? ORDER BY id DESC", [text]).fetchone()
    if row is None and text.isascii() and text.isdigit():
        row = connection.execute(f"SELECT id FROM {table} WHERE id = ?", [min(int(text), 2**63 - 1)]).fetchone()
    if row is not None:
        return int(row["id"])
    if isinstance(address, int):
        raise NotFoundError(f"there is no {what} {address}", hint=f"`workbench {table} list` shows them")
    names = {
        found["name"]: int(found["id"]) for found in connection.execute(f"SELECT id, name FROM {table} ORDER BY id")
    }
    starting = [name for name in names if text and name.startswith(text)]
    if len(starting) > 1:
        raise UsageError(f"{text!r} fits several: {', '.join(sorted(starting)[:8])}", hint="write more of the name")
    if starting:
        return names[starting[0]]
    hint = nearest(text, names) if names else f"there is no {what} yet"
    raise NotFoundError(f"there is no {what} {text!r}", hint=hint)
