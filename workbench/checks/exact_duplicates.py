"""Rows of one dataset that say the same, but for case, spacing and a last full stop: they count twice an epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from workbench.checks._likeness import digest, said, scene
from workbench.domain.checks import REJECT, CheckedRow, Finding, SetCheck, Severity, Surroundings
from workbench.domain.examples import Split


def look(rows: Iterable[CheckedRow], surroundings: Surroundings) -> Iterator[Finding]:
    """A finding for every row but the first of those that are the same; 16 bytes and an id are kept of each row."""
    first: dict[bytes, int] = {}
    for row in rows:
        original = first.setdefault(_key(row), row.id)
        if original != row.id:
            reason = f"says the same as example {original}"
            yield Finding(Severity.WARNING, reason, fixable=True, example_id=row.id)


def _key(row: CheckedRow) -> bytes:
    content = row.content
    held_out = row.split in {Split.VALIDATION, Split.TEST}  # between the two sides it is leakage
    kind = f"{row.dataset}\x1f{content.kind.value}\x1f{content.label}\x1f{held_out}"
    return digest(kind, scene(content), said(content.prompt), said(content.chosen), said(content.rejected))


CHECK = SetCheck(
    "exact_duplicates",
    title="Duplicates",
    summary="rows of one dataset that say the same but for case, spacing and a last full stop",
    look=look,
    fix=REJECT,
)
