"""One gesture on many examples: written in transactions of a few milliseconds, taken back by one undo.

Owns the same change as ``Examples.change`` makes, as SQL over a piece of the examples at a time. Between two pieces
others may write; a process that is killed leaves the first pieces done, as one gesture that can be undone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from workbench.domain.datasets import refuse_locked
from workbench.domain.decisions import Action
from workbench.domain.examples import Split
from workbench.errors import NotFoundError
from workbench.store.queries import VISIBLE
from workbench.store.rows import chunks, now_utc

if TYPE_CHECKING:
    from sqlite_utils import Database

    from workbench.store.decisions import Decisions
    from workbench.store.store import Store

# How long one transaction aims to last, for how many rows it is tried first, and the pause in which others write.
AIM_SECONDS, PAUSE_SECONDS = 0.04, 0.006
FIRST_ROWS, MOST_ROWS = 500, 20_000
_CHECKED = 20_000
_HERE = "e.id IN (SELECT value FROM json_each(:ids))"
_TAGS_NOW = "(SELECT json_group_array(tag) FROM example_tags WHERE example_id = e.id)"
_TAGS_THEN = """(SELECT json_group_array(tag) FROM (
    SELECT tag FROM example_tags WHERE example_id = e.id UNION SELECT value FROM json_each(:add_tags) ORDER BY 1
) WHERE tag NOT IN (SELECT value FROM json_each(:remove_tags)))"""

Columns = Mapping[str, str | int]


def change_many(
    store: Store,
    decisions: Decisions,
    ids: Sequence[int],
    action: Action,
    *,
    rater: str,
    columns: Columns,
    add_tags: Sequence[str] = (),
    remove_tags: Sequence[str] = (),
    unlock: bool = False,
) -> int:
    """Set ``columns`` and tags of all these examples; returns the decision group.

    Raises as ``Examples.change`` does, before anything is changed. An example that somebody takes away while this is
    on its way is passed over.
    """
    _check(store, ids, columns, unlock=unlock)
    set_columns = {**columns, "rater": rater}
    given = {
        "add_tags": json.dumps([*add_tags]),
        "remove_tags": json.dumps([*remove_tags]),
        "split_lock": "" if unlock or "split" not in columns else Split.TEST.value,
        "action": action.value,
        **{f"to_{name}": value for name, value in set_columns.items()},
    }
    statements = _statements(set_columns, has_tags=bool(add_tags or remove_tags))
    group, at, count = 0, 0, FIRST_ROWS
    while at < len(ids):
        begun, piece = time.monotonic(), ids[at : at + count]
        at += len(piece)
        with store.write(durable=at >= len(ids)) as db:
            group = group or decisions.begin(rater)
            values = {**given, "group": group, "now": now_utc(), "ids": json.dumps([*piece])}
            for statement in statements:
                _run(db, statement, values)
        count = next_count(count, time.monotonic() - begun)
        if at < len(ids):
            time.sleep(PAUSE_SECONDS)
    return group


def next_count(count: int, seconds: float) -> int:
    """How many rows the next transaction takes, from how long this one took."""
    return max(FIRST_ROWS // 10, min(MOST_ROWS, round(count * max(0.5, min(1.5, AIM_SECONDS / max(seconds, 1e-4))))))


def _run(db: Database, statement: str, values: Mapping[str, object]) -> None:
    db.conn.execute(statement, values)


def _check(store: Store, ids: Sequence[int], columns: Columns, *, unlock: bool) -> None:
    """All of them must be there, and none locked, before the first is changed."""
    for piece in chunks(ids, _CHECKED):
        sql = f"SELECT e.id, e.split FROM examples e WHERE {_HERE} AND {VISIBLE}"
        found = dict(store.read().execute(sql, {"ids": json.dumps(piece)}).fetchall())
        if missing := next((example_id for example_id in piece if example_id not in found), None):
            raise NotFoundError(f"there is no example {missing}", hint="`workbench examples list` shows them")
        if "split" in columns and not unlock:
            for example_id, split in found.items():
                if split == Split.TEST.value != columns["split"]:
                    refuse_locked(example_id, ["split"])


def _statements(columns: Columns, *, has_tags: bool) -> list[str]:
    """The decisions first, while the rows are still what they were."""
    condition = f"{_HERE} AND {VISIBLE} AND (e.split <> :split_lock OR :split_lock = '')"
    parts = [(name, f"json_quote(e.{name})", f"json_quote(:to_{name})") for name in columns]
    parts += [("tags", _TAGS_NOW, _TAGS_THEN)] if has_tags else []
    before = " || ".join(f"""iif({now} IS {then}, '', ',"{name}":' || {now})""" for name, now, then in parts)
    after = " || ".join(f"""iif({now} IS {then}, '', ',"{name}":' || {then})""" for name, now, then in parts)
    decide = (
        "INSERT INTO decisions (group_id, example_id, action, before, after, rater, created_utc) "
        f"SELECT :group, e.id, :action, '{{' || substr({before}, 2) || '}}', '{{' || substr({after}, 2) || '}}', "
        f":to_rater, :now FROM examples e WHERE {condition} ORDER BY e.id"
    )
    there = f"SELECT e.id FROM examples e WHERE {condition}"
    tag = [
        f"DELETE FROM example_tags WHERE example_id IN ({there}) "
        "AND tag IN (SELECT value FROM json_each(:remove_tags))",
        f"INSERT OR IGNORE INTO example_tags SELECT e.id, t.value FROM ({there}) e, json_each(:add_tags) t "
        "WHERE t.value NOT IN (SELECT value FROM json_each(:remove_tags))",
    ]
    assignments = ", ".join(f"{name} = :to_{name}" for name in columns)
    update = f"UPDATE examples SET {assignments}, updated_utc = :now WHERE id IN ({there})"
    return [decide, *(tag if has_tags else []), update]
