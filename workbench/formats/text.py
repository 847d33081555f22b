"""Plain text for continued pre-training: rows with a ``text``, and text files taken apart (see ``flows/tables.py``)."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.domain.examples import Example, Kind, plain_text
from workbench.domain.formats import Format, Reading, Row
from workbench.errors import DataError
from workbench.formats import _turns as t

_OTHER_MEANINGS = {"prompt", "completion", "chosen", "rejected", "label", "messages", "rejected_text", "instruction"}


def _score(row: Row) -> int:
    return 48 if isinstance(row.get("text"), str) and not _OTHER_MEANINGS & t.present(row) else 0


def _read(row: Row) -> Sequence[Reading]:
    if row.get("text") is None:
        raise DataError("there is no 'text'")
    return [Reading(plain_text(t.text_of(row, "text")))]


def _write(example: Example) -> dict[str, object]:
    return {"text": example.content.chosen[0].content}


FORMAT = Format(
    name="text",
    title="Plain text",
    summary="text for continued pre-training; also .txt and .md files, by paragraph or whole",
    columns=frozenset({"text"}),
    score=_score,
    read=_read,
    kinds=(Kind.TEXT,),
    write=_write,
)
