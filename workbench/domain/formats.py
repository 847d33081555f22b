"""File formats described as data: how a row of a file becomes an example's content, and back.

A format is one file in ``workbench.formats``. Lines, files, duplicates and provenance are not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from workbench.domain.examples import Content, Kind

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Format:
    """One way in which others write examples.

    ``fits`` tells from a row's shape alone whether it could be of this format. ``read`` gives the content or raises
    ``DataError`` with the reason. ``write`` gives the row for a content of one of ``kinds``; reading that row gives
    the same content again. ``columns`` are all that ``read`` looks at.
    """

    name: str
    title: str
    summary: str
    kinds: tuple[Kind, ...]
    columns: frozenset[str]
    fits: Callable[[Row], bool]
    read: Callable[[Row], Content]
    write: Callable[[Content], dict[str, object]]
