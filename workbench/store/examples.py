"""Examples, and what people decided about them.

Owns an example's row and its place in the full-text index; how it is written in columns is told in ``columns.py``.
Every change goes through a decision (see ``decisions.py`` beside this), so that it can be undone.
"""

from __future__ import annotations

import builtins
import json
import sqlite3
import threading
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from workbench.domain.chats import storable
from workbench.domain.datasets import refuse_locked
from workbench.domain.decisions import Action, Decision, Newest, Undone
from workbench.domain.decisions import undone as turned
from workbench.domain.examples import (
    Content,
    Example,
    ExampleRow,
    Kind,
    NewExample,
    Source,
    SourceKind,
    Split,
    Status,
)
from workbench.domain.queries import Query
from workbench.errors import NotFoundError
from workbench.store import bulk, findings, hashes, hiding
from workbench.store.columns import (
    COLUMNS,
    MODELS_SQL,
    content_fields,
    content_of,
    insert_sql,
    new_values,
    source_json,
    source_of,
    stored,
    texts,
)
from workbench.store.decisions import Decisions, Fields
from workbench.store.lists import Lists, Piece, Window
from workbench.store.queries import AT_HOME, VISIBLE
from workbench.store.rows import IDS_PER_STATEMENT, now_utc, placeholders

if TYPE_CHECKING:
    from sqlite_utils import Database

    from workbench.store.store import Store

MANY = 500
_SHOWN_CHARACTERS = 240
_TAGS = "(SELECT json_group_array(tag) FROM example_tags WHERE example_id = e.id)"
_FLAGS = "(SELECT json_group_array(flag) FROM example_flags WHERE example_id = e.id)"
_FLAGS_BY_HAND = """(SELECT json_group_array(flag) FROM example_flags f WHERE example_id = e.id
    AND NOT EXISTS (SELECT 1 FROM findings WHERE example_id = e.id AND check_name = f.flag))"""
_FULL = f"""
SELECT e.id, d.name AS dataset, e.kind, e.status, e.split, e.label, e.rating, e.rater, e.source, e.created_utc,
    e.updated_utc, e.note, e.prompt, e.chosen, e.rejected, e.tools, {_TAGS} AS tags, {_FLAGS} AS flags
FROM examples e JOIN datasets d ON d.id = e.dataset_id
"""
_SHORT = f"""
SELECT e.id, e.kind, e.status, e.split, e.rating, e.source_kind, substr(e.note, 1, {_SHOWN_CHARACTERS}) AS note,
    substr(e.prompt_text, 1, {_SHOWN_CHARACTERS}) AS prompt, substr(e.answer_text, 1, {_SHOWN_CHARACTERS}) AS answer,
    {_TAGS} AS tags, {_FLAGS} AS flags
FROM examples e
"""
INDEX = """
INSERT INTO examples_fts(rowid, prompt_text, answer_text, context_text, rejected_text, note)
SELECT id, prompt_text, answer_text, context_text, rejected_text, note FROM examples WHERE id BETWEEN ? AND ?
"""


class Examples:
    """Examples by dataset, their lists, and the gestures on them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decisions = Decisions(store)
        self._lists = Lists(store)

    def add(
        self,
        dataset: str,
        content: Content,
        *,
        source: Source,
        status: Status,
        rater: str,
        split: Split = Split.NONE,
        tags: Sequence[str] = (),
        note: str = "",
        group: int | None = None,
        facts: Mapping[str, str | int] | None = None,
    ) -> tuple[Example, bool]:
        """The example and True; or, when the dataset has the same content, that example untouched and False.

        One whose creation was undone comes back, with what is given here, and counts as new. ``group`` joins the
        decision to others, for one undo; None begins a new one. ``facts`` are kept with the decision, as by ``change``.
        """
        new = NewExample(content, source, status, split, tuple(tags), note)
        with self._store.write() as db:
            group = group or self._decisions.begin(rater)
            found, is_new = self._put(
                db, self._store.datasets.ensure_id(dataset), new, rater=rater, group=group, facts=facts
            )
            if is_new is _INSERTED:
                db.execute(INDEX, [found, found])
            return self.get(found), is_new is not _PRESENT

    def new_group(self, rater: str) -> int:
        """A group for several ``add`` calls that one undo takes back. Only sure inside the same ``write()``."""
        with self._store.write():
            return self._decisions.begin(rater)

    def add_many(
        self, dataset: str, rows: Iterable[NewExample], *, rater: str, status: Status, group: int | None = None
    ) -> tuple[int, int]:
        """How many were new and how many the dataset had already; all in one transaction, undone by one undo.

        ``group`` as for ``add``.
        """
        counts = {_INSERTED: 0, _REVIVED: 0, _PRESENT: 0}
        with self._store.write() as db:
            dataset_id = self._store.datasets.ensure_id(dataset)
            group = group or self._decisions.begin(rater)
            last = db.execute("SELECT coalesce(max(id), 0) FROM examples").fetchone()[0]
            for new in rows:
                new = new if new.status else replace(new, status=status)
                _, outcome = self._put(db, dataset_id, new, rater=rater, group=group)
                counts[outcome] += 1
            # Word by word indexing costs twice as much as one pass at the end.
            db.execute(INDEX, [last + 1, 2**63 - 1])
        return counts[_INSERTED] + counts[_REVIVED], counts[_PRESENT]

    def present(self, example_ids: Collection[int]) -> int:
        """How many of these are in the store, deleted ones that can be brought back too."""
        sql = "SELECT count(*) AS n FROM examples WHERE id IN (SELECT value FROM json_each(?))"
        return int(self._store.read().execute(sql, [json.dumps(sorted(example_ids))]).fetchone()["n"])

    def get(self, example_id: int) -> Example:
        """The example; raises ``NotFoundError``, also for one whose creation was undone."""
        sql = f"{_FULL} WHERE e.id = ? AND {VISIBLE}"
        row = self._store.read().execute(sql, [example_id]).fetchone()
        if row is None:
            raise NotFoundError(f"there is no example {example_id}", hint="`workbench examples list` shows them")
        return _example(row)

    def ids(self, query: Query, *, dataset: str | int | None = None, order: str = "id") -> array[int]:
        """The ids of all examples that match, in order: 8 bytes each, so that a list of a million is cheap."""
        ids = array("q")
        for piece in self.pieces(query, dataset=dataset, order=order):
            ids += piece.ids
        return ids

    def pieces(
        self,
        query: Query,
        *,
        dataset: str | int | None = None,
        order: str = "id",
        cancelled: threading.Event | None = None,
    ) -> Iterator[Piece]:
        """What ``ids`` gives, in pieces, and how many have each status; ends early when ``cancelled`` is set."""
        return self._lists.pieces(query, dataset_id=self._dataset_id(dataset), order=order, cancelled=cancelled)

    def window(
        self, query: Query, *, dataset: str | int | None = None, order: str = "id", around: int | None = None
    ) -> Window:
        """The ids that a list shows first: those around one example, or the first of all (see ``Lists.window``)."""
        return self._lists.window(query, dataset_id=self._dataset_id(dataset), order=order, around=around)

    def page(self, ids: Sequence[int]) -> builtins.list[ExampleRow | None]:
        """Short forms of these examples, in this order; None for one that is not there any more."""
        found: dict[int, ExampleRow] = {}
        for chunk in _chunks(ids):
            sql = f"{_SHORT} WHERE e.id IN ({placeholders(len(chunk))}) AND {VISIBLE}"
            found.update((row["id"], _short(row)) for row in self._store.read().execute(sql, chunk))
        return [found.get(example_id) for example_id in ids]

    def list(
        self, query: Query, *, dataset: str | int | None = None, after: int = 0, limit: int = 100
    ) -> builtins.list[Example]:
        """Whole examples that match, by id, beginning after id ``after``."""
        return self.many(self._lists.after(query, dataset_id=self._dataset_id(dataset), after=after, limit=limit))

    def many(self, ids: Sequence[int]) -> builtins.list[Example]:
        """These whole examples, by id; those that are not there any more are left out.

        With ``ids`` this is the way to walk through many: ``list`` searches again for every page.
        """
        found: builtins.list[Example] = []
        for chunk in _chunks(ids):
            sql = f"{_FULL} WHERE e.id IN ({placeholders(len(chunk))}) AND {VISIBLE} ORDER BY e.id"
            found += [_example(row) for row in self._store.read().execute(sql, chunk)]
        return found

    def digests(self, ids: Sequence[int]) -> dict[int, tuple[bytes, Split]]:
        """The hash of each example's content, and its split, as they are now; those that are gone are left out."""
        found: dict[int, tuple[bytes, Split]] = {}
        for chunk in _chunks(ids):
            sql = (
                f"SELECT e.id, e.hash, e.split FROM examples e WHERE e.id IN ({placeholders(len(chunk))}) AND {VISIBLE}"
            )
            rows = self._store.read().execute(sql, chunk)
            found.update((row["id"], (row["hash"], Split(row["split"]))) for row in rows)
        return found

    def count(self, query: Query, dataset: str | int | None = None) -> int:
        """How many examples match."""
        return self._lists.count(query, dataset_id=self._dataset_id(dataset))

    def counts(
        self, dataset: str | int | None = None, *, cancelled: threading.Event | None = None
    ) -> dict[Status, int]:
        """How many examples have each status; not all of them are counted when ``cancelled`` was set meanwhile."""
        return self._lists.counts(self._dataset_id(dataset), cancelled)

    def statuses(self, ids: Sequence[int], *, cancelled: threading.Event | None = None) -> dict[Status, int]:
        """How many of these examples have each status now; ``cancelled`` as for ``counts``."""
        return self._lists.statuses(ids, cancelled)

    def change(
        self,
        ids: Sequence[int],
        action: Action,
        *,
        rater: str,
        status: Status | None = None,
        split: Split | None = None,
        add_tags: Sequence[str] = (),
        remove_tags: Sequence[str] = (),
        add_flags: Sequence[str] = (),
        remove_flags: Sequence[str] = (),
        note: str | None = None,
        rating: int | None = None,
        content: Content | None = None,
        hidden: bool | None = None,
        group: int | None = None,
        unlock: bool = False,
        facts: Mapping[str, str | int] | None = None,
    ) -> int:
        """Change what is given on every one of these examples; returns the decision group that one undo takes back.

        ``group`` joins the change to others; None begins a new group. ``hidden`` takes examples away until an undo.
        ``facts`` (how it was decided) are kept with the decision, beside the fields, and never change the example.

        All or nothing: raises ``NotFoundError`` when one of them is not there, and ``RefusedError`` when the content
        or split of one in the test split would change, unless ``unlock`` says that it is meant. More than ``MANY``
        are changed a piece at a time (see ``bulk.py``).
        """
        given: Fields = {}
        given |= {"status": status.value} if status else {}
        given |= {"split": split.value} if split else {}
        given |= {"note": storable(note)} if note is not None else {}
        given |= {"rating": rating} if rating is not None else {}
        if len(ids) > MANY and not (content or hidden is not None or facts):
            labels = [bulk.tags([*map(storable, add_tags)], remove_tags)] if add_tags or remove_tags else []
            labels += [bulk.flags([*map(storable, add_flags)], remove_flags)] if add_flags or remove_flags else []
            change_many = partial(bulk.change_many, self._store, self._decisions, ids, action)
            return change_many(rater=rater, columns=given, labels=labels, unlock=unlock, group=group or 0)
        given |= {"rater": rater}
        given |= {"content": content_fields(content)} if content else {}
        given |= {"deleted": hidden} if hidden is not None else {}
        with self._store.write() as db:
            group = group or self._decisions.begin(rater)
            for example_id in ids:
                before = self._fields(db, example_id)
                after = dict(before) | given
                after["tags"] = sorted({*before["tags"], *map(storable, add_tags)} - {*remove_tags})
                after["flags"] = sorted({*before["flags"], *map(storable, add_flags)} - {*remove_flags})
                changed = [name for name in after if after[name] != before[name]]
                if before["split"] == Split.TEST.value and not unlock:
                    refuse_locked(example_id, changed)
                self._write(db, example_id, {name: after[name] for name in changed})
                self._decisions.add(
                    group,
                    example_id,
                    action,
                    before={name: before[name] for name in changed},
                    after={name: after[name] for name in changed} | dict(facts or {}),
                    rater=rater,
                )
            return group

    def deal(self, dealt: Mapping[Split, Sequence[int]], *, rater: str) -> int:
        """Give these examples their split, a piece at a time; returns the group, or 0 when there are none.

        One that is gone, or has got a split since, is passed over.
        """
        return bulk.deal(self._store, self._decisions, dealt, rater=rater)

    def hide(self, ids: Sequence[int], *, rater: str) -> int:
        """Take these examples away until an undo, a piece at a time; returns the group.

        One that is gone is passed over.
        """
        return bulk.hide(self._store, self._decisions, ids, rater=rater)

    def undo(self, rater: str) -> Undone | None:
        """Take back this rater's newest gesture; None when nothing is left. Works across restarts, without limit.

        A field that somebody has changed since is left as it is now.
        """
        large = self._large_import(rater, "done")
        undone = self._decisions.undo(rater, lambda db, decision: self._move(db, decision, back=True))
        if large is None or not hiding.settle(self._store, large):  # something newer was taken back instead
            return undone
        return turned(Action.CREATE, hiding.ids(self._store, large))

    def redo(self, rater: str) -> Undone | None:
        """Do again what this rater undid last; None when nothing was, or something else was done since."""
        large = self._large_import(rater, "undone")
        if large is not None:
            hiding.unmark(self._store, large)
        redone = self._decisions.redo(rater, lambda db, decision: self._move(db, decision, back=False))
        if large is None or hiding.settle(self._store, large):
            return redone
        return turned(Action.CREATE, hiding.ids(self._store, large))

    def _large_import(self, rater: str, state: str) -> int | None:
        """The import that is turned next, when it is a large one; what is left of others is done with then."""
        found = self._decisions.next_import(rater, state)
        if found is None or not hiding.is_large(self._store, found):
            return None
        self._store.imports.sweep()
        return found

    def newest(self, rater: str) -> Newest | None:
        """The gesture that ``undo`` would take back; None when nothing is left."""
        return self._decisions.newest(rater)

    def find(self, dataset: str, content: Content) -> Example | None:
        """The dataset's example with this very content, None when it has none."""
        named = self._store.read().execute("SELECT id FROM datasets WHERE name = ?", [dataset]).fetchone()
        values = [named and named["id"], bytes.fromhex(stored(content).hash())]
        sql = f"{_FULL} WHERE e.id IN ({hashes.THERE}) AND {VISIBLE}"
        row = self._store.read().execute(sql, values).fetchone()
        return _example(row) if row else None

    def source(self, example_id: int) -> Source:
        """Where an example came from, also for one whose creation was undone; raises ``NotFoundError``."""
        row = self._store.read().execute("SELECT source FROM examples WHERE id = ?", [example_id]).fetchone()
        if row is None:
            raise NotFoundError(f"there is no example {example_id}", hint="`workbench examples list` shows them")
        return source_of(row["source"])

    def made_in(self, chat_id: int) -> Sequence[int]:
        """The ids of the examples that were made in a chat."""
        sql = (
            f"SELECT e.id FROM examples e WHERE instr(e.source, ?) AND json_extract(e.source, ?) = ? AND {AT_HOME} "
            f"AND {VISIBLE} ORDER BY e.id"
        )
        rows = self._store.read().execute(sql, ['"chat_id"', "$.chat_id", chat_id])
        return [int(row["id"]) for row in rows]

    def copies_of(self, example_ids: Sequence[int]) -> dict[int, set[int]]:
        """For each of these, the ids of the examples that were copied or made from it."""
        found: dict[int, set[int]] = {example_id: set() for example_id in example_ids}
        for chunk in _chunks(example_ids):  # every row is read once for all of them, and few rows have origins
            sql = (
                "SELECT o.value AS origin, e.id AS copy FROM examples e, json_each(e.source, ?) o "
                f"WHERE instr(e.source, ?) AND o.value IN ({placeholders(len(chunk))}) AND {AT_HOME} AND {VISIBLE}"
            )
            for row in self._store.read().execute(sql, ["$.origins", '"origins"', *chunk]):
                found[row["origin"]].add(row["copy"])
        return found

    def answer_pairs(self) -> set[frozenset[int]]:
        """The ids of the two answers of every pair that was made in a chat."""
        # found by the narrow index: the rows themselves are a hundred times as much to read
        sql = (
            "SELECT json_extract(e.source, '$.message_id'), json_extract(e.source, '$.other_message_id') "
            "FROM examples e WHERE e.id IN (SELECT f.id FROM examples f INDEXED BY examples_facts WHERE "
            f"f.source_kind IN (?, ?) AND f.deleted_utc IS NULL) AND {AT_HOME} AND {VISIBLE}"
        )
        rows = self._store.read().execute(sql, [SourceKind.CHAT_PICK.value, SourceKind.CHAT_EDIT.value])
        return {frozenset(row) for row in rows}

    def verdicts(self, rater: str) -> dict[str, int]:
        """How often this rater gave each blind verdict on a pair; what was undone does not count."""
        return self._decisions.verdicts(rater)

    def history(self, example_id: int) -> builtins.list[Decision]:
        """Everything that was decided about an example, oldest first, also what was undone."""
        return self._decisions.history(example_id)

    def _dataset_id(self, dataset: str | int | None) -> int | None:
        return None if dataset is None or dataset == "" else self._store.datasets.id_of(dataset)

    def _put(
        self,
        db: Database,
        dataset_id: int,
        new: NewExample,
        *,
        rater: str,
        group: int,
        facts: Mapping[str, str | int] | None = None,
    ) -> tuple[int, str]:
        """Insert or revive ``new``, with its decision. The caller puts inserted rows into the text index."""
        new = replace(new, content=stored(new.content))
        digest = bytes.fromhex(new.content.hash())
        row = db.execute(
            f"SELECT e.id, e.deleted_utc FROM examples e WHERE e.id IN ({hashes.THERE}) "
            f"AND (e.deleted_utc IS NOT NULL OR {VISIBLE}) ORDER BY e.deleted_utc IS NOT NULL, e.id LIMIT 1",
            [dataset_id, digest],
        ).fetchone()
        if row is not None and row["deleted_utc"] is None:
            return int(row["id"]), _PRESENT
        if row is not None:
            self._revive(db, row["id"], new, rater=rater, group=group, facts=facts or {})
            return int(row["id"]), _REVIVED
        example_id = _insert(db, dataset_id, new, rater)
        self._decisions.add(
            group, example_id, Action.CREATE, before=_HIDDEN, after=_VISIBLE | dict(facts or {}), rater=rater
        )
        return example_id, _INSERTED

    def _revive(
        self,
        db: Database,
        example_id: int,
        new: NewExample,
        *,
        rater: str,
        group: int,
        facts: Mapping[str, str | int],
    ) -> None:
        db.execute(
            "UPDATE examples SET source_kind = ?, source = ? WHERE id = ?",
            [new.source.kind.value, source_json(new.source), example_id],
        )
        before = self._fields(db, example_id, hidden=True)
        after: Fields = {
            "status": (new.status or Status.PENDING).value,
            "split": new.split.value,
            "tags": sorted({*map(storable, new.tags)}),
            "note": storable(new.note),
            "rating": new.rating,
            "rater": new.rater or rater,
            **_VISIBLE,
        }
        self._write(db, example_id, after)
        before = {name: before[name] for name in after if name != "deleted"} | _HIDDEN
        self._decisions.add(group, example_id, Action.CREATE, before=before, after=after | dict(facts), rater=rater)

    def _move(self, db: Database, decision: Decision, *, back: bool) -> Sequence[int]:
        """Set the fields of a decision to what they were before (``back``) or after it; returns which rows it touched.

        The one decision of an import stands for all its rows.
        """
        before, after = json.loads(decision.before), json.loads(decision.after)
        if "import" in after:
            return hiding.turn(db, after["import"], visible=not back)
        leaving, reaching = (after, before) if back else (before, after)
        for fields in (leaving, reaching):
            if "content" in fields:  # written before examples had tools
                fields["content"].setdefault("tools", "")
        now = self._fields(db, decision.example_id, hidden=True)
        changes = {name: value for name, value in reaching.items() if name in now and now[name] == leaving[name]}
        self._write(db, decision.example_id, changes)
        return [decision.example_id]

    def _fields(self, db: Database, example_id: int, *, hidden: bool = False) -> Fields:
        """All that decisions can change, as it is now; of the flags, those that no finding set."""
        condition = "" if hidden else f"AND {VISIBLE}"
        row = db.execute(
            f"SELECT e.status, e.split, e.note, e.rating, e.rater, e.deleted_utc, e.kind, e.prompt, e.chosen, "
            f"e.rejected, e.label, e.tools, {_TAGS} AS tags, {_FLAGS_BY_HAND} AS flags FROM examples e "
            f"WHERE e.id = ? {condition}",
            [example_id],
        ).fetchone()
        if row is None:
            raise NotFoundError(f"there is no example {example_id}", hint="`workbench examples list` shows them")
        fields: Fields = {name: row[name] for name in ("status", "split", "note", "rating", "rater")}
        fields["tags"] = json.loads(row["tags"])
        fields["flags"] = sorted(json.loads(row["flags"]))
        fields["deleted"] = row["deleted_utc"] is not None
        fields["content"] = {name: row[name] for name in _CONTENT}
        return fields

    def _write(self, db: Database, example_id: int, fields: Fields) -> None:
        now = now_utc()
        columns: Fields = {name: fields[name] for name in _PLAIN if name in fields} | {"updated_utc": now}
        if "content" in fields:
            content = content_of(fields["content"])
            columns |= fields["content"] | texts(content) | {"hash": bytes.fromhex(content.hash())}
            findings.forget(db, example_id)
        if "deleted" in fields:
            columns["deleted_utc"] = now if fields["deleted"] else None
        if "tags" in fields:
            _set_tags(db, example_id, fields["tags"])
        if "flags" in fields:
            _set_flags_by_hand(db, example_id, fields["flags"])
        assignments = ", ".join(f"{name} = ?" for name in columns)
        db.execute(f"UPDATE examples SET {assignments} WHERE id = ?", [*columns.values(), example_id])


def rewritten(decision: Decision) -> tuple[Content, Content] | None:
    """The content before and after a decision that changed it; None for any other, and where it was forgotten since."""
    before, after = (json.loads(fields).get("content") for fields in (decision.before, decision.after))
    if before is None or after is None:
        return None
    return content_of({"tools": ""} | before), content_of({"tools": ""} | after)


_INSERTED, _REVIVED, _PRESENT = "inserted", "revived", "present"
_HIDDEN: Fields = {"deleted": True}
_VISIBLE: Fields = {"deleted": False}
_CONTENT = ("kind", "prompt", "chosen", "rejected", "label", "tools")
_PLAIN = ("status", "split", "note", "rating", "rater")


def _insert(db: Database, dataset_id: int, new: NewExample, rater: str) -> int:
    values = new_values(new, rater=rater, now=now_utc())
    example_id = db.execute(insert_sql(["dataset_id", *COLUMNS]), [dataset_id, *values]).lastrowid
    assert example_id is not None
    hashes.add_one(db, dataset_id, example_id)
    db.conn.executemany(MODELS_SQL, ((example_id, storable(model)) for model in new.source.models))
    if new.tags:
        _set_tags(db, example_id, [storable(tag) for tag in new.tags])
    for flag in new.flags:
        db.execute("INSERT OR IGNORE INTO example_flags (example_id, flag) VALUES (?, ?)", [example_id, storable(flag)])
    if new.findings:
        findings.add(db, (replace(found, example_id=example_id) for found in new.findings))
    return example_id


def _set_tags(db: Database, example_id: int, tags: Iterable[str]) -> None:
    db.execute("DELETE FROM example_tags WHERE example_id = ?", [example_id])
    db.conn.executemany(
        "INSERT OR IGNORE INTO example_tags (example_id, tag) VALUES (?, ?)", ((example_id, tag) for tag in tags)
    )


def _set_flags_by_hand(db: Database, example_id: int, flags: Iterable[str]) -> None:
    by_hand = "flag NOT IN (SELECT check_name FROM findings WHERE example_id = ?)"
    db.execute(f"DELETE FROM example_flags WHERE example_id = ? AND {by_hand}", [example_id, example_id])
    db.conn.executemany(
        "INSERT OR IGNORE INTO example_flags (example_id, flag) VALUES (?, ?)", ((example_id, flag) for flag in flags)
    )


def _example(row: sqlite3.Row) -> Example:
    return Example(
        id=row["id"],
        dataset=row["dataset"],
        content=content_of(row),
        source=source_of(row["source"]),
        status=Status(row["status"]),
        split=Split(row["split"]),
        tags=_names(row["tags"]),
        note=row["note"],
        rating=row["rating"],
        rater=row["rater"],
        created_utc=row["created_utc"],
        updated_utc=row["updated_utc"],
        flags=_names(row["flags"]),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text)) if text != "[]" else ()  # as for most rows


def _short(row: sqlite3.Row) -> ExampleRow:
    return ExampleRow(
        id=row["id"],
        kind=Kind(row["kind"]),
        status=Status(row["status"]),
        split=Split(row["split"]),
        rating=row["rating"],
        prompt=row["prompt"],
        answer=row["answer"],
        source=SourceKind(row["source_kind"]),
        tags=_names(row["tags"]),
        flags=_names(row["flags"]),
        note=row["note"],
    )


def _chunks(ids: Sequence[int]) -> Iterator[builtins.list[int]]:
    iterator = iter(ids)
    while chunk := list(islice(iterator, IDS_PER_STATEMENT)):
        yield chunk
