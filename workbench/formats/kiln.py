"""Kiln's task runs, one per ``.kiln`` file: input, output with its rating, and the repaired output where there is one.

A repaired output makes a pair: better than what was repaired. A pass/fail rating makes a judgement; else a run is a
demonstration, from its trace where it has one. Kiln's exports are read by ``openai`` and ``sharegpt``.
Source: https://github.com/Kiln-AI/Kiln/tree/main/libs/core/kiln_ai/datamodel
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.domain.chats import Turn
from workbench.domain.examples import Content, Kind
from workbench.domain.formats import Format, LeftOut, Part, Reading, Row
from workbench.errors import DataError
from workbench.formats import _turns as t

_COLUMNS = frozenset(
    {"v", "model_type", "input", "input_source", "output", "repair_instructions", "repaired_output", "tags", "trace"}
    | {"intermediate_outputs", "usage", "created_at", "created_by", "path"}
)


def _score(row: Row) -> int:
    return 100 if row.get("model_type") == "task_run" or ("v" in row and "model_type" in row) else 0


def _read(row: Row) -> Sequence[Part]:
    if row.get("model_type") != "task_run":
        return [LeftOut(f"records of Kiln's type {row.get('model_type')}")]
    output = row.get("output")
    if not isinstance(output, Mapping):
        raise DataError("'output' is not an object")
    prompt, answer = (Turn(t.USER, t.text_of(row, "input")),), _output(output, "output")
    rating = output.get("rating")
    score = rating.get("value") if isinstance(rating, Mapping) else None
    kind = rating.get("type") if isinstance(rating, Mapping) else None
    tags = row.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise DataError("'tags' is not a list of texts")
    repaired = row.get("repaired_output")
    if isinstance(repaired, Mapping):
        content = Content(Kind.PREFERENCE, prompt, _output(repaired, "repaired_output"), answer)
        note, both = t.text_of(row, "repair_instructions"), (_model(repaired) or "", _model(output) or "")
        return [Reading(t.checked(content), tags=tuple(tags), note=note, models=both if all(both) else ())]
    models = tuple(name for name in [_model(output)] if name)
    if kind == "pass_fail" and score is not None:
        content = t.checked(Content(Kind.JUDGEMENT, prompt, answer, label=t.yes_or_no(score, "rating")))
        return [Reading(content, tags=tuple(tags), models=models)]
    trace = row.get("trace")
    said = t.turns(trace, "trace", t.USER) if trace else (*prompt, *answer)
    stars = round(score) if kind == "five_star" and isinstance(score, int | float) and 1 <= score <= 5 else None
    return [Reading(t.demonstration(said, "trace"), tags=tuple(tags), models=models, rating=stars)]


def _output(record: Mapping[str, object], name: str) -> t.Turns:
    text = record.get("output")
    if not isinstance(text, str):
        raise DataError(f"{name!r} has no text 'output'")
    return (Turn(t.ASSISTANT, text),)


def _model(record: Mapping[str, object]) -> str | None:
    source = record.get("source")
    properties = source.get("properties") if isinstance(source, Mapping) else None
    name = properties.get("model_name") if isinstance(properties, Mapping) else None
    return name if isinstance(name, str) else None


FORMAT = Format(
    name="kiln",
    title="Kiln",
    summary="task runs (.kiln files, or a project's folder): input, rated output, repaired output",
    columns=_COLUMNS,
    score=_score,
    read=_read,
)
