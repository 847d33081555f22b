"""Where a run and its rows came from, written down when it is made: sources, hashes, versions, git, machine.

Kept in the run's own folder, so that its page can be written from there alone, also elsewhere.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from workbench import __version__
from workbench.domain.examples import Example
from workbench.domain.models import Model
from workbench.domain.training import Dealt

_GIT_SECONDS = 5.0
_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "datasets", "tokenizers")


def origin_text(
    base: Model, start: Model, dealt: Dealt, *, limit: float, teacher: Mapping[str, str] | None = None
) -> str:
    """``origin.json`` of a run on these examples, made now in this folder.

    ``limit`` is by how many percent the loss on general text may rise before the run is said to forget. ``teacher`` has
    the hashes of the weights that are learnt from.
    """
    origin = {
        "workbench": __version__,
        "machine": machine(),
        "git": git_state(Path.cwd()),
        "retention_limit": limit / 100,
        "base_sha256": base.sha256,
        "adapter_sha256": "" if start is base else start.sha256,
        **(teacher or {}),
        "data": {"train": _counted(dealt.train), "held_out": _counted(dealt.held_out)},
    }
    return json.dumps(origin, indent=1) + "\n"


def versions() -> dict[str, str]:
    """The versions of what trains here, by package, with Python's own."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def machine() -> dict[str, object]:
    """What computes here, as far as it is known without asking a GPU."""
    return {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count() or 0,
    }


def git_state(folder: Path) -> dict[str, object]:
    """Commit, branch and whether there are changes, of the working folder; empty where there is no repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = [line[3:] for line in _git(folder, "status", "--porcelain").splitlines()]
    return {
        "folder": _git(folder, "rev-parse", "--show-toplevel"),
        "commit": commit,
        "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
        "changed": len(changed),
    }


def _git(folder: Path, *words: str) -> str:
    try:
        found = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *words],
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.decode("utf-8", "replace").strip("\n") if found.returncode == 0 else ""


def _counted(examples: Sequence[Example]) -> dict[str, object]:
    """How many of what; the names of files, but not where they lay."""
    return {
        "examples": len(examples),
        "kinds": _most(e.content.kind.value for e in examples),
        "datasets": _most(e.dataset for e in examples),
        "splits": _most(e.split.value for e in examples),
        "sources": _most(_source(e) for e in examples),
        "raters": _most(e.rater for e in examples),
    }


def _source(example: Example) -> str:
    source = example.source
    return f"{source.kind.value} of {Path(source.file).name}" if source.file else source.kind.value


def _most(values: Iterable[str], most: int = 12) -> dict[str, int]:
    return dict(Counter(values).most_common(most))
