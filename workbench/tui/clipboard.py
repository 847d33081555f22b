"""Copying to the person's own machine: through tmux when there is one, else OSC 52, else into a file.

tmux's default ``set-clipboard external`` drops OSC 52 from programs, so inside tmux its own command is used.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

OSC52_LIMIT = 48_000
TMUX_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Copied:
    """Where the text went: ``osc52`` is the text that the terminal still has to be sent, or ""."""

    said: str
    osc52: str = ""


def copy_text(text: str, *, run: Callable[..., object] = subprocess.run) -> Copied:
    """Put ``text`` where it can be pasted. Blocks for as long as tmux does: call it from a thread."""
    data = text.encode("utf-8", "replace")
    count = f"{len(text):,} character{'' if len(text) == 1 else 's'}"
    if os.environ.get("TMUX"):
        try:
            run(
                ["tmux", "load-buffer", "-w", "-"],
                input=data,
                timeout=TMUX_TIMEOUT_S,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            return Copied(f"copied {count} (tmux buffer)")
        except (OSError, subprocess.SubprocessError):
            pass  # an old tmux without -w, or none in the path: the terminal itself may still take it
    if len(data) <= OSC52_LIMIT:
        return Copied(f"copied {count} (if the terminal allows it)", text)
    with tempfile.NamedTemporaryFile(prefix="workbench-copy-", suffix=".txt", delete=False) as file:
        file.write(data)
    return Copied(f"too long for the terminal's clipboard; written to {file.name}")
