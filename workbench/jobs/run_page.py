"""A run's page, made from its folder alone: what it was told, what it did, what came out, and what that says.

Written into the folder as ``report.md`` and ``report.html`` when a run ends, and whenever somebody asks.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench.domain.page_html import as_html
from workbench.domain.pages import Block, Chart, Line, Page, Sample, Section, Table, Text, as_markdown
from workbench.domain.run_findings import MEASURES, Level
from workbench.domain.runs import figure_name
from workbench.jobs.run_directory import RunDirectory
from workbench.jobs.run_facts import RunFacts, file_hash, read_facts, row_text

MARKDOWN, HTML = "report.md", "report.html"
_WORST_ROWS = 5
_NOTES = 40
_CHARTS = (
    ("reward and reward margin", ("rewards/margins", "rewards/accuracies", "reward")),
    ("learning rate", ("learning_rate",)),
    ("gradient norm", ("grad_norm",)),
    ("tokens per second", ("tokens_per_second",)),
)
_TONES = {Level.WARNING: "bad", Level.GOOD: "good", Level.NOTE: ""}


def write_page(directory: RunDirectory) -> tuple[Path, Path]:
    """Write the page into the run's folder, in both forms; raises ``RunError`` or ``OSError``."""
    facts = read_facts(directory)
    page = run_page(facts)
    directory.write_json(directory.findings_file, {"findings": _findings(facts)})
    markdown, html = directory.root / MARKDOWN, directory.root / HTML
    directory.write_text(markdown, as_markdown(page))
    directory.write_text(html, as_html(page))
    return markdown, html


def run_page(facts: RunFacts) -> Page:
    """The page of a run, also of one that is not over."""
    spec = facts.spec
    return Page(
        f"Run {spec.name}",
        f"{spec.method} of {spec.adapter or spec.base} on {spec.dataset}: {_state(facts)}",
        (
            Section("Findings", tuple(Text(f.said, _TONES[f.level]) for f in facts.findings)),
            Section("Numbers", tuple(_numbers(facts))),
            Section("Curves", tuple(_charts(facts))),
            Section("Data", tuple(_data(facts))),
            Section("Settings", tuple(_settings(facts))),
            Section("Canary prompts", tuple(_canaries(facts))),
            Section("Rows it knows least", tuple(_worst_rows(facts))),
            Section("Where it came from", tuple(_provenance(facts))),
            Section("What the trainer said", (Table((), tuple((note,) for note in facts.notes[-_NOTES:])),)),
        ),
    )


def _state(facts: RunFacts) -> str:
    status = facts.status
    steps = f"step {status.step} of {status.total_steps}" if status.total_steps else f"step {status.step}"
    said = f"{status.state.value}, {steps}"
    return f"{said}. {status.error} {status.hint}".strip() if status.error else said


def _numbers(facts: RunFacts) -> Iterator[Block]:
    rows: list[tuple[str, ...]] = [
        (f"held-out {figure_name(name)}", _shown(before), _shown(after), _change(before, after))
        for name, (before, after) in facts.figures.items()
    ]
    kept = facts.retention
    if kept.change is not None:
        name = f"loss on general text ({kept.rows} rows, {kept.tokens:,} tokens)"
        rows.append((name, _shown(kept.base_loss), _shown(kept.loss), _change(kept.base_loss, kept.loss)))
    if rows:
        yield Table(("measured", "before", "after", "change"), tuple(rows))
    facts_shown = [("training loss", _last(facts, "loss")), ("tokens per second", _last(facts, "tokens_per_second"))]
    peaks = (("memory at most", "memory_bytes"), ("GPU memory at most", "gpu_memory_bytes"))
    facts_shown += [(label, _peak(facts, name)) for label, name in peaks]
    facts_shown.append(("took", _took(facts)))
    yield Table((), tuple((label, value) for label, value in facts_shown if value))


def _charts(facts: RunFacts) -> Iterator[Block]:
    loss = [Line("training loss", tuple(facts.curves.get("loss", ())))]
    judged = Line(MEASURES[facts.judged_by], tuple(facts.measured(facts.judged_by)), dots=True)
    is_loss = facts.judged_by in {"loss", "pair_loss"}
    loss += [judged] if is_loss and judged.points else []
    if any(line.points for line in loss):
        yield Chart("loss by step", tuple(loss))
    if judged.points and not is_loss:
        yield Chart(judged.name, (judged,))
    if facts.judged_by != "loss" and (answers := facts.held_out):
        yield Chart("held-out loss of answers", (Line("held-out loss of answers", tuple(answers), dots=True),))
    for title, names in _CHARTS:
        lines = tuple(Line(name, tuple(facts.curves[name])) for name in names if name in facts.curves)
        if lines:
            yield Chart(title, lines)


def _data(facts: RunFacts) -> Iterator[Block]:
    spec, directory = facts.spec, facts.directory
    files = [("train.jsonl", spec.train_rows), ("eval.jsonl", spec.eval_rows)]
    files += [(path.name, _lines(path)) for path in (directory.general_file, directory.canary_file) if path.is_file()]
    rows = tuple((name, f"{count:,}", file_hash(directory.root / name)) for name, count in files)
    yield Table(("file", "rows", "sha256"), rows)
    unchanged = directory.row_hash() == spec.row_hash
    yield Text(f"hash of both in the spec: {spec.row_hash}{'' if unchanged else ' — the rows were CHANGED since'}")
    data = facts.origin.get("data", {})
    for part, title in (("train", "trained on"), ("held_out", "held out")):
        counts = data.get(part, {})
        counted = tuple(
            (what, _tally(counts.get(what))) for what in ("datasets", "kinds", "splits", "sources", "raters")
        )
        if counts:
            yield Text(f"{title}: {counts.get('examples', 0):,} examples")
            yield Table((), tuple(row for row in counted if row[1]))


def _settings(facts: RunFacts) -> Iterator[Block]:
    told = facts.directory.spec().knobs
    rows = []
    for name, value in facts.spec.knobs.items():
        changed = "" if told.get(name) == value else f"{told.get(name)} at first; changed on the way"
        rows.append((name, str(value), changed))
    yield Table(("setting", "value", ""), tuple(rows))


def _canaries(facts: RunFacts) -> Iterator[Block]:
    for canary in facts.retention.canaries:
        same = "" if canary.base != canary.tuned else " (the same)"
        yield Sample(f"{canary.prompt}{same}", f"before: {canary.base}\nafter:  {canary.tuned}")


def _worst_rows(facts: RunFacts) -> Iterator[Block]:
    """The held-out rows with the highest loss after training, word for word."""
    rows = [row for row in facts.directory.row_figures() if row.get("split") == "held_out"]
    known = [row for row in rows if isinstance(row.get("tuned", {}).get("loss"), int | float)]
    for row in sorted(known, key=lambda one: -float(one["tuned"]["loss"]))[:_WORST_ROWS]:
        before, after = row.get("base", {}).get("loss"), row["tuned"]["loss"]
        of = f"example {row['example']}" if row.get("example") is not None else f"row {row['row']}"
        label = f"{of}: loss {_shown(before)} before, {_shown(after)} after"
        yield Sample(label, row_text(facts.directory, "held_out", int(row["row"])))


def _provenance(facts: RunFacts) -> Iterator[Block]:
    spec, origin = facts.spec, facts.origin
    git, machine = origin.get("git", {}), origin.get("machine", {})
    commit = f"{git.get('commit')} on {git.get('branch')}, {git.get('changed')} files changed" if git else ""
    reward = f"{spec.reward} ({spec.reward_path}) {spec.reward_sha256}" if spec.reward else ""
    rows: tuple[tuple[str, str], ...] = (
        ("command", spec.command),
        ("base", f"{spec.base} ({spec.base_path})"),
        ("base sha256", str(origin.get("base_sha256", ""))),
        ("went on from", f"{spec.adapter} ({spec.adapter_path})" if spec.adapter else ""),
        ("adapter sha256", str(origin.get("adapter_sha256", ""))),
        ("reward", reward),
        ("teacher", f"{spec.teacher} ({spec.teacher_path})" if spec.teacher else ""),
        ("teacher sha256", str(origin.get("teacher_sha256", ""))),
        ("general text", spec.general),
        ("preset, seed", f"{spec.preset or 'none'}, {spec.seed}"),
        ("git of the working folder", commit),
        ("machine", " · ".join(f"{value} CPUs" if name == "cpus" else str(value) for name, value in machine.items())),
        ("made", _moment(spec.created_utc)),
        ("started, ended", f"{_moment(facts.status.started_utc)} – {_moment(facts.status.ended_utc)}"),
        ("taken over from", str(origin.get("imported_from", ""))),
        ("folder", facts.directory.root.name),
    )
    yield Table((), tuple((label, value) for label, value in rows if value))
    versions = {"workbench": origin.get("workbench", ""), **spec.versions}
    yield Table(("package", "version"), tuple((name, str(v)) for name, v in versions.items() if v))
    weights = sorted([*facts.directory.adapter.glob("*.safetensors"), *facts.directory.model.glob("*.safetensors")])
    if weights:
        made = tuple((f"{p.parent.name}/{p.name}", f"{p.stat().st_size:,}", file_hash(p)) for p in weights)
        yield Table(("made", "bytes", "sha256"), made)


def summary(facts: RunFacts) -> dict[str, Any]:
    """The page's numbers for scripts."""
    kept = facts.retention
    return {
        "name": facts.spec.name,
        "method": facts.spec.method,
        "status": facts.status.state.value,
        "step": facts.status.step,
        "total_steps": facts.status.total_steps,
        "held_out": {name: {"base": before, "tuned": after} for name, (before, after) in facts.figures.items()},
        "retention": {
            "base_loss": kept.base_loss,
            "loss": kept.loss,
            "change": kept.change,
            "limit": kept.limit,
            "forgot": kept.change is not None and kept.change > kept.limit,
            "rows": kept.rows,
            "source": kept.source,
            "canaries": [{"prompt": c.prompt, "base": c.base, "tuned": c.tuned} for c in kept.canaries],
        },
        "findings": _findings(facts),
        "scored_examples": len(facts.scores),
        "versions": dict(facts.spec.versions),
        "command": shlex.split(facts.spec.command) if facts.spec.command else [],
        "git": facts.origin.get("git", {}),
    }


def _findings(facts: RunFacts) -> list[dict[str, str]]:
    return [{"name": f.name, "level": f.level.value, "said": f.said} for f in facts.findings]


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _tally(counts: object) -> str:
    if not isinstance(counts, Mapping):
        return ""
    return ", ".join(f"{value} {count:,}" for value, count in counts.items())


def _last(facts: RunFacts, name: str) -> str:
    points = facts.curves.get(name, ())
    return _shown(points[-1][1]) if points else ""


def _peak(facts: RunFacts, name: str) -> str:
    values = [value for _, value in facts.curves.get(name, ()) if value == value]
    return f"{max(values) / 1e9:.2f} GB" if values else ""


def _took(facts: RunFacts) -> str:
    try:
        start, end = (datetime.fromisoformat(t) for t in (facts.status.started_utc, facts.status.ended_utc))
    except ValueError:
        return ""
    seconds = int((end - start).total_seconds())
    return f"{seconds // 3600} h {seconds % 3600 // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"


def _moment(text: str) -> str:
    return f"{text[:19].replace('T', ' ')} UTC" if text else "-"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else json.dumps(value) if value is not None else "-"


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None or not before:
        return ""
    return f"{100 * (after - before) / abs(before):+.1f} %"
