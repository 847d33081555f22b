"""``runs report/diff/rerun/bundle/add/delete``, ``models card/push`` and losses in ``examples list``, for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeEngine
from finished_run import add_rows, finish, launched, nobody
from workbench.cli.main import main
from workbench.flows import train
from workbench.flows.bench import Bench

Command = Callable[..., tuple[int, Any]]


@pytest.fixture
def command(
    bench: Bench, capsys: pytest.CaptureFixture[str], engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Run one command with ``--json`` on a workspace with two finished runs; its exit code and what it printed."""
    for function in (train.launch, train.sync):
        monkeypatch.setitem(function.__kwdefaults__, "start_runner", nobody)
    ids = add_rows(bench)
    finish(bench, launched(bench, name="first"), scores={ids[0]: (3.0, 0.5), ids[1]: (3.0, 2.5)})
    finish(bench, launched(bench, name="second", learning_rate="1e-4"), adapter=True)
    train.sync(bench)

    def run(*words: str) -> tuple[int, Any]:
        code = main([*words, "--json"], open_bench=lambda place: Bench.open(place, engine=engine, rater="rater"))
        captured = capsys.readouterr()
        text = captured.out or captured.err
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return code, lines[0] if len(lines) == 1 else lines

    return run


def test_a_report_gives_its_numbers_findings_and_files(command: Command, tmp_path: Path) -> None:
    code, made = command("runs", "report", "first", "--to", str(tmp_path / "page.html"))
    assert (code, made["retention"]["forgot"], made["held_out"]["loss"]["tuned"]) == (0, True, 1.2)
    assert made["findings"][0]["level"] == "warning"
    assert Path(made["html"]).is_file() and "<svg" in (tmp_path / "page.html").read_text()


def test_a_diff_names_what_differs(command: Command) -> None:
    code, found = command("runs", "diff", "first", "second")
    assert (code, found["same_rows"]) == (0, True)
    assert [one["name"] for one in found["settings"]] == ["learning_rate"]


def test_a_rerun_is_queued_and_says_of_what(command: Command) -> None:
    code, row = command("runs", "rerun", "first", "-q")
    assert (code, row["name"], row["rerun_of"], row["status"]) == (0, "first-again", "first", "queued")


def test_a_bundle_goes_into_another_workspace(command: Command, tmp_path: Path) -> None:
    file = str(tmp_path / "second.tar.gz")
    code, made = command("runs", "bundle", "second", "--to", file)
    assert code == 0 and made["file"] == file and made["bytes"] > 0
    code, row = command("runs", "add", file, "-w", str(tmp_path / "elsewhere"))
    assert (code, row["name"], row["status"], row["adapter"]) == (0, "second", "finished", "second")


def test_a_run_is_deleted_after_a_yes_and_refused_while_its_model_is_registered(command: Command) -> None:
    assert command("runs", "delete", "first")[0] == 2
    assert command("runs", "delete", "first", "--yes")[1]["deleted"] == "first"
    assert [row["name"] for row in _rows(command("runs", "list"))] == ["second"]
    assert command("runs", "delete", "second", "--yes")[0] == 5


def test_examples_are_listed_by_their_loss_after_a_run_and_found_by_it(command: Command) -> None:
    code, rows = command("examples", "list", "--order=-loss@first", "--limit", "2")
    assert code == 0 and [row["score"]["loss"] for row in rows] == [2.5, 0.5]
    assert command("examples", "list", "loss>2")[1]["score"]["run"] == "first"
    assert command("examples", "list", "--order=loss@nobody")[0] == 4


def test_a_card_is_written_and_a_push_needs_a_yes_and_the_hub(command: Command) -> None:
    code, made = command("models", "card", "second", "--license", "mit")
    assert code == 0 and 'license: "mit"' in Path(made["file"]).read_text()
    assert command("models", "push", "second", "me/second")[0] == 2
    assert command("models", "push", "second", "me/second", "--yes")[0] == 1


def _rows(answer: tuple[int, Any]) -> list[Any]:
    return answer[1] if isinstance(answer[1], list) else [answer[1]]
