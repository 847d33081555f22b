"""A flow that reads many rows, run in a process of its own, so that whoever shows it keeps answering keys.

Owns both ends: ``call`` is the parent's, ``main`` the child's. The child opens the same workspace and calls the same
function; how far it is and what came of it are told in lines on its standard output. What it was asked for and what it
gives back are pickled: both ends are this program, and nobody else can write into the pipe.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.errors import WorkbenchError
from workbench.jobs.children import converse
from workbench.paths import Workspace

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

MODULE = "workbench.flows.apart"
Result = TypeVar("Result")
FEW = 3000
"""So many rows are read here: a process takes a second to start."""
_TOLD_EVERY_S = 0.1
_NICE, _NICE_UNASKED = 5, 15

OnProgress = Callable[..., None]
"""Called with what the function's own ``on_progress`` is called with: texts and numbers."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What is to be called, and in which workspace."""

    workspace: Workspace
    rater: str
    function: Callable[..., Any]
    given: tuple[Any, ...]
    named: dict[str, Any]
    tells: bool
    is_asked: bool


def call(
    function: Callable[..., Result],
    bench: Bench,
    *given: Any,
    rows: int,
    on_progress: OnProgress | None = None,
    cancelled: threading.Event | None = None,
    is_asked: bool = True,
    **named: Any,
) -> Result:
    """``function(bench, *given, **named)``, in a child process when it has more than ``FEW`` ``rows`` to read.

    ``function`` is one of a module, and all that goes in and out can be pickled. With ``on_progress`` it is given one
    of its own, whose calls are handed on ten times a second, and ``cancelled`` where there is no child. Raises what it
    raises; setting ``cancelled`` kills the child and raises ``WorkbenchError``: a function that writes leaves what its
    last transaction left. What nobody asked for, ``is_asked`` False, takes next to no time from who types.
    """
    if rows <= FEW:
        telling = {} if on_progress is None else {"on_progress": on_progress, "cancelled": cancelled}
        return function(bench, *given, **named, **telling)
    asked = _Request(bench.workspace, bench.rater, function, given, named, on_progress is not None, is_asked)
    for line in converse(MODULE, [], [_packed(asked)], cancelled=cancelled):
        what, told = json.loads(line)
        if what == "progress" and on_progress is not None:
            on_progress(*told)
        elif what == "done":
            result: Result = _unpacked(told)
            return result
        elif what == "error":
            kind, message, hint, where = _unpacked(told)
            raise kind(message, hint=hint, where=where)
    raise WorkbenchError("it ended without a word", hint="try again; workbench doctor looks at the machine")


def main() -> int:
    """Call what the first line of standard input asks for."""
    asked: _Request = _unpacked(sys.stdin.readline())
    os.nice(_NICE if asked.is_asked else _NICE_UNASKED)  # whoever types goes first
    try:
        _tell("done", _packed(_called(asked)))
    except WorkbenchError as error:
        _tell("error", _packed((type(error), error.message, error.hint, error.where)))
    except BrokenPipeError:  # nobody listens any more
        return 1
    return 0


def _called(asked: _Request) -> Any:
    from workbench.flows.bench import Bench

    bench = Bench.open(asked.workspace, rater=asked.rater)
    try:
        telling = {"on_progress": _Teller()} if asked.tells else {}
        return asked.function(bench, *asked.given, **asked.named, **telling)
    finally:
        bench.close()


class _Teller:
    """Hands on how far it is, not too often."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, *told: str | float) -> None:
        if (now := time.monotonic()) >= self._next:
            self._next = now + _TOLD_EVERY_S
            _tell("progress", told)


def _packed(value: object) -> str:
    return base64.b64encode(pickle.dumps(value)).decode("ascii")


def _unpacked(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))


def _tell(what: str, told: object) -> None:
    sys.stdout.write(json.dumps([what, told]) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    from workbench.flows import apart  # what is pickled names this module, not ``__main__``

    sys.exit(apart.main())
