"""Whether the ids that a row of a file brings are of this workspace, told by the texts that they lead to.

A row that was exported with its provenance names chats, messages, comparisons and rows by number. Elsewhere these
numbers are of something else: such a row is marked (``Source.away``), so that nothing here is taken for its origin.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.domain.examples import SourceKind
from workbench.store.columns import COLUMNS, source_json, source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlite_utils import Database

    from workbench.domain.examples import Source

_KIND, _SOURCE = COLUMNS.index("source_kind"), COLUMNS.index("source")
_ANSWER, _REJECTED = COLUMNS.index("answer_text"), COLUMNS.index("rejected_text")
_MESSAGE = "SELECT 1 FROM messages WHERE id = ? AND chat_id = ? AND content = ?"
_COMPARISON = "SELECT 1 FROM comparisons WHERE id = ? AND (a_text IN (?, ?) OR b_text IN (?, ?))"
_ORIGIN = "SELECT 1 FROM examples WHERE id = ? AND answer_text = ?"


def marked(db: Database, fields: Sequence[Any]) -> Sequence[Any]:
    """The values of a new row (in the order of ``COLUMNS``); its source marked if its ids are not of this workspace."""
    if fields[_KIND] == SourceKind.IMPORT.value:  # it names a file, as nearly all rows do
        return fields
    source = source_of(fields[_SOURCE])
    if not _has_ids(source) or _is_ours(db, source, fields[_ANSWER], fields[_REJECTED]):
        return fields
    changed = list(fields)
    changed[_SOURCE] = source_json(replace(source, away=True))
    return changed


def _has_ids(source: Source) -> bool:
    ids = (source.chat_id, source.message_id, source.other_message_id, source.comparison_id)
    return bool(source.origins) or ids != (None, None, None, None)


def _is_ours(db: Database, source: Source, answer: str, rejected: str) -> bool:
    """By the nearest thing that it names: one of the row's answers was said there."""

    def is_there(sql: str, *values: object) -> bool:
        return db.execute(sql, values).fetchone() is not None

    if source.chat_id is not None:
        return is_there(_MESSAGE, source.message_id, source.chat_id, answer) or is_there(
            _MESSAGE, source.other_message_id, source.chat_id, rejected
        )
    if source.comparison_id is not None:
        return is_there(_COMPARISON, source.comparison_id, answer, rejected, answer, rejected)
    return any(is_there(_ORIGIN, example_id, answer) for example_id in source.origins)
