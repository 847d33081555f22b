"""Runs of a trainer in this process, watched from their directories: what they said, and something done on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from workbench.domain.runs import RunStatus
from workbench.jobs.run_directory import RunDirectory

Train = Callable[[RunDirectory], int]


def status(directory: RunDirectory) -> RunStatus:
    told = directory.status()
    assert told is not None
    return told


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], object]) -> None:
    """Have ``act`` happen in the training process when it has made this many steps."""
    from workbench.worker.trainer.reporting import Reporter

    progress = Reporter.progress

    def watched(self: Reporter, now: int, total: int, **rest: bool) -> None:
        progress(self, now, total, **rest)
        if now == step:
            act()

    monkeypatch.setattr(Reporter, "progress", watched)


def history(directory: RunDirectory) -> list[dict[str, Any]]:
    last = directory.complete_checkpoints()[-1]
    logged = json.loads((last / "trainer_state.json").read_text())["log_history"]
    return [
        {k: entry[k] for k in ("step", "loss", "grad_norm", "learning_rate")} for entry in logged if "loss" in entry
    ]


def states(directory: RunDirectory) -> list[str]:
    return [e["state"] for e in directory.events()[0] if e["event"] == "state"]
