"""A run on several machines that share the folder it is in: the command for each, and starting them over ssh.

Knows nothing of what is trained. The first machine of the list is the one that speaks for all.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from workbench.domain.placement import PROCESSES, Host
from workbench.errors import RunError
from workbench.jobs import ranks
from workbench.jobs.processes import QUIET_ENVIRONMENT, child_environment, module_argv
from workbench.jobs.run_directory import RunDirectory

SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15")
SSH_FAILED = 255
SECONDS = 60.0
SETTLING = "workbench.jobs.settling"


def prepare(directory: RunDirectory, hosts: Sequence[Host], *, port: int = ranks.PORT) -> list[Path]:
    """Write the configuration and one script for each machine into the run directory; gives back the scripts."""
    total = sum(host.slots for host in hosts)
    directory.adjust({PROCESSES: total})
    ranks.write_config(directory, processes=total, machines=len(hosts))
    return [_script(directory, hosts, rank, total, port) for rank in range(len(hosts))]


def reach(hosts: Sequence[Host], scripts: Sequence[Path]) -> None:
    """Ask every machine over ssh whether it sees its script, so that none is started and waits for one that is away.

    Raises ``RunError`` with what ssh said.
    """
    for host, script in zip(hosts, scripts, strict=True):
        _over_ssh(host, f"test -r {shlex.quote(str(script))}", "cannot be reached, or does not see the run's folder")


def start(hosts: Sequence[Host], scripts: Sequence[Path]) -> None:
    """Start every machine's script over ssh; they go on without us. Raises ``RunError`` with what ssh said."""
    for rank, (host, script) in enumerate(zip(hosts, scripts, strict=True)):
        log = ranks.log_of(RunDirectory(script.parent), rank)
        quoted = shlex.quote(str(script)), shlex.quote(str(log))
        _over_ssh(host, f"setsid nohup sh {quoted[0]} >> {quoted[1]} 2>&1 < /dev/null &", "did not start it")


def _script(directory: RunDirectory, hosts: Sequence[Host], rank: int, total: int, port: int) -> Path:
    argv = ranks.command_on(
        rank,
        root=str(directory.root),
        machines=len(hosts),
        processes=total,
        address=hosts[0].name.rpartition("@")[2],
        port=port,
    )
    path = directory.root / f"machine-{rank}.sh"
    said = f"#!/bin/sh\n# On {hosts[rank].name}: machine {rank + 1} of {len(hosts)}, {hosts[rank].slots} processes.\n"
    text = f"{said}{''.join(_exports())}{_train(directory, argv, ranks.log_of(directory, rank))}"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o700)
    return path


def _train(directory: RunDirectory, argv: Sequence[str], log: Path) -> str:
    """The command, and what writes down how it ended when the trainer itself came to no word."""
    told = shlex.join(module_argv(SETTLING, str(directory.root), str(log)))
    return f'{shlex.join(argv)}\ncode=$?\n[ "$code" -eq 0 ] || {told} "$code"\nexit "$code"\n'


def _exports() -> list[str]:
    """The environment as a trainer on this machine would have it; what the other machine sets itself wins."""
    ours = child_environment()
    values = ranks.SEVERAL | {name: ours[name] for name in (*QUIET_ENVIRONMENT, "PYTHONPATH")}
    values |= {name: os.environ[name] for name in ("OMP_NUM_THREADS", "GLOO_SOCKET_IFNAME") if name in os.environ}
    return [f'export {name}="${{{name}:-{value}}}"\n' for name, value in values.items()]


def _over_ssh(host: Host, command: str, failing: str) -> None:
    try:
        done = subprocess.run([*SSH, host.name, command], capture_output=True, timeout=SECONDS, check=False, text=True)
    except FileNotFoundError:
        raise RunError(
            "there is no ssh on this machine", hint="without --ssh: run each machine's script there"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"{host.name} {failing}: {error}", hint="is the machine up?") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["ssh said nothing"])[-1]
        by_hand = f"`ssh {host.name} true` has to work without a password or a question"
        hint = by_hand if done.returncode == SSH_FAILED else "the machines need the run's folder under the same path"
        raise RunError(f"{host.name} {failing}: {said}", hint=hint)
