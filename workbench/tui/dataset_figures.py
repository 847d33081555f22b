"""The figures of a dataset as a terminal shows them: counts, histograms of block characters, and what each means.

For the screen and for the command alike: knows no widget. Plotting libraries draw a whole canvas each (plotext), or
want Rich renderables (``rich.bar``); these bars stand inside lines of text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from workbench.domain.dataset_statistics import Bucket, Lengths, Statistics, meanings

BAR_WIDTH = 40
_EIGHTHS = "▏▎▍▌▋▊▉█"
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Section:
    """One figure: what it is, the histogram when it has one, and what it means for training ("" when that is plain)."""

    name: str
    head: str
    buckets: tuple[Bucket, ...] = ()
    meaning: str = ""


def drawn(found: Statistics) -> str:
    """All figures as plain text, each with its sentence."""
    lines: list[str] = []
    for one in sections(found):
        bars = [f"{_INDENT}{label} {bar} {count}" for label, bar, count in histogram_lines(one.buckets)]
        lines += [one.head, *bars, *([f"{_INDENT}{one.meaning}"] if one.meaning else [])]
    return "\n".join(lines)


def sections(found: Statistics) -> list[Section]:
    """All figures that there are, in the order in which they are read."""
    told = meanings(found)
    return [replace(one, meaning=told.get(one.name, "")) for one in _sections(found)]


def bar(count: int, most: int, *, width: int = BAR_WIDTH) -> str:
    """A bar of block characters to an eighth of one; something, however little, for every count above 0."""
    eighths = max(1, round(8 * width * count / most)) if count else 0
    whole, part = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[part - 1] if part else "")


def histogram_lines(buckets: Sequence[Bucket], *, width: int = BAR_WIDTH) -> list[tuple[str, str, str]]:
    """Each bucket's range, its bar of at most ``width`` cells, and its count."""
    most = max((bucket.count for bucket in buckets), default=0)
    names = [f"{b.low:,}" if b.low == b.high else f"{b.low:,}-{b.high:,}" for b in buckets]
    aligned = max(map(len, names), default=0)
    return [
        (f"{name:>{aligned}}", bar(bucket.count, most, width=width), f"{bucket.count:,}")
        for name, bucket in zip(names, buckets, strict=True)
    ]


def _sections(found: Statistics) -> Iterator[Section]:
    yield Section("rows", f"rows: {found.rows:,} ({_counts(found.statuses)})")
    for name in ("kinds", "splits", "sources", "tags"):
        if counts := getattr(found, name):
            yield Section(name, f"{name}: {_counts(counts)}")
    yield from _lengths("prompt_words", "prompt, in words", found.prompt_words)
    yield from _lengths("answer_words", "answer, in words", found.answer_words)
    if found.tokens is not None:
        yield from _lengths("tokens", f"row, in tokens of {found.tokens.model}", found.tokens.lengths)
    yield Section("turns", f"turns: {_counts({str(n): count for n, count in found.turns.items()})}")
    sampled = f"in {found.sampled:,} answers"
    yield Section("vocabulary", f"vocabulary: {found.vocabulary:,} different words {sampled}")
    for name, value, of in (
        ("distinct_1", found.distinct_1, sampled),
        ("distinct_2", found.distinct_2, sampled),
        ("self_similarity", found.self_similarity, f"among {found.compared:,} answers"),
    ):
        if value is not None:
            yield Section(name, f"{name.replace('_', '-')}: {value:.2f} {of}")
    if found.labels:
        yield Section("labels", f"labels: {_counts(found.labels)}")
    if found.chosen_longer is not None:
        yield Section("chosen_longer", f"chosen is longer: {found.chosen_longer:.0%}")
    yield Section("duplicates", f"duplicates: {found.duplicates:,}")
    yield Section("repeated_prompts", f"repeated prompts: {found.repeated_prompts:,}")
    if (plan := found.estimate) is not None:
        rows = f"{plan.train_rows:,} rows, {plan.held_out_rows:,} held out, batches of {plan.batch:,}"
        steps = f"{plan.epochs:.3g} epochs, {plan.steps:,} steps"
        yield Section("estimate", f"estimate for {plan.method}, preset {plan.preset}: {rows}, {steps}")


def _lengths(name: str, title: str, lengths: Lengths | None) -> Iterator[Section]:
    if lengths is None:
        return
    head = (
        f"{title}: median {lengths.median:,}, mean {lengths.mean:,.1f}, 95 % up to {lengths.p95:,}, "
        f"from {lengths.minimum:,} to {lengths.maximum:,}"
    )
    yield Section(name, head, lengths.histogram)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
