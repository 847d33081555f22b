"""How domain values are written in columns: turns, sampling and generations as JSON, times as UTC text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from json.encoder import encode_basestring
from typing import TypeVar

from workbench.domain.chats import Generation, Sampling, StopReason, Turn, storable

IDS_PER_STATEMENT = 1000
T = TypeVar("T")


def now_utc() -> str:
    """The present as ``2026-01-31T12:00:00.000Z``: sorts as text."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def turns_json(turns: Iterable[Turn]) -> str:
    """Turns as the JSON that ``turns_from_json`` reads."""
    return f"[{', '.join(map(_turn_json, turns))}]"


def _turn_json(turn: Turn) -> str:
    """One turn as ``json.dumps`` writes it, in a tenth of the time: every row of an import comes through here."""
    plain = f"[{encode_basestring(storable(turn.role))}, {encode_basestring(storable(turn.content))}"
    return f"{plain}, {encode_basestring(storable(turn.extra))}]" if turn.extra else f"{plain}]"


def turns_from_json(text: str) -> tuple[Turn, ...]:
    """The turns of a column."""
    return tuple([Turn(*fields) for fields in json.loads(text)]) if text != "[]" else ()


def sampling_json(sampling: Sampling) -> str:
    """Sampling as the JSON that ``sampling_from_json`` reads."""
    return json.dumps(asdict(sampling))


def sampling_from_json(text: str) -> Sampling:
    """The sampling of a column."""
    return Sampling(**json.loads(text))


def generation_json(generation: Generation) -> str:
    """A generation as the JSON that ``generation_from_json`` reads."""
    return json.dumps(asdict(generation))


def generation_from_json(text: str) -> Generation:
    """The generation of a column."""
    values = json.loads(text)
    sampling, reason = Sampling(**values.pop("sampling")), StopReason(values.pop("stop_reason"))
    return Generation(sampling=sampling, stop_reason=reason, **values)


def search_words(words: Iterable[str]) -> str:
    """An FTS5 expression in which every word stands as text: quotes, minus, ``*`` and ``c++`` mean nothing special."""
    return " ".join('"' + storable(word).replace("\0", " ").replace('"', '""') + '"' for word in words)


def placeholders(count: int) -> str:
    """``?, ?, ?`` for an SQL list."""
    return ", ".join("?" * count)


def chunks(values: Iterable[T], size: int = IDS_PER_STATEMENT) -> Iterator[list[T]]:
    """Ids, or other values, in pieces small enough for one statement."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
