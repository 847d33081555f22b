"""What is left behind when something unforeseen went wrong: a file with the traceback, and no local variables in it."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

from workbench.paths import log_folder

KEPT = 20


def write_crash_log(error: BaseException) -> Path | None:
    """Write ``error``'s traceback to a file for this user alone; None when even that is impossible."""
    folder = log_folder()
    path = folder / f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 1_000_000:06d}.log"
    # Messages of exceptions are foreign text too: a log that is read with `cat` must not act on the terminal.
    text = "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace").decode("utf-8")
    text = "".join(c if c in "\n\t" or c.isprintable() else ascii(c)[1:-1] for c in text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        for old in sorted(folder.glob("crash-*.log"))[:-KEPT]:
            old.unlink(missing_ok=True)
    except OSError:
        return None
    return path
