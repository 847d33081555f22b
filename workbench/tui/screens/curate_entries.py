"""How an example looks: as a row's cells and as the parts of its detail. Examples in, text out; no widget, no store."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workbench.domain.chats import Turn
from workbench.domain.checks import Finding, Severity
from workbench.domain.counting import counted
from workbench.domain.decisions import Decision
from workbench.domain.examples import Example, ExampleRow, Kind, Source, Status
from workbench.domain.moments import on_the_wall
from workbench.domain.runs import ExampleScore
from workbench.flows import run_scores
from workbench.flows.check import fix_said
from workbench.tui.figures import number
from workbench.tui.safety import has_controls
from workbench.tui.widgets.rows import Column
from workbench.tui.widgets.transcript import Entry

_SIGNS = {Status.PENDING: "·", Status.ACCEPTED: "ok", Status.REJECTED: "no"}
_TONES = {Status.PENDING: "quiet", Status.ACCEPTED: "good", Status.REJECTED: "bad"}
_KINDS = {
    Kind.DEMONSTRATION: "demo",
    Kind.PREFERENCE: "pair",
    Kind.JUDGEMENT: "thumb",
    Kind.TEXT: "text",
    Kind.PROMPT: "ask",
}
_SPLITS = {"none": "", "train": "train", "validation": "valid", "test": "test"}
_KEYS = {"tools": 5_000, "prompt": 10_000, "chosen": 20_000, "rejected": 30_000}
_NOTE, _HISTORY, _SCORES = 40_000, 50_000, 60_000
_SHOWN_SCORES = 5
_FINDING = 1_000
_SEVERITIES = {Severity.ERROR: "✗ ERROR", Severity.WARNING: "⚠ WARNING", Severity.INFO: "· NOTE"}
PACE_OVER = 20
PAUSE_S = 60.0


def columns(*, wide: bool, score: str = "", scores: Mapping[int, float] | None = None) -> list[Column[ExampleRow]]:
    """The columns of the row list; tags and split only where there is room.

    ``score`` names what rows are ordered by; ``scores`` are its values by example, there once rows are read.
    """
    known = scores if scores is not None else {}
    shown = [
        Column[ExampleRow]("id", 7, lambda row: str(row.id), right=True),
        Column[ExampleRow]("st", 2, lambda row: _SIGNS[row.status], tone=lambda row: _TONES[row.status]),
        Column[ExampleRow]("rt", 2, lambda row: str(row.rating) if row.rating else "-"),
        Column[ExampleRow]("kind", 5, lambda row: _KINDS[row.kind]),
        Column[ExampleRow]("prompt", 0, lambda row: row.prompt),
        Column[ExampleRow]("answer", 0, lambda row: row.answer),
    ]
    if score:
        shown.insert(4, Column[ExampleRow](score, 7, lambda row: number(known.get(row.id)), right=True))
    if wide:
        shown.append(Column[ExampleRow]("tags", 10, lambda row: ",".join(row.tags), tone=lambda _: "quiet"))
    shown.append(Column[ExampleRow]("split", 5, lambda row: _SPLITS[row.split.value], tone=lambda _: "quiet"))
    shown.append(
        Column[ExampleRow]("src", 6, lambda row: row.source.value.removeprefix("chat-"), tone=lambda _: "quiet")
    )
    return shown


@dataclass(frozen=True, slots=True)
class Seen:
    """An example with what was decided about it, what checks found in it, and what runs measured of it."""

    example: Example
    history: Sequence[Decision] = ()
    findings: Sequence[Finding] = ()
    scores: Sequence[ExampleScore] = ()


def detail(seen: Seen) -> list[Entry]:
    """Everything there is to say about an example, top to bottom, texts exactly as they are."""
    example, history = seen.example, seen.history
    entries = [Entry(1, _title(example), _facts(example), tone="quiet", markdown=False)]
    entries += [_finding(_FINDING + at, finding) for at, finding in enumerate(seen.findings)]
    content = example.content
    if content.tools:
        entries.append(Entry(_KEYS["tools"], "TOOLS", _offered(content.tools), tone="quiet", markdown=False))
    entries += [_turn(_KEYS["prompt"] + at, turn, "PROMPT", "user") for at, turn in enumerate(content.prompt)]
    chosen = "CHOSEN" if content.kind is Kind.PREFERENCE else "ANSWER"
    if content.label is not None:
        chosen = "ANSWER, judged good" if content.label else "ANSWER, judged bad"
    tone = "bad" if content.label is False else "good"
    entries += [_turn(_KEYS["chosen"] + at, turn, chosen, tone) for at, turn in enumerate(content.chosen)]
    entries += [_turn(_KEYS["rejected"] + at, turn, "REJECTED", "bad") for at, turn in enumerate(content.rejected)]
    if example.note:
        entries.append(Entry(_NOTE, "NOTE", example.note, markdown=False))
    if seen.scores:
        lines = [run_scores.sentence(score) for score in seen.scores[:_SHOWN_SCORES]]
        entries.append(Entry(_SCORES, "LOSS", "\n".join(lines), markdown=False))
    if history:
        lines = [_decision(decision) for decision in reversed(history)]
        entries.append(Entry(_HISTORY, "HISTORY", "\n".join(lines[:30]), markdown=False))
    return entries


def place_of(key: int | None) -> tuple[str, int] | None:
    """The part and the turn, from 1, that an entry of the detail shows; None for one that shows no turn."""
    part = next((p for p, first in _KEYS.items() if key is not None and first <= key < first + 5_000), None)
    return (part, key - _KEYS[part] + 1) if part and key is not None else None


def finding_of(key: int | None) -> int | None:
    """Which finding, from 0, an entry of the detail shows; None for one that shows none."""
    return key - _FINDING if key is not None and _FINDING <= key < _KEYS["tools"] else None


def _finding(key: int, finding: Finding) -> Entry:
    place = f"\n({finding.place})" if finding.place else ""
    mends = fix_said(finding)
    tone = "bad" if finding.severity is Severity.ERROR else "quiet"
    head = f"{_SEVERITIES[finding.severity]} {finding.check}"
    return Entry(key, head, finding.reason + place, f"F: {mends}" if mends else "", tone, markdown=False)


def _title(example: Example) -> str:
    return f"{example.id}  {example.content.kind.value}  {example.status.value}"


def _facts(example: Example) -> str:
    parts = [f"in {example.dataset}", source_text(example.source)]
    if example.split.value != "none":
        parts.append(f"split {example.split.value}")
    if example.rating is not None:
        parts.append(f"rated {example.rating}")
    if example.tags:
        parts.append("tags " + ", ".join(example.tags))
    if example.flags:
        parts.append("flags " + ", ".join(example.flags))
    texts = [turn.content for turn in (*example.content.prompt, *example.content.chosen, *example.content.rejected)]
    if any(has_controls(text) for text in texts):
        parts.append("⚠ has control characters (shown as ␛ or �)")
    return " · ".join(parts)


def source_text(source: Source) -> str:
    """Where an example came from, in words that lead back."""
    if source.file:
        return f"from {source.file}" + (f", line {source.line}" if source.line is not None else "")
    places = [
        f"chat #{source.chat_id}" if source.chat_id is not None else "",
        f"message {source.message_id}" if source.message_id is not None else "",
        f"comparison {source.comparison_id}" if source.comparison_id is not None else "",
    ]
    where = "of the workspace that wrote the file" if source.away else ""
    models = f"by {', '.join(source.models)}" if source.models else ""
    return " ".join(part for part in (source.kind.value, *places, where, models) if part)


def _offered(tools: str) -> str:
    """A line for each tool: its name with the names of its parameters, and what it says of itself."""
    lines = []
    for tool in json.loads(tools):
        function = tool.get("function", tool)
        schema = function.get("parameters")
        names = schema.get("properties") if isinstance(schema, Mapping) else None
        told = f"{function.get('name', '')}({', '.join(map(str, names or ()))})"
        lines.append(f"{told}: {function['description']}" if function.get("description") else told)
    return "\n".join(lines)


def _turn(key: int, turn: Turn, part: str, tone: str) -> Entry:
    name = part if turn.role in {"user", "assistant"} and part != "PROMPT" else f"{part} {turn.role}"
    if part == "PROMPT" and turn.role == "user":
        name = "PROMPT"
    words = len(turn.shown.split())
    return Entry(
        key,
        name,
        turn.shown,
        f"{counted(len(turn.shown), 'characters')}, {counted(words, 'words')}",
        tone,
        markdown=False,
    )


def _decision(decision: Decision) -> str:
    undone = "  (undone)" if decision.undone else ""
    changes = {name: value for name, value in json.loads(decision.after).items() if name != "deleted"}
    what = "".join(f"  {name} {value}" for name, value in changes.items() if isinstance(value, str | int))[:80]
    return f"{on_the_wall(decision.created_utc)[5:16]}  {decision.rater}  {decision.action.value}{what}{undone}"


@dataclass(slots=True)
class Pace:
    """How fast decisions are made in this session. Times are seconds of a monotonic clock; pauses do not count."""

    decided: int = 0
    moments: deque[float] = field(default_factory=lambda: deque(maxlen=PACE_OVER))

    def add(self, now: float, count: int = 1) -> None:
        """A decision on ``count`` rows was made now."""
        self.decided += count
        if self.moments and now - self.moments[-1] > PAUSE_S:
            self.moments.clear()
        self.moments.append(now)

    def take_back(self, count: int = 1) -> None:
        """A decision was undone: it counts neither as done nor for the rate."""
        self.decided = max(0, self.decided - count)
        if self.moments:
            self.moments.pop()

    @property
    def per_minute(self) -> float:
        """Over the last decisions without a pause between them; 0.0 until there are two."""
        if len(self.moments) < 2 or self.moments[-1] <= self.moments[0]:
            return 0.0
        return 60 * (len(self.moments) - 1) / (self.moments[-1] - self.moments[0])


def headline(dataset: str | None, filter: str, order: str, *, rows: int, row: int, marked: int, reading: str) -> str:
    """What is listed, how much of it, and where one is; ``reading`` says why the number is only the one so far."""
    parts = [dataset or "all datasets", f"{rows:,}+ rows, {reading}" if reading else counted(rows, "rows")]
    parts += [f"row {row:,}"] if rows else []
    parts += [f"{marked:,} marked"] if marked else []
    parts += [f"by {order}"] if order != "id" else []
    parts += [f"filter: {filter}"] if filter else []
    return "  ".join(parts)


def session_line(counts: Mapping[Status, int], pace: Pace, last: str) -> str:
    """Progress in one line: how much is decided, how fast, what an undo would take back."""
    ok, no = counts.get(Status.ACCEPTED, 0), counts.get(Status.REJECTED, 0)
    total = ok + no + counts.get(Status.PENDING, 0)
    share = (ok + no) / total if total else 0.0
    filled = round(10 * share)
    bar = "█" * filled + "░" * (10 - filled)
    parts = [f"{ok + no:,}/{total:,} {bar} {share:.0%}", f"ok {ok:,} no {no:,}", f"now {pace.decided}"]
    if pace.per_minute:
        parts.append(f"{pace.per_minute:.1f}/min")
        left = total - ok - no
        if left:
            parts.append(f"eta {_duration(left / pace.per_minute)}")
    if last:
        parts.append(f"last: {last}")
    return "  ".join(parts)


def _duration(minutes: float) -> str:
    if minutes < 1.5:
        return "1 min"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
