"""A little room kept back in a run's folder, so that a disk without one free byte can still be told about there.

A file is written over bytes that the disk has given already, and takes its place by a rename: both need no room, so
that nobody who fills the disk can be faster. Knows nothing of what is written.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

NAME = ".reserve"
RESERVE_BYTES = 64 * 1024
TEXT_BYTES = 4096
"""What a text may have at most: one block of the usual file systems."""
AMPLE_BYTES = 4 * RESERVE_BYTES


def keep(folder: Path) -> None:
    """Have the reserve in the folder; a disk that has no ample room, or refuses, is left alone."""
    path = folder / NAME
    with suppress(OSError):
        if (path.exists() and path.stat().st_size >= RESERVE_BYTES) or free_bytes(folder) < AMPLE_BYTES:
            return
        # No zeros: some file systems keep none of them.
        path.write_bytes(os.urandom(RESERVE_BYTES))


def free_bytes(folder: Path) -> int:
    """What the disk under the folder has left."""
    return shutil.disk_usage(folder).free


def replace_within(target: Path, text: str) -> bool:
    """Replace a file whole out of the reserve in its folder, padded with spaces; False when that cannot be.

    The file's old bytes are the next reserve. What the reserve had beyond one block is free from then on.
    """
    path, following = target.with_name(NAME), target.with_name(f"{NAME}-next")
    data = text.encode().ljust(TEXT_BYTES)
    try:
        if len(data) > TEXT_BYTES or path.stat().st_blocks * 512 < TEXT_BYTES:
            return False
        with path.open("r+b") as file:
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):  # not every file system has links; then this was the last of it
            following.unlink(missing_ok=True)
            os.link(target, following)
        path.replace(target)
        if following.exists():
            following.replace(path)
    except OSError:
        return False
    return True
