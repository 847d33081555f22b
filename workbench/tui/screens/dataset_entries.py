"""How a dataset's figures and its readiness read: values in, content out; no widget, no store."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from textual.content import Content

from workbench.domain.dataset_statistics import Statistics
from workbench.domain.readiness import RULES, Fired, Readiness, Rule
from workbench.tui.dataset_figures import BAR_WIDTH, Section, histogram_lines, sections
from workbench.tui.safety import cell

Part = tuple[str, str]
_ROOM = 24  # cells beside a bar: its range and its count


def figures_content(found: Statistics, width: int) -> Content:
    """Every figure with its histogram, and what each means for training."""
    return Content.assemble(*chain.from_iterable(_section(one, width) for one in sections(found)))


def _section(one: Section, width: int) -> Iterator[Part]:
    name, colon, rest = one.head.partition(":")
    yield cell(name + colon), "bold $accent"
    yield cell(rest) + "\n", ""
    for label, bar, count in histogram_lines(one.buckets, width=max(8, min(BAR_WIDTH, width - _ROOM))):
        yield f"  {label} ", "$text-muted"
        yield bar, "$primary"
        yield f" {count}\n", ""
    if one.meaning:
        yield f"  {cell(one.meaning)}\n", "$text-muted italic"


def readiness_content(found: Readiness, dataset: str, model: str) -> Content:
    """The verdict, what is missing, and the table of rules with the threshold and the source of each."""
    parts: list[Part] = [*_verdict(found, dataset, model), ("\nThe rules, and which of them fired (▶)\n", "bold")]
    fired = {one.rule for one in (found.approach, found.start, *found.missing, *found.advice)}
    return Content.assemble(*parts, *chain.from_iterable(_rule(rule, rule.name in fired) for rule in RULES))


def _verdict(found: Readiness, dataset: str, model: str) -> Iterator[Part]:
    facts = found.facts
    tone = "bold $text-success" if found.ready else "bold $text-warning"
    yield f"{cell(dataset)}: {'ready' if found.ready else 'not ready'} for {cell(model)}\n", tone
    kind = f" ({facts.kind.value})" if facts.kind else ""
    yield f"{facts.accepted:,} accepted rows{kind}, {facts.usable:,} to train or measure on, ", ""
    yield f"{facts.held_out:,} held out, {facts.test:,} in the test split, {facts.errors:,} with errors\n", ""
    yield from _said("do", found.approach, "bold")
    yield from _said("start from", found.start, "bold")
    for one in found.missing:
        yield from _said("missing", one, "bold $text-error")
    for one in found.advice:
        yield from _said("better", one, "bold $text-warning")


def _said(what: str, one: Fired, tone: str) -> Iterator[Part]:
    yield f"{what}: {one.answer}\n", tone
    yield f"  {one.reason}\n", ""


def _rule(rule: Rule, has_fired: bool) -> Iterator[Part]:
    yield f"{'▶' if has_fired else ' '} {rule.name}", "bold $accent" if has_fired else "$text-muted"
    yield f"  {rule.decides}: {rule.answer}\n", "bold" if has_fired else ""
    yield f"    {rule.reason.format(n=rule.threshold)}\n", "" if has_fired else "$text-muted"
    yield f"    {rule.source}\n", "$text-muted italic"
