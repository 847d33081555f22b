"""Metrics of answers against references, computed by a child process, because their libraries load half of ML."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from workbench.jobs.children import converse

MODULE = "workbench.worker.metrics"


def metrics(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The metrics of ``(answer, reference)`` pairs by name; takes some seconds. Raises ``WorkbenchError``."""
    found: dict[str, Any] = json.loads("".join(converse(MODULE, (), (json.dumps(pair) for pair in pairs))))
    return found
