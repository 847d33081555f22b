"""The run directory: the protocol between bench, runner and trainer, and all that a run is.

``spec.json`` and frozen rows go in; ``state.json``, ``events.jsonl``, ``log.txt``, checkpoints and the trained weights
come out; the control file ``stop`` speaks to the trainer. Whole files are written aside and renamed, lines are
appended, so that a reader never sees half of anything and a kill at any moment leaves a directory that can be read.
Knows neither the store nor what is trained.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.domain.queues import RunnerNote, Ticket
from workbench.domain.run_findings import Level
from workbench.domain.runs import RunSpec, RunState, RunStatus
from workbench.errors import RunError, is_disk_full
from workbench.jobs import reserve

COMPLETE_MARKER = "complete.json"
STOP = "stop"
KILL = "kill"

Event = dict[str, Any]
_NEVER = RunStatus(RunState.QUEUED)
_OF_A_STEP = {"metrics", "device", "eval", "sample", "checkpoint"}
_TOLD_IN = ("spec.json", "state.json", "events.jsonl", "log.txt", "checkpoints")


def now_utc() -> str:
    """This moment as the run directory writes it: ISO 8601, microseconds, UTC; sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run's folder. Methods read and write the disk at once; nothing is kept in memory."""

    root: Path

    @property
    def train_file(self) -> Path:
        """The frozen rows to train on."""
        return self.root / "train.jsonl"

    @property
    def eval_file(self) -> Path:
        """The frozen held-out rows; empty when there are none."""
        return self.root / "eval.jsonl"

    @property
    def events_file(self) -> Path:
        """What happened, one JSON object a line, only ever appended to."""
        return self.root / "events.jsonl"

    @property
    def lock_file(self) -> Path:
        """Held by the trainer while it is at work, of several processes by the first."""
        return self.root / ".trainer.lock"

    @property
    def log_file(self) -> Path:
        """What the trainer printed."""
        return self.root / "log.txt"

    @property
    def checkpoints(self) -> Path:
        """The folder of ``checkpoint-STEP`` folders."""
        return self.root / "checkpoints"

    @property
    def adapter(self) -> Path:
        """The trained adapter, there only once it is whole."""
        return self.root / "adapter"

    @property
    def model(self) -> Path:
        """The trained model of a full fine-tuning, there only once it is whole."""
        return self.root / "model"

    @property
    def reward_file(self) -> Path:
        """The Python file that gives the rewards, as it was when the run was made; there for runs that have one."""
        return self.root / "reward.py"

    @property
    def general_file(self) -> Path:
        """Frozen rows that have nothing to do with the task, to see what it costs; there for runs that have some."""
        return self.root / "general.jsonl"

    @property
    def canary_file(self) -> Path:
        """Frozen prompts whose answers are shown before and after; there for runs that have some."""
        return self.root / "canaries.jsonl"

    @property
    def origin_file(self) -> Path:
        """Where the run and its rows came from: sources, hashes, git, machine; written once, when it is made."""
        return self.root / "origin.json"

    @property
    def start_figures(self) -> Path:
        """What was measured on single rows before the first step, until the run's end takes it over."""
        return self.root / "start-figures.json"

    @property
    def rows_file(self) -> Path:
        """The loss of single rows before and after, one JSON object a line; there once a run is finished."""
        return self.root / "rows.jsonl"

    @property
    def retention_file(self) -> Path:
        """The loss on general text and the canaries' answers, before and after; there once a run is finished."""
        return self.root / "retention.json"

    @property
    def findings_file(self) -> Path:
        """What the numbers say, written with the run's page."""
        return self.root / "findings.json"

    def warnings(self) -> tuple[str, ...]:
        """The names of what its numbers warn of, as they stand beside its page; to judge anew takes all its events."""
        found = self.read_json(self.findings_file).get("findings")
        told = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        return tuple(str(one.get("name")) for one in told if one.get("level") == Level.WARNING)

    @property
    def best(self) -> Path:
        """What learns as it was at the best measurement so far; there until the run's result is saved."""
        return self.root / "best.safetensors"

    @property
    def start_adapter(self) -> Path:
        """The adapter before its first step, for kinds whose result is told by the difference to it."""
        return self.root / "start-adapter"

    @classmethod
    def create(cls, root: Path, spec: RunSpec, train: Iterable[str], held_out: Iterable[str]) -> RunDirectory:
        """A new directory with the spec and the frozen lines, not queued yet; ``spec.row_hash`` is set here.

        For its user alone (mode 0700), whatever the umask: the rows are what people wrote.

        Raises ``RunError`` when something is at ``root`` already.
        """
        root.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".new-", dir=root.parent))
        try:
            draft = cls(aside)
            _write_lines(draft.train_file, train)
            _write_lines(draft.eval_file, held_out)
            _write_whole(aside / "spec.json", spec_as_dict(replace(spec, row_hash=draft.row_hash())))
            draft.checkpoints.mkdir()
            reserve.keep(aside)
            aside.rename(root)
        except OSError as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise RunError(f"the run directory {root} could not be made: {error.strerror}") from error
        return cls(root)

    def spec(self) -> RunSpec:
        """What to do; raises ``RunError`` when ``spec.json`` is missing or is not a spec."""
        try:
            return spec_from_dict(json.loads((self.root / "spec.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(f"{self.root} is not a run directory: spec.json: {error}") from error

    def row_hash(self) -> str:
        """SHA-256 of the training rows followed by the held-out rows, as they are on disk now."""
        digest = hashlib.sha256()
        for path in (self.train_file, self.eval_file):
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        return digest.hexdigest()

    def status(self) -> RunStatus | None:
        """What the run last said about itself; None before it is queued. A file that is no status is None too."""
        try:
            values = json.loads((self.root / "state.json").read_text(encoding="utf-8"))
            return RunStatus(**{**values, "state": RunState(values["state"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write_status(self, status: RunStatus) -> RunStatus:
        """Replace ``state.json`` whole, on a full disk out of the reserve; ``updated_utc`` is set here."""
        stamped = replace(status, updated_utc=now_utc())
        target = self.root / "state.json"
        try:
            _write_whole(target, asdict(stamped))
        except OSError as error:
            if not is_disk_full(error) or not reserve.replace_within(target, _short_text(stamped)):
                raise
        return stamped

    def enqueue(self) -> RunStatus:
        """Put the run at the end of the queue, keeping its progress and forgetting an old error or stop.

        Raises ``RunError`` while the run is active: its trainer would lose its name and its stop, and get a rival.
        """
        old = self.status() or RunStatus(RunState.QUEUED)
        if old.state.is_active:
            raise RunError(f"{self.root.name} is {old.state.value}: it cannot be queued", hint="stop it first")
        self.clear_stop()
        self.write_ticket(replace(self.ticket(), place=time.time()))
        return self.write_status(
            replace(old, state=RunState.QUEUED, pid=None, process_started=None, ended_utc="", error="", hint="")
        )

    def ticket(self) -> Ticket:
        """Its place in the queue and its GPUs; of a run without one (of an older program), by when it was queued."""
        values = self.read_json(self.root / "ticket.json")
        try:
            return Ticket(**values) if values else Ticket(place=_seconds((self.status() or _NEVER).updated_utc))
        except TypeError:
            return Ticket()

    def write_ticket(self, ticket: Ticket) -> None:
        """Replace the ticket whole; the runner reads it when it is the run's turn."""
        _write_whole(self.root / "ticket.json", asdict(ticket))

    def runner_note(self) -> RunnerNote:
        """What the runner last wrote down about this run."""
        values = self.read_json(self.root / "runner.json")
        try:
            lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return RunnerNote(**lists)
        except TypeError:
            return RunnerNote()

    def has_runner_note(self) -> bool:
        """True once a runner noted where the run trains; one of an older program never did."""
        return (self.root / "runner.json").is_file()

    def write_runner_note(self, note: RunnerNote) -> None:
        """Replace the runner's note whole; for the runner alone."""
        _write_whole(self.root / "runner.json", asdict(note))

    def add_note(self, text: str) -> None:
        """A sentence among the events, of a run that no trainer works on; a full disk swallows it."""
        line = json.dumps({"event": "note", "text": text, "at_utc": now_utc()})
        with suppress(OSError), self.events_file.open("ab") as file:
            # A kill can leave half a line behind; this must not be glued to it. An empty line is no event.
            file.write(f"\n{line}\n".encode())

    def adjusted(self) -> dict[str, Any]:
        """The knobs that the trainer had to change after the run was made, such as a smaller batch; mostly none."""
        return self.read_json(self.root / "adjusted.json")

    def adjust(self, knobs: Mapping[str, Any]) -> None:
        """Note changed knobs for this and every later start of the run; ``spec.json`` stays as a person made it."""
        self.write_adjusted(self.adjusted() | dict(knobs))

    def write_adjusted(self, knobs: Mapping[str, Any]) -> None:
        """Replace what ``adjusted`` gives."""
        _write_whole(self.root / "adjusted.json", dict(knobs))

    def read_json(self, path: Path) -> dict[str, Any]:
        """The object in a file of this run; empty when there is none."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def write_json(self, path: Path, values: Mapping[str, Any]) -> None:
        """Replace a file of this run whole."""
        _write_whole(path, dict(values))

    def write_text(self, path: Path, text: str) -> None:
        """Replace a file of this run whole."""
        _write_text(path, text)

    def write_rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace the figures of single rows whole."""
        _write_text(self.rows_file, "".join(json.dumps(row) + "\n" for row in rows))

    def row_figures(self) -> list[dict[str, Any]]:
        """The figures of single rows; empty for a run that measured none."""
        try:
            text = self.rows_file.read_text(encoding="utf-8")
        except OSError:
            return []
        return [row for line in text.splitlines() if isinstance(row := json.loads(line), dict)]

    def request(self, what: str) -> None:
        """Ask the trainer to ``STOP`` (finish the step, save, end), or note that it is being ``KILL``-ed.

        A full disk takes an empty file, which says it by its name.
        """
        try:
            _write_text(self.root / "stop", what)
        except OSError as error:
            if not is_disk_full(error):
                raise
            (self.root / what).touch()

    def requested(self) -> str:
        """``STOP``, ``KILL`` or "" when nobody asked for anything."""
        if (self.root / KILL).exists():
            return KILL
        try:
            return (self.root / "stop").read_text(encoding="utf-8").strip() or STOP
        except OSError:
            return ""

    def clear_stop(self) -> None:
        """Take back an earlier request."""
        for name in (STOP, KILL):
            (self.root / name).unlink(missing_ok=True)

    def beat(self) -> None:
        """Say that the trainer is alive, and on which machine: the time and the text of ``heartbeat``."""
        path, machine = self.root / "heartbeat", os.uname().nodename
        with suppress(OSError, ValueError):
            if path.read_text(encoding="utf-8") == machine:
                os.utime(path)  # needs no room on a full disk
                return
        path.write_text(machine, encoding="utf-8")

    def heartbeat_elsewhere(self) -> str:
        """The other machine (or container) whose trainer beat last; "" when it was this one, or none ever did."""
        try:
            machine = (self.root / "heartbeat").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""
        return "" if machine == os.uname().nodename else machine

    def heartbeat_age(self) -> float | None:
        """Seconds since the last beat; None when there was none."""
        try:
            return max(0.0, time.time() - (self.root / "heartbeat").stat().st_mtime)
        except OSError:
            return None

    def events(self, offset: int = 0) -> tuple[list[Event], int]:
        """Events from a byte offset on, and the offset to ask from next.

        Reads up to the last newline: a line that is being written comes with the next call. A line that a kill tore
        is left out.
        """
        try:
            with self.events_file.open("rb") as file:
                file.seek(offset)
                piece = file.read()
        except OSError:
            return [], offset
        end = piece.rfind(b"\n") + 1
        return list(_parsed(piece[:end].splitlines())), offset + end

    def traces(self) -> tuple[tuple[int, int, int] | None, ...]:
        """What is another once the run, or somebody about it, said something more: which files, when, how large."""
        return tuple(_trace(self.root / name) for name in _TOLD_IN)

    def complete_checkpoints(self) -> list[Path]:
        """The checkpoints that were written to their end, earliest step first."""
        return [path for path in self.checkpoint_folders() if is_complete(path)]

    def remove_torn_checkpoints(self) -> list[Path]:
        """Delete the checkpoints that a kill or a full disk left unfinished; gives back what was deleted."""
        torn = [path for path in self.checkpoint_folders() if not is_complete(path)]
        for path in torn:
            shutil.rmtree(path, ignore_errors=True)
        return torn

    def checkpoint_folders(self) -> list[Path]:
        """All checkpoints, torn ones too, earliest step first."""
        folders = [p for p in self.checkpoints.glob("checkpoint-*") if p.is_dir() and step_of(p) >= 0]
        return sorted(folders, key=step_of)


def _trace(path: Path) -> tuple[int, int, int] | None:
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_mtime_ns, seen.st_size


def all_runs(runs: Path) -> list[RunDirectory]:
    """Every run directory under the folder ``runs``, by name; unfinished ones (``.new-…``) are not among them."""
    if not runs.is_dir():
        return []
    return [RunDirectory(p) for p in sorted(runs.iterdir()) if not p.name.startswith(".") and p.is_dir()]


def step_of(checkpoint: Path) -> int:
    """The optimiser step in a checkpoint's name; -1 when the name has none."""
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1


def mark_complete(checkpoint: Path) -> None:
    """Write the marker that makes a checkpoint count: every file with its size, flushed to the disk before."""
    sizes = {str(p.relative_to(checkpoint)): p.stat().st_size for p in sorted(_files(checkpoint))}
    for name in sizes:
        with (checkpoint / name).open("rb") as file:
            os.fsync(file.fileno())
    _write_whole(checkpoint / COMPLETE_MARKER, {"files": sizes})


def is_complete(checkpoint: Path) -> bool:
    """True when the marker is there and every file it names still has the size it had."""
    try:
        sizes = json.loads((checkpoint / COMPLETE_MARKER).read_text(encoding="utf-8"))["files"]
        return bool(sizes) and all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def went_on_from(event: Event) -> int | None:
    """The step from which a trainer goes on, of the event that says so: what was told of later steps is undone."""
    step = event.get("step")
    return step if event["event"] == "state" and event.get("state") == "running" and isinstance(step, int) else None


def without_undone(events: Iterable[Event]) -> list[Event]:
    """The events without those of steps that a killed trainer had made and the next one made again.

    The figures of several quick steps stand in one line, so the two need not tell of the same steps.
    """
    kept: list[Event] = []
    for event in events:
        if (step := went_on_from(event)) is not None:
            kept = [one for one in kept if one["event"] not in _OF_A_STEP or int(one.get("step") or 0) <= step]
        kept.append(event)
    return kept


def spec_as_dict(spec: RunSpec) -> dict[str, Any]:
    """The spec as JSON holds it."""
    return asdict(spec) | {"knobs": dict(spec.knobs), "versions": dict(spec.versions)}


def spec_from_dict(values: Mapping[str, Any]) -> RunSpec:
    """A spec from its JSON form; unknown fields (of a newer program) are left out."""
    known: dict[str, Any] = {f.name: values[f.name] for f in fields(RunSpec) if f.name in values}
    for name in ("example_ids", "eval_example_ids", "varied"):
        known[name] = tuple(known.get(name, ()))
    return RunSpec(**known)


def _seconds(stamp_utc: str) -> float:
    try:
        return datetime.fromisoformat(stamp_utc).timestamp()
    except ValueError:
        return 0.0


def _files(folder: Path) -> Iterator[Path]:
    return (p for p in folder.rglob("*") if p.is_file() and p.name != COMPLETE_MARKER)


def _parsed(lines: Iterable[bytes]) -> Iterator[Event]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            yield event


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _write_whole(path: Path, values: object) -> None:
    _write_text(path, _whole(values))


def _whole(values: object) -> str:
    return json.dumps(values, indent=1) + "\n"


def _short_text(status: RunStatus) -> str:
    """The status as ``state.json`` has it, its error cut to what the reserve takes."""
    while len(text := _whole(asdict(status))) > reserve.TEXT_BYTES and (status.error or status.hint):
        status = replace(status, error=status.error[: len(status.error) // 2], hint=status.hint[:200])
    return text


def _write_text(path: Path, text: str) -> None:
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(path)
    except OSError:
        Path(aside).unlink(missing_ok=True)
        raise
