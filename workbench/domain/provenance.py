"""Where an example came from and what was decided about it, as columns of an exported row, and read back from them.

Files from elsewhere have columns of the same names with other meanings: a value that is not one of ours is left alone
and counts as not given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from workbench.domain.examples import Content, Example, NewExample, Source, SourceKind, Split, Status

COLUMNS = ("id", "dataset", "status", "split", "tags", "note", "rating", "rater", "flags", "source")
_SOURCE_FIELDS = {field.name for field in fields(Source)}
_SOURCE_IDS = ("chat_id", "message_id", "other_message_id", "comparison_id", "line")


def provenance_row(example: Example) -> dict[str, object]:
    """The columns of an example: always all of them, so that every row of a file has the same ones.

    Whose ids they are is told anew wherever the row comes.
    """
    source = asdict(example.source)
    del source["away"]
    return {
        "id": example.id,
        "dataset": example.dataset,
        "status": example.status.value,
        "split": example.split.value,
        "tags": list(example.tags),
        "note": example.note,
        "rating": example.rating,
        "rater": example.rater,
        "flags": list(example.flags),
        "source": source
        | {"kind": example.source.kind.value}
        | {"models": list(example.source.models), "origins": list(example.source.origins)},
    }


def with_provenance(content: Content, row: Mapping[str, object], *, source: Source) -> NewExample:
    """The content with what the row's columns say about it; ``source`` is for rows that do not say it themselves."""
    new = NewExample(content, _source(row.get("source")) or source)
    status, split, rating = row.get("status"), row.get("split"), row.get("rating")
    if isinstance(status, str) and status in tuple(Status):
        new = replace(new, status=Status(status))
    if isinstance(split, str) and (meant := split_named(split)) is not None:
        new = replace(new, split=meant)
    if isinstance(rating, int) and not isinstance(rating, bool) and 1 <= rating <= 5:
        new = replace(new, rating=rating)
    note, rater = row.get("note"), row.get("rater")
    return replace(
        new,
        tags=_texts(row.get("tags")),
        flags=_texts(row.get("flags")),
        note=note if isinstance(note, str) else "",
        rater=rater if isinstance(rater, str) else "",
    )


def split_named(name: str) -> Split | None:
    """The split that others call so: ours by name, ``dev`` or ``valid``, and those of the hub (``test_prefs``).

    A test split must not be trained on because somebody calls it ``test_sft``.
    """
    begun = name.strip().lower().replace("-", "_").partition("_")[0]
    return _SPLITS.get(begun)


_SPLITS = {split.value: split for split in Split} | dict.fromkeys(("val", "valid", "dev", "eval"), Split.VALIDATION)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        return ()
    return tuple(value)


def _source(value: object) -> Source | None:
    """A source as ``provenance_row`` wrote it; None for anything else."""
    if not isinstance(value, dict) or not set(value) <= _SOURCE_FIELDS or value.get("kind") not in tuple(SourceKind):
        return None
    ids: dict[str, Any] = {name: value.get(name) for name in _SOURCE_IDS}
    file = value.get("file", "")
    if not isinstance(file, str) or any(type(found) not in (int, type(None)) for found in ids.values()):
        return None
    origins = value.get("origins", [])
    if not isinstance(origins, list) or any(type(found) is not int for found in origins):
        return None
    models = _texts(value.get("models"))
    return Source(SourceKind(value["kind"]), file=file, models=models, origins=tuple(origins), **ids)
