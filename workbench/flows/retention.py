"""What is frozen beside a run's rows to see what the training costs: general text, and canary prompts.

Owns where they come from: the person's own file or dataset, else for the model that comes with the program what comes
with it. Another model has none of its own: its general text is for the person to name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import formats
from workbench.domain.examples import Content, Kind, Status
from workbench.domain.formats import Reading
from workbench.domain.models import Model
from workbench.domain.queries import Filter, Query
from workbench.domain.training import Row, content_rows
from workbench.errors import DataError, NotFoundError
from workbench.flows import compare
from workbench.flows.containers import Options, open_source
from workbench.flows.gate import stream
from workbench.flows.reading import RowError
from workbench.paths import shipped

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

NONE = "none"
MOST_GENERAL = 200
MOST_CANARIES = 16
_SHIPPED_GENERAL = 60
_UNSEEN = (
    "what it forgets will not be measured: --general FILE or DATASET (training.general in the settings) names text "
    "that the model knows; none says that it is meant so"
)
_TAKEN = (Kind.DEMONSTRATION, Kind.PREFERENCE, Kind.TEXT)


@dataclass(frozen=True, slots=True)
class Aside:
    """Files to freeze beside the rows, by name, where the general text came from ("" for none), and what to know."""

    source: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[str, ...] = ()


def aside_of(bench: Bench, base: Model, *, general: str = "", canaries: str = "") -> Aside:
    """What a run on ``base`` freezes: as named, else as set, else what the program has for its own model.

    ``general`` is a file or a dataset, ``canaries`` a file of prompts or a dataset, and ``none`` switches either off.
    Raises ``NotFoundError``, or ``DataError`` when there is nothing in it that can be measured.
    """
    settings = bench.settings.training
    own = Path(base.path) == shipped("sample_data") / "model"
    source = general or settings.general or (str(shipped("sample_data") / "heldout.jsonl") if own else NONE)
    prompts = canaries or settings.canaries or (str(shipped("sample_data") / "canaries.jsonl") if own else NONE)
    unasked = source == NONE and not general and not settings.general
    files: dict[str, str] = {}
    if source != NONE:
        most = MOST_GENERAL if general or settings.general else _SHIPPED_GENERAL
        files["general.jsonl"] = _lines(_general(bench, source, most))
    if prompts != NONE:
        files["canaries.jsonl"] = _lines(_canaries(bench, prompts))
    return Aside("" if source == NONE else Path(source).name, files, (_UNSEEN,) if unasked else ())


def _general(bench: Bench, source: str, most: int) -> list[Row]:
    path = Path(source).expanduser()
    contents = _from_file(path) if path.is_file() else _from_dataset(bench, source)
    rows = (row for content in contents if content.kind in _TAKEN for row in _measured(content))
    if not (found := list(islice(rows, most))):
        raise DataError(f"there is no text or answer in {source} to measure what is kept", where=source)
    return found


def _measured(content: Content) -> Iterator[Row]:
    """The rows of an example whose answers are the assistant's alone: with others between, masks would be needed."""
    own = Kind.TEXT if content.kind is Kind.TEXT else Kind.DEMONSTRATION
    for row in content_rows(content, own):
        said = row.get("completion", [])
        if isinstance(said, list) and all(turn.get("role") == "assistant" for turn in said):
            yield row


def _from_dataset(bench: Bench, name: str) -> Iterator[Content]:
    try:
        bench.store.datasets.get(name)
    except NotFoundError:
        raise NotFoundError(
            f"{name} is neither a file nor a dataset",
            hint="general text is a file (.txt, .jsonl) or a dataset; none switches it off",
        ) from None
    for example in stream(bench, Query((Filter("status", Status.ACCEPTED.value),)), name):
        yield example.content


def _from_file(path: Path) -> Iterator[Content]:
    with open_source(path, Options()) as opened:
        lines = list(islice(opened.lines, MOST_GENERAL))
    bad = next((line for line in lines if isinstance(line.row, RowError)), None)
    if bad is not None and isinstance(bad.row, RowError):
        raise DataError(bad.row.reason, where=f"{path}:{bad.number}")
    rows = [line.row for line in lines if not isinstance(line.row, RowError)]
    if not rows:
        return
    found = formats.detect(rows)
    for row in rows:
        yield from (part.content for part in found.read(row) if isinstance(part, Reading))


def _canaries(bench: Bench, source: str) -> list[Row]:
    path = Path(source).expanduser()
    prompts = compare.prompts_from(bench, path if path.is_file() else source)
    return [{"prompt": [turn.as_dict() for turn in turns]} for turns in prompts[:MOST_CANARIES]]


def _lines(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows)
