"""What was worked out for minutes and can be worked out again: kept in the workspace's cache under the hash of all that
it depends on, so that it never has to be asked whether it still holds.

Owns the files and how many there are. Knows nothing of what they say.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

_FILES = 50


def place(bench: Bench, noun: str, key: str) -> Path:
    """Where something of this kind is kept under ``key``."""
    return bench.workspace.root / "cache" / noun / f"{key}.json"


def read(place: Path) -> Any:
    """What was kept there, as JSON gives it; None when nothing was, or when it cannot be read."""
    try:
        return json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def keep(place: Path, value: Any) -> None:
    """Keep it for the next time; that it could not be kept, such as on a full disk, harms nothing."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_suffix(".new")
        aside.write_text(json.dumps(value), encoding="utf-8")
        aside.replace(place)
        for old in sorted(place.parent.glob("*.json"), key=lambda file: -file.stat().st_mtime)[_FILES:]:
            old.unlink(missing_ok=True)
    except OSError:
        return
