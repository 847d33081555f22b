"""File formats described as data: how a row of a file becomes examples, and how an example becomes a row.

A format is one file in ``workbench.formats``. Lines, files, duplicates and provenance are not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workbench.domain.examples import Content, Example, Kind, Status

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Reading:
    """One example in a row, with what the row itself says about it. ``models`` are who wrote chosen and rejected.

    ``written`` says when each turn of prompt and chosen was written, as ``2026-01-31T12:00:00.000Z``; "" where the row
    does not say.
    """

    content: Content
    models: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    note: str = ""
    rating: int | None = None
    status: Status | None = None
    written: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part of a row that is sound and yet no example, such as a tie; reasons are counted in the import's report."""

    reason: str


Part = Reading | LeftOut


@dataclass(frozen=True, slots=True)
class Format:
    """One way in which others write examples.

    ``score`` tells from a row's shape alone how sure it is that the row is of this format: 0 means that it is not, 100
    that it can be no other. ``read`` gives what is in the row or raises ``DataError`` with the reason. ``write`` gives
    the row for an example of one of ``kinds``; it is None for a format that is only read. ``lost`` says in a few words
    what of an example the row would not hold, and is empty when reading the row gives the same content again.
    ``columns`` are all that ``read`` looks at.
    """

    name: str
    title: str
    summary: str
    columns: frozenset[str]
    score: Callable[[Row], int]
    read: Callable[[Row], Sequence[Part]]
    kinds: tuple[Kind, ...] = ()
    write: Callable[[Example], dict[str, object]] | None = None
    lost: Callable[[Content], str] = lambda content: ""
