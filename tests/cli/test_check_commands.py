"""``check``, ``unredact`` and ``tokens`` as scripts see them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import FakeEngine
from workbench.cli.main import main
from workbench.flows.bench import Bench
from workbench.paths import Workspace

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], engine: FakeEngine, tmp_path: Path) -> Command:
    """Run one command on a workspace with three imported rows; gives exit code, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(list(words), open_bench=lambda place: Bench.open(place, engine=engine, rater="rater"))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    rows = [
        {"prompt": "q1", "completion": "Tea.<|im_end|>"},
        {"prompt": "q2", "completion": "Write to ann.meyer@firma-meyer.de today."},
        {"prompt": "q3", "completion": "Tea."},
    ]
    (tmp_path / "teas.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run("import", str(tmp_path / "teas.jsonl"), "--status", "accepted")[0] == 0
    return run


QUICK = ("--only", "template_tokens", "--only", "personal_data")


def test_errors_that_are_left_end_in_exit_code_5(command: Command) -> None:
    code, out, err = command("check", "--dataset", "teas", "--json", *QUICK)
    told = json.loads(out)
    assert code == 5
    assert {(f["check"], f["severity"]) for f in told["findings"]} == {
        ("template_tokens", "error"),
        ("personal_data", "warning"),
    }
    assert set(told["findings"][0]) >= {"check", "severity", "example", "reason", "fix"}
    assert told["counts"]["error"] == 1 and "1 error" in err


def test_after_fix_nothing_is_left_and_unredact_brings_back(command: Command) -> None:
    code, out, _ = command("check", "--fix", "--json", *QUICK)
    told = json.loads(out)
    assert (code, told["findings"], told["fixed"]) == (0, [], {"mended": 2, "rejected": 0})
    code, out, _ = command("examples", "list", "q2", "--json")
    row = json.loads(out)
    assert row["chosen"][0]["content"] == "Write to [EMAIL] today."
    assert command("unredact", str(row["id"]))[0] == 0
    assert "firma-meyer" in command("examples", "list", "q2", "--json")[1]


def test_a_table_for_people_names_the_worst_first(command: Command) -> None:
    code, out, _ = command("check", *QUICK)
    assert code == 5
    assert [line.split()[0] for line in out.splitlines()] == ["severity", "error", "warning"]


def test_a_plan_is_refused_with_the_words_that_let_it_go_on(command: Command) -> None:
    code, _, err = command("train", "--method", "sft", "--dataset", "teas", "--dry-run")
    assert code == 5
    assert "--fix" in err and "examples reject" in err and "--allow template_tokens" in err
    assert command("train", "--method", "sft", "--dataset", "teas", "--dry-run", "--allow", "template_tokens")[0] == 0


def test_the_checks_are_listed(command: Command) -> None:
    code, out, _ = command("check", "--list", "--json")
    names = [json.loads(line)["check"] for line in out.splitlines()]
    assert code == 0 and "near_duplicates" in names


def test_a_check_that_there_is_not_is_wrong_usage(command: Command) -> None:
    code, _, err = command("check", "--only", "leak")
    assert code == 2 and "leakage" in err


@pytest.mark.ml
def test_tokens_shows_what_is_learnt(command: Command, workspace: Workspace) -> None:
    code, out, err = command("tokens", "3", "--model", "pip", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert not told["truncated"] and told["stop_token_in_loss"]
    assert set(told["tokens"][0]) >= {"id", "text", "in_loss"}
    assert "".join(t["text"] for t in told["tokens"] if t["in_loss"]).startswith("Tea.")
