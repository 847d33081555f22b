"""`backup`, `restore`, `verify` and `models verify`: their JSON and their exit codes."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from finished_run import add_rows
from workbench.cli.main import main
from workbench.flows.bench import Bench
from workbench.paths import Workspace


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    """A workspace with three examples, and nobody in it."""
    with closing(Bench.open(workspace)) as bench:
        add_rows(bench, 3)
    return workspace


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object]]:
    code = main([*words, "--json"])
    said = capsys.readouterr()
    return code, json.loads((said.out or said.err).splitlines()[-1])


def test_a_backup_goes_out_and_comes_back(
    filled: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "b.zip")
    code, made = run(capsys, "backup", file)
    assert code == 0 and made["ok"] is True and made["file"] == file
    code, told = run(capsys, "backup", file)
    assert code == 5 and told["error"]["kind"] == "refused"  # type: ignore[index]
    assert run(capsys, "backup", file, "--force")[0] == 0
    code, found = run(capsys, "backup", file, "--check")
    assert code == 0 and found["counts"]["examples"] == 3  # type: ignore[index]
    code, told = run(capsys, "restore", file)
    assert code == 2, "it asks, and there is no terminal"
    code, done = run(capsys, "restore", file, "--yes")
    assert code == 0 and done["ok"] is True and Path(str(done["kept"])).is_dir()
    code, done = run(capsys, "-w", str(tmp_path / "new"), "restore", file)
    assert code == 0 and done["kept"] == ""


def test_what_is_wrong_with_a_backup_has_its_exit_code(
    filled: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no.zip").write_text("no")
    assert run(capsys, "restore", str(tmp_path / "nowhere.zip"), "--yes")[0] == 4
    assert run(capsys, "restore", str(tmp_path / "no.zip"), "--yes")[0] == 3
    assert run(capsys, "backup", "--check")[0] == 2
    file = str(tmp_path / "b.zip")
    assert run(capsys, "backup", file)[0] == 0
    with closing(Bench.open(filled)):
        code, told = run(capsys, "restore", file, "--yes")
        assert code == 6 and "Ctrl+Q" in told["error"]["hint"]  # type: ignore[index]


def test_the_daily_backup_is_for_cron_too(filled: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    code, made = run(capsys, "backup", "--daily")
    assert code == 0 and Path(str(made["file"])).parent == filled.backups
    assert run(capsys, "backup", "--daily") == (0, {"ok": True, "file": None})


def test_verify_says_what_is_wrong_and_exits_with_3(filled: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run(capsys, "verify")
    assert code == 0 and found["ok"] is True and found["looked_at"]["examples"] == 3  # type: ignore[index]
    assert main(["verify"]) == 0 and "everything is as it was written" in capsys.readouterr().out
    with closing(Bench.open(filled)) as bench, bench.store.write() as db:
        db.execute("UPDATE models SET sha256 = 'abc'")
    code, found = run(capsys, "verify")
    assert code == 3 and found["ok"] is False
    (flaw,) = found["flaws"]  # type: ignore[misc]
    assert "weights of model pip have changed" in flaw["what"] and flaw["hint"]
    assert run(capsys, "models", "verify", "pip") == (
        3,
        {"name": "pip", "state": "faulty", "said": flaw["what"], "hint": flaw["hint"]},
    )


def test_verify_says_when_the_file_is_no_database_any_more(
    filled: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    for end in ("-wal", "-shm"):
        filled.database.with_name(filled.database.name + end).unlink(missing_ok=True)
    filled.database.write_bytes(b"x" * 8192)
    code, found = run(capsys, "verify")
    assert code == 3 and "restore" in found["flaws"][0]["hint"]  # type: ignore[index]
