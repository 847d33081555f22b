"""Rubrics: the criteria by which answers are marked from 1 to 5, read from a file that the person writes."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench.errors import DataError

LOWEST, HIGHEST = 1, 5
FILE = "rubric.toml"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing to mark: ``help`` says what is meant, ``low`` and ``high`` what 1 and 5 stand for."""

    name: str
    help: str = ""
    low: str = ""
    high: str = ""


STANDARD = (
    Criterion("correct", "is what it says true?", "wrong", "all of it is right"),
    Criterion("helpful", "does it do what was asked?", "no use", "just what was needed"),
    Criterion("clear", "is it easy to read?", "hard to follow", "clear at once"),
)
"""What is marked where no file says otherwise."""


def rubric_from_toml(text: str, *, where: str = FILE) -> tuple[Criterion, ...]:
    """The criteria of a file with a ``[[criterion]]`` table each: ``name``, and if wanted ``help``, ``low``, ``high``.

    Raises ``DataError`` with what is wrong.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"this is not TOML: {error}", where=where) from None
    rows = found.get("criterion")
    if not isinstance(rows, list) or not rows:
        raise DataError("there is no [[criterion]]", hint='[[criterion]] with name = "correct"', where=where)
    criteria = tuple(_criterion(row, where) for row in rows)
    if len({one.name for one in criteria}) < len(criteria):
        raise DataError("two criteria have the same name", where=where)
    return criteria


def _criterion(row: object, where: str) -> Criterion:
    if not isinstance(row, Mapping) or not isinstance(row.get("name"), str) or not row["name"].strip():
        raise DataError("a [[criterion]] has no name", hint='name = "correct"', where=where)
    if unknown := sorted(row.keys() - {"name", "help", "low", "high"}):
        raise DataError(
            f"a criterion has no {unknown[0]!r}",
            hint="it has name, help, low (what 1 means) and high (what 5 means)",
            where=where,
        )
    if not all(isinstance(value, str) for value in row.values()):
        raise DataError("what a criterion says is text", where=where)
    return Criterion(**row)


def rubric_to_toml(rubric: Sequence[Criterion]) -> str:
    """A file with these criteria, for a person to change: what ``rubric_from_toml`` reads as the same."""
    tables = [
        "\n".join(["[[criterion]]", *(f"{name} = {_toml_text(value)}" for name, value in asdict(one).items() if value)])
        for one in rubric
    ]
    return "\n\n".join(tables) + "\n"


def _toml_text(text: str) -> str:
    # a JSON text is a basic string of TOML, but for one character
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def rubric_in(*folders: Path) -> tuple[Criterion, ...]:
    """The criteria of the first of these folders that has a ``rubric.toml``, else the standard ones."""
    for folder in folders:
        path = folder / FILE
        if path.is_file():
            return rubric_from_toml(path.read_text(encoding="utf-8", errors="replace"), where=str(path))
    return STANDARD


def check_marks(marks: Mapping[str, tuple[int, int]], rubric: tuple[Criterion, ...]) -> None:
    """Raise ``DataError`` for a criterion that the rubric has not, or a mark outside 1 to 5."""
    names = [one.name for one in rubric]
    for name, both in marks.items():
        if name not in names:
            raise DataError(f"the rubric has no criterion {name!r}", hint=f"it has {', '.join(names)}")
        if not all(LOWEST <= mark <= HIGHEST for mark in both):
            raise DataError(f"a mark is {LOWEST} to {HIGHEST}, not {both[0]},{both[1]}")
