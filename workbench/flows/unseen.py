"""Pairs that wait for a rater's vote while others have voted on them: whose answers they are is not told before.

Owns which votes may be told one by one, in lists, files and rows, to the person at the bench. Figures of all votes
together stay whole; see ``results`` for those of them that could still give a side away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.domain.comparisons import Vote
from workbench.domain.counting import counted
from workbench.domain.queries import Query, parse_query

if TYPE_CHECKING:
    from workbench.domain.examples import Example
    from workbench.flows.bench import Bench

HIDDEN = "hidden until you vote"
HINT = "vote in the Arena; or tell the names with: workbench votes reveal, and your votes on them do not count"


def told(bench: Bench, votes: Iterable[Vote]) -> tuple[list[Vote], list[Vote]]:
    """The votes on pairs whose names this rater may know; then the others, of which only who voted may be told."""
    unseen = bench.store.comparisons.unseen(bench.rater)
    found: tuple[list[Vote], list[Vote]] = [], []
    for vote in votes:
        found[vote.comparison_id in unseen].append(vote)
    return found


def veiled(bench: Bench, example: Example) -> Example:
    """The example as this rater may see it: without the models, when it was made of a pair that waits for his vote."""
    among = example.source.comparison_id
    if among is None or not waits(example, bench.store.comparisons.unseen(bench.rater, among=among)):
        return example
    return replace(example, source=replace(example.source, models=(HIDDEN,)))


def asked(bench: Bench, text: str) -> Query:
    """What this rater asks for: by the names of models he finds no rows of pairs that wait for his vote.

    Raises ``UsageError`` when the text cannot be read.
    """
    return replace(parse_query(text), rater=bench.rater)


def unfound(bench: Bench, query: Query, *, dataset: str = "") -> int:
    """How many rows a query would find more, if this rater knew all names."""
    if all(found.field != "model" for found in query.filters):
        return 0
    count = bench.store.examples.count
    return count(replace(query, rater=""), dataset or None) - count(query, dataset or None)


def nameless(example: Example) -> Example:
    """The example as it may go into a file while its pair waits: no models, which no reader takes for some."""
    return replace(example, source=replace(example.source, models=()))


def waits(example: Example, unseen: Mapping[int, frozenset[str]]) -> bool:
    """Whether the example was made of one of these comparisons.

    One that is of other models cannot be meant, whatever its number.
    """
    among = example.source.comparison_id
    return (
        among is not None
        and not example.source.away
        and among in unseen
        and unseen[among].issuperset(example.source.models)
    )


def reveal(bench: Bench, a: str = "", b: str = "") -> int:
    """Tell this rater the names of the pairs that others voted on, from now on; how many there were.

    Only pairs of ``a``, or of ``a`` and ``b``, when given. His votes on them are kept as not blind.
    """
    wanted = {name for name in (a, b) if name}
    unseen = bench.store.comparisons.unseen(bench.rater)
    votes = [vote for vote in bench.store.comparisons.votes() if vote.comparison_id in unseen]
    found = {vote.comparison_id for vote in votes if wanted <= {vote.a, vote.b}}
    bench.store.comparisons.tell_names(sorted(found), bench.rater)
    return len(found)


def left_out(count: int, what: str = "votes") -> str:
    """A clause on what is not told: ``3 votes on pairs that wait for you are left out``; "" for none."""
    be = "is" if count == 1 else "are"
    return f"{counted(count, what)} on pairs that wait for you {be} left out" if count else ""


def unnamed_said(count: int) -> str:
    """A clause on rows of a file that were written without their models."""
    return f"{counted(count, 'rows')} without the models: pairs that others voted on and that wait for you"
