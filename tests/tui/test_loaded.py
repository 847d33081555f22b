"""What the TUI's process has loaded after it was really used: never one of the ML libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
USED = """
import asyncio, sys, threading
sys.path.insert(0, sys.argv[1])
from fakes import FakeEngine
from workbench.config import Settings
from workbench.domain.examples import Status
from workbench.flows import chat, check, compare, curate, exchange, train
from workbench.flows.bench import Bench
from workbench.paths import shipped, workspace
from workbench.tui.app import WorkbenchApp
from workbench.tui.panes import PANES

async def use() -> None:
    app = WorkbenchApp(lambda: Bench.open(workspace(), engine=FakeEngine()), Settings())
    async with app.run_test(size=(100, 30)) as pilot:
        for entry in PANES:
            await pilot.press(entry.key)
            await asyncio.sleep(0.3)
            await pilot.pause()
            assert app.front.id == entry.name
        bench, samples = app.bench, shipped("sample_data")
        exchange.import_file(bench, samples / "polite.jsonl", dataset="used", status=Status.ACCEPTED)
        exchange.export_file(bench, "", bench.workspace.exports / "used.jsonl", dataset="used")
        train.plan(bench, method="dpo", dataset="used")
        opened = chat.new_chat(bench)
        said = chat.say(bench, opened.id, "hi")
        ended = list(chat.answer(bench, opened.id, parent_id=said.id, cancelled=threading.Event()))[-1]
        chat.keep(bench, ended.message.id)
        compare.results(bench)
        await pilot.press("f3", "a", "x", "u")
        await pilot.pause()

asyncio.run(use())
print("loaded:", *[m for m in ("torch", "transformers", "datasets", "pandas", "trl", "peft") if m in sys.modules])
"""


def test_using_every_pane_and_flow_loads_no_ml_library(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", USED, str(TESTS)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"TERM": "xterm-256color"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1] == "loaded:"
