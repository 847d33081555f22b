"""The small query language over examples, shared by Curate and ``workbench examples list``.

``status:pending split:train tag:refund source:chat kind:preference refund order`` means: all filters hold, and the
remaining words occur (full text). ``-status:rejected`` negates a filter; quotes keep words together. ``len>100`` and
``turns<=2`` compare numbers (words of prompt and answer; turns), ``len<2k`` means 2,000; ``check:NAME``,
``severity:error`` and ``lang:en`` find what the last check found. ``loss>2.5`` and ``margin<0`` find what the newest
run measured of single examples, ``has:loss`` those of which any did. The words are split by ``shlex`` from the
standard library; what they mean in SQL is the store's business.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from workbench.domain.checks import Severity
from workbench.domain.examples import Kind, SourceKind, Split, Status
from workbench.domain.methods import nearest
from workbench.errors import UsageError

_CHOICES: dict[str, tuple[str, ...]] = {
    "status": tuple(status.value for status in Status),
    "kind": tuple(kind.value for kind in Kind),
    "split": tuple(split.value for split in Split),
    "source": (*(s.value for s in SourceKind), "chat"),
    "has": ("note", "rating", "tag", "flag", "finding", "loss"),
    "label": ("true", "false"),
    "severity": tuple(severity.value for severity in Severity),
}
_FREE = ("tag", "dataset", "rater", "model", "flag", "import", "check", "lang")
NUMBERS = ("len", "turns")
SCORES = ("loss", "margin")
FILTERS = (*_CHOICES, *_FREE, *NUMBERS, *SCORES)
_COMPARED = re.compile(r"(-?)(\w+)(<=|>=|<|>|=)(.*)")
_NUMBER = re.compile(r"(<=|>=|<|>|=)?(\d{1,12}(?:\.\d+)?)([kKmM]?)")
_DECIMAL = re.compile(r"(<=|>=|<|>|=)?(-?\d{1,12}(?:\.\d+)?)")
_TIMES = {"": 1, "k": 1000, "m": 1_000_000}


@dataclass(frozen=True, slots=True)
class Filter:
    """One ``field:value``; ``negated`` when written with a leading minus."""

    field: str
    value: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query: filters that all hold, and words that all occur.

    ``rater`` is who asks: by their models he finds no rows of pairs that wait for his vote. "" finds all.
    """

    filters: tuple[Filter, ...] = ()
    words: tuple[str, ...] = ()
    rater: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """A list under a name: the text of a query, in one dataset ("" means all), in an order of the store's."""

    name: str
    dataset: str = ""
    query: str = ""
    order: str = "id"


def parse_query(text: str) -> Query:
    """``text`` as a query; raises ``UsageError`` for an unknown field, a value it cannot have, or an open quote."""
    try:
        parts = shlex.split(text, posix=True) if text.count("'") % 2 == 0 else shlex.split(text.replace("'", "\\'"))
    except ValueError as error:
        raise UsageError(f"the query {text!r} cannot be read: {error}", hint='close the quote: "two words"') from None
    filters: list[Filter] = []
    words: list[str] = []
    for part in parts:
        if (compared := _COMPARED.fullmatch(part)) and compared[2] in (*NUMBERS, *SCORES):
            filters.append(_filter(compared[2], compared[3] + compared[4], negated=bool(compared[1])))
            continue
        field, colon, value = part.partition(":")
        name = field.removeprefix("-")
        if not colon or " " in field or not name.isidentifier():
            words.append(part)
        else:
            filters.append(_filter(name, value, negated=field.startswith("-")))
    return Query(tuple(filters), tuple(words))


def _filter(name: str, value: str, *, negated: bool) -> Filter:
    if name not in FILTERS:
        raise UsageError(f"there is no filter {name!r}", hint=nearest(name, FILTERS))
    choices = _CHOICES.get(name)
    if choices and value not in choices:
        raise UsageError(f"{name}:{value} matches nothing", hint=nearest(value, choices))
    if not value:
        raise UsageError(f"{name}: needs a value", hint=f"for example {name}:{(choices or ('name',))[0]}")
    if name in NUMBERS:
        comparison(value)
    if name in SCORES:
        score_comparison(value)
    if name == "import" and not (value.isascii() and value.isdigit() and len(value) < 19):
        raise UsageError(f"import:{value} is not an import's number", hint="for example import:3")
    return Filter(name, value, negated)


def comparison(value: str) -> tuple[str, int]:
    """The sign and number of a value such as ``>2k``; without a sign it is ``=``. Raises ``UsageError``."""
    found = _NUMBER.fullmatch(value)
    if found is None:
        raise UsageError(f"{value!r} is not a number to compare with", hint="for example len>100, len<2k or turns>=4")
    return found[1] or "=", round(float(found[2]) * _TIMES[found[3].lower()])


def score_comparison(value: str) -> tuple[str, float]:
    """The sign and number of a value such as ``>2.5``; without a sign it is ``=``. Raises ``UsageError``."""
    found = _DECIMAL.fullmatch(value)
    if found is None:
        raise UsageError(f"{value!r} is not a number to compare with", hint="for example loss>2.5 or margin<0")
    return found[1] or "=", float(found[2])
