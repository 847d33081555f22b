"""Models as the registry knows them: base models, and adapters that sit on one. Knows no weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from workbench.errors import DataError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,95}")


class ModelKind(StrEnum):
    """How a model is run: on its own weights, as an adapter on a base, or either way to score answers of others."""

    BASE = "base"
    ADAPTER = "adapter"
    REWARD = "reward"


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model. ``path`` is a folder or, for a base, a hub id; ``base`` names the base of an adapter, also of
    a reward model that is one.

    ``run_id`` is the run that made it, None for a model that was added by hand. ``sha256`` is the hash of its
    weight files ("" for a hub id that has not been downloaded).
    """

    id: int
    name: str
    kind: ModelKind
    path: str
    base: str = ""
    run_id: int | None = None
    sha256: str = ""
    format: str = "safetensors"
    note: str = ""
    created_utc: str = ""


def check_name(name: str, *, what: str = "model") -> str:
    """``name`` itself when it can address a model, dataset or run; raises ``DataError`` otherwise."""
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{name!r} cannot name a {what}",
            hint="letters, digits, '.', '_', '-' and '/', starting with a letter or digit, at most 96",
        )
    return name
