"""What the query language means in SQL. Everything a person typed is bound as a value, never written into the SQL."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.domain.chats import storable
from workbench.domain.queries import Filter, Query, comparison
from workbench.errors import UsageError
from workbench.store.rows import search_words

# Not deleted, and not of an import that is still coming: those rows have ids in one range (see ``imports.py``). The
# plus signs keep SQLite from using the range to choose its index.
VISIBLE = (
    "e.deleted_utc IS NULL AND NOT (+e.id >= "
    "(SELECT coalesce(min(first_id), 9223372036854775807) FROM imports WHERE state IN ('staging', 'removing')) "
    "AND +e.id <= (SELECT coalesce(max(last_id), 0) FROM imports WHERE state IN ('staging', 'removing')))"
)

ORDERS = {
    "id": "e.id",
    "-id": "e.id DESC",
    "updated": "e.updated_utc, e.id",
    "-updated": "e.updated_utc DESC, e.id DESC",
    "prompt": "e.prompt_text, e.id",
    "-prompt": "e.prompt_text DESC, e.id DESC",
    "answer": "e.answer_text, e.id",
    "-answer": "e.answer_text DESC, e.id DESC",
    "length": "length(e.answer_text), e.id",
    "-length": "length(e.answer_text) DESC, e.id DESC",
    "words": "e.words, e.id",
    "-words": "e.words DESC, e.id DESC",
    "rating": "e.rating IS NULL, e.rating, e.id",
    "-rating": "e.rating IS NULL, e.rating DESC, e.id",
    "status": "e.status, e.id",
    "-status": "e.status DESC, e.id DESC",
}

_EQUALS = {"status": "e.status", "kind": "e.kind", "split": "e.split", "rater": "e.rater", "lang": "e.lang"}
_TESTS = {
    "tag": "EXISTS (SELECT 1 FROM example_tags t WHERE t.example_id = e.id AND t.tag = ?)",
    "flag": "EXISTS (SELECT 1 FROM example_flags f WHERE f.example_id = e.id AND f.flag = ?)",
    "model": "EXISTS (SELECT 1 FROM json_each(e.source, '$.models') m WHERE m.value = ?)",
    "dataset": "e.dataset_id IN (SELECT id FROM datasets WHERE name = ?)",
    "label": "e.label IS (? = 'true')",
    "check": "e.id IN (SELECT example_id FROM findings WHERE check_name = ?)",
    "severity": "e.id IN (SELECT example_id FROM findings WHERE severity = ?)",
}
_NUMBERS = {"len": "e.words", "turns": "e.turns"}
_HAS = {
    "note": "e.note <> ''",
    "rating": "e.rating IS NOT NULL",
    "tag": "EXISTS (SELECT 1 FROM example_tags t WHERE t.example_id = e.id)",
    "flag": "EXISTS (SELECT 1 FROM example_flags f WHERE f.example_id = e.id)",
    "finding": "e.id IN (SELECT example_id FROM findings)",
}
_TEXTS = ("prompt_text", "answer_text", "context_text", "rejected_text", "note")
# Scripts written without spaces, and everything the tokenizer drops (signs, emoji), begin here or are no letters.
_FIRST_UNSPACED = "\u2e80"


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on ``examples e`` and the values bound in it."""

    sql: str
    values: tuple[str | int, ...] = ()


def where(query: Query, *, dataset_id: int | None = None) -> Where:
    """The condition under which a visible example matches ``query``."""
    parts = [Where(VISIBLE)]
    if dataset_id is not None:
        parts.append(Where("e.dataset_id = ?", (dataset_id,)))
    parts += [_filter(found) for found in query.filters]
    parts += _words(query.words)
    return Where(" AND ".join(part.sql for part in parts), tuple(value for part in parts for value in part.values))


def order_by(order: str) -> str:
    """The ORDER BY terms of a named order; raises ``UsageError`` for one that is not known."""
    if order not in ORDERS:
        raise UsageError(f"there is no order {order!r}", hint=f"known: {', '.join(ORDERS)}")
    return ORDERS[order]


def _filter(found: Filter) -> Where:
    value = storable(found.value)
    values: tuple[str | int, ...] = (value,)
    if found.field in _NUMBERS:
        sign, number = comparison(value)
        test, values = f"{_NUMBERS[found.field]} {sign} ?", (number,)
    elif found.field == "import":
        test, values = "e.import_id IS ?", (int(value),)
    elif found.field == "has":
        test, values = _HAS[value], ()
    elif found.field == "source":
        test, values = ("e.source_kind LIKE 'chat-%'", ()) if value == "chat" else ("e.source_kind = ?", (value,))
    elif found.field in _EQUALS:
        test = f"{_EQUALS[found.field]} = ?"
    else:
        test = _TESTS[found.field]
    return Where(f"NOT ({test})" if found.negated else test, values)


def _words(words: tuple[str, ...]) -> list[Where]:
    """Full text for words the index knows; a plain look into the texts for those it cannot find."""
    indexed = [word for word in words if _is_indexed(word)]
    parts: list[Where] = []
    if indexed:
        match = "e.id IN (SELECT rowid FROM examples_fts WHERE examples_fts MATCH ?)"
        parts.append(Where(match, (search_words(indexed),)))
    for word in words:
        if word not in indexed and word.strip():
            test = " OR ".join(f"instr(lower(e.{column}), lower(?)) > 0" for column in _TEXTS)
            parts.append(Where(f"({test})", (storable(word),) * len(_TEXTS)))
    return parts


def _is_indexed(word: str) -> bool:
    return any(character.isalnum() for character in word) and max(word) < _FIRST_UNSPACED
