"""``datasets`` as scripts and people see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import FakeEngine
from workbench.cli.main import main
from workbench.flows.bench import Bench
from workbench.tui.dataset_figures import bar

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], engine: FakeEngine, tmp_path: Path) -> Command:
    """Run one command on a workspace with the dataset ``teas``; gives exit code, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(list(words), open_bench=lambda place: Bench.open(place, engine=engine, rater="rater"))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    rows = [{"prompt": f"question {n}", "completion": f"tea number {n} of all."} for n in range(60)]
    (tmp_path / "teas.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run("import", str(tmp_path / "teas.jsonl"), "--status", "accepted")[0] == 0
    return run


def told(found: tuple[int, str, str]) -> dict[str, object]:
    code, out, err = found
    assert code == 0, err
    answer: dict[str, object] = json.loads(out)
    return answer


def test_splits_by_ratio_and_one_undo(command: Command) -> None:
    words = ("datasets", "split", "teas", "--train", ".8", "--validation", ".1", "--test", ".1", "--by", "source")
    assert told(command(*words, "--json"))["splits"] == {"train": 48, "validation": 6, "test": 6}
    assert command("examples", "undo", "--yes")[0] == 0
    assert command("examples", "list", "split:test")[1].count("\n") == 1  # the head alone
    assert command("datasets", "split", "teas", "--train", ".8")[0] == 2


def test_a_second_deal_says_that_nothing_was_left_and_a_bad_share_is_named(command: Command) -> None:
    assert told(command("datasets", "split", "teas", "--json"))["dealt"] == 60
    assert command("datasets", "split", "teas")[1].startswith("nothing to deal: every row has its split already")
    code, _, err = command("datasets", "split", "teas", "--validation", "1.5")
    assert code == 2 and "the share 1.5 for validation" in err


def test_a_locked_row_is_moved_with_unlock_alone(command: Command) -> None:
    assert command("examples", "split", "3", "--to", "test")[0] == 0
    code, _, err = command("examples", "edit", "3", "--text", "Other.")
    assert code == 5 and "--unlock" in err
    assert command("examples", "split", "3", "--to", "train")[0] == 5
    assert command("examples", "edit", "3", "--text", "Other.", "--unlock")[0] == 0
    assert command("examples", "split", "3", "--to", "train", "--unlock")[0] == 0


def test_statistics_are_the_same_in_json_and_drawn(command: Command) -> None:
    found = told(command("datasets", "stats", "teas", "--json"))
    assert found["rows"] == 60 and found["statuses"] == {"accepted": 60}
    assert found["answer_words"]["median"] == 5  # type: ignore[index]
    assert set(found["meanings"]) >= {"rows", "distinct_2", "self_similarity", "estimate"}  # type: ignore[call-overload]
    drawn = command("datasets", "stats", "teas")[1]
    assert "4-7 " + "█" * 40 + " 60" in drawn
    for sentence in found["meanings"].values():  # type: ignore[attr-defined]
        assert sentence in drawn
    assert told(command("datasets", "stats", "-", "question 1", "--json"))["rows"] == 1


def test_readiness_names_its_rules_and_sources(command: Command) -> None:
    found = told(command("datasets", "ready", "teas", "--model", "pip", "--json"))
    assert found["ready"] is True
    assert found["approach"]["answer"] == "fine-tuning" and "OpenAI" in found["approach"]["source"]  # type: ignore[index]
    plain = command("datasets", "ready", "teas")[1]
    assert plain.startswith("teas: ready; 60 accepted rows") and "rule enough; OpenAI" in plain


def test_merging_mixing_and_deleting(command: Command) -> None:
    assert told(command("datasets", "merge", "teas", "--into", "all", "--json"))["added"] == 60
    words = ("--of", "teas=0.7", "--of", "all=0.3", "--cap", "20", "--prefix", "teas=[T] ", "--tag", "all=plain")
    assert told(command("datasets", "mix", "both", *words, "--json"))["of"] == {"teas": 14, "all": 6}
    rows = [json.loads(line) for line in command("examples", "list", "--dataset", "both", "--json")[1].splitlines()]
    assert sum(row["prompt"][0]["content"].startswith("[T] ") for row in rows) == 14
    assert all(row["source"]["origins"] for row in rows)
    code, _, err = command("datasets", "delete", "both")
    assert code == 2 and "--yes" in err
    assert command("datasets", "delete", "both", "--yes")[0] == 0
    names = [json.loads(line)["name"] for line in command("datasets", "list", "--json")[1].splitlines()]
    assert names == ["all", "teas"]


@pytest.mark.parametrize(
    "words",
    [
        ("--of", "teas"),
        ("--of", "teas=much"),
        ("--of", "teas=1", "--tag", "nope=x"),
        ("--of", "teas=1", "--of", "teas=2"),
    ],
)
def test_a_mixture_that_is_not_written_as_one_is_wrong_usage(command: Command, words: tuple[str, ...]) -> None:
    code, _, err = command("datasets", "mix", "m", *words)
    assert code == 2 and ("for example" in err or "add --of" in err)


def test_augmenting_by_template_and_by_model(command: Command, engine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "ways.txt").write_text("Please: {prompt}\n")
    found = told(
        command("datasets", "augment", "teas", "--template", str(tmp_path / "ways.txt"), "--limit", "5", "--json")
    )
    assert (found["added"], found["seeds"]) == (5, 5)
    engine.enqueue("In other words?")
    found = told(command("datasets", "augment", "teas", "--paraphrase-with", "pip", "--limit", "1", "--json"))
    assert found["added"] == 1
    assert len(command("examples", "list", "source:synthetic", "status:pending", "--json")[1].splitlines()) == 6


def test_bars_are_as_long_as_their_share_and_never_nothing() -> None:
    assert bar(8, 8, width=4) == "████" and bar(4, 8, width=4) == "██"
    assert bar(5, 8, width=4) == "██▌"  # 2.5 of 4
    assert (bar(1, 10_000), bar(0, 9)) == ("▏", "")
