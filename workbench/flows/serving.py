"""Serving models to applications: which may be served together, and who must have a key."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.domain.serving import ModelPlace, ServeSpec
from workbench.errors import RefusedError, UsageError
from workbench.flows.registry import place

if TYPE_CHECKING:
    from workbench.flows.bench import Bench


def places(bench: Bench, names: Sequence[str]) -> tuple[ModelPlace, ...]:
    """Where the models are, the base of each adapter among them.

    Raises ``RefusedError`` for several bases, and for models on other servers.
    """
    found = [place(bench, name) for name in names]
    for each in found:
        if each.endpoint is not None:
            raise RefusedError(f"{each.name} is on another server", hint="applications can ask that one directly")
    bases = {(each.base or each).path: each.base or each for each in found}
    if len(bases) > 1:
        listed = ", ".join(sorted(each.name for each in bases.values()))
        raise RefusedError(
            f"these models are on several bases: {listed}", hint="a server keeps one base in memory: start one for each"
        )
    return tuple(dict.fromkeys([*bases.values(), *found]))


def check(spec: ServeSpec) -> ServeSpec:
    """``spec`` itself when it may be served; raises ``UsageError`` when a key is missing."""
    if spec.api_key_env and not os.environ.get(spec.api_key_env):
        raise UsageError(f"${spec.api_key_env} is empty", hint="put the key that clients must send in it")
    return check_key_is_asked_for(spec)


def check_key_is_asked_for(spec: ServeSpec) -> ServeSpec:
    """``spec`` itself unless other machines could ask without a key; then ``UsageError``."""
    if not spec.is_local and not spec.api_key_env:
        raise UsageError(
            f"{spec.host} can be reached from other machines, and there is no API key",
            hint="--api-key-env NAME names an environment variable with a key; --host 127.0.0.1 needs none",
        )
    return spec
