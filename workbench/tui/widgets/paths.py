"""A line for a path: completes what is typed from the folder it leads into (→ takes the suggestion)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from textual.suggester import Suggester

from workbench.tui.safety import has_controls

ENTRIES_LOOKED_AT = 2000


class PathSuggester(Suggester):
    """Completes the path that is being typed from the folder it leads into (→ takes the suggestion)."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """The first name in the folder that begins as the text ends."""
        return await asyncio.to_thread(_completed, value) if value else None


def _completed(value: str) -> str | None:
    folder, name = os.path.split(value)
    try:
        with os.scandir(Path(folder or ".").expanduser()) as entries:
            looked_at = [entry for entry, _ in zip(entries, range(ENTRIES_LOOKED_AT), strict=False)]
            fits = sorted(e.name + "/" * e.is_dir() for e in looked_at if name and e.name.startswith(name))
    except (OSError, ValueError):  # a NUL in it is a ValueError
        return None
    shown = [fit for fit in fits if not has_controls(fit)]
    return os.path.join(folder, shown[0]) if shown else None  # noqa: PTH118 - a Path would drop a leading "./"
