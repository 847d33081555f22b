"""The figures of a dataset as a terminal shows them: counts, histograms of block characters, and what each means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from workbench.domain.dataset_statistics import Bucket, Lengths, Statistics, meanings

_WIDTH = 40
_EIGHTHS = "▏▎▍▌▋▊▉█"
_INDENT = "    "


def drawn(found: Statistics) -> str:
    """All figures, each with its sentence."""
    told = meanings(found)
    return "\n".join(line for name, lines in _sections(found) for line in [*lines, *_meaning(told.get(name))])


def bar(count: int, most: int, *, width: int = _WIDTH) -> str:
    """A bar of block characters to an eighth of one; something, however little, for every count above 0."""
    eighths = max(1, round(8 * width * count / most)) if count else 0
    whole, part = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[part - 1] if part else "")


def _meaning(sentence: str | None) -> list[str]:
    return [f"{_INDENT}{sentence}"] if sentence else []


def _sections(found: Statistics) -> Iterator[tuple[str, list[str]]]:
    yield "rows", [f"rows: {found.rows:,} ({_counts(found.statuses)})"]
    for name in ("kinds", "splits", "sources", "tags"):
        if counts := getattr(found, name):
            yield name, [f"{name}: {_counts(counts)}"]
    yield from _lengths("prompt_words", "prompt, in words", found.prompt_words)
    yield from _lengths("answer_words", "answer, in words", found.answer_words)
    if found.tokens is not None and found.tokens.lengths is not None:
        yield from _lengths("tokens", f"row, in tokens of {found.tokens.model}", found.tokens.lengths)
    yield "turns", [f"turns: {_counts({str(n): count for n, count in found.turns.items()})}"]
    sampled = f"in {found.sampled:,} answers"
    yield "vocabulary", [f"vocabulary: {found.vocabulary:,} different words {sampled}"]
    for name, value, of in (
        ("distinct_1", found.distinct_1, sampled),
        ("distinct_2", found.distinct_2, sampled),
        ("self_similarity", found.self_similarity, f"among {found.compared:,} answers"),
    ):
        if value is not None:
            yield name, [f"{name.replace('_', '-')}: {value:.2f} {of}"]
    if found.labels:
        yield "labels", [f"labels: {_counts(found.labels)}"]
    if found.chosen_longer is not None:
        yield "chosen_longer", [f"chosen is longer: {found.chosen_longer:.0%}"]
    yield "duplicates", [f"duplicates: {found.duplicates:,}"]
    yield "repeated_prompts", [f"repeated prompts: {found.repeated_prompts:,}"]
    if (plan := found.estimate) is not None:
        rows = f"{plan.train_rows:,} rows, {plan.held_out_rows:,} held out, batches of {plan.batch:,}"
        steps = f"{plan.epochs:.3g} epochs, {plan.steps:,} steps"
        yield "estimate", [f"estimate for {plan.method}, preset {plan.preset}: {rows}, {steps}"]


def _lengths(name: str, title: str, lengths: Lengths | None) -> Iterator[tuple[str, list[str]]]:
    if lengths is None:
        return
    head = (
        f"{title}: median {lengths.median:,}, mean {lengths.mean:,.1f}, 95 % up to {lengths.p95:,}, "
        f"from {lengths.minimum:,} to {lengths.maximum:,}"
    )
    yield name, [head, *_histogram(lengths.histogram)]


def _histogram(buckets: tuple[Bucket, ...]) -> list[str]:
    most = max(bucket.count for bucket in buckets)
    names = [f"{b.low:,}" if b.low == b.high else f"{b.low:,}-{b.high:,}" for b in buckets]
    width = max(map(len, names))
    return [
        f"{_INDENT}{name:>{width}} {bar(bucket.count, most)} {bucket.count:,}"
        for name, bucket in zip(names, buckets, strict=True)
    ]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
