"""Backups: what one says of itself, how old ones go, and what a verification found. Knows no file format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from workbench.domain.counting import counted
from workbench.errors import DataError

VERSION = 1
DATABASE = "workbench.db"
DAILY = "daily-"


@dataclass(frozen=True, slots=True)
class BackedUp:
    """One file in a backup. An empty ``sha256`` is not known, and not checked."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a backup. ``files`` are by their place in the workspace; ``counts`` are rows by table.

    ``workspace`` is the folder it was made of. ``left_out`` says in sentences what was asked for and is not in it.
    """

    files: Mapping[str, BackedUp]
    workbench: str = ""
    created_utc: str = ""
    workspace: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    left_out: Sequence[str] = ()

    @property
    def bytes(self) -> int:
        """The size of all files, unpacked."""
        return sum(one.bytes for one in self.files.values())

    @property
    def units(self) -> list[str]:
        """What is put back as a whole: the database, each run's folder, each model's; of a run that is not in it as
        such, what came of it.
        """
        return sorted({self._unit(name.split("/")) for name in self.files if not name.startswith(f"{DATABASE}-")})

    def _unit(self, parts: list[str]) -> str:
        whole = parts[0] != "runs" or f"runs/{parts[1]}/spec.json" in self.files
        return "/".join(parts[: 2 if whole else 3])

    def as_dict(self) -> dict[str, Any]:
        """As the file's own list holds it."""
        return {"workbench_backup": VERSION, **asdict(self)}

    @property
    def said(self) -> str:
        """In a line."""
        if not self.created_utc:
            return "a workspace that a restore put aside"
        rows = ", ".join(counted(number, name) for name, number in self.counts.items() if number) or "no rows"
        folders = len(self.units) - 1
        beside = f"; {folders} folder{'s' if folders != 1 else ''} of runs and models" if folders else ""
        made = self.created_utc[:16].replace("T", " ")
        return f"made {made} UTC by workbench {self.workbench}: {rows}{beside}"


def contents_of(values: Any) -> Contents:
    """The contents that a list says; raises ``DataError`` when it is none, or one of a later form."""
    try:
        if (version := int(values["workbench_backup"])) > VERSION:
            raise DataError(f"it is a backup of form {version}", hint="a newer workbench reads it")
        files = {str(k): BackedUp(str(v["sha256"]), int(v["bytes"])) for k, v in values["files"].items()}
        counts = {str(name): int(number) for name, number in values["counts"].items()}
        text = {name: str(values[name]) for name in ("workbench", "created_utc", "workspace")}
        return Contents(files, counts=counts, left_out=tuple(map(str, values["left_out"])), **text)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"its list of files cannot be read: {error!r}") from None


def check_names(names: Iterable[str]) -> None:
    """Raise ``DataError`` for a file that is neither the database nor in a folder of a run or a model."""
    for name in names:
        parts = name.split("/")
        inside = parts[0] in {"runs", "models"} and len(parts) >= 3 and not {"", ".", ".."} & set(parts)
        if "\\" in name or "\0" in name or (name != DATABASE and not inside):
            raise DataError(f"it has the file {name!r}, which is no part of a workspace")


def outlived(names: Iterable[str], keep: int) -> list[str]:
    """The daily backups to take away so that the newest ``keep`` stay. Their names hold the day and sort by it."""
    daily = sorted(name for name in names if name.startswith(DAILY))
    return daily[: max(0, len(daily) - keep)]


class Level(StrEnum):
    """How bad it is: something is lost or changed, or only worth knowing."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is not as it should be: what, where, and what to do."""

    level: Level
    what: str
    where: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at (by name, how many), and what was wrong with it."""

    flaws: Sequence[Flaw]
    looked_at: Mapping[str, int]

    @property
    def ok(self) -> bool:
        """True when nothing is lost or changed."""
        return not any(flaw.level is Level.ERROR for flaw in self.flaws)

    @property
    def said(self) -> str:
        """For reading: each flaw in three lines, then the verdict."""
        looked = ", ".join(counted(number, name) for name, number in self.looked_at.items() if number)
        parts = [f"{flaw.level.value}: {flaw.what}\n    {flaw.where}\n    {flaw.hint}".rstrip() for flaw in self.flaws]
        verdict = "everything is as it was written" if self.ok else "not everything is as it was written"
        return "\n".join([*parts, f"{verdict}{f': {looked}' if looked else ''}"])

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {"ok": self.ok, "flaws": [asdict(flaw) for flaw in self.flaws], "looked_at": dict(self.looked_at)}
