"""Longer looks at one example: its tokens as training sees them, and everything that was decided about it.

Domain values in, content for a dialog out; no widget, no store.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from typing import Any

from textual.content import Content

from workbench.domain.decisions import Decision
from workbench.domain.examples import PARTS, turns_of
from workbench.domain.examples import Content as ExampleContent
from workbench.domain.moments import on_the_wall
from workbench.domain.tool_texts import tools_text
from workbench.flows import curate as flow
from workbench.flows.tokens import Token, TokenSequence, TokenView
from workbench.tui.safety import cell, clean
from workbench.tui.word_diff import inline

SHOWN_TOKENS = 4000
"""Of a sequence; each is a part with a style of its own, and many more take long to draw."""
STOP_MARK = "■"
_LEGEND = (
    ("[learnt]", "$text-success"),
    ("  context, not learnt  ", ""),
    (f"stop token {STOP_MARK}", "reverse $text-success"),
    ("  ", ""),
    ("beyond the window", "strike $text-error"),
)
_VALUE_WIDTH = 60

Part = tuple[str, str]


def tokens_content(view: TokenView) -> Content:
    """A row in a model's tokens: what is learnt in brackets, what is cut struck out, every second token shaded."""
    parts = [*_LEGEND, (f"\n\n{cell(view.model)}, window {view.max_length:,} tokens", "")]
    return Content.assemble(*parts, *chain.from_iterable(_sequence(one, view.max_length) for one in view.sequences))


def _sequence(sequence: TokenSequence, window: int) -> Iterator[Part]:
    learnt = sum(token.in_loss for token in sequence.tokens)
    stop = "is learnt" if sequence.stop_token_in_loss else "is NOT learnt"
    title = f"{sequence.part}: {len(sequence.tokens):,} tokens, {learnt:,} learnt; the stop token {stop}"
    yield f"\n\n{title}\n", "bold"
    if sequence.truncated:
        yield f"cut at {window:,} tokens: {len(sequence.tokens) - window:,} are lost\n", "bold $text-warning"
    yield from _tokens(sequence.tokens[:SHOWN_TOKENS])
    if (rest := len(sequence.tokens) - SHOWN_TOKENS) > 0:
        yield f"\n… {rest:,} more tokens; `workbench tokens` prints all", "bold"


def _tokens(tokens: Sequence[Token]) -> Iterator[Part]:
    learns = False
    for position, token in enumerate(tokens):
        if token.in_loss != learns:
            learns = token.in_loss
            yield "[" if learns else "]", "bold $text-success"
        yield clean(token.text) + (STOP_MARK if token.stop else ""), _style(token, shaded=position % 2 == 1)
    if learns:
        yield "]", "bold $text-success"


def _style(token: Token, *, shaded: bool) -> str:
    if token.cut:
        return "strike $text-error"
    colour = "$text-success" if token.in_loss else "$foreground"
    return f"reverse {colour}" if token.stop else f"{colour} on $panel" if shaded else colour


def history_content(decisions: Sequence[Decision]) -> Content:
    """Every decision, the newest first: when, who, what, and what it changed."""
    return Content.assemble(*chain.from_iterable(_decision(decision) for decision in reversed(decisions)))


def rewriting(before: ExampleContent, after: ExampleContent) -> Iterator[Part | Content]:
    """Each turn that is another in ``after``: which one, and its words, those that went struck out."""
    if before.tools != after.tools:
        yield "    tools\n", "bold"
        yield inline(tools_text(before), tools_text(after))
        yield "\n", ""
    for part in PARTS:
        turns, now = turns_of(before, part), turns_of(after, part)
        for at, (old, new) in enumerate(zip_longest(turns, now), start=1):
            if old == new:
                continue
            yield f"    {part} turn {at}\n", "bold"
            yield inline(old.shown if old else "", new.shown if new else "")
            yield "\n", ""


def _label(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    names = {None: "not judged", 0: "bad", 1: "good"}
    if before["label"] != after["label"]:
        yield f"{names[before['label']]} → {names[after['label']]}"


def _decision(decision: Decision) -> Iterator[Part | Content]:
    when = on_the_wall(decision.created_utc)
    faded = "dim strike" if decision.undone else "bold"
    yield f"{cell(when)}  {cell(decision.rater)}  {decision.action.value}", faded
    yield ("  (undone)\n" if decision.undone else "\n"), ""
    before, after = json.loads(decision.before), json.loads(decision.after)
    for line in _changes(before, after):
        yield f"    {line}\n", ""
    if (contents := flow.rewritten(decision)) is not None:
        yield from rewriting(*contents)


def _changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name, value in after.items():
        if name == "tags":
            was, now = set(before.get("tags", ())), set(value)
            yield cell("tags " + " ".join([*(f"+{tag}" for tag in sorted(now - was)), *(f"-{t}" for t in was - now)]))
        elif name == "content":
            yield from _label(before["content"], value) if before.get("content") else ("the text",)
        elif name == "import":
            yield f"with import {value}"
        elif name == "deleted":
            yield "hidden" if value else "made"
        elif name in before:
            yield f"{name} {_short(before[name])} → {_short(value)}"
        else:
            yield f"{cell(name)} {_short(value)}"


def _short(value: object) -> str:
    return cell(str(value), _VALUE_WIDTH) if value not in (None, "") else "-"
