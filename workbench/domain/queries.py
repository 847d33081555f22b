"""The small query language over examples, shared by Curate and ``workbench examples list``.

``status:pending split:train tag:refund source:chat kind:preference refund order`` means: all filters hold, and the
remaining words occur (full text). ``-status:rejected`` negates a filter; quotes keep words together. The words are
split by ``shlex`` from the standard library; what they mean in SQL is the store's business.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from workbench.domain.examples import Kind, SourceKind, Split, Status
from workbench.domain.methods import nearest
from workbench.errors import UsageError

_CHOICES: dict[str, tuple[str, ...]] = {
    "status": tuple(Status),
    "kind": tuple(Kind),
    "split": tuple(Split),
    "source": (*(s.value for s in SourceKind), "chat"),
    "has": ("note", "rating", "tag", "flag"),
    "label": ("true", "false"),
}
_FREE = ("tag", "dataset", "rater", "model", "flag")
FILTERS = (*_CHOICES, *_FREE)


@dataclass(frozen=True, slots=True)
class Filter:
    """One ``field:value``; ``negated`` when written with a leading minus."""

    field: str
    value: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query: filters that all hold, and words that all occur."""

    filters: tuple[Filter, ...] = ()
    words: tuple[str, ...] = ()


def parse_query(text: str) -> Query:
    """``text`` as a query; raises ``UsageError`` for an unknown field, a value it cannot have, or an open quote."""
    try:
        parts = shlex.split(text, posix=True) if text.count("'") % 2 == 0 else shlex.split(text.replace("'", "\\'"))
    except ValueError as error:
        raise UsageError(f"the query {text!r} cannot be read: {error}", hint='close the quote: "two words"') from None
    filters: list[Filter] = []
    words: list[str] = []
    for part in parts:
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
    return Filter(name, value, negated)
