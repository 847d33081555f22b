"""A few random kills of each process; the longer table is printed by ``python -m tests.faults.kills``."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import import_kills
import kills
import tui_kills

import faults
from workbench.paths import Workspace

pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("victim", import_kills.IMPORTS)
def test_a_killed_import_leaves_nothing_and_comes_in_afterwards(victim: str, seed: int, workspace: Workspace) -> None:
    found = import_kills.IMPORTS[victim](workspace, random.Random(f"{victim}{seed}"))
    assert "came in afterwards" in found.went_on


@pytest.mark.ml
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("victim", [*kills.VICTIMS, "TUI"])
def test_a_kill_loses_nothing_committed_and_leaves_nothing_stuck(victim: str, seed: int, workspace: Workspace) -> None:
    found = (kills.VICTIMS | tui_kills.TUI)[victim](workspace, random.Random(f"{victim}{seed}"))
    assert found.went_on


@pytest.mark.ml
@pytest.mark.parametrize("name", ["checkpoint", "disk"])
def test_a_fault_ends_in_a_finished_run_with_every_row_still_there(name: str, workspace: Workspace) -> None:
    found = faults.FAULTS[name](workspace, random.Random(name))
    if found.went_on == "not tried":
        pytest.skip(found.found)
    assert "finished" in found.went_on
