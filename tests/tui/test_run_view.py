"""A run in words: its title."""

from __future__ import annotations

from workbench.domain.runs import Run, RunSpec, RunState
from workbench.tui.run_view import RunLook, title

RUN = Run(1, "again", "dpo", "votes", "pip", "/runs/2-again", RunState.FINISHED)


def test_the_title_names_the_adapter_that_a_run_went_on_from() -> None:
    spec = RunSpec("again", "dpo", "pip", "/models/pip", "votes", {}, 8, 1, "", adapter="polite")
    assert title(RunLook(RUN, spec=spec)) == "again  dpo  polite on pip ← votes"


def test_a_run_from_a_base_or_without_its_folder_names_the_base() -> None:
    spec = RunSpec("again", "dpo", "pip", "/models/pip", "votes", {}, 8, 1, "")
    assert title(RunLook(RUN, spec=spec)) == title(RunLook(RUN)) == "again  dpo  pip ← votes"
