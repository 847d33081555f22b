"""What a run does when room runs out on the way: on the disk it waits, in memory it goes on with a smaller batch.

Owns the two decisions. Neither loses a step that was saved.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from workbench import methods
from workbench.domain.placement import BATCH, PASSES, shared
from workbench.domain.runs import RunSpec, smaller_batch
from workbench.errors import is_disk_full, says
from workbench.jobs.reserve import AMPLE_BYTES, free_bytes
from workbench.jobs.run_directory import RunDirectory, step_of
from workbench.worker.trainer import ranks
from workbench.worker.trainer.failures import Stopped
from workbench.worker.trainer.reporting import Reporter

AGAIN = 75
"""The trainer's exit code for: start me again, with what was noted. The value is the system's EX_TEMPFAIL."""
_TORCH_SIGNS = ("inline_container", "pytorchstreamwriter")
SHORTEST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0


def save_when_there_is_room(
    reporter: Reporter, save: Callable[[], object], mark: Callable[[], object] = lambda: None
) -> None:
    """``save`` and ``mark``, over and over while the disk is full; in between the run is paused, and says so.

    What was half written is removed at once, then older checkpoints than the last complete one. Raises ``Stopped`` when
    a person ends the wait, and ``FolderGone``.
    """
    reporter.check_folder()
    wait = SHORTEST_WAIT_SECONDS
    paused = False
    while needed := _tried(reporter.directory, save, mark):
        if _made_room(reporter):
            continue
        paused = reporter.pause() or paused
        _wait_for(reporter, needed, wait)
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)
    if paused:
        reporter.go_on()


def save_together(reporter: Reporter, save: Callable[[], object], mark: Callable[[], object]) -> None:
    """Every process's part of a checkpoint with ``save``, and then ``mark`` by the first.

    None begins before there is room for one like the last, because one alone cannot try again. Raises ``Stopped`` when
    a person ends that wait.
    """
    reporter.check_folder()
    paused = False
    while ranks.agreed(ranks.is_first() and not _has_room(reporter)):
        if ranks.agreed(reporter.stop_requested):
            raise Stopped
        paused = reporter.pause() or paused
        time.sleep(SHORTEST_WAIT_SECONDS)
    if paused:
        reporter.go_on()
    save()
    ranks.meet()
    if ranks.is_first():
        mark()


def with_adjustments(directory: RunDirectory, spec: RunSpec) -> RunSpec:
    """The spec with the knobs that an earlier start of this run had to change."""
    return replace(spec, knobs={**spec.knobs, **directory.adjusted()})


def take_smaller_batch(reporter: Reporter, spec: RunSpec) -> bool:
    """Note a smaller batch with more accumulation for the next start; False when there is none."""
    method, processes = methods.get(spec.method), ranks.world_size()
    own = shared(method, spec.knobs, processes)
    batch = int(own[BATCH])
    smaller = smaller_batch(batch, int(own[PASSES]), fewest=int(method.knob(BATCH).minimum or 1))
    if smaller is None:
        return False
    # What is noted is what one process alone would do.
    rows, passes = smaller[0], smaller[1] * processes
    reporter.directory.adjust({BATCH: rows, PASSES: passes})
    saved = reporter.directory.complete_checkpoints()
    place = f"step {step_of(saved[-1])}" if saved else "the beginning"
    at = f" at step {reporter.step}" if reporter.step else ""
    reporter.note(
        f"out of memory{at}: going on from {place} with {rows} instead of {batch} rows in a forward pass "
        f"({PASSES}={passes}, so a step sees the same rows)"
    )
    return True


def _has_room(reporter: Reporter) -> bool:
    """True when a checkpoint as large as the last one has room, if need be in the place of older ones."""
    saved = reporter.directory.complete_checkpoints()
    needed = _size(saved[-1]) if saved else 1
    root = reporter.directory.root
    return free_bytes(root) > needed or (_made_room(reporter) and free_bytes(root) > needed)


def _tried(directory: RunDirectory, save: Callable[[], object], mark: Callable[[], object]) -> int:
    """0 when it was saved; else the bytes that it will need at least."""
    try:
        save()
        mark()
    except Exception as error:
        needed = max(1, *(_size(folder) for folder in directory.checkpoint_folders()), 1)
        # torch's own writer of files names no cause: "unexpected pos 8448 vs 8342".
        is_torch = says(error, _TORCH_SIGNS) and free_bytes(directory.root) < max(needed, AMPLE_BYTES)
        if not (is_torch or is_disk_full(error)):
            raise
        return needed
    return 0


def _made_room(reporter: Reporter) -> bool:
    """Remove what is torn, and tell whether an older complete checkpoint could go too."""
    directory = reporter.directory
    directory.remove_torn_checkpoints()
    *older, last = directory.complete_checkpoints() or [directory.checkpoints]
    older = [folder for folder in older if folder.name != _best(last)]
    for folder in older:
        shutil.rmtree(folder, ignore_errors=True)
    if older:
        reporter.note(f"the disk was full: {', '.join(p.name for p in older)} made room for what is saved now")
    return bool(older)


def _wait_for(reporter: Reporter, needed: int, seconds: float) -> None:
    """Until there is that much room; for ``seconds`` where there seems to be already, as under a quota."""
    end = time.monotonic() + seconds
    root = reporter.directory.root
    seems_full = free_bytes(root) < needed
    while free_bytes(root) < needed if seems_full else time.monotonic() < end:
        if reporter.stop_requested:
            raise Stopped
        time.sleep(0.1)


def _best(checkpoint: Path) -> str:
    """The name of the checkpoint that this one tells to be the best."""
    try:
        told = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return Path(told.get("best_model_checkpoint") or "").name


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
