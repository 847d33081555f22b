"""Work beside the event loop, begun in one way: as a function that is called when its turn comes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from textual.dom import DOMNode
from textual.worker import Worker

Result = TypeVar("Result")


def begin(
    node: DOMNode, work: Callable[[], Coroutine[Any, Any, Result]], *, group: str, exclusive: bool = False
) -> Worker[Result]:
    """Run ``work`` for ``node``; ``exclusive`` cancels what runs in its ``group``. A failure never ends the app.

    A coroutine that was made already would never be awaited where the work is cancelled before its turn.
    """
    worker: Worker[Result] = node.run_worker(work, group=group, exclusive=exclusive, exit_on_error=False)
    return worker
