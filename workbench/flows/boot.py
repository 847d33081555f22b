"""Going on with the queue after a reboot: a systemd user unit or a line for cron, written down and not switched on.

Switching it on is the person's to do, with the commands that are given back.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from workbench.jobs.processes import module_argv
from workbench.paths import Workspace

UNIT = "workbench-runner.service"
_KEPT = ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "WORKBENCH_CONFIG", "PYTHONPATH")


def _command(workspace: Workspace, *words: str) -> list[str]:
    return module_argv("workbench", "-w", str(workspace.root), "-q", "runner", "start", *words)


def unit_text(workspace: Workspace) -> str:
    """A systemd user unit that is the runner of this workspace from the boot on, until its queue is empty.

    Told to stop, the trainers are told too and save a checkpoint; the next start goes on from there.
    """
    kept = [f"Environment={_quoted(f'{name}={os.environ[name]}')}" for name in _KEPT if os.environ.get(name)]
    lines = [
        "[Unit]",
        f"Description=Training queue of {workspace.root}".replace("%", "%%"),
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={' '.join(map(_quoted, _command(workspace, '--wait')))}",
        *kept,
        "KillMode=control-group",
        "TimeoutStopSec=180",
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    return "\n".join(lines) + "\n"


def write_unit(workspace: Workspace) -> Path:
    """Write the unit where systemd looks for a user's own; gives back the file."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    path = Path(home) / "systemd" / "user" / UNIT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(unit_text(workspace), encoding="utf-8")
    return path


def commands(path: Path) -> list[str]:
    """What switches the unit on; lingering lets it start without a login."""
    return ["systemctl --user daemon-reload", f"systemctl --user enable {path.name}", "loginctl enable-linger"]


def cron_line(workspace: Workspace) -> str:
    """The same as a line for ``crontab -e``; a per cent sign would end the command there."""
    return "@reboot " + shlex.join(_command(workspace)).replace("%", r"\%")


def _quoted(word: str) -> str:
    """A word as systemd reads it: quoted, its per cent and dollar signs doubled."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if set(escaped) & set(" \t\"'\\;") else escaped
