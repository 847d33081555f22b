"""Sweeps: planned on the same rows, queued, and with Optuna asked for as results come in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from samples import IMPORTED, demo, pair
from workbench.domain.examples import Status
from workbench.domain.runs import SWEEP, RunState, RunStatus
from workbench.domain.sweeps import OPTUNA, RANDOM
from workbench.errors import RefusedError, UsageError
from workbench.flows import sweeps, train
from workbench.flows.bench import Bench
from workbench.flows.sweeps import Sweep
from workbench.jobs.run_directory import RunDirectory

SPACE = ("learning_rate=1e-5..1e-2", "lora_r=4,8")


@pytest.fixture
def data(bench: Bench) -> Bench:
    for number in range(30):
        bench.store.examples.add("answers", demo(number), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
        bench.store.examples.add("answers", pair(number + 50), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
    return bench


def nobody(runs: Path) -> None:
    """A runner that never comes."""


def finish(bench: Bench, name: str, loss: float, state: RunState = RunState.FINISHED, **figures: float) -> None:
    directory = RunDirectory(Path(bench.store.runs.get(name).directory))
    event = {"event": "eval", "which": "tuned", "step": 1, "loss": loss, **figures}
    directory.events_file.write_text(json.dumps(event) + "\n")
    directory.write_status(RunStatus(state, 1, 1))


def test_all_runs_of_a_sweep_have_the_same_rows_and_seed(data: Bench) -> None:
    plans = sweeps.plan(data, Sweep("", "sft", "answers", ("learning_rate=1e-4,1e-3",), overrides={"seed": "5"}))
    assert [plan.spec.name for plan in plans] == ["answers-sft-sweep-1", "answers-sft-sweep-2"]
    assert {(plan.spec.example_ids, plan.spec.eval_example_ids, plan.spec.seed) for plan in plans} == {
        (plans[0].spec.example_ids, plans[0].spec.eval_example_ids, 5)
    }
    runs = sweeps.launch(data, Sweep("", "sft", "answers", ()), plans, start_runner=nobody)
    assert {(run.group, run.group_kind) for run in runs} == {("answers-sft-sweep", SWEEP)}
    assert sweeps.table(data, "answers-sft-sweep").same_rows


def test_runs_that_would_be_measured_on_different_rows_are_refused(data: Bench) -> None:
    with pytest.raises(RefusedError, match="measured on different rows"):
        half = {"eval_share": "0.5"}
        sweeps.plan(data, Sweep("", "sft", "answers", ("include_chosen=true,false",), overrides=half))
    with pytest.raises(RefusedError, match="nothing is held out"):
        sweeps.plan(data, Sweep("", "sft", "answers", ("lora_r=4,8",), overrides={"eval_share": "0"}))


def test_a_setting_is_either_fixed_or_swept(data: Bench) -> None:
    with pytest.raises(UsageError, match="both set and swept"):
        sweeps.plan(data, Sweep("", "sft", "answers", ("lora_r=4,8",), overrides={"lora_r": "2"}))
    with pytest.raises(UsageError, match="a sweep of one run"):
        sweeps.plan(data, Sweep("", "sft", "answers", ("lora_r=4",)))
    with pytest.raises(UsageError, match="needs --trials"):
        sweeps.plan(data, Sweep("", "sft", "answers", SPACE, search=RANDOM))


def test_arguments_that_are_no_knobs_are_swept_and_reach_each_run(data: Bench) -> None:
    given = {"arguments": "adam_beta1=0.8"}
    sweep = Sweep("s", "sft", "answers", ("optim=adafactor,adamw_torch", "lora_r=4,8"), overrides=given)
    runs = sweeps.launch(data, sweep, sweeps.plan(data, sweep), start_runner=nobody)
    assert [train.spec(run).knobs["arguments"] for run in runs] == [
        *["adam_beta1=0.8 optim=adafactor"] * 2,
        *["adam_beta1=0.8 optim=adamw_torch"] * 2,
    ]
    table = sweeps.table(data, "s")
    assert [dict(one.settings) for one in table.outcomes][1] == {"optim": "adafactor", "lora_r": "8"}
    with pytest.raises(UsageError, match="both set and swept"):
        sweeps.plan(data, Sweep("t", "sft", "answers", ("adam_beta1=0.8,0.9",), overrides=given))


def test_the_table_of_pairs_is_ranked_by_their_loss_or_by_what_is_asked_for_and_shows_the_others(data: Bench) -> None:
    sweep = Sweep("s", "dpo", "answers", ("learning_rate=1e-4,2e-4,3e-4",), rank_by="accuracy")
    sweeps.launch(data, sweep, sweeps.plan(data, sweep), start_runner=nobody)
    finish(data, "s-1", 1.0, accuracy=0.7, margin=0.1, pair_loss=0.66)
    finish(data, "s-2", 1.2, accuracy=0.9, margin=0.4, pair_loss=0.50)
    finish(data, "s-3", 1.1, accuracy=0.8, margin=0.9, pair_loss=0.40)
    train.sync(data, start_runner=nobody)
    made = sweeps.table(data, "s")
    assert (made.measure, made.others) == ("accuracy", ("pair_loss", "margin", "loss"))
    # Curate's margin of a row is another figure, so it has another name.
    assert sweeps.table(data, "s", rank_by="margin").heading == "held-out reward margin"
    orders = {
        by: [one.name for one in sweeps.table(data, "s", rank_by=by).outcomes] for by in ("", "pair_loss", "loss")
    }
    assert orders == {
        "": ["s-2", "s-3", "s-1"],
        "pair_loss": ["s-3", "s-2", "s-1"],
        "loss": ["s-1", "s-3", "s-2"],
    }
    with pytest.raises(UsageError, match="dpo measures no 'acuracy'") as refused:
        sweeps.plan(data, Sweep("t", "dpo", "answers", ("beta=0.1,0.2",), rank_by="acuracy"))
    assert "'accuracy'" in refused.value.hint


def test_what_a_run_of_a_sweep_is_warned_of_stands_in_the_table(data: Bench) -> None:
    sweep = Sweep("s", "sft", "answers", ("lora_r=4,8",))
    runs = sweeps.launch(data, sweep, sweeps.plan(data, sweep), start_runner=nobody)
    directory = RunDirectory(Path(runs[0].directory))
    told = [{"name": "forgot", "level": "warning"}, {"name": "better", "level": "good"}, "odd"]
    directory.write_json(directory.findings_file, {"findings": told})
    assert [one.warnings for one in sweeps.table(data, "s").outcomes] == [("forgot",), ()]


def test_optuna_looks_for_the_highest_of_what_is_better_when_it_is_higher(
    data: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna")
    asked: list[str] = []
    create = optuna.create_study
    monkeypatch.setattr(optuna, "create_study", lambda **told: asked.append(told["direction"]) or create(**told))
    for by in ("", "margin"):
        sweep = Sweep("", "dpo", "answers", ("learning_rate=1e-5..1e-2",), search=OPTUNA, trials=4, rank_by=by)
        sweeps.plan(data, sweep)
    assert asked == ["minimize", "maximize"]


def test_every_run_of_a_sweep_is_measured_on_the_general_text_that_was_named(data: Bench, tmp_path: Path) -> None:
    general = tmp_path / "general.txt"
    general.write_text("A text about nothing.\n")
    plans = sweeps.plan(data, Sweep("", "sft", "answers", ("lora_r=4,8",), general=str(general), canaries="none"))
    assert [plan.spec.general for plan in plans] == ["general.txt", "general.txt"]
    assert all("general.jsonl" in plan.beside for plan in plans)


def test_random_settings_are_queued_at_once(data: Bench) -> None:
    plans = sweeps.plan(data, Sweep("s", "sft", "answers", SPACE, search=RANDOM, trials=5))
    assert len({(plan.spec.knobs["learning_rate"], plan.spec.knobs["lora_r"]) for plan in plans}) == 5


def test_optuna_is_asked_again_as_runs_end_and_goes_where_it_was_good(
    data: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    asking: list[str] = []
    monkeypatch.setattr(sweeps, "_start_asking", lambda bench, name: asking.append(name))
    sweep = Sweep("s", "sft", "answers", SPACE, search=OPTUNA, trials=14, allow=("leakage",))
    plans = sweeps.plan(data, sweep)
    sweeps.launch(data, sweep, plans, start_runner=nobody)
    assert len(plans) == sweeps.AT_ONCE and asking == ["s"]
    assert sweeps.ask_on(data, "s", start_runner=nobody) == []
    sweeps.keep_asking(data)
    assert asking == ["s", "s"]
    number = 1
    while True:
        for run in data.store.runs.list():
            if run.state is RunState.QUEUED:
                rate = float(train.spec(run).knobs["learning_rate"])
                # The best rate is the highest, by an order of magnitude each.
                bad = number == 3
                finish(data, run.name, -rate, RunState.FAILED if bad else RunState.FINISHED)
                number += 1
        if not sweeps.ask_on(data, "s", start_runner=nobody):
            break
    table = sweeps.table(data, "s")
    assert len(table.outcomes) == 14 and sweeps.is_asking_over(data, "s")
    assert not table.outcomes[-1].is_finished
    rates = [float(one.settings["learning_rate"]) for one in sorted(table.outcomes, key=lambda one: one.run_id)]
    # Blind draws would have one in three above 1e-3; the later half of a search has more.
    assert sum(rate > 1e-3 for rate in rates[7:]) >= 4
    sweeps.keep_asking(data)
    assert asking == ["s", "s"]


def test_without_optuna_the_hint_says_how_to_get_it(data: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UsageError, match="needs the package optuna") as refused:
        sweeps.plan(data, Sweep("", "sft", "answers", SPACE, search=OPTUNA, trials=4))
    assert "workbench[sweep]" in refused.value.hint


@pytest.fixture
def asked(data: Bench, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A sweep ``s`` of which two runs are queued; the names for which an asking process was started since."""
    started: list[str] = []
    monkeypatch.setattr(sweeps, "_start_asking", lambda bench, name: started.append(name))
    settings = [{"lora_r": "4"}, {"lora_r": "8"}, {"lora_r": "4"}, {"lora_r": "8"}]
    monkeypatch.setattr(sweeps, "_asked", lambda sweep, space, outcomes, count: settings[:count])
    sweep = Sweep("s", "sft", "answers", ("lora_r=4,8",), search=OPTUNA, trials=4, allow=("leakage",))
    sweeps.launch(data, sweep, sweeps.plan(data, sweep), start_runner=nobody)
    started.clear()
    return started


def test_a_trainer_that_changed_a_setting_leaves_the_sweep_what_was_asked_for(data: Bench, asked: list[str]) -> None:
    run = data.store.runs.get("s-1")
    RunDirectory(Path(run.directory)).adjust({"lora_r": 2})
    assert {one.settings["lora_r"] for one in sweeps.table(data, "s").outcomes} == {"4", "8"}


def test_asking_goes_on_after_a_run_of_the_sweep_was_deleted(data: Bench, asked: list[str]) -> None:
    for name in ("s-1", "s-2"):
        finish(data, name, 1.0)
    train.sync(data, start_runner=nobody)
    data.store.runs.remove(data.store.runs.get("s-1").id)
    assert [run.name for run in sweeps.ask_on(data, "s", start_runner=nobody)] == ["s-3", "s-4"]


def test_a_sweep_whose_runs_are_all_deleted_or_whose_file_is_broken_stops_no_other(
    data: Bench, asked: list[str]
) -> None:
    folder = data.workspace.runs / ".sweeps"
    (folder / "broken.json").write_text("{")
    odd = json.loads((folder / "s.json").read_text())
    (folder / "gone.json").write_text(json.dumps(odd | {"name": "gone"}))
    sweeps.keep_asking(data)
    assert asked == ["s"]


def test_a_sweep_with_a_slash_in_its_name_is_asked_for_by_that_name(data: Bench, asked: list[str]) -> None:
    sweep = Sweep("mine/1", "sft", "answers", ("lora_r=4,8",), search=OPTUNA, trials=4, allow=("leakage",))
    sweeps.launch(data, sweep, sweeps.plan(data, sweep), start_runner=nobody)
    asked.clear()
    sweeps.keep_asking(data)
    assert asked == ["mine/1", "s"]
