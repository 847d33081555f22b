"""The doctor: what is installed, what works on this machine, and what to do about each fault.

Asks a child process about torch, since the bench never loads it; everything else is looked at from here.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import NotFoundError
from workbench.paths import Workspace, runtime_folder, shipped

PACKAGES = (
    *("textual", "torch", "transformers", "peft", "trl", "bitsandbytes", "datasets", "sqlite-utils", "evaluate"),
    "accelerate",
)
ENOUGH_DISK_BYTES = 5 * 2**30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: ``state`` is ok, note (works, but know this) or fault; ``fix`` says what to do."""

    name: str
    state: str
    detail: str
    fix: str = ""


Probe = Callable[[], dict[str, object]]


def examine(workspace: Workspace, *, probe: Probe | None = None) -> list[Check]:
    """Every check. ``probe`` gives the child process's report on torch; tests pass their own."""
    return [
        _python(),
        *_packages(),
        *_torch(probe or _ask_child),
        _disk(workspace),
        _sockets(),
        _sqlite(),
        _embedded_model(),
        *_terminal(os.environ),
    ]


def _python() -> Check:
    return Check("python", "ok", sys.version.split()[0])


def _packages() -> Iterator[Check]:
    for name in PACKAGES:
        try:
            yield Check(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "fault", "not installed", f"pip install -c constraints.txt {name}")


def _ask_child() -> dict[str, object]:
    answer = subprocess.run(
        [sys.executable, "-m", "workbench.worker.doctor"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    lines = answer.stdout.strip().splitlines()
    if answer.returncode != 0 or not lines:
        raise OSError((answer.stderr.strip().splitlines() or ["it printed nothing"])[-1])
    found: dict[str, object] = json.loads(lines[-1])
    return found


def _torch(probe: Probe) -> Iterator[Check]:
    try:
        found = probe()
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        yield Check("torch works", "fault", str(error), "install again: make clean, then make demo")
        return
    devices = found.get("devices")
    if isinstance(devices, list) and devices:
        yield Check("gpu", "ok", "; ".join(map(str, devices)))
    else:
        yield Check("gpu", "note", "none seen: everything runs on the CPU", "for CUDA, see the driver with nvidia-smi")
    yield Check("cpu threads", "ok", str(found.get("threads")))
    four_bit = str(found.get("four_bit"))
    if four_bit == "ok":
        yield Check("4-bit (bitsandbytes)", "ok", f"nf4 round trip on {found.get('four_bit_device')}")
    else:
        yield Check("4-bit (bitsandbytes)", "fault", four_bit, "QLoRA will not run; install bitsandbytes again")
    yield Check(
        "bf16", "ok" if found.get("bf16") else "note", "supported" if found.get("bf16") else "not on this device"
    )


def _disk(workspace: Workspace) -> Check:
    folder: Path = workspace.root
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{free / 2**30:.1f} GB free for {workspace.root}"
    if not os.access(folder, os.W_OK):
        return Check("workspace", "fault", f"{folder} cannot be written", "choose another with --workspace")
    if free < ENOUGH_DISK_BYTES:
        return Check("workspace", "note", detail, "checkpoints of a big model need more: choose another --workspace")
    return Check("workspace", "ok", detail)


def _sockets() -> Check:
    folder = runtime_folder()
    if len(str(folder)) > 70:
        return Check("engine socket", "fault", f"{folder} is too long a path", "set XDG_RUNTIME_DIR to a short one")
    return Check("engine socket", "ok", str(folder))


def _sqlite() -> Check:
    from workbench.store.store import sqlite_version

    version = sqlite_version()
    if tuple(map(int, version.split("."))) < (3, 51, 3):
        return Check("sqlite", "ok", f"{version}; older than 3.51.3, so every write takes the workspace's lock file")
    return Check("sqlite", "ok", version)


def _embedded_model() -> Check:
    try:
        folder = shipped("sample_data") / "model"
    except NotFoundError as error:
        return Check("embedded model", "fault", error.message, error.hint)
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return Check("embedded model", "fault", f"{weights} is missing", "install workbench again")
    return Check("embedded model", "ok", f"{weights.stat().st_size / 2**20:.1f} MB in {folder}")


def _terminal(environ: os._Environ[str] | dict[str, str]) -> Iterator[Check]:
    term = environ.get("TERM", "")
    if not sys.stderr.isatty():
        yield Check("terminal", "note", "none: commands work, the TUI needs one")
    elif term in {"", "dumb"}:
        yield Check("terminal", "fault", f"TERM={term or 'unset'}", "set TERM, for example xterm-256color")
    else:
        yield Check("terminal", "ok", f"TERM={term}, {_colours(environ)}")
    if environ.get("TMUX"):
        yield Check("tmux", "note", "copying goes through tmux load-buffer", "set -sg escape-time 10 makes Esc quick")
    if environ.get("SSH_CONNECTION"):
        yield Check("ssh", "note", "10 frames a second", "'Compression yes' for this host saves most of the bytes")


def _colours(environ: os._Environ[str] | dict[str, str]) -> str:
    if "NO_COLOR" in environ:
        return "no colours (NO_COLOR is set)"
    if environ.get("COLORTERM") in {"truecolor", "24bit"}:
        return "16 million colours"
    return "256 colours" if "256color" in environ.get("TERM", "") else "16 colours"
