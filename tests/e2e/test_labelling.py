"""Fifty rows by single keys in tmux, killed twice: what was shown as saved is there, and the cursor is where it was."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import FakeEngine

sys.path.insert(0, str(Path(__file__).resolve().parent))

from tmux import Tmux

from workbench.domain.chats import Turn
from workbench.domain.examples import NewExample, Source, SourceKind, Status, demonstration
from workbench.flows.bench import Bench
from workbench.paths import Workspace

pytestmark = [
    pytest.mark.tmux,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]
ROWS = 50


def _fill(bench: Bench) -> list[int]:
    source = Source(SourceKind.IMPORT, file="rows.jsonl", line=1)
    rows = [NewExample(demonstration((Turn("user", f"question {n}"),), f"answer {n}"), source) for n in range(ROWS)]
    bench.store.examples.add_many("rows", rows, rater="importer", status=Status.PENDING)
    return [*range(1, ROWS + 1)]


def _open(start: Callable[..., None], tmux: Tmux, workspace: Workspace) -> str:
    start(sys.executable, "-m", "workbench", "--workspace", str(workspace.root))
    tmux.wait_for("[(C)HAT]")
    tmux.keys("F3")
    return tmux.wait_for(lambda shown: "▶" in shown and f"/{ROWS} " in shown)


def _cursor(shown: str) -> int:
    found = re.search(r"▶\s*(\d+) ", shown)
    assert found, shown
    return int(found[1])


def _statuses(bench: Bench, ids: list[int]) -> list[Status]:
    return [example.status for example in bench.store.examples.many(ids)]


def test_decisions_and_the_place_outlive_a_kill_and_undo_goes_back_to_the_first(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    bench = Bench.open(workspace, engine=FakeEngine())
    ids = _fill(bench)
    wanted = [Status.REJECTED if row % 3 == 0 else Status.ACCEPTED for row in ids]
    keys = ["x" if row % 3 == 0 else "a" for row in ids]
    words = {"a": "accepted", "x": "rejected"}
    with Tmux(tmp_path, columns=80, rows=24, env={}) as tmux:
        _open(tmux.start, tmux, workspace)
        for row, key in zip(ids[:20], keys, strict=False):
            tmux.keys(key)
            tmux.wait_for(f"{words[key]} example {row};")  # the status line says so when it is on the disk
        tmux.text("".join(keys[20:26]))  # and some whose answer nobody saw
        tmux.kill()

        decided = _statuses(bench, ids)
        kept = sum(status is not Status.PENDING for status in decided)
        assert 20 <= kept <= 26
        assert decided == wanted[:kept] + [Status.PENDING] * (ROWS - kept)
        assert _cursor(_open(tmux.restart, tmux, workspace)) == ids[kept]
        tmux.text("".join(keys[kept:]))
        tmux.wait_for(f"{ROWS}/{ROWS} ")
        assert _statuses(bench, ids) == wanted
        tmux.kill()

        _open(tmux.restart, tmux, workspace)
        tmux.text("u" * ROWS)
        tmux.wait_for(lambda shown: bool(re.search(r"undone: accepting example 1\b(?!\d)", shown)))
        assert _statuses(bench, ids) == [Status.PENDING] * ROWS
        assert _cursor(tmux.screen()) == ids[0]
        tmux.wait_for(lambda shown: bool(re.search(rf"\b0/{ROWS} ", shown)))
    bench.close()
