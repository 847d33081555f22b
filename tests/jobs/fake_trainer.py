"""A trainer without a model: ``fake_trainer.py MODE RUN_DIRECTORY``. It keeps the protocol, or breaks it as told."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from workbench.domain.runs import RunState, RunStatus
from workbench.jobs.processes import ProcessIdentity
from workbench.jobs.run_directory import STOP, RunDirectory


def main(mode: str, root: str) -> int:
    directory = RunDirectory(Path(root))
    print("hello from the trainer", flush=True)
    with (directory.root.parent / "order.txt").open("a") as order:
        order.write(directory.root.name + "\n")
    (directory.root / "cuda.txt").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "-"))
    if mode == "crash" or (mode == "crash-if-bad" and directory.root.name == "bad"):
        print("a word before the end", flush=True)
        return 3
    own = ProcessIdentity.own()
    status = replace(directory.status() or RunStatus(RunState.STARTING), pid=own.pid, process_started=own.started)
    directory.write_status(replace(status, state=RunState.RUNNING, step=1, total_steps=2))
    if mode == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "wait":
        while directory.requested() != STOP and not (directory.root / "go").exists():
            time.sleep(0.02)  # who asks to kill it does so itself
        if directory.requested():
            directory.write_status(RunStatus(RunState.STOPPED, step=1, total_steps=2))
            return 0
    with directory.events_file.open("a") as events:
        events.write('{"event": "metrics", "step": 2, "values": {"loss": 1.5}}\n')
    directory.write_status(RunStatus(RunState.FINISHED, step=2, total_steps=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
