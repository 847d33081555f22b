"""The keymap of ``[keys]``, checked before it is used: Textual itself takes unknown ids and impossible keys in silence.

Owns which keys can be used at all, and what is wrong with a line. Reads bindings from the classes that have them; knows
no pane by name.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import KEY_TO_UNICODE_NAME, REPLACED_KEYS, Keys, _character_to_key
from textual.screen import Screen

from workbench.domain.methods import nearest
from workbench.tui.panes import PANES

if TYPE_CHECKING:
    from workbench.tui.app import WorkbenchApp

DEFAULT_PREFIX = "ctrl+b"
_MODIFIERS = {"ctrl", "shift", "alt", "super", "meta", "hyper"}
_SAME_KEY = {
    "ctrl+i": "tab",
    "ctrl+m": "enter",
    "ctrl+h": "backspace",
    "ctrl+slash": "ctrl+underscore",
    "ctrl+space": "ctrl+at",
}
_NEVER_ARRIVES = re.compile(r"(ctrl|alt|shift)\+enter|alt\+(shift\+)?[0-9]|ctrl\+(shift\+)?[0-9]|ctrl\+shift\+[a-z]")
_NAMED = {key.value for key in Keys if not key.value.startswith("<")}


@dataclass(frozen=True, slots=True)
class Bound:
    """One binding as it stands in the code: its id, its own keys, what it does and the class that has it.

    ``pane`` is the pane that it works in ("" everywhere), ``around`` is True for the pane itself, whose keys work
    whichever of its widgets has the focus.
    """

    id: str
    keys: tuple[str, ...]
    does: str
    owner: str
    pane: str = ""
    around: bool = False

    @property
    def context(self) -> str:
        """The part of the id before the last dot."""
        return self.id.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """A line of ``[keys]`` that is ignored, and why."""

    id: str
    keys: str
    reason: str

    def __str__(self) -> str:
        return f'"{self.id}" = "{self.keys}": {self.reason}'


@dataclass(frozen=True, slots=True)
class Keymap:
    """What can be applied, and what was wrong with the rest."""

    keys: Mapping[str, str]
    problems: tuple[KeyProblem, ...] = ()


def known_bindings(app: WorkbenchApp) -> list[Bound]:
    """Every binding with an id: the app's, and those of all panes and widgets. Imports every pane (0.2 s)."""
    found = bound_by(type(app))
    for entry in PANES:
        kind = entry.load()
        for _, widget in inspect.getmembers(inspect.getmodule(kind), inspect.isclass):
            if issubclass(widget, DOMNode) and widget.__module__.startswith("workbench."):
                pane = "" if issubclass(widget, Screen) else entry.name
                found += [replace(bound, pane=pane, around=widget is kind) for bound in bound_by(widget)]
    return found


def bound_by(kind: type[DOMNode]) -> list[Bound]:
    """The bindings with an id that a class itself declares, one entry per id."""
    declared = kind.__dict__.get("BINDINGS", [])
    return [
        Bound(one.id, tuple(_normal(key) for key in one.key.split(",")), one.tooltip or one.description, kind.__name__)
        for one in declared
        if isinstance(one, Binding) and one.id
    ]


def check_keymap(wanted: Mapping[str, str], known: Iterable[Bound], *, prefix: str = DEFAULT_PREFIX) -> Keymap:
    """The lines of ``wanted`` that can be used, in Textual's names, and a problem for each of the others.

    A line is refused for an id that no binding has, a key that no terminal sends, tmux's prefix, or a key that another
    binding of the same context (or a global one) has.
    """
    by_id: dict[str, list[Bound]] = {}
    for bound in known:
        by_id.setdefault(bound.id, []).append(bound)
    good: dict[str, str] = {}
    problems: list[KeyProblem] = []
    for binding_id, text in wanted.items():
        keys = [_normal(key) for key in text.split(",") if key.strip()]
        reason = _unknown(binding_id, by_id) or _unusable(keys, prefix)
        if reason:
            problems.append(KeyProblem(binding_id, text, reason))
        else:
            good[binding_id] = ",".join(dict.fromkeys(keys))
    problems += _drop_clashes(good, wanted, by_id)
    return Keymap(good, tuple(problems))


def checked_keymap(app: WorkbenchApp, wanted: Mapping[str, str]) -> Keymap:
    """``wanted`` checked against the bindings there are; for a thread, because it imports panes and asks tmux."""
    return check_keymap(wanted, known_bindings(app), prefix=tmux_prefix()) if wanted else Keymap({})


def use_keymap(app: WorkbenchApp, keymap: Keymap) -> None:
    """Let a checked keymap work from now on, and keep its problems on the app for Settings to show."""
    app.set_keymap(dict(keymap.keys))
    app.keymap_problems = keymap.problems


def apply_keymap(app: WorkbenchApp, wanted: Mapping[str, str]) -> tuple[KeyProblem, ...]:
    """Check ``wanted`` and use what is right of it; returns what is wrong with the rest. In the event loop."""
    use_keymap(app, checked_keymap(app, wanted))
    return app.keymap_problems


def tmux_prefix() -> str:
    """tmux's prefix in Textual's words; its default where there is no tmux or it does not answer."""
    if not os.environ.get("TMUX"):
        return DEFAULT_PREFIX
    command = ["tmux", "show-options", "-gv", "prefix"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=1, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return DEFAULT_PREFIX
    return answer.lower().replace("c-", "ctrl+").replace("m-", "alt+") or DEFAULT_PREFIX


def _normal(key: str) -> str:
    key = key.strip()
    modifiers, plus, last = key.rpartition("+") if len(key) > 1 else ("", "", key)
    if plus and not last:  # "ctrl++"
        modifiers, last = modifiers.rstrip("+"), "+"
    if len(last) == 1:
        last = _character_to_key(last)
    if last.lower() in _NAMED or modifiers:  # a shifted letter arrives as the letter, Ctrl+R as ctrl+r
        last = last.lower() if len(last) > 1 or "ctrl" in modifiers.lower() else last
    return f"{modifiers.lower()}+{last}" if modifiers else last


def _unknown(binding_id: str, by_id: Mapping[str, list[Bound]]) -> str:
    return "" if binding_id in by_id else f"there is no such binding; {nearest(binding_id, by_id)}"


def _unusable(keys: list[str], prefix: str) -> str:
    if not keys:
        return "no key is named; take the line out to get the default back"
    for key in keys:
        if not _is_key(key):
            return f"{key!r} is no key; names are like a, ctrl+r, f5, space, question_mark"
        if key == prefix:
            return f"{key} is your tmux prefix, and never arrives here"
        if key in _SAME_KEY:
            return f"terminals send {_SAME_KEY[key]} for {key}; write {_SAME_KEY[key]}"
        if _NEVER_ARRIVES.fullmatch(key):
            return f"{key} does not arrive through tmux and most terminals"
    return ""


def _is_key(key: str) -> bool:
    *modifiers, last = key.split("+")
    if not set(modifiers) <= _MODIFIERS:
        return False
    if len(last) == 1:
        return last.isprintable()
    if last in _NAMED or last in KEY_TO_UNICODE_NAME or last in REPLACED_KEYS:
        return True
    try:
        unicodedata.lookup(last.replace("_", " ").upper())
    except KeyError:
        return False
    return True


def _drop_clashes(
    good: dict[str, str], wanted: Mapping[str, str], by_id: Mapping[str, list[Bound]]
) -> list[KeyProblem]:
    """Take lines out of ``good`` until no key of a line is used by another binding that is live at the same time."""
    problems: list[KeyProblem] = []
    for binding_id in list(good):
        reason = _clash(binding_id, good, by_id)
        if reason:
            problems.append(KeyProblem(binding_id, wanted[binding_id], reason))
            del good[binding_id]
    return problems


def _clash(binding_id: str, good: Mapping[str, str], by_id: Mapping[str, list[Bound]]) -> str:
    mine = set(good[binding_id].split(","))
    for other_id, others in by_id.items():
        if other_id == binding_id or not _live_together(by_id[binding_id], others):
            continue
        theirs = set(good[other_id].split(",")) if other_id in good else {key for one in others for key in one.keys}
        if shared := sorted(mine & theirs):
            return f"{shared[0]} is already {other_id} ({others[0].does})"
    return ""


def _live_together(mine: list[Bound], others: list[Bound]) -> bool:
    return any(_share_focus(a, b) for a in mine for b in others)


def _share_focus(a: Bound, b: Bound) -> bool:
    if "app" in {a.context, b.context} or a.owner == b.owner:
        return True
    return a.pane != "" and a.pane == b.pane and (a.context == b.context or a.around or b.around)
