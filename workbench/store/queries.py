"""What the query language means in SQL. Everything a person typed is bound as a value, never written into the SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workbench.domain.chats import storable
from workbench.domain.examples import SourceKind
from workbench.domain.queries import SCORES, Filter, Query, comparison, score_comparison
from workbench.errors import UsageError
from workbench.store.rows import search_words

# Not deleted, and not of an import that is on its way in or out: those rows have ids in one range (see ``imports.py``
# and ``hiding.py``). The plus signs keep SQLite from using the range to choose its index.
ON_ITS_WAY = "state IN ('staging', 'removing', 'hiding')"
VISIBLE = (
    "e.deleted_utc IS NULL AND NOT (+e.id >= "
    f"(SELECT coalesce(min(first_id), 9223372036854775807) FROM imports WHERE {ON_ITS_WAY}) "
    f"AND +e.id <= (SELECT coalesce(max(last_id), 0) FROM imports WHERE {ON_ITS_WAY}))"
)

# The ids in its source are of this workspace.
AT_HOME = "json_extract(e.source, '$.away') IS NULL"

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
    "loss": "",
    "-loss": "",
    "margin": "",
    "-margin": "",
}
# A comparison whose names one rater does not know: with different answers, and without a vote of his.
UNSEEN = (
    "NOT c.identical AND c.repeat_of IS NULL "
    "AND NOT EXISTS (SELECT 1 FROM ratings r WHERE r.comparison_id = c.id AND r.rater = ?)"
)
_SCORED = re.compile(r"(-?)(loss|margin)(?:@(\d{1,18}))?")

_EQUALS = {"status": "e.status", "kind": "e.kind", "split": "e.split", "rater": "e.rater", "lang": "e.lang"}
# Fields with any number of values for an example: the table of each, and its column.
LISTED = {
    "tag": ("example_tags", "tag"),
    "flag": ("example_flags", "flag"),
    "model": ("example_models", "model"),
}
_TESTS = {
    **{
        field: f"EXISTS (SELECT 1 FROM {table} l WHERE l.example_id = e.id AND l.{column} = ?)"
        for field, (table, column) in LISTED.items()
    },
    "dataset": "e.dataset_id IN (SELECT id FROM datasets WHERE name = ?)",
    "label": "e.label IS (? = 'true')",
    "check": "e.id IN (SELECT example_id FROM findings WHERE check_name = ?)",
    "severity": "e.id IN (SELECT example_id FROM findings WHERE severity = ?)",
}
# Rows of a comparison whose names one rater does not know. One that is of other models cannot be meant, whatever its
# number.
_UNNAMED = f"""e.source_kind IN ({", ".join(f"'{kind.value}'" for kind in (SourceKind.VOTE, SourceKind.VOTE_FIX))})
    AND {AT_HOME} AND EXISTS (
        SELECT 1 FROM comparisons c WHERE c.id = json_extract(e.source, '$.comparison_id') AND {UNSEEN}
        AND NOT EXISTS (
            SELECT 1 FROM example_models m WHERE m.example_id = e.id AND m.model NOT IN (c.a_model, c.b_model)
        )
    )"""
_NUMBERS = {"len": "e.words", "turns": "e.turns"}
_HAS = {
    "note": "e.note <> ''",
    "rating": "e.rating IS NOT NULL",
    **{field: f"EXISTS (SELECT 1 FROM {LISTED[field][0]} l WHERE l.example_id = e.id)" for field in ("tag", "flag")},
    "finding": "e.id IN (SELECT example_id FROM findings)",
    "loss": "e.id IN (SELECT example_id FROM example_scores)",
}
_SCORE = (
    "e.id IN (SELECT s.example_id FROM example_scores s WHERE s.{name} {sign} ? AND s.run_id = "
    "(SELECT max(o.run_id) FROM example_scores o WHERE o.example_id = s.example_id))"
)
_TEXTS = ("prompt_text", "answer_text", "context_text", "rejected_text", "note")
_FACTS = "examples e INDEXED BY examples_facts"
# Scripts written without spaces, and everything the tokenizer drops (signs, emoji), begin here or are no letters.
_FIRST_UNSPACED = "\u2e80"


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on ``examples e`` and the values bound in it."""

    sql: str
    values: tuple[str | float, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """How a list of ids is read: ``source`` is a FROM clause that gives the rows in the order of ``id``, unsorted.

    ``is_slow`` where each row is looked up in the text index by itself.
    """

    source: str
    id: str
    condition: Where
    is_slow: bool = False


def where(query: Query, *, dataset_id: int | None = None) -> Where:
    """The condition under which a visible example matches ``query``."""
    match = _match(query.words)
    found = [Where(f"e.id IN (SELECT rowid FROM examples_fts WHERE {match.sql})", match.values)] if match else []
    return _all([*found, *_conditions(query, dataset_id)])


def reading(query: Query, *, dataset_id: int | None = None, few: Filter | None = None) -> Reading:
    """How to read the ids of the examples that match ``query``, the first ones at once.

    Words are looked up first, then a tag, a flag or a model; ``few`` is one of those that so few examples have that
    it is looked up before the words. Everything else is read off one narrow index.
    """
    match = _match(query.words)
    listed = few or next((f for f in query.filters if is_listed(f)), None)
    conditions = _conditions(query, dataset_id)
    if listed and (few or not match):
        table, column = LISTED[listed.field]
        source = f"{table} d CROSS JOIN {_FACTS} ON e.id = d.example_id"
        conditions.insert(0, Where(f"d.{column} = ?", (storable(listed.value),)))
        if match:
            source += " CROSS JOIN examples_fts ON examples_fts.rowid = d.example_id"
            conditions.append(match)
        return Reading(source, "d.example_id", _all(conditions), is_slow=match is not None)
    if match:
        source = f"examples_fts CROSS JOIN {_FACTS} ON e.id = examples_fts.rowid"
        return Reading(source, "examples_fts.rowid", _all([match, *conditions]))
    noted = any(f.field == "has" and f.value == "note" and not f.negated for f in query.filters)
    return Reading("examples e INDEXED BY examples_noted" if noted else _FACTS, "e.id", _all(conditions))


def is_listed(found: Filter) -> bool:
    """Whether a filter names one of any number of values that an example has."""
    return found.field in LISTED and not found.negated


def _all(parts: list[Where]) -> Where:
    return Where(" AND ".join(part.sql for part in parts), tuple(value for part in parts for value in part.values))


def _conditions(query: Query, dataset_id: int | None) -> list[Where]:
    """All but the indexed words. What the person asked for comes first: most rows fail it, and need no more tests."""
    parts = [Where("e.dataset_id = ?", (dataset_id,))] if dataset_id is not None else []
    parts += [_filter(found) for found in query.filters]
    if query.rater and any(found.field == "model" for found in query.filters):
        parts.append(Where(f"NOT ({_UNNAMED})", (storable(query.rater),)))
    for word in query.words:
        if not _is_indexed(word) and word.strip():
            test = " OR ".join(f"instr(lower(e.{column}), lower(?)) > 0" for column in _TEXTS)
            parts.append(Where(f"({test})", (storable(word),) * len(_TEXTS)))
    return [*parts, Where(VISIBLE)]


def _match(words: tuple[str, ...]) -> Where | None:
    """Full text for the words that the index knows; the others are looked for in the texts, row by row."""
    indexed = [word for word in words if _is_indexed(word)]
    return Where("examples_fts MATCH ?", (search_words(indexed),)) if indexed else None


@dataclass(frozen=True, slots=True)
class ScoreOrder:
    """An order by what runs measured: ``loss`` or ``margin``, of one run or (None) of the newest of each example."""

    name: str
    run_id: int | None
    is_descending: bool


def score_order(order: str) -> ScoreOrder | None:
    """The order by a score that a text such as ``-loss@12`` names; None for another order."""
    found = _SCORED.fullmatch(order)
    return ScoreOrder(found[2], int(found[3]) if found[3] else None, found[1] == "-") if found else None


def order_by(order: str) -> str:
    """The ORDER BY terms of a named order; raises ``UsageError`` for one that is not known.

    ``loss`` and ``margin`` are those that the newest run measured of each example; ``loss@12`` those of the run 12.
    """
    if scored := score_order(order):
        only = "" if scored.run_id is None else f"AND s.run_id = {scored.run_id} "
        newest = f"WHERE s.example_id = e.id {only}ORDER BY s.run_id DESC LIMIT 1"
        value = f"(SELECT s.{scored.name} FROM example_scores s {newest})"
        return f"{value} IS NULL, {value}{' DESC' if scored.is_descending else ''}, e.id"
    if order not in ORDERS:
        raise UsageError(f"there is no order {order!r}", hint=f"known: {', '.join(ORDERS)}")
    return ORDERS[order]


def _filter(found: Filter) -> Where:
    value = storable(found.value)
    values: tuple[str | float, ...] = (value,)
    number: float
    if found.field in _NUMBERS:
        sign, number = comparison(value)
        test, values = f"{_NUMBERS[found.field]} {sign} ?", (number,)
    elif found.field in SCORES:
        sign, number = score_comparison(value)
        test, values = _SCORE.format(name=found.field, sign=sign), (number,)
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


def _is_indexed(word: str) -> bool:
    return any(character.isalnum() for character in word) and max(word) < _FIRST_UNSPACED
