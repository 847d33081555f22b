"""``python -m workbench.worker.trainer RUN_DIRECTORY``: train what the directory says."""

from __future__ import annotations

import sys
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.worker.trainer.training import train


def main(argv: list[str]) -> int:
    """Exit code: 0 finished or stopped, 1 failed (``state.json`` says why), 2 wrong usage."""
    if len(argv) != 1:
        print("usage: python -m workbench.worker.trainer RUN_DIRECTORY", file=sys.stderr)
        return 2
    try:
        return train(Path(argv[0]))
    except WorkbenchError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
