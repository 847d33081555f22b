"""Draws the pictures of the README from the running app: ``python -m tests.pictures [WORKSPACE]``.

Runs the demo in a temporary workspace (or takes the one named), opens the app on it without a terminal, visits each
screen by its key, and saves what is drawn as SVG. Nothing is painted by hand.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from workbench.config import Settings
from workbench.domain.chats import Sampling
from workbench.domain.examples import Status
from workbench.flows import compare, demo, exchange
from workbench.flows.bench import Bench
from workbench.paths import Workspace, shipped
from workbench.tui.app import WorkbenchApp
from workbench.tui.panes import PANES

FOLDER = Path(__file__).resolve().parent / "pictures"
SIZE = (110, 32)


def prepare(root: Path) -> Workspace:
    """A workspace with chats, examples, runs and votes, and a few pairs that still wait for one."""
    workspace = Workspace(root)
    if not workspace.database.exists():
        demo.run_demo(root, fast=False, settings=Settings(), say=print)
    bench = Bench.open(workspace, rater=demo.RATER)
    try:
        pairs = shipped("sample_data") / "polite-eval.jsonl"
        exchange.import_file(bench, pairs, dataset="to-label", status=Status.PENDING)
        tuned = [m for m in bench.store.models.list() if m.base][-1]
        if compare.waiting(bench) == 0:
            prompts = compare.prompts_from(bench, None)[-6:]
            sampling = Sampling(temperature=0.7, max_tokens=80)
            list(compare.prepare(bench, tuned.name, tuned.base, prompts, sampling=sampling, seed=3))
    finally:
        bench.engine.shutdown()
        bench.close()
    return workspace


async def draw(workspace: Workspace) -> None:
    """Visit every pane and save its picture."""
    FOLDER.mkdir(exist_ok=True)
    os.environ["WORKBENCH_CONFIG"] = "~/.config/workbench/config.toml"  # shown in Settings
    app = WorkbenchApp(lambda: Bench.open(workspace, rater=demo.RATER), Settings())  # whose votes there are
    async with app.run_test(size=SIZE) as pilot:
        for entry in PANES:
            await pilot.press(entry.key)
            await asyncio.sleep(2.0)  # the store is opened and read in threads
            if entry.name in {"train", "models"}:
                await pilot.press("down")  # the run with the longer curve; a model that was made here
                await asyncio.sleep(1.0)
            await pilot.pause()
            picture = app.export_screenshot(title=f"workbench: {entry.name}")
            # without it some viewers leave out the blanks that a text begins with
            picture = picture.replace("<svg ", '<svg xml:space="preserve" ', 1)
            (FOLDER / f"{entry.name}.svg").write_text(picture, encoding="utf-8")


def main() -> None:
    """Draw all pictures."""
    with tempfile.TemporaryDirectory(prefix="workbench-") as folder:
        root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "demo"
        asyncio.run(draw(prepare(root)))


if __name__ == "__main__":
    main()
