"""``examples`` as scripts see it: what a key of Curate does, a command does too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeEngine
from workbench.cli.main import main
from workbench.flows.bench import Bench

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], engine: FakeEngine, tmp_path: Path) -> Command:
    """Run one command on a workspace whose example 1 has two turns before its answer."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(list(words), open_bench=lambda place: Bench.open(place, engine=engine, rater="rater"))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    said = [("user", "one"), ("assistant", "two"), ("user", "three")]
    row = {
        "prompt": [{"role": role, "content": text} for role, text in said],
        "completion": [{"role": "assistant", "content": "four"}],
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    assert run("import", str(tmp_path / "rows.jsonl"))[0] == 0
    return run


def changed(found: tuple[int, str, str]) -> dict[str, Any]:
    """The one example that a command changed."""
    code, out, err = found
    assert code == 0, err
    (example,) = json.loads(out)["examples"]
    assert isinstance(example, dict)
    return example


def test_a_turn_is_edited_by_its_number_and_the_system_turn_by_name(command: Command) -> None:
    example = changed(command("examples", "edit", "1", "--part", "prompt", "--turn", "2", "--text", "2", "--json"))
    assert [turn["content"] for turn in example["prompt"]] == ["one", "2", "three"]
    example = changed(command("examples", "edit", "1", "--part", "system", "--text", "Be brief.", "--json"))
    assert example["prompt"][0] == {"role": "system", "content": "Be brief."}
    code, _, err = command("examples", "edit", "1", "--turn", "3", "--text", "x")
    assert code == 3 and "no turn 3" in err


def test_an_answer_is_judged_and_flagged_and_undone(command: Command) -> None:
    example = changed(command("examples", "thumb", "1", "--down", "--json"))
    assert (example["kind"], example["label"], example["status"]) == ("judgement", False, "accepted")
    assert changed(command("examples", "flag", "1", "--add", "odd", "--json"))["flags"] == ["odd"]
    assert changed(command("examples", "flag", "1", "--remove", "odd", "--json"))["flags"] == []
    for _ in range(3):
        assert command("examples", "undo")[0] == 0
    code, out, _ = command("examples", "show", "1", "--json")
    assert code == 0 and json.loads(out)["kind"] == "demonstration"


def test_a_thumb_goes_up_or_down_and_not_both(command: Command) -> None:
    assert command("examples", "thumb", "1")[0] == 2
    assert command("examples", "thumb", "1", "--up", "--down")[0] == 2
