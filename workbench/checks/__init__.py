"""Data checks, one file each, found by folder: a new file here runs on import, on demand and before training.

Owns the finding of checks. Knows nothing of stores and processes. A file whose name begins with an underscore holds
parts that checks share and is not a check itself. Large libraries are imported inside functions, and those that load
numpy only by checks that run in a child process.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from workbench.domain.checks import Check, Finding, RowCheck, SetCheck
from workbench.domain.examples import Content
from workbench.domain.methods import nearest
from workbench.errors import UsageError


@cache
def find() -> dict[str, Check]:
    """Every check of this folder by name, in the order of the file names."""
    modules = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    checks = [_check(name) for name in modules]
    return {check.name: check for check in checks}


def get(name: str) -> Check:
    """The check called ``name``; raises ``UsageError`` with the nearest name when there is none."""
    checks = find()
    if name not in checks:
        raise UsageError(f"there is no check {name!r}", hint=nearest(name, checks))
    return checks[name]


@cache
def row_checks(*, cheap: bool = False) -> tuple[RowCheck, ...]:
    """The checks of single rows; with ``cheap`` only those that cost microseconds."""
    return tuple(c for c in find().values() if isinstance(c, RowCheck) and (c.cheap or not cheap))


def set_checks() -> tuple[SetCheck, ...]:
    """The checks of many rows together."""
    return tuple(c for c in find().values() if isinstance(c, SetCheck))


def look(content: Content, checks: Iterable[RowCheck], *, example_id: int | None = None) -> list[Finding]:
    """What these checks find in one content, signed with the check's name."""
    return [
        replace(found, check=check.name, example_id=example_id) for check in checks for found in check.look(content)
    ]


def _check(module: str) -> Check:
    check = importlib.import_module(f"{__name__}.{module}").CHECK
    if not isinstance(check, RowCheck | SetCheck):
        raise TypeError(f"workbench/checks/{module}.py must define CHECK as a RowCheck or a SetCheck")
    return check
