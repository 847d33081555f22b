"""Models as the registry knows them: base models, adapters that sit on one, and servers. Knows no weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from workbench.domain.endpoints import Endpoint, endpoint_at
from workbench.errors import DataError, RefusedError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,95}")


class ModelKind(StrEnum):
    """How a model is run: on its own weights, as an adapter on a base, either way to score answers of others, or by
    another server, whose weights are not here.
    """

    BASE = "base"
    ADAPTER = "adapter"
    REWARD = "reward"
    ENDPOINT = "endpoint"


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model. ``path`` is a folder or, for a base, a hub id; ``base`` names the base of an adapter, also of
    a reward model that is one. Of an endpoint ``path`` is the server's address with the model's name there, and
    ``key_source`` says where its key is.

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
    key_source: str = ""

    @property
    def endpoint(self) -> Endpoint | None:
        """The server that answers for this model; None for one that the engine runs."""
        return endpoint_at(self.path, self.key_source) if self.kind is ModelKind.ENDPOINT else None

    def check_is_here(self, *, to: str) -> None:
        """Raise ``RefusedError`` for a model on another server: ``to`` says what its weights are needed for."""
        if self.kind is ModelKind.ENDPOINT:
            raise RefusedError(
                f"{self.name} is on another server: its weights and tokenizer are not here to {to}",
                hint="name a model of this machine: workbench models list",
            )


def check_name(name: str, *, what: str = "model") -> str:
    """``name`` itself when it can address a model, dataset or run; raises ``DataError`` otherwise."""
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{name!r} cannot name a {what}",
            hint="letters, digits, '.', '_', '-' and '/', starting with a letter or digit, at most 96",
        )
    return name
