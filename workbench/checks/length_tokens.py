"""Rows that do not fit the window in the model's own tokens: cut at the end, or with nothing left to learn.

Counted by the code that trains (``Tokens``), so it runs in a child process that was given a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

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
    for _, counts in groupby(surroundings.tokens.counts(counted), lambda count: count.example_id):
        yield from _findings(list(counts), window)


def _findings(counts: Sequence[TokenCount], window: int) -> Iterator[Finding]:
    """Findings for one row. Of several stretches of a dialogue some may be lost; a pair needs both answers."""
    lost = [count for count in counts if count.learnt == 0]
    if lost and (len(lost) == len(counts) or lost[0].part != "completion"):
        yield _lost(lost[0], window)
        return
    if lost:
        reason = f"{len(lost)} of {len(counts)} answers lie behind the window of {window:,} tokens and are not learnt"
        yield Finding(Severity.WARNING, reason, "chosen turn 1", example_id=lost[0].example_id)
    for count in counts:
        if count.learnt and count.total > count.kept:
            cut = count.total - count.kept
            reason = (
                f"{count.total:,} tokens, of which the last {cut:,} are cut at {window:,}: "
                "the answer's end, and that it ends, are not learnt"
            )
            yield Finding(Severity.WARNING, reason, _place(count), example_id=count.example_id)


def _lost(count: TokenCount, window: int) -> Finding:
    if count.prompt >= window:
        reason = f"the prompt alone has {count.prompt:,} tokens and fills the window of {window:,}: nothing is learnt"
        return Finding(Severity.ERROR, reason, "prompt turn 1", fixable=True, example_id=count.example_id)
    reason = "no token of the answer is in the loss"
    return Finding(Severity.ERROR, reason, _place(count), fixable=True, example_id=count.example_id)


def _place(count: TokenCount) -> str:
    return "chosen turn 1" if count.part == "completion" else f"{count.part} turn 1"


CHECK = SetCheck(
    "length_tokens",
    title="Length in tokens",
    summary="rows that are cut at the window, or have nothing left to learn (needs a model)",
    look=look,
    in_child=True,
    needs_model=True,
    fix=REJECT,
)
