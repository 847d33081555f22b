"""What the Models pane shows: read in a thread, turned into rows and lines. Knows no widget but the list's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from workbench.domain.counting import counted, size
from workbench.domain.models import Model, ModelKind
from workbench.domain.moments import on_the_wall
from workbench.domain.serving import EngineState, EngineStatus
from workbench.errors import NotFoundError, RunError, WorkbenchError
from workbench.flows import compare, registry
from workbench.flows import train as training
from workbench.tui.figures import thousands
from workbench.tui.run_view import held_out_gain
from workbench.tui.safety import cell
from workbench.tui.widgets.listing import Column, Row

if TYPE_CHECKING:
    from workbench.domain.runs import Run, RunSpec
    from workbench.flows.bench import Bench
    from workbench.flows.compare import Result

COLUMNS = (
    Column("name"),
    Column("kind", 8),
    Column("base", 14, least=64),
    Column("run", 14, least=76),
    Column("size", 8, right=True),
    Column("state", 8),
)
STATES = {
    EngineState.OFF: "off; it starts with the first question",
    EngineState.STARTING: "starting",
    EngineState.IDLE: "on, no model loaded",
    EngineState.LOADING: "loading",
    EngineState.READY: "ready",
    EngineState.FAILED: "FAILED",
    EngineState.DIED: "DIED",
    EngineState.REMOTE: "elsewhere",
}


@dataclass(frozen=True, slots=True)
class Shelf:
    """Every model with what its files say, and where the engine stands."""

    models: tuple[Model, ...]
    facts: Mapping[int, Mapping[str, object]]
    engine: EngineStatus


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a model came from: the run that made it and what that run was given; and its votes."""

    run: Run | None = None
    spec: RunSpec | None = None
    results: tuple[Result, ...] = field(default=())


def look(bench: Bench) -> Shelf:
    """Read all models; a folder that cannot be read has the reason among its facts. For a thread."""
    models = tuple(registry.list_models(bench))
    return Shelf(models, {model.id: _facts(bench, model) for model in models}, bench.engine.status())


def _facts(bench: Bench, model: Model) -> Mapping[str, object]:
    try:
        return registry.describe(bench, model)
    except WorkbenchError as error:
        return {"present": False, "problem": error.message}


def lineage(bench: Bench, model: Model) -> Lineage:
    """The way back from a model to its rows; for a thread."""
    results = tuple(compare.results(bench, model.name))
    if model.run_id is None:
        return Lineage(results=results)
    try:
        run = bench.store.runs.get(model.run_id)
    except NotFoundError:
        return Lineage(results=results)
    try:
        return Lineage(run, training.spec(run), results)
    except RunError:
        return Lineage(run, None, results)


def model_row(model: Model, facts: Mapping[str, object], engine: EngineStatus) -> Row:
    """One line of the list."""
    state, tone = _state(model, facts, engine)
    bytes_ = facts.get("bytes")
    shown = size(bytes_) if isinstance(bytes_, int) and bytes_ else "-"
    return Row(model.name, (model.name, model.kind.value, model.base or "-", _text(facts, "run"), shown, state), tone)


def _state(model: Model, facts: Mapping[str, object], engine: EngineStatus) -> tuple[str, str]:
    if engine.base and model.name in {engine.base, *engine.adapters}:
        return "LOADED", "good"
    if model.kind is ModelKind.ENDPOINT:
        return "remote", "muted"
    if facts.get("present") is False:
        return "MISSING", "bad"
    return ("hub", "muted") if registry.is_hub_id(model.path) else ("on disk", "muted")


def detail(model: Model, facts: Mapping[str, object], origin: Lineage) -> Text:
    """All that is known of one model, a line each."""
    text = Text()
    for label, value in _lines(model, facts, origin):
        text.append(f"{label:<12}", "bold").append(cell(value) + "\n")
    return text


def _lines(model: Model, facts: Mapping[str, object], origin: Lineage) -> list[tuple[str, str]]:
    lines = [("name", f"{model.name}   {model.kind.value}   {model.format}")]
    if problem := _text(facts, "problem", ""):
        lines.append(("PROBLEM", problem))
    if (endpoint := model.endpoint) is not None:
        key = f"${endpoint.variable}" if endpoint.variable else endpoint.key_source or "none"
        lines += [("server", endpoint.url), ("name there", endpoint.model), ("key", key)]
    else:
        lines.append(("weights", _weights(facts)))
    if facts.get("peft_type"):
        lines.append(("adapter", _adapter(facts)))
    lines += _way(model, origin)
    if model.endpoint is None:
        lines += [("path", model.path), ("sha256", model.sha256 or "not known before it is downloaded")]
    if model.note:
        lines.append(("note", model.note))
    lines.append(("added", on_the_wall(model.created_utc)))
    return lines


def _weights(facts: Mapping[str, object]) -> str:
    parts = []
    if isinstance(count := facts.get("parameters"), int) and count:
        parts.append(f"{thousands(count)} parameters")
    parts += [str(facts[name]) for name in ("dtype", "architecture") if facts.get(name)]
    if facts.get("context"):
        parts.append(f"context {facts['context']}")
    if "chat_template" in facts and not facts.get("peft_type"):
        parts.append("chat template" if facts["chat_template"] else "NO chat template")
    return ", ".join(parts) or "not on this disk yet"


def _adapter(facts: Mapping[str, object]) -> str:
    targets = facts.get("target_modules")
    shown = ", ".join(sorted(map(str, targets))) if isinstance(targets, list) else str(targets or "-")
    return (
        f"{facts.get('peft_type') or '-'} rank {facts.get('r') or '-'} alpha {facts.get('lora_alpha') or '-'}: {shown}"
    )


def _way(model: Model, origin: Lineage) -> list[tuple[str, str]]:
    """The lineage, from the model back to its rows."""
    lines = [("base", model.base)] if model.base else []
    run, spec = origin.run, origin.spec
    if run is not None:
        gain = held_out_gain(run)
        lines.append(
            ("made by", f"run {run.name}: {run.method}, {counted(run.step, 'steps')}" + (f", {gain}" if gain else ""))
        )
        examples = f", {counted(len(set(spec.example_ids)), 'examples')}" if spec else ""
        lines.append(("trained on", f"{run.dataset}{examples}"))
        if spec and spec.adapter:
            lines.append(("went on from", spec.adapter))
    for result in origin.results:
        score = result.score
        share = "-" if result.win_rate.value is None else round(100 * result.win_rate.value)
        mine = f"wins {share} % of {score.decided} decided votes"
        lines.append(("votes", f"{mine} against {score.b}: {_verdict(result)}"))
    return lines


def _verdict(result: Result) -> str:
    if result.verdict == "undecided":
        return "undecided"
    return f"{result.score.a if result.verdict == 'a' else result.score.b} is better"


def engine_text(status: EngineStatus) -> Text:
    """Where the engine stands, in two lines."""
    text = Text("engine  ", "bold").append(STATES[status.state], "not bold")
    parts = [
        ", ".join((status.base, *status.adapters)) if status.base else "",
        f"{status.device} {status.dtype}".strip(),
    ]
    parts += [size(status.memory_bytes) if status.memory_bytes else "", f"pid {status.pid}" if status.pid else ""]
    parts.append(f"{status.active} answering" if status.active else "")
    for part in parts:
        text.append(f"   {cell(part)}" if part else "", "not bold")
    below = status.detail or status.note
    return text.append(f"\n        {cell(below)}" if below else "", "not bold")


def _text(facts: Mapping[str, object], name: str, default: str = "-") -> str:
    return str(facts.get(name) or default)
