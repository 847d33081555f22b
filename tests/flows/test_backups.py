"""The workspace as one file and back: whole, checked, never half; and looking whether all is as it was written."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeEngine
from finished_run import add_rows, finish, launched, nobody
from workbench.config import load_settings
from workbench.domain.backups import Level, check_names, outlived
from workbench.domain.runs import RunSpec, RunState
from workbench.errors import BusyError, DataError, RefusedError, StoreError
from workbench.flows import backups, train
from workbench.flows.bench import Bench
from workbench.flows.restore import restore
from workbench.flows.verify import after_unclean_stop, check_models, rebuild_searches, verify
from workbench.jobs.run_directory import RunDirectory, spec_as_dict
from workbench.paths import Workspace
from workbench.store import replacing, snapshots


def opened(workspace: Workspace) -> Bench:
    return Bench.open(workspace, engine=FakeEngine(), rater="rater")


def with_run(bench: Bench) -> Path:
    """Thirty examples and a finished run with an adapter; its folder."""
    ids = add_rows(bench)
    run = launched(bench, name="mine")
    finish(bench, run, adapter=True, scores={ids[0]: (3.0, 0.5)})
    train.sync(bench, start_runner=nobody)
    return Path(run.directory)


def counted(workspace: Workspace) -> int:
    with closing(sqlite3.connect(workspace.database)) as connection:
        return int(connection.execute("SELECT count(*) FROM examples").fetchone()[0])


def killed_at(number: int, work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Do ``work`` in a process that kills itself before its ``number``-th renaming; False when it had fewer."""
    child = os.fork()
    if child == 0:
        count = 0

        def before(name: str) -> Callable[..., Any]:
            real = getattr(os, name)

            def counting(*args: Any, **how: Any) -> Any:
                nonlocal count
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
                return real(*args, **how)

            return counting

        os.rename, os.replace, os.unlink = before("rename"), before("replace"), before("unlink")
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_backup_comes_back_whole_in_another_folder_with_its_run_and_its_adapter(bench: Bench, tmp_path: Path) -> None:
    folder = with_run(bench)
    made = backups.back_up(bench, tmp_path / "all.zip", runs=True)
    assert made.contents.counts["examples"] == 30 and made.contents.left_out == ()
    assert (made.file.stat().st_mode & 0o777) == 0o600
    there = Workspace(tmp_path / "there")
    done = restore(there, made.file)
    assert done.kept == "" and done.replaced == []
    with closing(opened(there)) as other:
        (run,) = other.store.runs.list()
        assert Path(run.directory) == there.runs / folder.name and run.state is RunState.FINISHED
        model = other.store.models.get("mine")
        assert Path(model.path) == there.runs / folder.name / "adapter"
        assert RunDirectory(Path(run.directory)).row_hash() == RunDirectory(folder).row_hash()
        assert verify(other).flaws == []


def test_every_path_in_a_run_leads_into_the_folder_that_the_workspace_is_now(bench: Bench, tmp_path: Path) -> None:
    folder = with_run(bench)
    directory, old = RunDirectory(folder), bench.workspace.root
    paths = [field.name for field in fields(RunSpec) if field.name.endswith("_path")]
    inside = {name: str(old / "models" / name) for name in paths}
    directory.write_json(folder / "spec.json", spec_as_dict(replace(directory.spec(), **inside)))  # type: ignore[arg-type]
    made = backups.back_up(bench, tmp_path / "all.zip", runs=True)
    there = Workspace(tmp_path / "there")
    restore(there, made.file)
    spec = RunDirectory(there.runs / folder.name).spec()
    assert len(paths) == 6 and "teacher_path" in paths
    assert {name: getattr(spec, name) for name in paths} == {name: str(there.root / "models" / name) for name in paths}


def test_only_the_result_of_a_run_is_put_back_where_only_that_was_backed_up(bench: Bench, tmp_path: Path) -> None:
    folder = with_run(bench)
    file = backups.back_up(bench, tmp_path / "m.zip", models=True).file
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"torn")
    bench.close()
    done = restore(bench.workspace, file)
    assert list(done.replaced) == [f"runs/{folder.name}/adapter", "workbench.db"]
    assert (folder / "adapter" / "adapter_model.safetensors").read_bytes() == b"1234"
    assert (Path(done.kept) / "runs" / folder.name / "adapter" / "adapter_model.safetensors").read_bytes() == b"torn"
    assert (folder / "spec.json").is_file()


def test_what_is_written_during_a_backup_is_not_in_it_and_does_not_make_it_begin_anew(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.store.snapshots.PAGES_A_STEP", 5)
    add_rows(bench, 40)
    shares: list[float] = []

    def another(what: str, share: float) -> None:
        if what == "copying the database":
            shares.append(share)
            worker = threading.Thread(target=add_rows, args=(bench, 1), kwargs={"said": f"Late {len(shares)}"})
            worker.start()  # another connection than that of the copy, as another process would have
            worker.join(10)
            assert not worker.is_alive()

    monkeypatch.setattr(backups, "_NEWS_SECONDS", 0.0)
    file = backups.back_up(bench, tmp_path / "b.zip", on_progress=another).file
    assert len(shares) > 3 and shares == sorted(shares) and len(shares) == len(set(shares))
    assert backups.look(file).counts["examples"] == 40


def test_a_file_that_is_there_is_written_over_only_when_that_is_said(bench: Bench, tmp_path: Path) -> None:
    add_rows(bench, 1)
    file = tmp_path / "b.zip"
    file.write_text("mine")
    with pytest.raises(RefusedError, match="is there already"):
        backups.back_up(bench, file)
    assert file.read_text() == "mine"
    assert backups.back_up(bench, file, replace=True).contents.counts["examples"] == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".b.zip")] == []


def test_a_file_that_goes_while_it_is_backed_up_is_named(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_run(bench)
    monkeypatch.setattr("workbench.store.snapshots.page_faults", lambda *_, **__: shutil.rmtree(folder) or [])
    with pytest.raises(StoreError, match="No such file") as told:
        backups.back_up(bench, tmp_path / "b.zip", runs=True)
    assert told.value.where.startswith(str(folder))
    assert [path.name for path in tmp_path.iterdir() if "b.zip" in path.name] == []


def test_a_backup_that_is_killed_leaves_the_old_one_and_the_next_cleans_up(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rows(bench, 2)
    file = backups.back_up(bench, tmp_path / "b.zip").file
    before = file.read_bytes()
    add_rows(bench, 1, said="More")
    bench.close()

    def again() -> None:
        backups.back_up(opened(bench.workspace), file, replace=True)

    journal = tmp_path / ".b.zip.db-journal"
    journal.write_text("of a copy that a power cut ended")
    kills = 0
    while killed_at(kills, again, monkeypatch):
        now = file.read_bytes()
        backups.examine(file)
        assert now == before or backups.look(file).counts["examples"] == 3
        kills += 1
    assert kills >= 3
    assert backups.look(file).counts["examples"] == 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".b.zip")] == []


def test_a_restore_that_is_killed_leaves_the_old_workspace_or_the_new_one(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_run(bench)
    file = backups.back_up(bench, tmp_path / "b.zip", runs=True).file
    add_rows(bench, 5, said="Later")
    (folder / "log.txt").write_text("later")
    bench.close()
    before = tmp_path / "before"
    shutil.copytree(bench.workspace.root, before)
    found: set[tuple[int, bool]] = set()
    kills = 0
    while killed_at(kills, lambda: restore(bench.workspace, file), monkeypatch):
        kills += 1
        with closing(opened(bench.workspace)):
            pass
        state = counted(bench.workspace), (folder / "log.txt").exists()
        assert state in {(35, True), (30, False)}, f"half a restore at {kills}"
        found.add(state)
        assert not bench.workspace.restoring.exists() and not (bench.workspace.root / replacing.STAGED).exists()
        shutil.rmtree(bench.workspace.root)
        shutil.copytree(before, bench.workspace.root)
    assert len(found) == 2 and kills > 5
    assert counted(bench.workspace) == 30


def test_a_restore_is_refused_while_the_workspace_is_open(bench: Bench, tmp_path: Path) -> None:
    add_rows(bench, 1)
    file = backups.back_up(bench, tmp_path / "b.zip").file
    with pytest.raises(BusyError, match="has this workspace open"):
        restore(bench.workspace, file)
    bench.close()
    assert restore(bench.workspace, file).replaced == ["workbench.db"]


def test_what_a_restore_took_away_is_kept_and_comes_back(bench: Bench, tmp_path: Path) -> None:
    add_rows(bench, 1)
    file = backups.back_up(bench, tmp_path / "b.zip").file
    add_rows(bench, 4, said="Later")
    bench.close()
    kept = Path(restore(bench.workspace, file).kept)
    assert kept.parent == bench.workspace.backups and counted(bench.workspace) == 1
    restore(bench.workspace, kept)
    assert counted(bench.workspace) == 5


def test_runs_that_waited_do_not_start_by_themselves_after_a_restore(bench: Bench, tmp_path: Path) -> None:
    add_rows(bench)
    launched(bench, name="waiting")
    file = backups.back_up(bench, tmp_path / "b.zip", runs=True).file
    there = Workspace(tmp_path / "there")
    restore(there, file)
    started: list[Path] = []
    with closing(opened(there)) as other:
        train.sync(other, start_runner=started.append)
        assert [run.state for run in other.store.runs.list()] == [RunState.CANCELLED] and started == []


def test_a_run_at_work_is_left_out_of_a_backup_and_stops_a_restore(bench: Bench, tmp_path: Path) -> None:
    folder = with_run(bench)
    from workbench.domain.runs import RunStatus
    from workbench.jobs.processes import ProcessIdentity

    me = ProcessIdentity.own()
    RunDirectory(folder).write_status(RunStatus(RunState.RUNNING, 1, 3, pid=me.pid, process_started=me.started))
    made = backups.back_up(bench, tmp_path / "b.zip", runs=True)
    assert made.contents.left_out == (f"{folder.name}, a run that is running",)
    bench.close()
    with pytest.raises(BusyError, match="is training here"):
        restore(bench.workspace, made.file)


def rewritten(
    file: Path, to: Path, change: Callable[[str, bytes], bytes], *, more: dict[str, bytes] | None = None
) -> Path:
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, data in (more or {}).items():
            new.writestr(name, data)
    return to


def test_a_damaged_backup_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    add_rows(bench, 3)
    file = backups.back_up(bench, tmp_path / "b.zip").file
    bench.close()
    before = bench.workspace.database.read_bytes()

    def flip(name: str, data: bytes) -> bytes:
        return data[:5000] + bytes([data[5000] ^ 1]) + data[5001:] if name == "workbench.db" else data

    raw = bytearray(file.read_bytes())
    raw[len(raw) // 3] ^= 1
    torn = tmp_path / "torn.zip"
    torn.write_bytes(raw)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(file.read_bytes()[:-100])
    strange = rewritten(file, tmp_path / "more.zip", lambda _, data: data, more={"runs/../../x": b"x"})
    for bad in (rewritten(file, tmp_path / "flip.zip", flip), torn, cut, strange):
        with pytest.raises(DataError):
            restore(bench.workspace, bad)
        with pytest.raises(DataError):
            backups.examine(bad)
    assert bench.workspace.database.read_bytes() == before
    assert not (bench.workspace.root / ".restoring").exists() and not bench.workspace.backups.exists()


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "runs/../x/y", "runs/a", "models/a/../b", "x.db", "runs//a/b"])
def test_a_backup_holds_nothing_but_parts_of_a_workspace(name: str) -> None:
    with pytest.raises(DataError, match="no part of a workspace"):
        check_names(["workbench.db", name])


def changed_database(file: Path, to: Path, sql: str) -> Path:
    """The backup with a statement done to its database, and a list that knows."""
    import hashlib

    folder = to.with_suffix("")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    with closing(sqlite3.connect(folder / "workbench.db")) as connection:
        connection.executescript(sql)
    data = (folder / "workbench.db").read_bytes()
    listed = json.loads((folder / "backup.json").read_text())
    listed["files"]["workbench.db"] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    with zipfile.ZipFile(to, "w") as archive:
        archive.writestr("workbench.db", data)
        archive.writestr("backup.json", json.dumps(listed))
    return to


def test_a_backup_of_a_newer_workbench_is_refused_and_one_of_an_older_is_brought_up_to_date(
    bench: Bench, tmp_path: Path
) -> None:
    add_rows(bench, 3)
    file = backups.back_up(bench, tmp_path / "b.zip").file
    bench.close()
    newer = "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('workbench', '9999_later', 'now')"
    with pytest.raises(StoreError, match="newer workbench"):
        restore(bench.workspace, changed_database(file, tmp_path / "newer.zip", newer))
    older = "DROP TABLE batch_prompts; DROP TABLE batches; DELETE FROM _sqlite_migrations WHERE name = '0010_batches'"
    restore(bench.workspace, changed_database(file, tmp_path / "older.zip", older))
    with closing(opened(bench.workspace)) as again:
        assert again.store.batches.list() == [] and len(verify(again).flaws) == 0
    with pytest.raises(StoreError, match="not a workbench workspace"):
        restore(bench.workspace, changed_database(file, tmp_path / "other.zip", "DELETE FROM _sqlite_migrations"))


def test_the_daily_backup_is_made_once_a_day_and_kept_seven_deep(bench: Bench) -> None:
    assert backups.daily(bench) is None, "there is nothing to lose yet"
    add_rows(bench, 1)
    folder = bench.workspace.backups
    folder.mkdir()
    for day in range(1, 10):
        (folder / f"daily-2020-01-0{day}.zip").write_text("old")
    (folder / "mine.zip").write_text("mine")
    (folder / ".daily-2020-01-01.zip.part").write_text("torn")
    made = backups.daily(bench)
    assert made is not None and backups.examine(made.file).counts["examples"] == 1
    left = sorted(path.name for path in folder.iterdir())
    assert left == [*(f"daily-2020-01-0{day}.zip" for day in range(4, 10)), made.file.name, "mine.zip"]
    assert backups.daily(bench) is None


def test_no_daily_backup_pushes_out_another_when_the_database_is_damaged(bench: Bench) -> None:
    add_rows(bench, 300)
    folder = bench.workspace.backups
    folder.mkdir()
    for day in range(1, 10):
        (folder / f"daily-2020-01-0{day}.zip").write_text("old")
    bench.close()
    damage(bench.workspace)
    with closing(opened(bench.workspace)) as again, pytest.raises(StoreError):
        backups.daily(again)
    assert len(list(folder.iterdir())) == 9


def test_how_many_daily_backups_are_kept_is_a_setting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_DAILY", "0")
    bench.settings = load_settings()
    add_rows(bench, 1)
    assert backups.daily(bench) is None
    assert outlived(["daily-2", "daily-1", "x", "daily-3"], 2) == ["daily-1"]


def damage(workspace: Workspace) -> None:
    """Overwrite pages in the middle of the database, which has no log beside it."""
    with closing(sqlite3.connect(workspace.database)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'examples_facts'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with workspace.database.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\x7f" * size)


def test_verify_finds_damaged_pages_lost_references_and_a_search_that_lies(bench: Bench) -> None:
    add_rows(bench, 30)
    assert verify(bench).ok
    with bench.store.write() as db:
        db.execute("INSERT INTO examples_fts(rowid, prompt_text) VALUES (4711, 'nobody')")
    (flaw,) = verify(bench).flaws
    assert "search over examples" in flaw.what and "--fix" in flaw.hint
    assert verify(bench, fix=True).ok and verify(bench).flaws == []
    bench.close()
    with closing(sqlite3.connect(bench.workspace.database)) as connection:
        connection.execute("INSERT INTO example_tags VALUES (4711, 'lost')")
        connection.commit()
    with closing(opened(bench.workspace)) as again:
        (flaw,) = verify(again).flaws
        assert flaw.what == "1 example_tags lead to examples that are not there"
    damage(bench.workspace)
    with closing(opened(bench.workspace)) as again:
        found = verify(again)
        assert not found.ok and "the database is damaged" in found.flaws[0].what
        assert "restore" in found.flaws[0].hint


def test_verify_finds_changed_rows_changed_weights_and_what_is_gone(bench: Bench) -> None:
    folder = with_run(bench)
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"4321")
    with (folder / "train.jsonl").open("a") as file:
        file.write("{}\n")
    (folder / "checkpoints" / "checkpoint-3" / "weights").write_bytes(b"5")
    found = verify(bench)
    assert [(f.level, f.what.split(":")[0]) for f in found.flaws] == [
        (Level.ERROR, "the rows of run mine are not those it was made of"),
        (Level.WARNING, "checkpoint-3 of run mine is not complete"),
        (Level.ERROR, "the weights of model mine have changed"),
    ]
    assert all(flaw.hint and flaw.where for flaw in found.flaws)
    assert check_models(bench.store.models.list())["pip"] is None
    shutil.rmtree(folder)
    said = [flaw.what for flaw in verify(bench, quick=True).flaws]
    assert said == ["the folder of run mine is gone", "the folder of model mine is gone"]


def test_verify_says_when_examples_behind_a_run_are_gone(bench: Bench) -> None:
    with_run(bench)
    with bench.store.write() as db:
        db.execute("DELETE FROM examples WHERE id IN (SELECT id FROM examples ORDER BY id LIMIT 2)")
    (flaw,) = verify(bench).flaws
    assert flaw.level is Level.WARNING and "2 of the 30 examples behind run mine" in flaw.what


def test_a_search_is_not_made_anew_while_an_import_is_coming(bench: Bench) -> None:
    with bench.store.write() as db:
        db.execute(
            "INSERT INTO imports (file, format, dataset, state, first_id, last_id, rater, owner_pid, owner_started, "
            "created_utc) VALUES ('f', 'trl', 'd', 'staging', 1, 2, 'r', 1, 0, '')"
        )
    with pytest.raises(RefusedError, match="on its way"):
        rebuild_searches(bench)
    assert [flaw.level for flaw in verify(bench).flaws] == [Level.WARNING]


def test_an_unclean_stop_is_noticed_and_checked_once(workspace: Workspace) -> None:
    script = "import os, signal\nfrom workbench.paths import workspace\nfrom workbench.store.store import Store\n"
    for end, noticed in (("store.close()", False), ("os.kill(os.getpid(), signal.SIGKILL)", True)):
        code = f"{script}store = Store.open(workspace())\n{end}\n"
        subprocess.run([sys.executable, "-c", code], check=not noticed)
        with closing(opened(workspace)) as again:
            assert workspace.unchecked.exists() is noticed
            assert after_unclean_stop(again) == [] and not workspace.unchecked.exists()
    with closing(opened(workspace)):
        assert not workspace.unchecked.exists()


def test_what_a_killed_verification_left_goes_when_nobody_else_is_here(bench: Bench) -> None:
    left = bench.workspace.root / f"{replacing.LOOKED_AT}x"
    left.mkdir()
    with closing(opened(bench.workspace)):
        assert left.exists(), "it may be at work"
    bench.close()
    with closing(opened(bench.workspace)):
        assert not left.exists()


def test_a_restore_cut_off_by_a_full_disk_says_so_and_goes_on_at_the_next_opening(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rows(bench, 1)
    file = backups.back_up(bench, tmp_path / "b.zip").file
    add_rows(bench, 1, said="Later")
    bench.close()
    real = replacing._put

    def full(*args: Path) -> None:
        raise OSError(28, "No space left on device", str(args[1]))

    monkeypatch.setattr(replacing, "_put", full)
    with pytest.raises(StoreError, match="cannot be put in place: No space left") as told:
        restore(bench.workspace, file)
    assert "goes on where it was" in told.value.hint
    monkeypatch.setattr(replacing, "_put", real)
    with closing(opened(bench.workspace)):
        assert counted(bench.workspace) == 1


def test_verify_finds_and_mends_what_the_list_of_contents_lacks_and_has_too_much(bench: Bench) -> None:
    add_rows(bench, 5)
    with bench.store.write() as db:
        db.execute("DELETE FROM example_hashes WHERE example_id IN (SELECT id FROM examples ORDER BY id LIMIT 2)")
        db.execute("INSERT INTO example_hashes VALUES (1, x'00', 4711)")
    flaws = verify(bench, quick=True).flaws
    assert [flaw.level for flaw in flaws] == [Level.ERROR] * 2 and all("--fix" in flaw.hint for flaw in flaws)
    assert "lacks 2 examples" in flaws[0].what and "1 entry of no example" in flaws[1].what
    assert verify(bench, fix=True).ok and verify(bench).flaws == []
    with bench.store.write() as db:  # as the rows of an import that is on its way, which are put in at its end
        db.execute(
            "INSERT INTO imports (id, file, format, dataset, state, first_id, last_id, rater, owner_pid, "
            "owner_started, created_utc) VALUES (9, 'f', 'trl', 'd', 'staging', 1, 5, 'r', 1, 0, '')"
        )
        db.execute("DELETE FROM example_hashes")
        db.execute("UPDATE examples SET import_id = 9")
    assert [flaw.level for flaw in verify(bench).flaws] == [Level.WARNING]


def test_a_full_disk_is_no_flaw_of_the_database(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    for step in ("_content_faults", "_search_fault"):
        with monkeypatch.context() as patch, pytest.raises(StoreError, match="the disk is full"):
            patch.setattr(snapshots, step, full)
            verify(bench)
    assert verify(bench).flaws == []

    class Full(sqlite3.Connection):
        def execute(self, *_: object) -> Any:
            full()

    with pytest.raises(sqlite3.OperationalError, match="full"):
        snapshots._search_fault(Full(":memory:"), "examples_fts")


def test_an_unclean_stop_is_not_forgotten_over_a_restore_that_came_to_nothing(bench: Bench, tmp_path: Path) -> None:
    add_rows(bench, 1)
    file = backups.back_up(bench, tmp_path / "b.zip").file
    bench.close()
    bench.workspace.presence.write_text("open\n")  # as one that was killed leaves it
    changed = changed_database(file, tmp_path / "foreign.zip", "DELETE FROM _sqlite_migrations")
    with pytest.raises(StoreError, match="not a workbench workspace"):
        restore(bench.workspace, changed)
    with closing(opened(bench.workspace)):
        assert bench.workspace.unchecked.exists()


def test_a_restore_that_finds_no_room_for_its_plan_changes_nothing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = backups.back_up(bench, tmp_path / "b.zip").file
    add_rows(bench, 2)
    bench.close()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(StoreError, match="nothing was changed: No space left"):
        patch.setattr(replacing.json, "dump", full)
        restore(bench.workspace, file)
    with closing(opened(bench.workspace)):
        assert counted(bench.workspace) == 2
    assert sorted(path.name for path in bench.workspace.root.glob("*restoring*")) == []


def test_what_another_bench_is_writing_is_left_to_it(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rows(bench, 1)
    bench.workspace.backups.mkdir()
    others, torn = (bench.workspace.backups / f".{name}.zip.part" for name in ("others", "torn"))
    for part in (others, torn):
        part.write_text("begun")
        part.with_suffix(".db").write_text("a copy")
    with others.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert backups.daily(bench) is not None
    left = sorted(path.name for path in bench.workspace.backups.glob(".*"))
    assert left == [".others.zip.db", ".others.zip.part"]
    real = Path.replace

    def replace(path: Path, to: Path) -> Path:
        done = real(path, to)
        path.write_text("another's")  # who waited for this one to be done
        return done

    monkeypatch.setattr(Path, "replace", replace)
    backups.back_up(bench, tmp_path / "b.zip")
    assert (tmp_path / ".b.zip.part").exists()
