"""The card beside an exported file: what it is, how much of what is in it, where it came from, and its hashes."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workbench import __version__
from workbench.domain.counting import counted
from workbench.domain.examples import Example
from workbench.domain.foreign_text import clean
from workbench.errors import RefusedError

MARKER = "<!-- A card of workbench: the next export to this place replaces it. -->"
_MOST_LINES = 12


@dataclass(slots=True)
class Tally:
    """What a card counts, row by row."""

    rows: int = 0
    words: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, example: Example) -> None:
        """One more row."""
        self.rows += 1
        said = (*example.content.prompt, *example.content.chosen)
        self.words += sum(len(turn.shown.split()) for turn in said)
        values = {
            "kind": [example.content.kind.value],
            "status": [example.status.value],
            "split": [example.split.value],
            "dataset": [example.dataset],
            "source": [_source(example)],
            "model": list(example.source.models),
            "tag": list(example.tags),
        }
        for name, found in values.items():
            self.counts.setdefault(name, Counter()).update(found)


def _source(example: Example) -> str:
    source = example.source
    return f"{source.kind.value} of {Path(source.file).name}" if source.file else source.kind.value


def card_text(name: str, tally: Tally, *, format: str, container: str, query: str, files: Mapping[str, str]) -> str:
    """The card as Markdown with the front matter that the Hugging Face hub reads. ``files`` are names and SHA-256."""
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    lines += [f"  - split: train\n    path: {json.dumps(file)}" for file in files]
    lines += ["---", "", MARKER, f"# {_plain(name)}", ""]
    lines += [
        f"{counted(tally.rows, 'rows')}, {counted(tally.words, 'words')}, exported by workbench {__version__}.",
        "",
    ]
    lines += [f"- format: {format}", f"- container: {container}", f"- query: `{_plain(query)}`", ""]
    for what, found in tally.counts.items():
        if found:
            lines += [*_table(what, found), ""]
    lines += ["| file | sha256 |", "|---|---|", *(f"| {_plain(file)} | {digest} |" for file, digest in files.items())]
    return "\n".join(lines) + "\n"


def card_place(folder: Path, prefix: str = "") -> Path:
    """Where a card may be written: ``README.md`` after ``prefix``, or ``WORKBENCH.md`` when that one is a person's.

    Raises ``RefusedError`` when both are there and neither is a card of an earlier export.
    """
    places = [folder / f"{prefix}{name}" for name in ("README.md", "WORKBENCH.md")]
    for place in places:
        if not os.path.lexists(place) or _is_card(place):
            return place
    raise RefusedError(
        f"{places[0].name} and {places[1].name} are there already and are no cards of an export",
        hint="--no-card exports without one",
        where=str(places[1]),
    )


def _is_card(path: Path) -> bool:
    try:
        return MARKER in path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False


def _table(what: str, found: Counter[str]) -> list[str]:
    rows = [f"| {_plain(value)} | {number:,} |" for value, number in found.most_common(_MOST_LINES)]
    if len(found) > _MOST_LINES:
        rest = found.total() - sum(number for _, number in found.most_common(_MOST_LINES))
        rows.append(f"| {len(found) - _MOST_LINES} others | {rest:,} |")
    return [f"| {what} | rows |", "|---|---:|", *rows]


def _plain(text: str) -> str:
    return " ".join(clean(text).split()).replace("|", "\\|").replace("`", "'")
