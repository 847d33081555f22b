"""The commands on votes and results, as scripts use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeEngine
from workbench.cli.main import main
from workbench.domain.comparisons import Verdict
from workbench.domain.models import ModelKind
from workbench.flows import compare
from workbench.flows.bench import Bench
from workbench.paths import Workspace

Command = Callable[..., tuple[int, Any]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], engine: FakeEngine, workspace: Workspace, tmp_path: Path) -> Command:
    """Run one command with ``--json`` on a workspace with two models and three prompts; exit code and documents."""

    def run(*words: str) -> tuple[int, Any]:
        code = main([*words, "--json"], open_bench=lambda place: Bench.open(place, engine=engine, rater="rater"))
        captured = capsys.readouterr()
        lines = [json.loads(line) for line in (captured.out or captured.err).splitlines()]
        return code, lines[0] if len(lines) == 1 else lines

    bench = Bench.open(workspace, engine=engine)
    for name in ("tuned", "third"):
        bench.store.models.add(name, ModelKind.ADAPTER, f"/nowhere/{name}", base="pip")
    bench.close()
    (tmp_path / "p.txt").write_text("One?\nTwo?\nThree?\n")
    engine.enqueue(*(f"plain {n}" for n in range(9)), model="pip")
    engine.enqueue(*(f"fancy {n}" for n in range(9)), model="tuned")
    return run


def compared(command: Command, tmp_path: Path) -> list[int]:
    made = command("compare", "pip", "tuned", "--prompts", str(tmp_path / "p.txt"), "--seed", "3")
    assert made[0] == 0 and made[1]["seed"] == 3
    found: list[int] = made[1]["comparisons"]
    return found


def test_the_rubric_is_printed_as_the_file_that_holds_ones_own(command: Command, workspace: Workspace) -> None:
    assert [one["name"] for one in command("rate", "--rubric")[1]["criteria"]] == ["correct", "helpful", "clear"]
    (workspace.root / "rubric.toml").write_text('[[criterion]]\nname = "kind"\n')
    assert command("rate", "--rubric")[1] == {"criteria": [{"name": "kind", "help": "", "low": "", "high": ""}]}


def test_votes_with_strength_and_marks_go_into_results_lists_data_and_battles(command: Command, tmp_path: Path) -> None:
    ids = compared(command, tmp_path)
    told = ("--strength", "much", "--mark", "clear=5,2", "--comment", "because")
    rating = command("rate", str(ids[0]), "left", *told)[1]["rating"]
    assert (rating["strength"], rating["marks"]) == ("much", {"clear": [5, 2]})
    command("rate", str(ids[1]), "both-bad")
    command("rate", str(ids[2]), "tie")
    found = command("results")[1]
    assert (found["votes"], found["pairs"][0]["both_bad"], found["pairs"][0]["ties"]) == (3, 1, 1)
    assert {row["criterion"] for row in found["marks"]} == {"clear"}
    assert [vote["outcome"] for vote in command("votes", "list")[1]][1:] == ["both-bad", "tie"]
    assert command("votes", "collect", "--as", "labels")[1] == {
        "dataset": "vote-labels", "made": 4, "known": 0, "none": 1, "waiting": 0, "as": "labels",
    }  # fmt: skip
    assert command("votes", "export", "--to", str(tmp_path / "b.json"))[1]["battles"] == 3
    assert len(json.loads((tmp_path / "b.json").read_text())) == 3


def test_what_lost_is_mended_from_a_script(command: Command, tmp_path: Path) -> None:
    first = compared(command, tmp_path)[0]
    command("rate", str(first), "left")
    waiting = command("votes", "to-fix")[1]
    assert (waiting["comparison_id"], waiting["why"], waiting["question"]) == (first, "lost", "One?")
    assert command("votes", "fix", str(first), "--text", "a better one")[0] == 0
    assert command("votes", "to-fix") == (0, [])
    assert command("votes", "fix", str(first), "--text", "again")[0] == 4


def test_what_somebody_else_voted_on_stays_blind(command: Command, tmp_path: Path, workspace: Workspace) -> None:
    first, second, _ = compared(command, tmp_path)
    ann = Bench.open(workspace, rater="ann")
    for number in (first, second):
        compare.rate(ann, number, Verdict.LEFT)
    ann.close()
    command("rate", str(second), "right")
    mine, anns, hidden = sorted(command("votes", "list")[1], key=lambda row: (row["hidden"], row["rater"] == "ann"))
    assert (mine["rater"], mine["comparison_id"], anns["comparison_id"]) == ("rater", second, second)
    assert {key for key, value in hidden.items() if value} == {"comparison_id", "rater", "hidden"}
    assert len(command("votes", "list", "pip", "tuned")[1]) == 2
    assert command("votes", "to-fix")[1]["comparison_id"] == second
    assert command("votes", "fix", str(first), "--text", "a better one")[0] == 5
    written = command("votes", "export", "--to", str(tmp_path / "b.json"))[1]
    assert (written["battles"], written["left_out"]) == (2, 1)
    assert command("results")[1]["waiting_for_you"] == 1
    assert command("votes", "reveal")[1] == {"revealed": 1}
    assert [row["hidden"] for row in command("votes", "list")[1]] == [False] * 3
    assert command("rate", str(first), "left")[1]["rating"]["blind"] is False


def test_every_verdict_names_its_two_models(
    workspace: Workspace, engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: Command
) -> None:
    engine.enqueue(*(f"third {n}" for n in range(9)), model="third")
    made = command("compare", "pip", "tuned", "third", "--prompts", str(tmp_path / "p.txt"))[1]
    for number in made["comparisons"]:
        command("rate", str(number), "left")
    assert main(["results"], open_bench=lambda place: Bench.open(place, engine=engine, rater="rater")) == 0
    told = capsys.readouterr().out
    for a, b in (("pip", "tuned"), ("tuned", "third"), ("pip", "third")):
        assert f"{a} against {b}  NOT DECIDED" in told or f"{b} against {a}  NOT DECIDED" in told


def test_several_models_take_turns(command: Command, tmp_path: Path, engine: FakeEngine) -> None:
    engine.enqueue(*(f"third {n}" for n in range(9)), model="third")
    code, made = command("compare", "pip", "tuned", "third", "--prompts", str(tmp_path / "p.txt"))
    assert (code, made["generated"]) == (0, 3)
    assert sorted(request.model.name for request in engine.requests) == sorted(["pip", "tuned", "third"] * 2)


def test_it_is_told_how_many_pairs_are_equal_answers_that_need_no_vote(
    workspace: Workspace, engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: Command
) -> None:
    engine.enqueue("the same", "something", "the same", model="third")
    engine.enqueue("the same", "another", "the same", model="fourth")
    bench = Bench.open(workspace, engine=engine)
    bench.store.models.add("fourth", ModelKind.ADAPTER, "/nowhere/fourth", base="pip")
    bench.close()
    (tmp_path / "two.txt").write_text("One?\nTwo?\n")
    asked = ("compare", "third", "fourth", "--prompts", str(tmp_path / "two.txt"))
    assert main(asked, open_bench=lambda place: Bench.open(place, engine=engine, rater="rater")) == 0
    said = "ready: 2 pairs; 1 pair with equal answers: ties without a vote; workbench rate shows them without names"
    assert said in capsys.readouterr().out
    made = command(*asked, "--limit", "1")[1]
    assert (made["generated"], made["equal_answers"]) == (1, 1)


def test_prompts_are_chosen_where_the_models_differ(command: Command, tmp_path: Path, engine: FakeEngine) -> None:
    chosen = ("--limit", "2", "--choose", "differing", "--seed", "1")
    code, made = command("compare", "pip", "tuned", "--prompts", str(tmp_path / "p.txt"), *chosen)
    assert (code, made["generated"]) == (0, 2)
    assert len([request for request in engine.requests if request.sampling.temperature == 0.0]) == 4, "drafts of two"
    for number in made["comparisons"]:
        command("rate", str(number), "left")
    _, told = command("results")
    assert [pair["a_wins"] + pair["b_wins"] for pair in told["pairs"]] == [1], "the rate rests on the random prompt"
    assert [pair["a_wins"] + pair["b_wins"] for pair in told["on_chosen_prompts"]] == [1]


def test_a_round_is_resumed_only_when_one_was_left_behind(command: Command) -> None:
    code, error = command("compare", "--resume")
    assert code == 4 and "left behind" in error["error"]["message"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("compare", "pip"), 2),
        (("compare", "pip", "tuned", "--prompts", "@nowhere"), 2),
        (("rate", "1", "left", "--mark", "clear=5"), 2),
        (("rate", "1", "left", "--mark", "nice=5,5"), 3),
        (("judge", "pip"), 4),
        (("votes", "collect"), 4),
    ],
)
def test_what_is_wrong_has_its_exit_code(command: Command, tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    if words[0] == "rate":
        compared(command, tmp_path)
    assert command(*words)[0] == code


def test_a_judge_is_silent_in_json_too(command: Command, tmp_path: Path, engine: FakeEngine) -> None:
    compared(command, tmp_path)
    engine.default_answer = "[[A]]"
    told = command("judge", "third")[1]
    assert (told["asked"], told["judged"], told["unstable"], told["pairs"]) == (3, 3, 3, None)
    assert "20 are needed" in told["silent_because"]
    assert command("results")[1]["judges"][0]["judge"] == "third"
    assert command("results")[1]["pairs"] == []
