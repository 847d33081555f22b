"""Rows that do not fit the window in the model's own tokens: cut at the end, or with nothing left to learn.

Counted by the code that trains (``Tokens``), so it runs in a child process that was given a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from workbench.domain.checks import (
    REJECT,
    CheckedRow,
    Finding,
    SetCheck,
    Severity,
    Surroundings,
    TokenCount,
)
from workbench.domain.examples import Kind


def look(rows: Iterable[CheckedRow], surroundings: Surroundings) -> Iterator[Finding]:
    """Findings for sequences longer than the window; nothing without a tokenizer."""
    if surroundings.tokens is None:
        return
    counted = (row for row in rows if row.content.kind not in {Kind.TEXT, Kind.PROMPT})
    window = surroundings.tokens.max_length
    for count in surroundings.tokens.counts(counted):
        yield from _finding(count, window)


def _finding(count: TokenCount, window: int) -> Iterator[Finding]:
    place = "chosen turn 1" if count.part == "completion" else f"{count.part} turn 1"
    if count.prompt >= window:
        reason = f"the prompt alone has {count.prompt:,} tokens and fills the window of {window:,}: nothing is learnt"
        yield Finding(Severity.ERROR, reason, "prompt turn 1", fixable=True, example_id=count.example_id)
    elif count.learnt == 0:
        reason = "no token of the answer is in the loss"
        yield Finding(Severity.ERROR, reason, place, fixable=True, example_id=count.example_id)
    elif count.total > count.kept:
        lost = count.total - count.kept
        reason = (
            f"{count.total:,} tokens, of which the last {lost:,} are cut at {window:,}: "
            "the answer's end, and that it ends, are not learnt"
        )
        yield Finding(Severity.WARNING, reason, place, example_id=count.example_id)


CHECK = SetCheck(
    "length_tokens",
    title="Length in tokens",
    summary="rows that are cut at the window, or have nothing left to learn (needs a model)",
    look=look,
    in_child=True,
    needs_model=True,
    fix=REJECT,
)
