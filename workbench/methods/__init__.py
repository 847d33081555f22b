"""Training methods, one file each, found by folder: a new file here is a new method everywhere.

Owns the finding. Knows nothing of what a method says; that is ``workbench.domain.methods``. A file whose name begins
with an underscore holds parts that methods share and is not a method itself. The adapter kinds have a folder of their
own, ``adapters``.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from workbench.domain.methods import Method, nearest
from workbench.errors import NotFoundError
from workbench.methods._arguments import setting, setting_text, with_arguments
from workbench.methods._arguments import values as argument_values
from workbench.methods._arguments import without as without_arguments

__all__ = [
    "GONE",
    "argument_values",
    "find",
    "get",
    "setting",
    "setting_text",
    "with_arguments",
    "without_arguments",
]


@cache
def find() -> dict[str, Method]:
    """Every method of this folder by name, in the order of the file names."""
    modules = sorted(m.name for m in pkgutil.iter_modules(__path__) if not (m.ispkg or m.name.startswith("_")))
    methods = [_method(name) for name in modules]
    return {method.name: method for method in methods}


GONE = {
    "ppo": ("ppo left TRL in 1.16", "rloo learns from the same rewards, without a value model"),
    "bco": ("bco left TRL in 1.16 as a method of its own", "dpo with --set loss_type=bco_pair, or kto"),
}
"""Methods that people look for and that are not here: why, and what to take."""


def get(name: str) -> Method:
    """The method called ``name``; raises ``NotFoundError`` with the nearest name when there is none."""
    methods = find()
    if name in GONE:
        reason, instead = GONE[name]
        raise NotFoundError(reason, hint=instead)
    if name not in methods:
        raise NotFoundError(f"there is no training method {name!r}", hint=nearest(name, methods))
    return methods[name]


def _method(module: str) -> Method:
    method = importlib.import_module(f"{__name__}.{module}").METHOD
    if not isinstance(method, Method):
        raise TypeError(f"workbench/methods/{module}.py must define METHOD as a Method")
    return method
