"""Commands over several runs: the queue, the runner, recipes and sweeps."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeEngine
from samples import IMPORTED, demo
from workbench.cli.main import main
from workbench.domain.examples import Status
from workbench.domain.runs import RunState, RunStatus
from workbench.flows import boot
from workbench.flows import train as flow
from workbench.flows.bench import Bench
from workbench.jobs import launch
from workbench.jobs.run_directory import RunDirectory
from workbench.paths import Workspace

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], engine: FakeEngine, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Run one command on a workspace with thirty rows, where the queue is held."""
    launch.hold(workspace.runs)
    seeded = Bench.open(workspace, engine=engine, rater="rater")
    for number in range(30):
        seeded.store.examples.add("answers", demo(number), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
    seeded.close()
    monkeypatch.setattr("workbench.cli.stages.ASK_SECONDS", 0.01)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(list(words), open_bench=lambda place: Bench.open(place, engine=engine, rater="rater"))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def told(result: tuple[int, str, str]) -> Any:
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def lines(result: tuple[int, str, str]) -> list[Any]:
    code, out, err = result
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def train(command: Command, *names: str) -> None:
    for name in names:
        told(command("train", "--method", "sft", "--dataset", "answers", "--name", name, "--json"))


def test_runs_are_moved_and_cancelled_in_the_queue(command: Command) -> None:
    train(command, "one", "two", "three")
    assert told(command("runs", "move", "three", "first", "--json")) == {"run": "three", "place": 1}
    assert told(command("runs", "move", "one", "down", "--json")) == {"run": "one", "place": 3}
    assert told(command("runs", "cancel", "two", "--json")) == {"run": "two", "status": "cancelled"}
    listed = {row["name"]: (row["status"], row["place"]) for row in lines(command("runs", "list", "--json"))}
    assert listed == {"three": ("queued", 1), "one": ("queued", 2), "two": ("cancelled", None)}
    code, _, err = command("runs", "cancel", "two")
    assert code == 1 and "two is cancelled, not queued" in err


def test_the_gpus_of_a_queued_run_can_be_changed(command: Command, workspace: Workspace) -> None:
    told(command("train", "--method", "sft", "--dataset", "answers", "--name", "a", "--gpus", "0,1", "--json"))
    directory = RunDirectory(next(workspace.runs.glob("*-a")))
    assert directory.ticket().gpus == "0,1"
    told(command("runs", "gpus", "a", "auto:2", "--json"))
    assert directory.ticket().gpus == "auto:2"
    code, _, err = command("runs", "gpus", "a", "many")
    assert code == 2 and "auto:2" in err


def test_the_runner_says_what_waits_and_that_it_is_held(command: Command) -> None:
    train(command, "one", "two")
    found = told(command("runner", "status", "--json"))
    assert (found["held"], found["runner"], found["waiting"]) == (True, None, ["one", "two"])
    code, out, _ = command("runner", "status")
    assert code == 0 and "runner: held" in out and "waiting 2: two" in out


def test_starting_lets_the_queue_go_on_and_stopping_holds_it(
    command: Command, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []
    monkeypatch.setattr(launch, "ensure_runner", lambda runs: bool(started.append(runs)) or True)
    monkeypatch.setitem(flow.sync.__kwdefaults__, "start_runner", lambda runs: None)
    train(command, "one")
    assert told(command("runner", "start", "--json"))["held"] is False
    assert started == [workspace.runs] and not launch.is_held(workspace.runs)
    assert told(command("runner", "stop", "--json")) == {"held": True}
    assert launch.is_held(workspace.runs)


def test_the_unit_starts_this_workspaces_runner_and_is_only_written(command: Command, workspace: Workspace) -> None:
    written = told(command("runner", "install", "--json"))
    unit = Path(written["written"])
    assert unit == Path(os.environ["XDG_CONFIG_HOME"]) / "systemd" / "user" / "workbench-runner.service"
    text = unit.read_text()
    (start,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert start.endswith(f"-m workbench -w {workspace.root} -q runner start --wait")
    assert "systemctl --user enable workbench-runner.service" in written["then"]
    assert told(command("runner", "install", "--print", "--json"))["unit"] == text
    assert told(command("runner", "install", "--cron", "--json"))["cron"].startswith("@reboot ")


def test_odd_folders_are_quoted_for_systemd_and_cron() -> None:
    odd = Workspace(Path('/data/my runs/100%/a"b$c'))
    (start,) = [line for line in boot.unit_text(odd).splitlines() if line.startswith("ExecStart=")]
    assert '"/data/my runs/100%%/a\\"b$$c"' in start
    assert r"100\%" in boot.cron_line(odd)


RECIPE = """
name = "company"
[[stage]]
name = "one"
method = "sft"
dataset = "answers"
[[stage]]
name = "two"
method = "sft"
dataset = "answers"
"""


def test_a_recipe_is_planned_queued_and_written_again(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(RECIPE)
    planned = told(command("train", "--recipe", str(file), "--dry-run", "--json"))
    assert [(one["run"], one["after"]) for one in planned["runs"]] == [
        ("company-one", None),
        ("company-two", "company-one"),
    ]
    assert lines(command("runs", "list", "--json")) == []
    made = told(command("train", "--recipe", str(file), "--json"))
    assert [(run["run"], run["status"], run["group"]) for run in made["runs"]] == [
        ("company-one", "queued", "company"),
        ("company-two", "queued", "company"),
    ]
    text = told(command("runs", "recipe", "company-two", "--json"))["recipe"]
    assert 'name = "company-again"' in text and 'after = "one"' in text
    again = tmp_path / "again.toml"
    told(command("runs", "recipe", "company-one", "--to", str(again), "--json"))
    assert again.read_text() == text


def test_a_wrong_recipe_is_told_with_file_line_and_the_nearest_name(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(RECIPE.replace('method = "sft"\ndataset = "answers"\n[[', 'metod = "sft"\n[['))
    code, out, err = command("train", "--recipe", str(file), "--json")
    error = json.loads(err)["error"]
    assert (code, out, error["kind"], error["where"]) == (3, "", "bad-data", "r.toml:5")
    assert "did you mean 'method'?" in error["hint"]
    code, _, err = command("train", "--recipe", str(file), "--method", "sft")
    assert code == 2 and "write it into the recipe" in err


def test_train_without_a_method_or_dataset_says_what_is_missing(command: Command) -> None:
    code, _, err = command("train", "--dataset", "answers")
    assert code == 2 and "train needs --method" in err
    code, _, err = command("train", "--method", "sft")
    assert code == 2 and "train needs --dataset" in err


def test_a_sweep_is_queued_and_its_table_marks_the_best(command: Command, workspace: Workspace) -> None:
    words = ["train", "--method", "sft", "--dataset", "answers", "--name", "tune"]
    words += ["--sweep", "learning_rate=1e-4,2e-4", "--sweep", "lora_r=4,8", "--json"]
    planned = told(command(*words, "--dry-run"))
    assert len(planned["runs"]) == 4
    made = told(command(*words))
    assert [run["run"] for run in made["runs"]] == ["tune-1", "tune-2", "tune-3", "tune-4"]
    for name, loss in (("tune-1", 1.5), ("tune-3", 1.25)):
        directory = RunDirectory(next(workspace.runs.glob(f"*-{name}")))
        event = {"event": "eval", "which": "tuned", "step": 9, "loss": loss}
        directory.events_file.write_text(json.dumps(event) + "\n")
        directory.write_status(RunStatus(RunState.FINISHED, 9, 9))
    code, out, err = command("sweep", "show", "tune", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and "picked as the best of 2" in err and "too good to be true" in err
    assert [(row["run"], row["held-out_loss"], row["best"]) for row in rows[:2]] == [
        ("tune-3", 1.25, True),
        ("tune-1", 1.5, False),
    ]
    assert (float(rows[0]["learning_rate"]), rows[0]["lora_r"]) == (2e-4, "4")
    assert "ranked by held-out loss, the lowest first" in err
    code, out, err = command("sweep", "show", "tune", "--rank-by", "perplexit")
    assert code == 2 and "did you mean 'perplexity'?" in err
    (listed,) = lines(command("sweep", "list", "--json"))
    assert (listed["sweep"], listed["runs"], listed["finished"], listed["best"]) == ("tune", 4, 2, "tune-3")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hold", "--sweep", "lora_r=4,8"], "--hold makes one run"),
        (["--search", "random"], "--search says how to sweep"),
        (["--trials", "4"], "--trials says how to sweep"),
        (["--rank-by", "loss"], "--rank-by says how to sweep"),
    ],
)
def test_options_that_would_be_passed_over_in_silence_are_refused(
    command: Command, words: list[str], said: str
) -> None:
    code, _, err = command("train", "--method", "sft", "--dataset", "answers", *words)
    assert code == 2 and said in err
    assert not lines(command("runs", "list", "--json"))


@pytest.mark.parametrize("words", [["--general", "none"], ["--gpus", "cpu"], ["--preset", "tiny"], ["--hold"]])
def test_what_stands_in_a_recipe_is_not_given_beside_it(command: Command, tmp_path: Path, words: list[str]) -> None:
    file = tmp_path / "r.toml"
    file.write_text('name = "r"\n[[stage]]\nname = "a"\nmethod = "sft"\ndataset = "answers"\n')
    code, _, err = command("train", "--recipe", str(file), *words)
    assert code == 2 and words[0] in err
