"""Trainers that need not load their libraries: one process has them, and forks for every trainer that is asked for.

``python warm.py SERVE SOCKET`` is that process; ``python warm.py SOCKET RUN_DIRECTORY`` stands where a runner expects
the trainer, and ends as the forked one ends. Only the seconds of loading are left out: what is killed is a process of
its own with its own lock, state and signals.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

SOCKET = "WORKBENCH_FAULT_WARM"
_LIBRARIES = ("torch", "transformers", "datasets", "evaluate", "peft", "trl", "accelerate")


def command() -> list[str]:
    """The command for a runner's trainers; empty where nobody started ``serve``."""
    place = os.environ.get(SOCKET, "")
    return [sys.executable, "-S", "-E", str(Path(__file__).resolve()), place] if place else []


def start(place: Path) -> subprocess.Popen[bytes]:
    """Start the process that forks, and have this process and its children use it; comes back when it is ready."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, __file__, "SERVE", str(place)], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    os.environ[SOCKET] = str(place)
    return process


def serve(place: str) -> None:
    """Fork a trainer for each that connects."""
    import importlib

    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer  # noqa: F401 - loaded when named
    from trl import SFTConfig, SFTTrainer  # noqa: F401

    for name in _LIBRARIES:
        importlib.import_module(name)
    for name in ("training", "building", "measures", "progress", "samples", "examining", "rehearsal", "adapters"):
        importlib.import_module(f"workbench.worker.trainer.{name}")
    from workbench.worker.trainer.__main__ import main

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(socket.AF_UNIX)
    server.bind(place)
    server.listen()
    print("ready", flush=True)
    while True:
        client, _ = server.accept()
        if os.fork() == 0:
            server.close()
            _keep(client, main)
        client.close()


def _keep(client: socket.socket, main: object) -> None:
    """Fork the trainer, and tell the client how it ended; the client's end is the trainer's."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, rights, _, _ = client.recvmsg(1 << 20, socket.CMSG_SPACE(4))
    asked = json.loads(text)
    output = array.array("i", rights[0][2][:4])[0]
    trainer = os.fork()
    if trainer == 0:
        client.close()
        _become(asked, output, main)
    os.close(output)
    handle = os.pidfd_open(trainer)
    if client in select.select([client, handle], [], [])[0]:
        with suppress(ProcessLookupError):
            os.kill(trainer, signal.SIGKILL)
    _, status = os.waitpid(trainer, 0)
    with suppress(OSError):
        client.sendall(json.dumps(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(asked: dict[str, object], output: int, main: object) -> None:
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(asked["environment"])  # type: ignore[arg-type]
    import sitecustomize

    if hasattr(sitecustomize, "register"):
        sitecustomize.register()
    sys.argv[0] = "workbench.worker.trainer"
    code = 1
    try:
        code = main([str(asked["root"])])  # type: ignore[operator]
    finally:
        sys.stdout.flush()
        os._exit(code)


def ask(place: str, root: str) -> None:
    """Be the trainer as far as the runner can see."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(place)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1]))]
    client.sendmsg([json.dumps({"root": root, "environment": dict(os.environ)}).encode()], rights)
    code = json.loads(client.recv(64) or b"1")
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1] == "SERVE" else ask(sys.argv[1], sys.argv[2])
