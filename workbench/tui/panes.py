"""Which panes there are, in the order of the jump strip, and where each is found. Imports none of them."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.tui.pane import Pane


@dataclass(frozen=True, slots=True)
class PaneEntry:
    """One screen of the strip: ``letter`` follows Ctrl+O, ``key`` goes there directly, ``where`` is "module:Class"."""

    name: str
    label: str
    letter: str
    key: str
    where: str

    @property
    def title(self) -> str:
        """The name without the marks around its letter."""
        return self.name.capitalize()

    def load(self) -> type[Pane]:
        """Import the pane's class; costs the import of its widgets, once."""
        module, _, name = self.where.partition(":")
        found: type[Pane] = getattr(importlib.import_module(module), name)
        return found


def _entry(name: str, label: str, letter: str, key: str) -> PaneEntry:
    return PaneEntry(name, label, letter, key, f"workbench.tui.screens.{name}:{name.capitalize()}Pane")


PANES: tuple[PaneEntry, ...] = (
    _entry("chat", "(c)hat", "c", "f2"),
    _entry("curate", "c(u)rate", "u", "f3"),
    _entry("prefer", "(p)refer", "p", "f4"),
    _entry("train", "(t)rain", "t", "f5"),
    _entry("arena", "(a)rena", "a", "f6"),
    _entry("results", "(r)esults", "r", "f7"),
    _entry("models", "(m)odels", "m", "f8"),
    _entry("settings", "(s)ettings", "s", "f9"),
)


def entry(name: str) -> PaneEntry:
    """The pane called ``name``; raises ``KeyError`` for a name that is not in the strip."""
    return _BY_NAME[name]


_BY_NAME = {found.name: found for found in PANES}


def stylesheet_of(pane: type[Pane]) -> Path | None:
    """The ``.tcss`` beside a pane's module, None when it has none."""
    path = Path(inspect.getfile(pane)).with_suffix(".tcss")
    return path if path.is_file() else None
