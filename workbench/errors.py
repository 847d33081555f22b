"""The one family of errors a person can meet, with the exit code that each becomes on the command line.

Raise near the cause; the message says what is wrong and where, the hint says what to do. Errors are shown in one
place per front end: the CLI's ``main``, the TUI's notice, the worker's ``main``.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_DISK_SIGNS = ("no space left on device", "os error 28", "disk quota exceeded", "disk is full")

DISK_FULL = "the disk is full: this was not done"
DISK_FULL_HINT = "free some space and do it again; what was saved before is kept"

EXIT_CODES = {
    0: "done",
    1: "failed",
    2: "wrong usage",
    3: "bad data (with file, line, reason)",
    4: "not found",
    5: "refused by a check (says which, and how to go on)",
    6: "busy (something else holds it)",
    130: "interrupted",
}


class WorkbenchError(Exception):
    """A failure with a plain message, a hint on what to do, and the place it concerns (``file:line``, an id)."""

    exit_code = 1
    kind = "failed"

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    def as_dict(self) -> dict[str, str]:
        """The JSON form: ``{"kind", "message", "hint", "where"}``."""
        return {"kind": self.kind, "message": self.message, "hint": self.hint, "where": self.where}


class UsageError(WorkbenchError):
    """The command or setting itself is wrong; nothing was tried."""

    exit_code = 2
    kind = "usage"


class DataError(WorkbenchError):
    """Input that cannot be taken as it is: ``where`` holds file and line."""

    exit_code = 3
    kind = "bad-data"


class NotFoundError(WorkbenchError):
    """A name, id or file that does not exist."""

    exit_code = 4
    kind = "not-found"


@dataclass(frozen=True, slots=True)
class Remedy:
    """Settings of a run that mend what it is refused for, and what that does in a few words."""

    said: str
    knobs: Mapping[str, str]


class RefusedError(WorkbenchError):
    """A check said no: the action would waste a run or break a rule of the product.

    ``allow`` are the names under which a person may let it pass, ``remedies`` what can be set in place of that, and
    ``examples`` the numbers of the examples that it is about.
    """

    exit_code = 5
    kind = "refused"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        where: str = "",
        allow: Sequence[str] = (),
        remedies: Sequence[Remedy] = (),
        examples: Sequence[int] = (),
    ) -> None:
        super().__init__(message, hint=hint, where=where)
        self.allow, self.remedies, self.examples = tuple(allow), tuple(remedies), tuple(examples)


class BusyError(WorkbenchError):
    """Something else holds what is needed; trying again later can succeed."""

    exit_code = 6
    kind = "busy"


class EngineError(WorkbenchError):
    """The model server could not be started, died, or refused a request."""

    kind = "engine"


class StoreError(WorkbenchError):
    """The workspace database cannot be opened or written."""

    kind = "store"


class RunError(WorkbenchError):
    """A training run could not be started, or its directory is not what it should be."""

    kind = "run"


def is_disk_full(error: BaseException) -> bool:
    """True when this error, or what caused it, is a full disk."""
    return any(
        (isinstance(e, OSError) and e.errno in {errno.ENOSPC, errno.EDQUOT}) or says(e, _DISK_SIGNS)
        for e in chain(error)
    )


def disk_full(error: BaseException) -> WorkbenchError:
    """What a person is told of a full disk that stopped what they asked for."""
    where = str(error.filename) if isinstance(error, OSError) and error.filename else ""
    return WorkbenchError(DISK_FULL, hint=DISK_FULL_HINT, where=where)


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what caused it."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def says(error: BaseException, signs: tuple[str, ...]) -> bool:
    """True when one of the signs (lower case) is in the error's text."""
    text = str(error).lower()
    return any(sign in text for sign in signs)
