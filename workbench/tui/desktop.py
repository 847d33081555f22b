"""Telling the desktop behind the terminal: the escape sequences of OSC 9 and OSC 777.

A terminal that knows neither drops them. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Mapping

from workbench.domain.foreign_text import cell

OSC9, OSC777, AUTO, OFF = "osc9", "osc777", "auto", "off"
CHOICES = (AUTO, OSC9, OSC777, OFF)
_LONGEST = 200
_WITH_777 = ("rxvt", "foot", "gnome", "vte")


def notification(title: str, text: str, how: str, environ: Mapping[str, str]) -> str:
    """What to write to the terminal, "" for nothing. Inside tmux it is wrapped, so that tmux hands it on."""
    if how == OFF:
        return ""
    kind = environ.get("TERM", "")
    is_777 = how == OSC777 or (how == AUTO and (kind.startswith(_WITH_777) or "VTE_VERSION" in environ))
    # Foreign names are in it: no control character ends the sequence early, no semicolon begins another field.
    shown_title, shown = (cell(part, _LONGEST).replace(";", ",") for part in (title, text))
    sequence = f"\x1b]777;notify;{shown_title};{shown}\x07" if is_777 else f"\x1b]9;{shown_title}: {shown}\x07"
    if environ.get("TMUX"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return sequence
