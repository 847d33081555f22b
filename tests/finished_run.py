"""Runs as they lie there when they are over, without a trainer: made by the flow, then filled in by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench.domain.chats import Turn
from workbench.domain.examples import Source, SourceKind, Status, demonstration
from workbench.domain.runs import Run, RunState, RunStatus
from workbench.flows import train
from workbench.flows.bench import Bench
from workbench.jobs.run_directory import RunDirectory, mark_complete


def nobody(runs: Path) -> None:
    """A runner that never comes."""


def add_rows(bench: Bench, count: int = 30, *, dataset: str = "chats", said: str = "Answer") -> list[int]:
    """That many accepted demonstrations; their ids."""
    made = []
    for number in range(count):
        content = demonstration((Turn("user", f"Question {number}"),), f"{said} {number}.")
        source = Source(SourceKind.IMPORT, file="a.jsonl", line=number)
        made.append(bench.store.examples.add(dataset, content, source=source, status=Status.ACCEPTED, rater="r")[0].id)
    return made


def launched(bench: Bench, *, dataset: str = "chats", name: str = "", **given: str) -> Run:
    """A queued run that no runner takes; ``given`` are knobs."""
    plan = train.plan(bench, method="sft", dataset=dataset, name=name, overrides=given)
    return train.launch(bench, plan, start_runner=nobody)


def finish(
    bench: Bench,
    run: Run,
    *,
    losses: Sequence[float] = (2.0, 1.5, 1.0),
    held_out: Sequence[float] = (2.0, 1.2),
    general: tuple[float, float] | None = (1.0, 1.3),
    canaries: Sequence[tuple[str, str, str]] = (("Who are you?", "Pip.", "Pip."),),
    adapter: bool = False,
    state: RunState = RunState.FINISHED,
    scores: Mapping[int, tuple[float, float]] | None = None,
) -> RunDirectory:
    """Write what a trainer would have left; with ``adapter`` weights of four bytes. The store is not told."""
    directory = RunDirectory(Path(run.directory))
    events = [{"event": "eval", "which": "base", "step": 0, "loss": held_out[0], "perplexity": 7.4}]
    events += [{"event": "metrics", "step": i, "values": {"loss": loss}} for i, loss in enumerate(losses, 1)]
    events.append({"event": "eval", "which": "tuned", "step": len(losses), "loss": held_out[-1]})
    events.append({"event": "note", "text": "training on 27 rows"})
    directory.events_file.write_text(
        "".join(json.dumps({**e, "at_utc": "2026-01-01T00:00:00+00:00"}) + "\n" for e in events)
    )
    summary: dict[str, object] = {
        "canaries": [dict(zip(("prompt", "base", "tuned"), c, strict=True)) for c in canaries]
    }
    if general:
        summary["general"] = {"rows": 60, "tokens": 900, "base_loss": general[0], "loss": general[1]}
    directory.write_json(directory.retention_file, summary)
    directory.write_rows(
        {"split": "held_out", "row": 1, "example": i, "tokens": 5, "base": {"loss": a}, "tuned": {"loss": b}}
        for i, (a, b) in (scores or {}).items()
    )
    if adapter:
        directory.adapter.mkdir()
        (directory.adapter / "adapter_model.safetensors").write_bytes(b"1234")
        (directory.adapter / "adapter_config.json").write_text("{}")
        checkpoint = directory.checkpoints / f"checkpoint-{len(losses)}"
        checkpoint.mkdir()
        (checkpoint / "weights").write_bytes(b"5678")
        mark_complete(checkpoint)
    status = RunStatus(state, len(losses), len(losses), started_utc="2026-01-01T00:00:00+00:00")
    directory.write_status(RunStatus(**{**_fields(status), "ended_utc": "2026-01-01T00:01:05+00:00"}))
    return directory


def _fields(status: RunStatus) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(status)
