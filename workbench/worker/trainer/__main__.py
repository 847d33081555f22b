"""``python -m workbench.worker.trainer RUN_DIRECTORY``: train what the directory says."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.jobs.processes import module_argv
from workbench.jobs.run_directory import RunDirectory
from workbench.worker.quantising import leave_out_bitsandbytes
from workbench.worker.trainer import environment, ranks
from workbench.worker.trainer.room import AGAIN
from workbench.worker.trainer.training import train


def main(argv: list[str]) -> int:
    """Exit code: 0 finished or stopped, 1 failed (``state.json`` says why), 2 wrong usage; 75 when several processes
    are to be started again (``state.json`` says queued).
    """
    if len(argv) != 1:
        print("usage: python -m workbench.worker.trainer RUN_DIRECTORY", file=sys.stderr)
        return 2
    try:
        _leave_out_what_nothing_needs(argv[0])
        if (code := train(Path(argv[0]))) == AGAIN and ranks.world_size() == 1:
            _start_again(argv[0])
        return code
    except WorkbenchError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code


def _leave_out_what_nothing_needs(root: str) -> None:
    with suppress(WorkbenchError):  # the run itself tells it
        if not environment.may_need_bitsandbytes(RunDirectory(Path(root)).spec()):
            leave_out_bitsandbytes()


def _start_again(root: str) -> None:
    """Become a fresh trainer of the same run in the same process: only that gives all memory back for sure."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.execv(sys.executable, module_argv("workbench.worker.trainer", root))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
