from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from workbench.domain.runs import RunSpec, RunState, RunStatus
from workbench.errors import RunError
from workbench.jobs import reserve
from workbench.jobs.run_directory import (
    KILL,
    STOP,
    RunDirectory,
    all_runs,
    is_complete,
    mark_complete,
    spec_as_dict,
    spec_from_dict,
)

SPEC = RunSpec(
    name="first",
    method="sft",
    base="pip",
    base_path="/models/pip",
    dataset="chats",
    knobs={"learning_rate": 1e-3, "adapter": "lora", "seed": 7, "gradient_checkpointing": False},
    train_rows=2,
    eval_rows=1,
    row_hash="",
    example_ids=(3, 5),
    eval_example_ids=(8,),
)


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs" / "1-first", SPEC, ['{"a": 1}', '{"a": 2}'], ['{"a": 3}'])


def checkpoint(directory: RunDirectory, step: int, *, complete: bool = True) -> Path:
    folder = directory.checkpoints / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"x" * 100)
    (folder / "optimizer.pt").write_bytes(b"y" * 50)
    if complete:
        mark_complete(folder)
    return folder


def test_a_new_directory_holds_the_spec_and_the_frozen_rows_with_their_hash(directory: RunDirectory) -> None:
    frozen = b'{"a": 1}\n{"a": 2}\n' + b'{"a": 3}\n'
    spec = directory.spec()
    assert spec.row_hash == hashlib.sha256(frozen).hexdigest() == directory.row_hash()
    assert (spec.example_ids, spec.eval_example_ids, dict(spec.knobs)) == ((3, 5), (8,), dict(SPEC.knobs))
    assert directory.status() is None


def test_a_directory_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def lines() -> object:
        yield '{"a": 1}'
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left"):
        RunDirectory.create(tmp_path / "runs" / "1-first", SPEC, lines(), [])  # type: ignore[arg-type]
    assert list((tmp_path / "runs").iterdir()) == []


def test_an_existing_directory_is_not_overwritten(directory: RunDirectory) -> None:
    with pytest.raises(RunError):
        RunDirectory.create(directory.root, SPEC, [], [])
    assert directory.train_file.read_text() == '{"a": 1}\n{"a": 2}\n'


def test_a_spec_survives_json_and_ignores_what_a_newer_program_wrote() -> None:
    values = json.loads(json.dumps(spec_as_dict(SPEC))) | {"of_the_future": 1}
    assert spec_from_dict(values) == SPEC


def test_a_folder_without_a_spec_is_refused_in_plain_words(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run directory"):
        RunDirectory(tmp_path).spec()


def test_a_reader_never_sees_half_a_state(directory: RunDirectory) -> None:
    directory.write_status(RunStatus(RunState.RUNNING))
    done = threading.Event()

    def write() -> None:
        for step in range(300):
            directory.write_status(RunStatus(RunState.RUNNING, step=step, error="x" * 5000))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while not done.is_set():
        status = directory.status()
        assert status is not None
        seen.append(status.step)
    writer.join()
    assert seen == sorted(seen)


def test_a_state_file_that_is_no_state_counts_as_none(directory: RunDirectory) -> None:
    (directory.root / "state.json").write_text('{"state": "dancing"}')
    assert directory.status() is None


def test_events_are_read_on_from_the_offset_and_up_to_the_last_newline(directory: RunDirectory) -> None:
    first, second = '{"event": "note", "text": "one"}\n', '{"event": "note", "text": "two"}\n'
    directory.events_file.write_text(first + second[:10])
    events, offset = directory.events()
    assert [e["text"] for e in events] == ["one"]
    assert offset == len(first)
    with directory.events_file.open("a") as file:
        file.write(second[10:])
    events, offset = directory.events(offset)
    assert [e["text"] for e in events] == ["two"]
    assert directory.events(offset) == ([], offset)


def test_a_torn_line_in_the_middle_is_left_out_and_the_rest_is_read(directory: RunDirectory) -> None:
    directory.events_file.write_bytes(b'{"event": "no\n\xff\xfe\n7\n{"event": "note", "text": "after"}\n')
    events, _ = directory.events()
    assert [e["text"] for e in events] == ["after"]


def test_events_of_a_run_that_has_said_nothing_are_none(directory: RunDirectory) -> None:
    assert directory.events() == ([], 0)


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_only_its_user_can_look_into_a_new_directory(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        made = RunDirectory.create(tmp_path / "runs" / "2-second", SPEC, ["{}"], [])
    finally:
        os.umask(before)
    assert made.root.stat().st_mode & 0o777 == 0o700


def test_queueing_again_forgets_the_error_and_the_request_but_keeps_the_progress(directory: RunDirectory) -> None:
    directory.write_status(RunStatus(RunState.FAILED, step=40, total_steps=100, pid=5, error="no", hint="try"))
    directory.request(STOP)
    directory.enqueue()
    status = directory.status()
    assert status is not None
    assert (status.state, status.step, status.pid, status.error, status.hint) == (RunState.QUEUED, 40, None, "", "")
    assert directory.requested() == ""


@pytest.mark.parametrize("state", [RunState.STARTING, RunState.RUNNING, RunState.STOPPING])
def test_a_run_that_is_active_is_not_queued_again(directory: RunDirectory, state: RunState) -> None:
    directory.write_status(RunStatus(state, step=3, pid=5))
    directory.request(STOP)
    with pytest.raises(RunError, match="cannot be queued"):
        directory.enqueue()
    status = directory.status()
    assert status is not None and (status.state, status.pid, directory.requested()) == (state, 5, STOP)


def test_requests_can_be_told_apart_and_an_empty_stop_file_is_a_stop(directory: RunDirectory) -> None:
    directory.request(KILL)
    assert directory.requested() == KILL
    (directory.root / "stop").write_text("")
    assert directory.requested() == STOP


def test_the_heartbeat_has_an_age_once_it_has_beaten(directory: RunDirectory) -> None:
    assert directory.heartbeat_age() is None
    directory.beat()
    age = directory.heartbeat_age()
    assert age is not None and age >= 0


def test_checkpoints_come_by_step_and_not_by_name(directory: RunDirectory) -> None:
    for step in (100, 20, 3):
        checkpoint(directory, step)
    assert [p.name for p in directory.complete_checkpoints()] == ["checkpoint-3", "checkpoint-20", "checkpoint-100"]


@pytest.mark.parametrize("tear", ["no marker", "shorter file", "missing file", "torn marker"])
def test_a_torn_checkpoint_is_never_taken_and_goes_at_the_next_start(directory: RunDirectory, tear: str) -> None:
    checkpoint(directory, 5)
    torn = checkpoint(directory, 10, complete=tear != "no marker")
    match tear:
        case "shorter file":
            (torn / "optimizer.pt").write_bytes(b"y" * 49)
        case "missing file":
            (torn / "optimizer.pt").unlink()
        case "torn marker":
            (torn / "complete.json").write_text('{"files": {"optimizer.pt"')
    assert not is_complete(torn)
    assert [p.name for p in directory.complete_checkpoints()] == ["checkpoint-5"]
    assert directory.remove_torn_checkpoints() == [torn]
    assert not torn.exists()


def test_directories_in_the_making_are_not_runs(directory: RunDirectory) -> None:
    (directory.root.parent / ".new-abc").mkdir()
    (directory.root.parent / "runner.log").touch()
    assert all_runs(directory.root.parent) == [directory]
    assert all_runs(directory.root.parent / "nowhere") == []


def test_a_state_is_told_on_a_disk_that_takes_nothing_more_as_often_as_it_changes(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.write_status(RunStatus(RunState.RUNNING, step=3))

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkstemp", full)
        for step, state in enumerate([RunState.PAUSED, RunState.STOPPING, RunState.FAILED], start=4):
            directory.write_status(
                RunStatus(state, step=step, error="the disk is full\n" * 1000, hint="free some space")
            )
            told = directory.status()
            assert told is not None and (told.state, told.step) == (state, step)
            assert told.error.startswith("the disk is full") and told.hint == "free some space"
        directory.request(STOP)
        assert directory.requested() == STOP
        directory.request(KILL)
        assert directory.requested() == KILL
        directory.clear_stop()
        assert directory.requested() == ""
        (directory.root / reserve.NAME).unlink()
        with pytest.raises(OSError, match="No space left"):
            directory.write_status(RunStatus(RunState.QUEUED))
    assert directory.write_status(RunStatus(RunState.QUEUED)) == directory.status()


def test_no_room_is_kept_back_on_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve, "free_bytes", lambda folder: reserve.AMPLE_BYTES - 1)
    reserve.keep(tmp_path)
    assert not reserve.replace_within(tmp_path / "state.json", "{}")
    monkeypatch.undo()
    reserve.keep(tmp_path)
    assert (tmp_path / reserve.NAME).stat().st_size == reserve.RESERVE_BYTES
    assert reserve.replace_within(tmp_path / "state.json", "{}")
    assert json.loads((tmp_path / "state.json").read_text()) == {}
