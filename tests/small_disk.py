"""A disk so small that a test can fill it to the last byte: a tmpfs of its own, where this user may mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PIECE = 4096


class NoSmallDisk(Exception):
    """This user may mount nothing here."""


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """``folder`` as a disk of this size (as mount takes it); raises ``NoSmallDisk``."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        done = False
    if not done:
        raise NoSmallDisk
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def fill(disk: Path) -> Path:
    """Write until the disk takes not one byte more; gives the file whose removal makes room."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0" * max(_PIECE, free(disk)))
    return ballast


def free(disk: Path) -> int:
    """The bytes that it has left."""
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize
