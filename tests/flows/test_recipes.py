"""Staged runs: planned whole, queued with what each waits for, gone on with, and written down again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from samples import IMPORTED, demo, pair, thumb
from workbench.domain.decisions import Action
from workbench.domain.examples import Split, Status
from workbench.domain.recipes import parse_recipe
from workbench.domain.runs import RECIPE, Run, RunState, RunStatus
from workbench.errors import DataError, RefusedError, RunError, UsageError
from workbench.flows import preflight, recipes, train
from workbench.flows.bench import Bench
from workbench.jobs.launch import ensure_runner
from workbench.jobs.run_directory import RunDirectory

FAKE = Path(__file__).parents[1] / "jobs" / "fake_trainer.py"
TEXT = """
name = "company"
[[stage]]
name = "general"
method = "sft"
dataset = "answers"
[stage.set]
lora_r = 4
[[stage]]
name = "domain"
method = "sft"
dataset = "answers"
[[stage]]
name = "prefer"
method = "dpo"
dataset = "pairs"
[stage.set]
beta = 0.3
"""


@pytest.fixture
def data(bench: Bench) -> Bench:
    for number in range(30):
        bench.store.examples.add("answers", demo(number), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
        bench.store.examples.add("pairs", pair(number + 100), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
    return bench


def queued(bench: Bench, text: str = TEXT, mode: str = "") -> list[Run]:
    start: Callable[[Path], object] = lambda runs: None  # noqa: E731 - a runner that never comes
    if mode:
        start = partial(ensure_runner, trainer=[sys.executable, str(FAKE), mode])
    return recipes.launch(bench, recipes.plan(bench, parse_recipe(text, where="r.toml")), start_runner=start)


def end(run: Run, state: RunState) -> None:
    RunDirectory(Path(run.directory)).write_status(RunStatus(state))


def states(bench: Bench, runs: list[Run]) -> list[str]:
    train.sync(bench, start_runner=lambda _: None)
    return [bench.store.runs.get(run.id).state.value for run in runs]


def test_each_stage_starts_from_what_the_one_before_it_will_have_made(data: Bench) -> None:
    general, domain, prefer = queued(data)
    specs = [train.spec(run) for run in (general, domain, prefer)]
    assert [(run.name, run.group, run.group_kind) for run in (general, domain, prefer)] == [
        ("company-general", "company", RECIPE),
        ("company-domain", "company", RECIPE),
        ("company-prefer", "company", RECIPE),
    ]
    assert specs[0].adapter == "" and specs[0].base == "pip"
    assert (specs[1].adapter, specs[1].adapter_path) == ("company-general", f"{general.directory}/adapter")
    assert (specs[2].adapter, specs[2].adapter_path) == ("company-domain", f"{domain.directory}/adapter")
    assert specs[2].base_path == specs[0].base_path
    assert [spec.knobs["lora_r"] for spec in specs] == [4, 4, 4]
    assert specs[2].knobs["beta"] == 0.3 and specs[2].eval_rows > 0
    tickets = [RunDirectory(Path(run.directory)).ticket().after for run in (general, domain, prefer)]
    assert tickets == ["", Path(general.directory).name, Path(domain.directory).name]


def test_a_stage_behind_one_that_trains_all_weights_starts_from_the_whole_model(data: Bench) -> None:
    text = TEXT.replace("lora_r = 4", 'adapter = "full"')
    general, domain, _ = queued(data, text)
    spec = train.spec(domain)
    assert (spec.base, spec.base_path, spec.adapter) == (general.name, f"{general.directory}/model", "")


def test_a_stage_is_looked_at_before_the_model_that_it_starts_from_is_there(data: Bench) -> None:
    plans = recipes.plan(data, parse_recipe(TEXT.replace("lora_r = 4", 'adapter = "full"')))
    first, second, third = (preflight.look(data, plan) for plan in plans)
    assert first.memory is not None and second.memory is not None and third.memory is not None
    assert second.lengths is not None and second.lengths.rows == plans[1].spec.train_rows


@pytest.mark.parametrize(
    ("old", "new", "kind", "where"),
    [
        ("beta = 0.3", "bta = 0.3", UsageError, "r.toml:13 (stage prefer, bta)"),
        ('dataset = "pairs"', 'dataset = "answers"', RefusedError, "r.toml:13 (stage prefer)"),
        ('method = "dpo"', 'method = "reward"', None, ""),
        ("beta = 0.3", "lora_r = 8", RefusedError, "r.toml:13 (stage prefer)"),
    ],
)
def test_a_stage_that_cannot_be_is_told_with_its_place(
    data: Bench, old: str, new: str, kind: type[Exception] | None, where: str
) -> None:
    text = TEXT.replace(old, new).replace("beta = 0.3", "beta = 0.3" if kind else "")
    if kind is None:
        text += '[[stage]]\nname = "after a judge"\nmethod = "sft"\ndataset = "answers"\n'
        with pytest.raises(DataError, match="cannot name a stage"):
            recipes.plan(data, parse_recipe(text, where="r.toml"))
        with pytest.raises(RefusedError, match="makes a reward model"):
            recipes.plan(data, parse_recipe(text.replace("after a judge", "late"), where="r.toml"))
        return
    with pytest.raises(kind) as refused:
        recipes.plan(data, parse_recipe(text, where="r.toml"))
    assert refused.value.where == where  # type: ignore[attr-defined]


def test_the_same_recipe_is_not_queued_twice_under_one_name(data: Bench) -> None:
    queued(data)
    with pytest.raises(RefusedError, match="there are runs of a recipe 'company' already"):
        queued(data)


def test_stages_run_in_their_order_to_the_end(data: Bench) -> None:
    runs = queued(data, mode="finish")
    for _ in range(1500):
        if states(data, runs) == ["finished"] * 3:
            break
        time.sleep(0.02)
    order = (data.workspace.runs / "order.txt").read_text().split()
    assert order == [Path(run.directory).name for run in runs]


def test_resuming_a_failed_stage_takes_up_those_that_were_cancelled_behind_it(data: Bench) -> None:
    general, domain, prefer = queued(data)
    end(general, RunState.FINISHED)
    end(domain, RunState.FAILED)
    from workbench.jobs.queue import queue, ready

    assert ready(queue(data.workspace.runs)) == []
    assert states(data, [general, domain, prefer]) == ["finished", "failed", "cancelled"]
    with pytest.raises(RunError, match="starts from the result of") as refused:
        train.resume(data, data.store.runs.get(prefer.id), start_runner=lambda _: None)
    assert "it takes company-prefer with it" in refused.value.hint
    train.resume(data, data.store.runs.get(domain.id), start_runner=lambda _: None)
    assert states(data, [general, domain, prefer]) == ["finished", "queued", "queued"]


def test_a_stage_that_a_person_cancelled_stays_so_when_the_one_before_it_goes_on(data: Bench) -> None:
    general, domain, prefer = queued(data)
    train.stop(data, data.store.runs.get(prefer.id))
    end(general, RunState.FAILED)
    end(domain, RunState.CANCELLED)
    train.sync(data, start_runner=lambda _: None)
    train.resume(data, data.store.runs.get(general.id), start_runner=lambda _: None)
    assert states(data, [general, domain, prefer]) == ["queued", "queued", "cancelled"]


def test_runs_written_as_a_recipe_make_the_same_runs_again(data: Bench) -> None:
    first = queued(data)
    text = recipes.written(data, recipes.stages_of(data, first[1]))
    again = queued(data, text)
    assert [run.name for run in again] == ["company-again-general", "company-again-domain", "company-again-prefer"]
    for old, new in zip(first, again, strict=True):
        before, after = train.spec(old), train.spec(new)
        assert (before.knobs, before.row_hash, before.method) == (after.knobs, after.row_hash, after.method)
    assert train.spec(again[2]).adapter == "company-again-domain"


def test_a_recipe_says_on_what_forgetting_is_measured_and_is_written_with_it(data: Bench, tmp_path: Path) -> None:
    general = tmp_path / "general.txt"
    general.write_text("A text about nothing.\n")
    head = f'name = "company"\ngeneral = "{general}"\ncanaries = "none"'
    runs = queued(data, TEXT.replace('name = "company"', head))
    assert [train.spec(run).general for run in runs] == ["general.txt"] * 3
    again = queued(data, recipes.written(data, runs))
    assert [train.spec(run).general for run in again] == ["general.txt"] * 3


# Replay


def test_a_share_of_another_dataset_is_replayed_and_told(data: Bench) -> None:
    for number in range(200):
        data.store.examples.add("old", demo(number + 500), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
    overrides = {"replay_dataset": "old", "replay_share": "0.25", "eval_share": "0.2"}
    plan = train.plan(data, method="sft", dataset="answers", overrides=overrides)
    own = train.plan(data, method="sft", dataset="answers", overrides={"eval_share": "0.2"})
    assert plan.spec.eval_example_ids == own.spec.eval_example_ids
    assert plan.spec.replay_rows == round(own.spec.train_rows / 3)
    assert plan.spec.train_rows == own.spec.train_rows + plan.spec.replay_rows
    replayed = plan.spec.example_ids[-plan.spec.replay_rows :]
    assert {data.store.examples.get(one).dataset for one in replayed} == {"old"}
    assert any("are replayed from old, 25% of the whole" in finding for finding in plan.findings)
    run = train.launch(data, plan, start_runner=lambda _: None)
    frozen = RunDirectory(Path(run.directory)).train_file.read_text().splitlines()
    assert len(frozen) == plan.spec.train_rows
    assert "question 5" in frozen[-1] or "question 6" in frozen[-1]
    more = train.plan(data, method="sft", dataset="answers", overrides={**overrides, "replay_share": "0.4"})
    assert set(replayed) < set(more.spec.example_ids[-more.spec.replay_rows :])


def test_the_share_that_is_replayed_is_one_of_rows_also_where_an_example_gives_several(data: Bench) -> None:
    for number in range(40):
        up = thumb(number + 900, label=number % 2 == 0)
        data.store.examples.add("thumbs", up, source=IMPORTED, status=Status.ACCEPTED, rater="rater")
    overrides = {"replay_dataset": "pairs", "replay_share": "0.2", "include_pairs": "true", "eval_share": "0"}
    plan = train.plan(data, method="kto", dataset="thumbs", overrides=overrides)
    assert (plan.spec.train_rows, plan.spec.replay_rows) == (50, 10)
    assert any("10 of the rows are replayed from pairs, 20% of the whole" in said for said in plan.findings)


def test_no_row_of_a_test_split_and_none_that_is_held_out_is_replayed(data: Bench) -> None:
    ids = []
    for number in range(40):
        example, _ = data.store.examples.add(
            "old", demo(number + 500), source=IMPORTED, status=Status.ACCEPTED, rater="rater"
        )
        ids.append(example.id)
    data.store.examples.change(ids[:10], Action.SPLIT, rater="rater", split=Split.TEST)
    data.store.examples.change(ids[10:20], Action.SPLIT, rater="rater", split=Split.VALIDATION)
    overrides = {"replay_dataset": "old", "replay_share": "0.9"}
    plan = train.plan(data, method="sft", dataset="answers", overrides=overrides)
    assert set(plan.spec.example_ids) & set(ids) == set(ids[20:])
    assert any("all that old has, where 90% were wanted" in finding for finding in plan.findings)


def test_a_test_row_of_another_dataset_is_refused_in_replayed_rows_too(data: Bench) -> None:
    for number in range(5):
        data.store.examples.add("old", demo(number + 500), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
    data.store.examples.add("exam", demo(503), source=IMPORTED, status=Status.ACCEPTED, rater="rater", split=Split.TEST)
    with pytest.raises(RefusedError, match="must not be trained on") as refused:
        overrides = {"replay_dataset": "old", "replay_share": "0.9", "eval_share": "0"}
        train.plan(data, method="sft", dataset="answers", overrides=overrides)
    assert "check --dataset old --only leakage --fix" in refused.value.hint


def test_a_dataset_that_is_named_to_measure_on_and_has_nothing_for_the_method_is_refused(data: Bench) -> None:
    with pytest.raises(RefusedError, match=r"pairs has no accepted demonstration .* to measure on") as refused:
        train.plan(data, method="sft", dataset="answers", eval_dataset="pairs")
    assert "--set include_chosen=true" in refused.value.hint


def test_a_dataset_with_nothing_to_replay_is_refused(data: Bench) -> None:
    with pytest.raises(RefusedError, match="pairs has no accepted demonstration to replay"):
        train.plan(data, method="sft", dataset="answers", overrides={"replay_dataset": "pairs"})


@pytest.mark.parametrize("method", ["dpo", "reward", "orpo", "cpo", "simpo"])
def test_a_method_of_pairs_replays_pairs_and_says_what_it_cannot_replay(method: str, data: Bench) -> None:
    for number in range(60):
        data.store.examples.add("old", pair(number + 500), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
    overrides = {"replay_dataset": "old", "replay_share": "0.25"}
    plan = train.plan(data, method=method, dataset="pairs", overrides=overrides)
    assert plan.spec.replay_rows == round((plan.spec.train_rows - plan.spec.replay_rows) / 3) > 0
    assert all("chosen" in row.row for row in plan.train_rows[-plan.spec.replay_rows :])
    with pytest.raises(RefusedError, match="answers has no accepted preference to replay"):
        train.plan(data, method=method, dataset="pairs", overrides={"replay_dataset": "answers"})
