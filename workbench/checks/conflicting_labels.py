"""Judgements and pairs that contradict each other: the same answer liked and disliked, a pair both ways round."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from workbench.checks._likeness import count_words, digest, said, scene
from workbench.domain.checks import CheckedRow, Finding, SetCheck, Severity, Surroundings
from workbench.domain.examples import Kind

_LONGEST_LABEL = 3
_SHORTEST_QUESTION = 6


def look(rows: Iterable[CheckedRow], surroundings: Surroundings) -> Iterator[Finding]:
    """A finding on the later one of two rows that contradict each other."""
    seen: dict[bytes, tuple[int, object]] = {}
    for row in rows:
        key, value, reason, severity = _claim(row)
        if not key:
            continue
        other_id, other = seen.setdefault(key, (row.id, value))
        if other != value:
            yield Finding(severity, f"{reason} example {other_id}", example_id=row.id)


def _claim(row: CheckedRow) -> tuple[bytes, object, str, Severity]:
    """What the row is about, what it says of it, and the words for when another says something else.

    An answer that is right for one system turn or set of tools may be wrong for another, so those belong to it.
    """
    content = row.content
    about = (row.dataset, scene(content), said(content.prompt))
    match content.kind:
        case Kind.JUDGEMENT:
            key = digest("judgement", *about, said(content.chosen))
            return key, content.label, "has the same answer with the opposite thumb as", Severity.WARNING
        case Kind.PREFERENCE:
            chosen, rejected = said(content.chosen), said(content.rejected)
            key = digest("pair", *about, *sorted((chosen, rejected)))
            return key, chosen < rejected, "prefers the opposite of", Severity.WARNING
        case Kind.DEMONSTRATION if _is_a_label(row):
            key = digest("label", *about)
            return key, digest(said(content.chosen)), "gives the same question another short answer than", Severity.INFO
        case _:
            return b"", None, "", Severity.INFO


def _is_a_label(row: CheckedRow) -> bool:
    """True when the row looks like a classification: a question of some length, an answer of a few words."""
    answer = sum(count_words(turn.shown) for turn in row.content.chosen)
    question = sum(count_words(turn.content) for turn in row.content.prompt)
    return answer <= _LONGEST_LABEL and question >= _SHORTEST_QUESTION


CHECK = SetCheck(
    "conflicting_labels",
    title="Contradictions",
    summary="the same answer with both thumbs, a pair both ways round, one question with two labels",
    look=look,
)
