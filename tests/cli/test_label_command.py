"""``label`` as scripts see it: pairs without names, and verdicts that mean what was shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeEngine
from workbench.cli.main import main
from workbench.flows.bench import Bench

Command = Callable[..., tuple[int, Any]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], engine: FakeEngine, tmp_path: Path) -> Command:
    """Run one command with ``--json`` on a workspace with two pending pairs; its exit code and what it printed."""

    def run(*words: str) -> tuple[int, Any]:
        code = main([*words, "--json"], open_bench=lambda place: Bench.open(place, engine=engine, rater="rater"))
        captured = capsys.readouterr()
        return code, json.loads(captured.out or captured.err)

    rows = [{"prompt": f"q{n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in (1, 2)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run("import", str(tmp_path / "pairs.jsonl"))[0] == 0
    return run


@pytest.mark.parametrize("wanted", ["good 1", "bad 1"])
def test_the_side_that_was_named_becomes_the_chosen_one(command: Command, wanted: str) -> None:
    code, shown = command("label")
    assert (code, shown["waiting"], {shown["left"], shown["right"]}) == (0, 2, {"good 1", "bad 1"})
    side = "left" if shown["left"] == wanted else "right"
    words = ("--sides", str(shown["sides"]), "--strength", "much", "--reason", "correct", "--note", "n")
    assert command("label", shown["pair"], side, *words)[0] == 0
    _, row = command("examples", "show", shown["pair"])
    assert (row["status"], row["chosen"][0]["content"], row["note"]) == ("accepted", wanted, "n")
    assert set(row["tags"]) == {"strength:much", "reason:correct"}
    assert command("label")[1]["waiting"] == 1
    assert command("examples", "undo")[0] == 0
    assert command("label")[1]["pair"] == shown["pair"]


def test_a_verdict_needs_the_sides_that_were_shown_and_a_pair_that_waits(command: Command) -> None:
    _, shown = command("label")
    assert command("label", shown["pair"], "left")[0] == 2
    assert command("label", "x", "left", "--sides", "1")[0] == 2
    assert command("label", "999", "left", "--sides", "1")[0] == 4
    assert command("label", "--dataset", "missing")[0] == 4
    for _ in range(2):
        _, shown = command("label", "--dataset", "pairs")
        assert command("label", shown["pair"], "both-bad", "--sides", str(shown["sides"]))[0] == 0
    code, told = command("label")
    assert code == 4 and "no pair waits" in told["error"]["message"]


def test_a_verdict_of_a_script_is_not_taken_for_a_hasty_one(command: Command) -> None:
    _, shown = command("label")
    command("label", shown["pair"], "tie", "--sides", str(shown["sides"]))
    _, row = command("examples", "show", shown["pair"])
    assert "fast" not in json.dumps(row["history"])
    assert "verdict:tie" in row["tags"]
