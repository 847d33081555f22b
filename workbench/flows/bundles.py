"""A run as one file that goes on elsewhere: packed with its rows, checkpoint, result and page, and taken over again.

What is taken over is foreign: the archive may hold plain files in one folder only, each with the hash that its list
says. The base is not in it, and must be here already, known by the hash of its weights.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from workbench import methods as training_methods
from workbench.domain.models import Model, ModelKind
from workbench.domain.runs import Run, RunSpec, RunState
from workbench.errors import DataError, NotFoundError, RefusedError, RunError
from workbench.flows.registry import is_hub_id
from workbench.flows.run_scores import IMPORTED
from workbench.flows.train import free_folder, free_name
from workbench.jobs.run_directory import RunDirectory, spec_as_dict
from workbench.jobs.run_facts import file_hash
from workbench.jobs.run_page import write_page

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

LIST, README = "bundle.json", "README.md"
_LEFT_OUT = {".trainer.lock", "heartbeat", "stop", "kill", "ticket.json", "runner.json", LIST, README}
_MOST_FILES = 10_000
_MADE = ("checkpoints", "adapter", "model", "state.json", "events.jsonl")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A packed run: the file, how many files are in it, and its size."""

    file: Path
    files: int
    bytes: int


def bundle(run: Run, to: Path, *, checkpoint: bool = True) -> Bundle:
    """Pack a run into ``to`` (.tar.gz), with its last complete checkpoint unless ``checkpoint`` is False.

    Raises ``RefusedError`` while the run is at work, ``RunError`` when its folder is gone or ``to`` cannot be written.
    """
    directory = RunDirectory(Path(run.directory))
    spec = directory.spec()
    status = directory.status()
    if status is not None and status.state.is_active:
        raise RefusedError(f"{run.name} is {status.state.value}", hint="stop it first: workbench runs stop")
    with suppress(OSError):
        write_page(directory)
    paths = list(run_files(directory, checkpoint=checkpoint))
    hashes = {str(path.relative_to(directory.root)): file_hash(path) for path in paths}
    aside = to.with_name(f".{to.name}.part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(aside, "w:gz") as archive:
            for name, text in ((LIST, _listed(run, hashes)), (README, _readme(spec, run))):
                _add_text(archive, f"{directory.root.name}/{name}", text)
            for path in paths:
                archive.add(path, f"{directory.root.name}/{path.relative_to(directory.root)}", filter=_nameless)
        aside.replace(to)
    except OSError as error:
        raise RunError(f"the bundle cannot be written: {error.strerror}", where=str(to)) from None
    finally:
        aside.unlink(missing_ok=True)
    return Bundle(to, len(paths), to.stat().st_size)


def take(bench: Bench, file: Path, *, name: str = "") -> Run:
    """Take a packed run over into this workspace: shown, bundled and resumed like one that was made here.

    It is over, whatever the archive says: nothing starts before a person resumes it. Raises ``DataError`` when the
    archive is not sound, ``NotFoundError`` when its base or its method is not here.
    """
    runs = bench.workspace.runs
    runs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=runs) as place:
        folder = _unpacked(file, Path(place))
        directory = RunDirectory(folder)
        told = directory.spec()
        training_methods.get(told.method)
        put_at_rest(directory)
        if directory.row_hash() != told.row_hash:
            raise DataError("the rows in it are not those of its spec", where=str(file))
        origin = directory.read_json(directory.origin_file)
        spec = replace(_here(bench, told, origin), name=free_name(bench, name, told.name))
        directory.write_json(folder / "spec.json", spec_as_dict(spec))
        machine = origin.get("machine", {}).get("name", "elsewhere")
        directory.write_json(directory.origin_file, {**origin, IMPORTED: f"{file.name} of {machine}"})
        with bench.store.write():
            target = free_folder(runs, bench.store.runs.next_id(), spec.name)
            folder.rename(target)
            return bench.store.runs.add(spec, str(target))


def needs(run: Run) -> list[str]:
    """What a person should know of a run that was taken over before it is resumed, in sentences."""
    directory = RunDirectory(Path(run.directory))
    spec = directory.spec()
    if directory.reward_file.is_file():
        return [f"{run.name} brings reward.py, which a resume executes: read {directory.reward_file} first"]
    if spec.reward_path and not Path(spec.reward_path).exists():
        return [f"the reward model {spec.reward} is not here: a resume looks for it at {spec.reward_path}"]
    if spec.teacher_path and not is_hub_id(spec.teacher_path) and not Path(spec.teacher_path).exists():
        return [f"the teacher {spec.teacher} is not here: a resume looks for it at {spec.teacher_path}"]
    return []


def put_at_rest(directory: RunDirectory) -> None:
    """Drop what only the other machine's runner and trainer wrote for themselves; a run that is not over is ended."""
    for name in _LEFT_OUT:
        path = directory.root / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
    status = directory.status()
    if status is not None and not status.state.is_over:
        ended = replace(status, state=RunState.CANCELLED, pid=None, process_started=None)
        directory.write_status(replace(ended, hint="taken over: resume queues it"))


def run_files(directory: RunDirectory, *, checkpoint: bool) -> Iterator[Path]:
    """The files that a run is on another day: all but what its runner and its trainer hold only while they work.

    Of its checkpoints the last complete one with the best weights so far, or none.
    """
    last = directory.complete_checkpoints()[-1:] if checkpoint else []
    for path in sorted(directory.root.rglob("*")):
        inside = path.relative_to(directory.root)
        if path.is_symlink() or not path.is_file() or path.name.startswith(".") or str(inside) in _LEFT_OUT:
            continue
        if path == directory.best and not last:
            continue  # what a run goes on with from a checkpoint
        if inside.parts[0] == "checkpoints" and not any(path.is_relative_to(one) for one in last):
            continue
        yield path


def _listed(run: Run, hashes: dict[str, str]) -> str:
    return json.dumps({"workbench_bundle": 1, "run": run.name, "files": hashes}, indent=1) + "\n"


def _readme(spec: RunSpec, run: Run) -> str:
    packages = " ".join(f"{name}=={version}" for name, version in spec.versions.items() if name != "python")
    if run.state is RunState.FINISHED:
        verb, why = "rerun", "# the same once more; with --wait it says whether the losses are equal"
        fresh = f"\n    cd {Path(run.directory).name} && rm -rf {' '.join(_MADE)} && cd ..     # what it made"
    else:
        verb, why, fresh = "resume", "# goes on from the last complete checkpoint", ""
    return f"""# Run {spec.name}

{spec.method} of {spec.base} on {spec.dataset}: {run.state.value}, step {run.step} of {run.total_steps or "?"}.

The base model is not in here. It was `{spec.base}`, at `{spec.base_path}`; `origin.json` has the SHA-256 of its
weights.

In a workspace (the base added with `workbench models add`):

    workbench runs add THIS_FILE.tar.gz
    workbench runs {verb} {spec.name}     {why}

Without one, with workbench installed, the base at the path that `spec.json` says (`base_path` there: write yours), and
for equal losses also `{packages}`:

    tar xzf THIS_FILE.tar.gz{fresh}
    python -m workbench.worker.trainer {Path(run.directory).name}

`report.html` shows what it did. `adapter/` (or `model/`), where there is one, is in PEFT's (transformers') own form.
"""


def _nameless(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """The entry without the names and numbers of this machine's users."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    data = text.encode()
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _unpacked(file: Path, place: Path) -> Path:
    """The run's folder under ``place``, every file as its list says."""
    if not file.is_file():
        raise NotFoundError(f"there is no file {file}", where=str(file))
    try:
        with tarfile.open(file, "r:*") as archive:
            root = _checked(archive, file)
            archive.extractall(place, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"it is no bundle that can be read: {error}", where=str(file)) from None
    folder = place / root
    try:
        listed = json.loads((folder / LIST).read_text(encoding="utf-8"))["files"]
        there = {str(p.relative_to(folder)): file_hash(p) for p in folder.rglob("*") if p.is_file()}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError("it is no bundle of a run: it has no list of its files", where=str(file)) from None
    for name in (LIST, README):
        there.pop(name, None)
        (folder / name).unlink(missing_ok=True)
    if there != listed:
        wrong = sorted({*there.items()} ^ {*listed.items()})[0][0]
        raise DataError(f"{wrong} in it is not what its list says", where=str(file))
    return folder


def _checked(archive: tarfile.TarFile, file: Path) -> str:
    """The one folder that all is in; raises ``DataError`` for links, devices and ways out of it."""
    roots = set()
    for number, member in enumerate(archive):
        parts = PurePosixPath(member.name).parts
        if not (member.isfile() or member.isdir()) or not parts or parts[0] in {"/", "..", "."} or ".." in parts:
            raise DataError(f"{member.name} is no plain file in a folder", where=str(file))
        if number >= _MOST_FILES:
            raise DataError(f"it holds more than {_MOST_FILES:,} files", where=str(file))
        roots.add(parts[0])
    if len(roots) != 1:
        raise DataError("it does not hold one folder", where=str(file))
    return roots.pop()


def _here(bench: Bench, told: RunSpec, origin: dict[str, Any]) -> RunSpec:
    """The spec with the base and the adapter as they are called and lie here."""
    base = _found(bench, told.base, told.base_path, str(origin.get("base_sha256", "")))
    changed: dict[str, str] = {"base": base[0], "base_path": base[1]}
    if told.adapter_path:
        sha256 = str(origin.get("adapter_sha256", ""))
        adapter = _found(
            bench, told.adapter, told.adapter_path, sha256, or_else="runs add of the run that made it, or "
        )
        changed |= {"adapter": adapter[0], "adapter_path": adapter[1]}
    if told.reward_path and not told.reward_sha256:
        changed |= _model_here(bench, told.reward, "reward", (ModelKind.REWARD,))
    if told.teacher_path:
        changed |= _model_here(bench, told.teacher, "teacher", (ModelKind.BASE, ModelKind.ADAPTER))
    return replace(told, **changed)  # type: ignore[arg-type]


def _model_here(bench: Bench, name: str, part: str, kinds: Collection[ModelKind]) -> dict[str, str]:
    """Where the run's other model of this name and its base lie here; nothing when there is none of these kinds."""
    known = {model.name: model for model in bench.store.models.list()}
    model = known.get(name)
    if model is None or model.kind not in kinds:
        return {}
    base = known.get(model.base)
    return {f"{part}_path": model.path, f"{part}_base_path": base.path if base else ""}


def _found(bench: Bench, name: str, path: str, sha256: str, *, or_else: str = "") -> tuple[str, str]:
    known: list[Model] = bench.store.models.list()
    match = [m for m in known if sha256 and m.sha256 == sha256] or [m for m in known if not sha256 and m.name == name]
    if match:
        best = next((m for m in match if m.name == name), match[0])
        return best.name, best.path
    if is_hub_id(path):
        return name, path
    weights = f"weights with SHA-256 {sha256[:12]}…" if sha256 else f"its weights, --name {name}"
    raise NotFoundError(
        f"{name}, which the run starts from, is not here",
        hint=f"{or_else}models add PATH of {weights}, then try again",
    )


def as_dict(made: Bundle) -> dict[str, object]:
    """For scripts."""
    return {**asdict(made), "file": str(made.file)}
