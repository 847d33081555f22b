"""Processes of our own: detached, named by pid and start, waited for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from workbench.jobs.processes import (
    QUIET_ENVIRONMENT,
    ProcessIdentity,
    child_environment,
    log_tail,
    module_argv,
    spawn_detached,
)

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def wait_until_gone(identity: ProcessIdentity) -> None:
    deadline = time.monotonic() + 20
    while identity.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_detached_child_has_its_own_session_no_input_and_writes_to_its_log(tmp_path: Path) -> None:
    code = "import os, sys; print([os.getsid(0) == os.getpid(), sys.stdin.read()]); print('oops', file=sys.stderr)"
    log = tmp_path / "logs" / "log.txt"
    for _ in range(2):
        wait_until_gone(spawn_detached([sys.executable, "-c", code], log, os.environ))
    assert log.read_text() == "[True, '']\noops\n" * 2


def test_an_identity_lives_as_long_as_its_process_and_leaves_no_zombie(tmp_path: Path) -> None:
    identity = spawn_detached(SLEEP, tmp_path / "log", os.environ)
    assert identity.is_alive()
    os.kill(identity.pid, 9)
    wait_until_gone(identity)
    assert not identity.is_alive()
    deadline = time.monotonic() + 20
    while psutil.pid_exists(identity.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not psutil.pid_exists(identity.pid)


def test_a_zombie_does_not_live() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        deadline = time.monotonic() + 20
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.01)
        assert ProcessIdentity.of(child.pid) is None


def test_another_process_under_the_same_pid_is_not_it() -> None:
    own = ProcessIdentity.own()
    assert own.is_alive()
    assert not replace(own, started=own.started - 60).is_alive()


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_clock_that_is_set_makes_no_living_process_a_stranger(hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    own, before, boot = ProcessIdentity.own(), psutil.Process().create_time(), psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + 3600 * hours)  # as after date --set
    assert psutil.Process().create_time() - before == pytest.approx(3600 * hours)
    assert own.is_alive()


def test_a_process_of_another_boot_is_not_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = ProcessIdentity.own()
    (tmp_path / "boot_id").write_text("0000-another")
    monkeypatch.setattr("workbench.process_start._BOOT_ID", tmp_path / "boot_id")
    assert not own.is_alive()


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        spawn_detached([str(tmp_path / "nothing")], tmp_path / "log", {})


def test_a_module_of_ours_runs_from_any_folder_and_not_the_folders_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "workbench.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    argv = [*module_argv("workbench.jobs.processes")]
    done = subprocess.run(argv, env=child_environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_child_is_quiet_but_what_the_user_set_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in QUIET_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "100")
    environment = child_environment({"EXTRA": "1", "TRANSFORMERS_VERBOSITY": "info"})
    assert environment["GOMP_SPINCOUNT"] == "100"
    assert environment["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert (environment["EXTRA"], environment["TRANSFORMERS_VERBOSITY"]) == ("1", "info")


def test_the_tail_of_a_log_is_its_last_lines_whatever_its_bytes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert log_tail(log) == []
    log.write_bytes(b"".join(b"line %d\n" % n for n in range(1000)) + b"\xff last")
    assert log_tail(log, lines=2) == ["line 999", "\ufffd last"]
    assert len(log_tail(log, lines=1000, limit_bytes=100)) < 15


def test_the_quiet_environment_is_plain_text() -> None:
    assert json.loads(json.dumps(QUIET_ENVIRONMENT)) == QUIET_ENVIRONMENT
