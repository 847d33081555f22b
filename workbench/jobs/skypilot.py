"""A run as a SkyPilot task: a file that ``sky launch`` takes, with the run directory and its models in it.

Writes text and starts nothing; SkyPilot itself need not be installed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from workbench import __version__
from workbench.domain.placement import PROCESSES, STRATEGY
from workbench.errors import UsageError
from workbench.jobs import ranks
from workbench.jobs.run_directory import RunDirectory

FILE = "sky.yaml"
HOME = "~/run"
STORES = {"s3": "s3", "gs": "gcs", "r2": "r2"}


def write(
    directory: RunDirectory, *, machines: int, per_machine: int, accelerator: str, bucket: str = "", install: str = ""
) -> Path:
    """Write the task file into the run directory; gives it back.

    ``accelerator`` is SkyPilot's name of the GPU, ``bucket`` the storage (``s3://NAME``) that SkyPilot makes, puts the
    run directory into and shows to all machines, ``install`` what pip installs there (default: this version). Raises
    ``UsageError`` for several machines without a bucket: they would not see each other's checkpoints.
    """
    stored = _stored(directory, bucket) if bucket else {}
    if machines > 1 and not bucket:
        raise UsageError(
            "several machines need a bucket that all of them write the run into", hint="--bucket s3://NAME"
        )
    total = machines * per_machine
    directory.adjust({PROCESSES: total})
    ranks.write_config(directory, processes=total, machines=machines, here=False)
    text = _task(directory, machines, f"{accelerator}:{per_machine}", stored, install or _package(directory))
    path = directory.root / FILE
    path.write_text(text, encoding="utf-8")
    return path


def cluster(directory: RunDirectory) -> str:
    """The name that the task's machines get."""
    return "wb-" + re.sub(r"[^a-z0-9-]+", "-", directory.root.name.lower()).strip("-")[:40]


def _package(directory: RunDirectory) -> str:
    extra = "[deepspeed]" if str(directory.spec().knobs.get(STRATEGY, "")).startswith("zero") else ""
    return f"workbench{extra}=={__version__}"


def _stored(directory: RunDirectory, bucket: str) -> dict[str, str]:
    """The mount of a bucket that SkyPilot fills from the run directory.

    Cached, since events and log are appended to, which a bucket that is mounted as it is does not take:
    https://github.com/skypilot-org/skypilot/blob/02c77f4731b7fc9a7482a65425fbf545a68bd806/docs/source/reference/storage.rst
    """
    scheme, _, name = bucket.partition("://")
    name = name.rstrip("/")
    if scheme not in STORES or not name or "/" in name:
        known = ", ".join(f"{one}://NAME" for one in STORES)
        raise UsageError(f"{bucket!r} is no bucket that can be made for this run", hint=f"one of {known}")
    return {"name": name, "source": str(directory.root), "store": STORES[scheme], "mode": "MOUNT_CACHED"}


def _task(directory: RunDirectory, machines: int, accelerators: str, stored: Mapping[str, str], install: str) -> str:
    mounts: dict[str, object] = {HOME: dict(stored) or str(directory.root)}
    mounts |= _models(directory)
    values: Mapping[str, object] = {
        "name": cluster(directory),
        "num_nodes": machines,
        "resources": {"accelerators": accelerators},
        "file_mounts": mounts,
        "setup": f"pip install {json.dumps(install)}",
    }
    lines = [
        f"# Written by the workbench. Start it: sky launch -c {cluster(directory)} {FILE}",
        f"# Fetch the result: rsync -a {cluster(directory)}:run/ {directory.root}/",
        *(f"{name}: {json.dumps(value)}" for name, value in values.items()),
        "run: |",
        *(f"  {line}" for line in _script()),
    ]
    return "\n".join(lines) + "\n"


def _models(directory: RunDirectory) -> dict[str, object]:
    """The folders that the run reads its weights from, each at the same place there."""
    spec = directory.spec()
    wanted = (spec.base_path, spec.adapter_path, spec.reward_base_path, spec.teacher_base_path, spec.teacher_path)
    rewarded = spec.reward_path if not directory.reward_file.is_file() else ""
    return {path: path for path in (*wanted, rewarded) if path and Path(path).is_dir()}


def _script() -> list[str]:
    return [
        *(f"export {name}={value}" for name, value in ranks.SEVERAL.items()),
        "python -m accelerate.commands.launch \\",
        f"  --config_file {HOME}/{ranks.CONFIG} \\",
        '  --num_machines "$SKYPILOT_NUM_NODES" \\',
        '  --num_processes "$((SKYPILOT_NUM_NODES * SKYPILOT_NUM_GPUS_PER_NODE))" \\',
        '  --machine_rank "$SKYPILOT_NODE_RANK" \\',
        '  --main_process_ip "$(echo "$SKYPILOT_NODE_IPS" | head -n 1)" \\',
        f"  --main_process_port {ranks.PORT} \\",
        f"  --module {ranks.TRAINER} {HOME}",
    ]
