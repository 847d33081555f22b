"""A disk that takes not one byte more under a run: the run says so, loses nothing that was saved, and goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from small_disk import NoSmallDisk, fill, free, small_disk
from tiny_llama import make_run
from watched_runs import Train, at_step, history, states, status
from workbench.domain.runs import RunState, RunStatus
from workbench.jobs.run_directory import STOP, RunDirectory

pytestmark = [pytest.mark.ml, pytest.mark.timeout(120)]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr("workbench.worker.trainer.reporting.DISK_SECONDS", 0.01)
    monkeypatch.setattr("workbench.worker.trainer.room.SHORTEST_WAIT_SECONDS", 0.01)
    try:
        with small_disk(tmp_path / "disk", "8m") as folder:
            yield folder
    except NoSmallDisk:
        pytest.skip("no small disk may be mounted here")


def while_paused(directory: RunDirectory, act: Callable[[], object]) -> tuple[threading.Thread, list[RunStatus]]:
    """Do ``act`` once the run says that it is paused; gives what it said, and was seen to have kept."""
    seen: list[RunStatus] = []

    def watch() -> None:
        while (told := directory.status()) is None or told.state is not RunState.PAUSED:
            if told is not None and told.state.is_over:
                return
            time.sleep(0.005)
        time.sleep(0.1)  # it has nothing left to write, and waits
        seen.append(status(directory))
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread, seen


def test_a_run_says_on_a_disk_without_one_byte_that_it_waits_and_goes_on_when_there_is_room(
    disk: Path, tmp_path: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_run(tmp_path / "whole", tiny_llama, max_steps=8, save_steps=4)
    assert train(whole) == 0
    directory = make_run(disk / "run", tiny_llama, max_steps=8, save_steps=4)
    at_step(monkeypatch, 5, lambda: fill(disk))
    left: list[int] = []

    def make_room() -> None:
        left.append(free(disk))
        (disk / "ballast").unlink()

    watcher, seen = while_paused(directory, make_room)
    assert train(directory) == 0
    watcher.join()
    (paused,) = seen
    assert paused.error == f"the disk is full at step {paused.step}" and paused.step >= 5
    assert "free some space" in paused.hint and paused.pid is not None
    assert left[0] < 64 * 1024
    assert status(directory).state is RunState.FINISHED
    assert states(directory) == ["starting", "running", "paused", "running", "finished"]
    assert history(directory) == history(whole)
    assert directory.checkpoint_folders() == directory.complete_checkpoints()


def test_a_run_that_is_stopped_on_a_full_disk_ends_as_stopped_with_its_last_checkpoint(
    disk: Path, tiny_llama: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_run(disk / "run", tiny_llama, max_steps=8, save_steps=4)
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: fill(disk))
        watcher, seen = while_paused(directory, lambda: directory.request(STOP))
        assert train(directory) == 0
    watcher.join()
    assert seen and status(directory).state is RunState.STOPPED
    assert free(disk) < 64 * 1024
    (disk / "ballast").unlink()
    assert [p.name for p in directory.complete_checkpoints()][-1] == "checkpoint-4"
    directory.enqueue()
    assert train(directory) == 0
    assert status(directory).state is RunState.FINISHED


@pytest.mark.parametrize("left", [0, 10_000, 150_000])
def test_what_torch_says_of_a_disk_that_fills_within_a_file_is_told_as_a_full_disk(
    disk: Path, tiny_llama: Path, left: int
) -> None:
    import torch

    from workbench.worker.trainer.room import _tried

    directory = make_run(disk / "run", tiny_llama)
    weights = {"weights": torch.zeros(100_000)}
    (directory.checkpoints / "checkpoint-2").mkdir()
    fill(disk)
    with (disk / "ballast").open("rb+") as ballast:
        ballast.truncate((disk / "ballast").stat().st_size - left)
    to = directory.checkpoints / "checkpoint-2" / "optimizer.pt"
    assert _tried(directory, lambda: torch.save(weights, to), lambda: None) > 0
    (disk / "ballast").unlink()
    assert _tried(directory, lambda: torch.save(weights, to), lambda: None) == 0
    with pytest.raises(RuntimeError, match="Parent directory"):
        _tried(directory, lambda: torch.save(weights, to / "no folder" / "optimizer.pt"), lambda: None)
