"""The to-fix list: answers that lost a vote or were called bad, until somebody wrote a better one.

The better answer becomes a preference pair over the one that lost. Votes of judges put nothing on the list.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.domain.chats import Turn
from workbench.domain.comparisons import Comparison
from workbench.domain.examples import Source, SourceKind, Status, preference
from workbench.errors import NotFoundError, RefusedError
from workbench.flows.chat import Gesture
from workbench.flows.held_out import split_of
from workbench.flows.unseen import HINT

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

DATASET = "votes"


@dataclass(frozen=True, slots=True)
class ToFix:
    """An answer of ``model`` that wants a better one. ``why`` is ``lost`` or ``both-bad``; ``other`` is what it met."""

    comparison_id: int
    prompt: tuple[Turn, ...]
    model: str
    text: str
    other: str
    why: str
    tags: tuple[str, ...] = ()
    example_id: int | None = None
    """The row that the prompt came from."""


def to_fix(bench: Bench, *, model: str = "") -> list[ToFix]:
    """What is to be mended, the newest first; only answers of ``model`` when it is given.

    Of a pair that several people voted on, what the newest vote says holds. What waits for a vote of this rater is
    left out: see ``waiting``.
    """
    return _answers(bench, _open(bench, without=bench.store.comparisons.unseen(bench.rater)), model)


def waiting(bench: Bench, *, model: str = "") -> int:
    """How many entries are left out, because their pairs wait for a vote of this rater; not said of one model alone."""
    return 0 if model else len(_open(bench).keys() & bench.store.comparisons.unseen(bench.rater).keys())


def every(bench: Bench, *, model: str = "") -> list[ToFix]:
    """What is to be mended, also what this rater must not be told yet: whose answers they are, and which one lost."""
    return _answers(bench, _open(bench), model)


def _open(bench: Bench, *, without: Container[int] = ()) -> dict[int, str]:
    """The outcomes of the comparisons of which an answer is to be mended, the newest first."""
    gone = bench.store.comparisons.mended()
    newest = {vote.comparison_id: vote.outcome for vote in bench.store.comparisons.votes() if vote.repeat_of is None}
    return {
        key: newest[key]
        for key in sorted(newest, reverse=True)
        if newest[key] != "tie" and key not in gone and key not in without
    }


def _answers(bench: Bench, outcomes: Mapping[int, str], model: str) -> list[ToFix]:
    return [one for key, outcome in outcomes.items() for one in _of(bench.store.comparisons.get(key), outcome, model)]


def _of(comparison: Comparison, outcome: str, model: str) -> list[ToFix]:
    """The answers of a comparison that are to be mended: the one that lost; of two bad ones, one."""
    first = comparison.a if outcome in {"b", "both-bad"} else comparison.b
    other = comparison.b if first is comparison.a else comparison.a
    if outcome == "both-bad" and model == other.model:
        first, other = other, first
    if model and first.model != model:
        return []
    why = "both-bad" if outcome == "both-bad" else "lost"
    source = comparison.tags, comparison.example_id
    return [ToFix(comparison.id, comparison.prompt, first.model, first.text, other.text, why, *source)]


def find(bench: Bench, comparison_id: int, *, model: str = "") -> ToFix:
    """That entry of the list; raises ``NotFoundError`` when it is not on it."""
    for one in to_fix(bench, model=model):
        if one.comparison_id == comparison_id:
            return one
    bench.store.comparisons.get(comparison_id)
    if comparison_id in bench.store.comparisons.unseen(bench.rater):
        raise RefusedError(f"comparison {comparison_id} waits for your vote", hint=HINT)
    raise NotFoundError(
        f"comparison {comparison_id} is not on the to-fix list",
        hint="what lost a vote or was called bad is on it, until a better answer is written: workbench votes to-fix",
    )


def check_fix(fix: ToFix, text: str) -> None:
    """Raise ``DataError`` or ``RefusedError`` when ``text`` cannot be the better answer."""
    preference(fix.prompt, text, fix.text)
    if text.strip() == fix.text.strip():
        raise RefusedError("that is the answer that lost", hint="write a better one")


def mend(bench: Bench, fix: ToFix, text: str, *, dataset: str = DATASET) -> Gesture:
    """Keep ``text`` as the better answer: a pair over the one that lost. Undone like any other gesture."""
    check_fix(fix, text)
    comparison = bench.store.comparisons.get(fix.comparison_id)
    source = Source(SourceKind.VOTE_FIX, comparison_id=comparison.id, models=(fix.model,))
    example, is_new = bench.store.examples.add(
        dataset,
        preference(fix.prompt, text, fix.text),
        source=source,
        status=Status.ACCEPTED,
        rater=bench.rater,
        split=split_of(bench, comparison),
        tags=comparison.tags,
    )
    known = "" if is_new else "already "
    return Gesture((example,), None, f"the better answer is {known}example {example.id} in {dataset}")
