"""Who has a workspace open: everybody holds a share of one lock file, who replaces the workspace holds the whole.

The system takes a lock back when its process dies, however it dies. The last one to leave says so in the file. So
whoever finds nobody here, and a file that says somebody is, knows that the last one did not stop as one should.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from typing import Self

from workbench.errors import BusyError, StoreError
from workbench.paths import Workspace
from workbench.store import replacing

PATIENCE_SECONDS = 5.0
_POLL_SECONDS = 0.02
_OPEN = b"open\n"


class Presence:
    """A held lock, shared or whole, until ``leave``."""

    def __init__(self, workspace: Workspace) -> None:
        self._path = workspace.presence
        self._handle = _opened(workspace)

    @classmethod
    def share(cls, workspace: Workspace) -> Self:
        """Be one of those who have the workspace open; finishes a restore that was killed while it put files in place.

        Leaves the file ``workspace.unchecked`` after an unclean stop. Raises ``BusyError`` while a restore is at work,
        ``StoreError`` when the file cannot be made.
        """
        presence = cls(workspace)
        try:
            if presence._take(fcntl.LOCK_EX):
                replacing.finish(workspace)
                replacing.sweep(workspace)
                if presence._says_open():
                    workspace.unchecked.touch()
            patience = time.monotonic() + PATIENCE_SECONDS
            while not presence._take(fcntl.LOCK_SH) or workspace.restoring.exists():
                if time.monotonic() > patience:
                    raise BusyError(
                        "a backup is being restored here", hint="try again when that is done", where=str(workspace.root)
                    )
                time.sleep(_POLL_SECONDS)
            presence._say(_OPEN)  # also for one who left in this very moment and said the contrary
        except BaseException:
            presence.leave()
            raise
        return presence

    @classmethod
    def whole(cls, workspace: Workspace) -> Self:
        """Be the only one here. Raises ``BusyError`` when somebody has the workspace open.

        Leaves the file ``workspace.unchecked`` after an unclean stop, as ``share`` does.
        """
        presence = cls(workspace)
        if not presence._take(fcntl.LOCK_EX):
            presence.leave()
            raise BusyError(
                "another workbench has this workspace open",
                hint="leave it there (Ctrl+Q in the TUI; workbench batch stop), then try again",
                where=str(workspace.root),
            )
        try:
            if presence._says_open():  # this one will say the contrary, also when it comes to nothing
                workspace.unchecked.touch()
            replacing.finish(workspace)
        except BaseException:
            presence.leave()
            raise
        return presence

    def leave(self) -> None:
        """Give the lock back; the last one says that nobody is here. A second time does nothing."""
        if self._handle >= 0:
            if self._take(fcntl.LOCK_EX):
                self._say(b"")
            os.close(self._handle)
            self._handle = -1

    def _take(self, how: int) -> bool:
        try:
            fcntl.flock(self._handle, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise StoreError(
                f"the workspace cannot be locked: {error.strerror}",
                hint="it belongs on a local disk: network file systems may have no locks",
                where=str(self._path),
            ) from None
        return True

    def _says_open(self) -> bool:
        return os.pread(self._handle, len(_OPEN), 0) == _OPEN

    def _say(self, text: bytes) -> None:
        with suppress(OSError):  # a full disk: the next opening then checks a database that is sound
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, text, 0)


def _opened(workspace: Workspace) -> int:
    try:
        return os.open(workspace.presence, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"the workspace cannot be locked: {error.strerror}", where=str(workspace.presence)) from None
