"""The engine process from start to end: one per socket, reachable at once, gone when nobody needs it.

Owns the lock, the socket and the pid file beside it. The pid file is removed by an engine that ends as it should, so
one that is left behind by a dead process tells the bench that the engine died.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from workbench.domain.serving import PRECISIONS
from workbench.jobs.processes import ProcessIdentity
from workbench.worker.engine.desk import Desk
from workbench.worker.engine.running import let_the_server_end_on_signals, schedule
from workbench.worker.engine.wire import Refusal
from workbench.worker.quantising import leave_out_bitsandbytes

ALREADY_RUNNING = 6
LOCK_PATIENCE_SECONDS = 20.0
WATCH_SECONDS = 2.0


def main(arguments: list[str] | None = None) -> int:
    """Serve on the socket until told to end, or idle for too long. Exit code 6: another engine is already there."""
    parser = argparse.ArgumentParser(prog="python -m workbench.worker.engine", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="path of the Unix socket")
    parser.add_argument("--idle-minutes", type=float, default=30.0, help="end after so long unused; 0: never")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="numbers that bases are loaded in")
    options = parser.parse_args(arguments)
    path: Path = options.socket.absolute()
    make_private_folder(path.parent)
    os.chdir(path.parent)  # hold no folder of the user's, and let no folder there pass for a hub id
    lock = FileLock(path.with_suffix(".lock"), mode=0o600)
    if not take(lock, path):
        print(f"an engine already serves {path}", file=sys.stderr)
        return ALREADY_RUNNING
    pid_file = path.with_suffix(".pid")
    with lock, listen(path) as listener:
        own = ProcessIdentity.own()
        pid_file.write_text(json.dumps({"pid": own.pid, "started": own.started}), encoding="utf-8")
        print(f"engine {own.pid} serves {path}", file=sys.stderr)
        inode = path.stat().st_ino
        serve(
            listener,
            idle_seconds=60 * options.idle_minutes,
            precision=options.precision,
            is_reachable=lambda: inode_of(path) == inode,
        )
        if inode_of(path) == inode:  # else another engine has this place by now
            path.unlink(missing_ok=True)
            pid_file.unlink(missing_ok=True)
        print(f"engine {own.pid} ended", file=sys.stderr)
    return 0


def make_private_folder(folder: Path) -> None:
    """Create the socket's folder for this user alone; refuse one that somebody else made."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.lstat().st_uid != os.getuid():
        raise SystemExit(f"{folder} belongs to somebody else; remove it and start again")
    folder.chmod(0o700)


def take(lock: FileLock, path: Path) -> bool:
    """Get the lock, waiting for an engine that is about to end; False when one is there to stay."""
    deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            lock.acquire(timeout=0.2)
        except Timeout:
            if answers(path):
                return False
        else:
            return True
    return False


def answers(path: Path) -> bool:
    """True when somebody accepts connections on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def listen(path: Path) -> socket.socket:
    """The listening socket, mode 0600 from its first moment; a dead engine's socket is replaced."""
    if answers(path):
        raise SystemExit(f"something that is not this engine answers on {path}")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(64)
    return listener


def inode_of(path: Path) -> int | None:
    """Which file is at ``path``; None when there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def serve(listener: socket.socket, *, idle_seconds: float, precision: str, is_reachable: Callable[[], bool]) -> None:
    """Run server and scheduler until the end is asked for, or nobody wants or finds this engine any more."""
    import uvicorn  # 0.1 s; not needed by an engine that finds another one running

    from workbench.worker.engine.server import Server

    desk = Desk()

    def end() -> None:
        desk.fail_all(
            Refusal("the engine was shut down", code="shutting_down", status=503, hint="ask again"), broken=True
        )
        server.should_exit = True

    config = uvicorn.Config(
        Server(desk, end).app(), log_level="warning", access_log=False, lifespan="off", ws="none",
        timeout_graceful_shutdown=2, timeout_keep_alive=60,
    )  # fmt: skip
    server = uvicorn.Server(config)
    let_the_server_end_on_signals()
    threading.Thread(target=schedule, args=(desk, precision), name="scheduler", daemon=True).start()
    threading.Thread(target=watch_idle, args=(desk, idle_seconds, is_reachable, end), daemon=True).start()
    server.run(sockets=[listener])


def watch_idle(desk: Desk, idle_seconds: float, is_reachable: Callable[[], bool], end: Callable[[], None]) -> None:
    """Ask for the end once nobody has wanted anything for long enough (0: never), or the socket was taken away."""
    limit = idle_seconds or float("inf")
    while is_reachable() and (remaining := limit - desk.idle_seconds()) > 0:
        time.sleep(min(remaining, WATCH_SECONDS) + 0.01)
    end()


if __name__ == "__main__":
    leave_out_bitsandbytes()  # until weights in 4 or 8 bits are asked for
    code = main()
    sys.stderr.flush()
    os._exit(code)  # torch's threads make an ordinary interpreter exit slow, and sometimes crash it
