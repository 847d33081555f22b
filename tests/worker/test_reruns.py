"""The same run once more, and a run that goes on in another workspace: the losses are equal, bit for bit, on a CPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import FakeEngine
from finished_run import add_rows, launched, nobody
from workbench.domain.recipes import parse_recipe
from workbench.domain.runs import RunState, RunStatus
from workbench.errors import RefusedError
from workbench.flows import bundles, recipes, registry, rerun, run_diff, train
from workbench.flows.bench import Bench
from workbench.jobs.run_directory import RunDirectory, is_complete
from workbench.paths import Workspace

pytestmark = pytest.mark.ml
Train = Callable[[RunDirectory], int]


@pytest.fixture(name="do")
def trainer_here(request: pytest.FixtureRequest) -> Train:
    """The shared trainer in this process, by a name that leaves ``train`` to the flow."""
    found: Train = request.getfixturevalue("train")
    return found


def trained(bench: Bench, tiny_llama: Path, do: Train) -> RunDirectory:
    registry.add_model(bench, tiny_llama, name="tiny")
    add_rows(bench, 24)
    plan = train.plan(
        bench,
        method="sft",
        dataset="chats",
        model="tiny",
        name="mine",
        overrides={"max_steps": "8", "save_steps": "4", "max_length": "128"},
    )
    directory = RunDirectory(Path(train.launch(bench, plan, start_runner=nobody).directory))
    assert do(directory) == 0
    train.sync(bench, start_runner=nobody)
    return directory


def test_a_rerun_has_the_same_losses(bench: Bench, tiny_llama: Path, do: Train) -> None:
    trained(bench, tiny_llama, do)
    run = bench.store.runs.get("mine")
    again = train.launch(bench, rerun.plan_again(bench, run), start_runner=nobody)
    assert do(RunDirectory(Path(again.directory))) == 0
    found = run_diff.equal_losses(run, again)
    assert found.is_equal and found.steps == 8
    weights = [Path(r.directory) / "adapter" / "adapter_model.safetensors" for r in (run, again)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_stage_notes_the_hashes_of_what_the_stage_before_it_made_and_a_rerun_looks_at_them(
    bench: Bench, tiny_llama: Path, do: Train
) -> None:
    registry.add_model(bench, tiny_llama, name="tiny")
    add_rows(bench, 24)
    stage = '[[stage]]\nname = "{}"\nmethod = "sft"\ndataset = "chats"\n'
    usual = "[set]\nmax_steps = 1\nmax_length = 128\n"
    recipe = parse_recipe('name = "r"\nmodel = "tiny"\n' + usual + stage.format("a") + stage.format("b"), where="r")
    runs = recipes.launch(bench, recipes.plan(bench, recipe), start_runner=nobody)
    directories = [RunDirectory(Path(run.directory)) for run in runs]
    assert [do(directory) for directory in directories] == [0, 0]
    train.sync(bench, start_runner=nobody)
    origin = directories[1].read_json(directories[1].origin_file)
    made = bench.store.models.get("r-a")
    assert (origin["adapter_sha256"], origin["base_sha256"]) == (made.sha256, bench.store.models.get("tiny").sha256)
    weights = directories[0].adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(RefusedError, match="the weights of r-a are not those of then"):
        rerun.plan_again(bench, bench.store.runs.get("r-b"))


def test_a_run_that_was_stopped_goes_on_in_another_workspace_with_the_same_losses(
    bench: Bench, tiny_llama: Path, do: Train, tmp_path: Path
) -> None:
    whole = trained(bench, tiny_llama, do)
    run = launched(bench, name="half")  # of which the folder is replaced by the first half of the other
    half = RunDirectory(Path(run.directory))
    for path in (whole.root / name for name in ("train.jsonl", "eval.jsonl", "origin.json", "spec.json")):
        (half.root / path.name).write_bytes(path.read_bytes())
    (whole.checkpoints / "checkpoint-4").rename(half.checkpoints / "checkpoint-4")
    assert is_complete(half.checkpoints / "checkpoint-4")
    lines = [json.loads(line) for line in whole.events_file.read_text().splitlines()]
    half.events_file.write_text(
        "".join(json.dumps(e) + "\n" for e in lines if e.get("step", 0) <= 4 and "losses" not in e)
    )
    half.write_status(RunStatus(RunState.STOPPED, 4, 8))
    file = bundles.bundle(run, tmp_path / "half.tar.gz").file

    other = Bench.open(Workspace(tmp_path / "elsewhere"), engine=FakeEngine(), rater="other")
    registry.add_model(other, tiny_llama, name="small")  # under another name: it is known by its hash
    taken = bundles.take(other, file)
    train.sync(other, start_runner=nobody)
    taken = other.store.runs.get(taken.id)
    assert (taken.state, taken.base) == (RunState.STOPPED, "small")
    train.resume(other, taken, start_runner=nobody)
    assert do(RunDirectory(Path(taken.directory))) == 0
    found = run_diff.equal_losses(bench.store.runs.get("mine"), taken)
    assert found.is_equal and found.steps >= 4
    other.close()
