"""What the workbench found out about the terminal it runs in, in words for Settings. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping

from workbench.tui.keymap import DEFAULT_PREFIX

COLOURS = {"standard": "16", "256": "256", "truecolor": "16 million", "windows": "16"}


def detected(
    color_system: str | None, size: tuple[int, int], *, environment: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """(what, how it is) for colours, multiplexer, connection and clipboard."""
    env = os.environ if environment is None else environment
    colours = "none (NO_COLOR)" if "NO_COLOR" in env else COLOURS.get(color_system or "", "none")
    return [
        ("terminal", f"{env.get('TERM', '?')}  {size[0]}x{size[1]}"),
        ("colours", f"{colours}  (COLORTERM {env.get('COLORTERM') or 'not set'})"),
        ("tmux", _tmux(env)),
        ("connection", "SSH: 10 frames a second unless set" if env.get("SSH_CONNECTION") else "local"),
        ("clipboard", "tmux load-buffer" if env.get("TMUX") else "OSC 52, where the terminal allows it"),
        ("locale", env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or "not set"),
    ]


def _tmux(env: Mapping[str, str]) -> str:
    if not env.get("TMUX"):
        return f"no  (if there were one, {DEFAULT_PREFIX} would be its prefix)"
    return "yes  (Esc takes its escape-time: set -sg escape-time 10 in ~/.tmux.conf)"
