"""A large source read by a child process, which hands the rows over packed, while its parent writes them.

Owns both ends: ``read`` is the parent's, ``main`` the child's. The rows go through the staging's own file, which the
child is handed open; lines of JSON on its standard output tell how many there are, and what was found out.
Parsing and checking take longer than writing does: with both at once an import takes half as long.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench import formats
from workbench.domain.examples import Status
from workbench.errors import DataError, NotFoundError, RefusedError, UsageError, WorkbenchError
from workbench.flows import containers
from workbench.flows.containers import Options
from workbench.flows.import_rows import Progress, RowReader, Understood, seldom_collected
from workbench.jobs.children import converse
from workbench.store.spool import Packing, SpoolWriter

MODULE = "workbench.flows.import_child"
_ERRORS: Mapping[str, type[WorkbenchError]] = {
    error.kind: error for error in (WorkbenchError, DataError, NotFoundError, RefusedError, UsageError)
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be read, and how its rows are packed."""

    source: Path
    options: Options
    format: str
    mapping: Mapping[str, str]
    skip_bad: bool
    packing: Packing

    def as_line(self) -> str:
        """The request as the child reads it."""
        return json.dumps(
            asdict(self) | {"source": os.fspath(self.source), "mapping": dict(self.mapping)}, ensure_ascii=True
        )

    @classmethod
    def from_line(cls, line: str) -> Request:
        """What ``as_line`` wrote."""
        row = json.loads(line)
        packing = row["packing"]
        return cls(
            Path(row["source"]),
            Options(**row["options"]),
            row["format"],
            row["mapping"],
            row["skip_bad"],
            Packing(Status(packing["status"]), packing["rater"], packing["now"]),
        )


@dataclass(frozen=True, slots=True)
class Arrived:
    """So many more rows are in the file. ``path`` and ``format`` are those of the source."""

    rows: int
    path: str
    format: str


News = Progress | Arrived | bytes | Understood
"""What the parent hears: bytes are a bad line as it was; the last is what was understood."""


def read(request: Request, file: int, *, cancelled: threading.Event | None) -> Iterator[News]:
    """What a child tells while it reads the source and packs its rows into ``file``.

    Raises what reading raises, and ``WorkbenchError`` when the child dies or ``cancelled`` is set.
    """
    for line in converse(MODULE, [str(file)], [request.as_line()], cancelled=cancelled, files=[file]):
        what, told = json.loads(line)
        match what:
            case "progress":
                yield Progress(**told)
            case "arrived":
                yield Arrived(**told)
            case "bad":
                yield base64.b64decode(told)
            case "understood":
                yield Understood.from_dict(told)
            case _:
                raise _ERRORS[told["kind"]](told["message"], hint=told["hint"], where=told["where"])


def main() -> int:
    """Read what the first line of standard input asks for; the argument is the file's descriptor."""
    request = Request.from_line(sys.stdin.readline())
    with os.fdopen(int(sys.argv[1]), "wb") as file, seldom_collected():
        try:
            _tell("understood", asdict(_read(request, SpoolWriter(file, request.packing))))
        except WorkbenchError as error:
            kind = error.kind if error.kind in _ERRORS else WorkbenchError.kind
            _tell("error", {"kind": kind, "message": error.message, "hint": error.hint, "where": error.where})
        except BrokenPipeError:  # nobody listens any more
            return 1
    return 0


def _read(request: Request, spool: SpoolWriter) -> Understood:
    wanted = formats.get(request.format) if request.format else None
    with containers.open_source(request.source, request.options) as opened:
        reader = RowReader(opened, wanted, request.mapping, _teller_of_bad(wanted=request.skip_bad))
        path = reader.path(opened.name)
        for new in reader.examples(request.skip_bad, lambda progress: _tell("progress", asdict(progress))):
            if count := spool.put(new):
                _tell_arrived(count, path, reader)
        _tell_arrived(spool.flush(), path, reader)
    return reader.understood()


def _tell_arrived(count: int, path: str, reader: RowReader) -> None:
    _tell("arrived", {"rows": count, "path": path, "format": reader.format.name if reader.format else ""})


def _teller_of_bad(*, wanted: bool) -> Callable[[bytes], None]:
    def tell(raw: bytes) -> None:
        if wanted:
            _tell("bad", base64.b64encode(raw).decode("ascii"))

    return tell


def _tell(what: str, told: Any) -> None:
    sys.stdout.write(json.dumps([what, told]) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
