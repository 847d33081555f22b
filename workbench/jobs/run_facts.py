"""All that a run's folder says of the run, read at once: its page, its findings and its differences come from it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.domain.run_findings import LIMITS, Canary, Point, Retention, RunFinding, RunNumbers, findings
from workbench.domain.runs import GAINS, ExampleScore, RunSpec, RunState, RunStatus, example_scores, judged_by
from workbench.jobs.run_directory import Event, RunDirectory, without_undone

WHOLE_WEIGHTS, ADAPTER_WEIGHTS = "*.safetensors", "adapter_model*.safetensors"
_ANSWER_LENGTH = "completions/mean_length"


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run as its folder tells it. ``curves`` are by name, without what a resume undid.

    ``evals`` are the measurements on held-out rows, in order, with ``which`` one of base, during, tuned.
    """

    directory: RunDirectory
    spec: RunSpec
    status: RunStatus
    origin: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    evals: Sequence[Event] = ()
    notes: Sequence[str] = ()
    retention: Retention = field(default_factory=Retention)
    scores: Sequence[ExampleScore] = ()

    @property
    def held_out(self) -> list[Point]:
        """The held-out loss by step, beginning with the one before training."""
        return self.measured("loss")

    @property
    def judged_by(self) -> str:
        """The figure on held-out rows by which the run is judged, and its best weights are told."""
        found = judged_by({name for event in self.evals for name in event})
        return found[0] if found else "loss"

    def measured(self, figure: str) -> list[Point]:
        """A figure on the held-out rows by step, beginning with the one before training."""
        points = {e["step"]: float(e[figure]) for e in self.evals if _is_number(e.get(figure))}
        return sorted(points.items())

    @property
    def before(self) -> Event:
        """The last measurement on held-out rows before training; empty without one."""
        return next((e for e in reversed(self.evals) if e.get("which") == "base"), {})

    @property
    def after(self) -> Event:
        """The last measurement on held-out rows after training; empty without one."""
        return next((e for e in reversed(self.evals) if e.get("which") == "tuned"), {})

    @property
    def numbers(self) -> RunNumbers:
        """What is judged."""
        lengths = self.curves.get(_ANSWER_LENGTH, ())
        if not lengths and all("answer_tokens" in event for event in (self.before, self.after)):
            lengths = [(e["step"], float(e["answer_tokens"])) for e in (self.before, self.after)]
        loss = self.curves.get("loss", ())
        kept = self.after.get("step")
        held_out = self.measured(self.judged_by)
        is_earlier = bool(held_out) and kept is not None and kept < held_out[-1][0]
        pairs = self.figures.items()
        gains = {name: (a, b) for name, (a, b) in pairs if a is not None and b is not None}
        kept_step, bits = kept if is_earlier else None, str(self.spec.knobs.get("quantization", "none"))
        return RunNumbers(loss, held_out, self.judged_by, kept_step, lengths, self.retention, gains, bits)

    @property
    def findings(self) -> list[RunFinding]:
        """What the numbers say, the loudest first."""
        return findings(self.numbers)

    @property
    def figures(self) -> dict[str, tuple[float | None, float | None]]:
        """What was measured on held-out rows before and after, by name."""
        names = ("loss", "perplexity", *GAINS)
        found = {name: (_number(self.before.get(name)), _number(self.after.get(name))) for name in names}
        return {name: pair for name, pair in found.items() if pair != (None, None)}


def read_facts(directory: RunDirectory) -> RunFacts:
    """Read a run's folder; raises ``RunError`` when it is none."""
    told = directory.spec()
    spec = replace(told, knobs={**told.knobs, **directory.adjusted()})
    events = without_undone(directory.events()[0])
    origin = directory.read_json(directory.origin_file)
    return RunFacts(
        directory,
        spec,
        directory.status() or RunStatus(RunState.QUEUED),
        origin,
        _curves(events),
        [e for e in events if e["event"] == "eval" and isinstance(e.get("step"), int)],
        [str(e.get("text", "")) for e in events if e["event"] == "note"],
        _retention(directory, spec, origin),
        example_scores(0, _numbered(directory)),
    )


def file_hash(path: Path) -> str:
    """SHA-256 of a file; empty when it is not there."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_hash(files: tuple[Path, ...]) -> str:
    """The SHA-256 of one weight file; of several, that of their lines in ``sha256sum``'s form. Reads them whole."""
    lines = []
    for path in files:
        with path.open("rb") as file:
            lines.append((hashlib.file_digest(file, "sha256").hexdigest(), path.name))
    if len(lines) == 1:
        return lines[0][0]
    return hashlib.sha256("".join(f"{digest}  {name}\n" for digest, name in lines).encode()).hexdigest()


def note_start(directory: RunDirectory, spec: RunSpec) -> None:
    """Write into ``origin.json`` the hashes of what the run starts from, where another run was yet to make it."""
    origin = directory.read_json(directory.origin_file)
    found = {}
    for key, place, weights in (
        ("base_sha256", spec.base_path, WHOLE_WEIGHTS),
        ("adapter_sha256", spec.adapter_path, ADAPTER_WEIGHTS),
    ):
        files = tuple(sorted(Path(place).glob(weights))) if place else ()
        if files and not origin.get(key):
            found[key] = weights_hash(files)
    if origin and found:
        directory.write_json(directory.origin_file, {**origin, **found})


def _curves(events: Sequence[Event]) -> dict[str, list[Point]]:
    found: dict[str, dict[int, float]] = {}
    for event in events:
        step, values = event.get("step"), event.get("values")
        if event["event"] in {"metrics", "device"} and isinstance(step, int) and isinstance(values, Mapping):
            for name, value in values.items():
                found.setdefault(name, {})[step] = float(value) if _is_number(value) else math.nan
        for each in event.get("losses", ()):  # the value is their mean where steps come fast
            found.setdefault("loss", {})[int(each[0])] = float(each[1]) if _is_number(each[1]) else math.nan
    return {name: sorted(points.items()) for name, points in found.items()}


def _retention(directory: RunDirectory, spec: RunSpec, origin: Mapping[str, Any]) -> Retention:
    measured = directory.read_json(directory.retention_file)
    general = measured.get("general", {})
    limit = _number(origin.get("retention_limit"))
    return Retention(
        _number(general.get("base_loss")),
        _number(general.get("loss")),
        int(general.get("rows", 0)),
        int(general.get("tokens", 0)),
        spec.general,
        LIMITS["retention"].value if limit is None else limit,
        tuple(Canary(str(c["prompt"]), str(c["base"]), str(c["tuned"])) for c in measured.get("canaries", ())),
    )


def _numbered(directory: RunDirectory) -> list[dict[str, Any]]:
    """The figures of single rows; those without an example's id get one of their own, below zero."""
    rows = directory.row_figures()
    return [row if isinstance(row.get("example"), int) else {**row, "example": -i} for i, row in enumerate(rows, 1)]


def row_text(directory: RunDirectory, split: str, number: int) -> str:
    """A frozen row as text, by its place in its file from 1; empty when it is not there."""
    path = directory.eval_file if split == "held_out" else directory.train_file
    try:
        with path.open(encoding="utf-8") as file:
            row = json.loads(next(line for i, line in enumerate(file, 1) if i == number))
    except (OSError, ValueError, StopIteration):
        return ""
    if "text" in row:
        return str(row["text"])
    turns = [*row.get("prompt", ()), *row.get("completion", row.get("chosen", ()))]
    return "\n".join(f"{turn.get('role')}: {turn.get('content')}" for turn in turns)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
