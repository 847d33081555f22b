"""Who may write: one process at a time, and whoever waits gets it before the same one has it again.

``filelock`` keeps the lock, but not a queue: a process that writes one short transaction after another would take the
lock again before those who wait have looked. So whoever finds it taken holds a second lock file for as long as he
waits. Who has much to write looks there between two transactions (``is_wanted``), and need not pause for nobody.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from filelock import FileLock, Timeout  # 37 ms

from workbench.errors import BusyError, StoreError
from workbench.paths import Workspace

PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.002


class WriteLock:
    """The workspace's lock. Used by one thread of a process at a time: the store sees to that."""

    def __init__(self, workspace: Workspace, *, patience: float = PATIENCE_SECONDS) -> None:
        self._workspace = workspace
        self._patience = patience
        self._lock = FileLock(workspace.lock, poll_interval=_POLL_SECONDS, thread_local=False)
        self._next = FileLock(workspace.next_lock, poll_interval=_POLL_SECONDS, thread_local=False)
        self._asked = FileLock(workspace.next_lock, thread_local=False)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it for the block. Raises ``BusyError`` when another process keeps it for longer than a minute."""
        try:
            self.acquire()
        except Timeout:
            raise BusyError(
                "another workbench is writing to this workspace", hint="try again", where=str(self._workspace.lock)
            ) from None
        except OSError as error:
            where = str(self._workspace.lock)
            raise StoreError(f"the workspace cannot be locked: {error.strerror}", where=where) from None
        try:
            yield
        finally:
            self.release()

    def acquire(self, *, patience: float | None = None) -> None:
        """Take it; raises ``filelock.Timeout`` when it is not free for so many seconds."""
        patience = self._patience if patience is None else patience
        with contextlib.suppress(Timeout):
            self._lock.acquire(blocking=False)
            return
        until = time.monotonic() + patience
        with self._next.acquire(timeout=patience):
            self._lock.acquire(timeout=max(0.0, until - time.monotonic()))

    def release(self) -> None:
        """Give it back."""
        self._lock.release()

    def is_wanted(self) -> bool:
        """Whether another process waits for it."""
        try:
            self._asked.acquire(blocking=False)
        except Timeout:
            return True
        self._asked.release()
        return False
