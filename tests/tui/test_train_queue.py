"""Train with several runs: the queue's order, pages, overlays, recipes, sweeps, and stop-and-change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.visual import VisualType
from textual.widgets import Input, Static

from pilots import app_at, screen_text, until, until_shown
from samples import IMPORTED, demo
from workbench.domain.examples import Status
from workbench.domain.queues import Gpu
from workbench.domain.recipes import parse_recipe
from workbench.domain.runs import Run, RunState, RunStatus
from workbench.errors import Remedy
from workbench.flows import preflight, recipes, run_news, sweeps
from workbench.flows import train as flow
from workbench.flows.bench import Bench
from workbench.flows.sweeps import Sweep
from workbench.jobs.processes import ProcessIdentity
from workbench.jobs.run_directory import RunDirectory, mark_complete
from workbench.store.runs import Runs
from workbench.tui.screens import train
from workbench.tui.screens.train_form import TrainForm
from workbench.tui.screens.train_knobs import KnobLine
from workbench.tui.screens.train_queue import changed_values_of, sweep_of, values_of
from workbench.tui.widgets.plot import LinePlot


@pytest.fixture(autouse=True)
def nobody_works(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No runner is started."""
    for function in (flow.launch, flow.launch_all, flow.sync, flow.resume, recipes.launch, sweeps.launch):
        monkeypatch.setitem(function.__kwdefaults__, "start_runner", lambda runs: None)
    yield


@pytest.fixture
def data(bench: Bench) -> Bench:
    for number in range(30):
        bench.store.examples.add("answers", demo(number), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
    return bench


def queued(bench: Bench, name: str, **given: str) -> Run:
    return flow.launch(bench, flow.plan(bench, method="sft", dataset="answers", name=name, overrides=given))


def told(run: Run, *events: dict[str, object], state: RunState = RunState.FINISHED) -> None:
    directory = RunDirectory(Path(run.directory))
    with directory.events_file.open("a") as file:
        file.writelines(json.dumps(event | {"at_utc": "2026-01-01T00:00:00+00:00"}) + "\n" for event in events)
    own = ProcessIdentity.own()
    pid = (own.pid, own.started) if state.is_active else (None, None)
    directory.write_status(RunStatus(state, 4, 40, *pid))


def losses(*values: float) -> list[dict[str, object]]:
    return [{"event": "metrics", "step": step, "values": {"loss": v}} for step, v in enumerate(values, start=1)]


async def test_runs_show_their_place_in_the_queue_and_are_moved_in_it(data: Bench) -> None:
    for name in ("one", "two", "three"):
        queued(data, name)
    async with app_at(data, "train").run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "three sft - - - queued 3")
        await pilot.press("<")
        await until_shown(pilot, "three is number 2 in the queue", "three sft - - - queued 2", "two sft - - - queued 3")
        await pilot.press(">")
        await until_shown(pilot, "three sft - - - queued 3")


async def test_a_waiting_run_is_given_another_gpu(data: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = tuple(Gpu(i, f"GPU-{i}", "H200", 140 * 10**9, 90 * 10**9) for i in range(2))
    monkeypatch.setattr("workbench.jobs.devices.gpus", lambda: gpus)
    run = queued(data, "one")
    async with app_at(data, "train").run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "one sft")
        await pilot.press("u")
        await until_shown(pilot, "Where does one train?", "the freest GPU", "GPU 1 (H200) 90 of 140 GB free")
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: RunDirectory(Path(run.directory)).ticket().gpus == "1")


async def test_pages_show_samples_the_stages_the_queue_the_settings_and_the_rows(data: Bench, tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    stage = '[[stage]]\nname = "{}"\nmethod = "sft"\ndataset = "answers"\n'
    file.write_text('name = "company"\n' + stage.format("one") + stage.format("two"))
    first, _ = recipes.launch(data, recipes.plan(data, recipes.read(file)))
    asked = {"prompt": "[/b] say\x1b]0;x\x07 hello"}
    told(
        first,
        {"event": "sample", "step": 0, "which": "base", "answers": [asked | {"answer": "good day"}]},
        {"event": "sample", "step": 2, "which": "during", "answers": [asked | {"answer": "good day"}]},
        {"event": "sample", "step": 4, "which": "tuned", "answers": [asked | {"answer": "[red]hi"}]},
    )
    async with app_at(data, "train").run_test(size=(100, 30)) as pilot:
        await until_shown(pilot, "company-two")
        await pilot.press("down", "v")
        await until_shown(pilot, "[/b] say␛]0;x␇ hello", "step 0 good day", "step 2 (the same)", "step 4 [red]hi")
        await pilot.press("v")
        await until_shown(pilot, "recipe company: 2 stages", "company-one sft finished", "1. company-two")
        await pilot.press("v")
        await until_shown(pilot, "start pip", "command workbench train --method sft", "lora_alpha")
        await pilot.press("v")
        await until_shown(pilot, "held out sha256", "training rows", "prompt: question")
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.query_one(LinePlot).size.height > 0)


async def test_several_runs_are_laid_over_each_other_made_smooth_and_zoomed(data: Bench) -> None:
    for name in ("one", "two"):
        told(queued(data, name), *losses(*[2.0 + step / 10 for step in range(40)]))
    async with app_at(data, "train").run_test(size=(120, 30)) as pilot:
        plot = pilot.app.query_one(LinePlot)
        await until(pilot, lambda: "train 5.9" in plot.text)
        await pilot.press("down", "c", "up")
        await until(pilot, lambda: "two 5.9" in plot.text and "one 5.9" in plot.text)
        await until_shown(pilot, "+one sft")
        await pilot.press("e")
        await until(pilot, lambda: "two ~0.6" in plot.text)
        await pilot.press("+")
        await until(pilot, lambda: plot.window == (20.5, 40))
        await pilot.press("left")
        await until(pilot, lambda: plot.window is not None and plot.window[1] < 40)
        await pilot.press("0", "c")
        await until(pilot, lambda: plot.window is None)


async def test_the_settings_are_those_of_the_run_under_the_cursor(data: Bench) -> None:
    for name, rank in (("one", "4"), ("two", "8")):
        told(queued(data, name, lora_r=rank))
    async with app_at(data, "train").run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "lora_r 8")
        await pilot.press("down")
        await until_shown(pilot, "lora_r 4")
        await pilot.press("up")
        await until_shown(pilot, "lora_r 8")


async def test_f_plots_the_next_figure_that_the_run_has(data: Bench) -> None:
    rate = {"event": "metrics", "step": 1, "values": {"loss": 2.0, "learning_rate": 0.125}}
    told(queued(data, "one"), rate, {"event": "eval", "which": "tuned", "step": 4, "loss": 1.5})
    async with app_at(data, "train").run_test(size=(120, 30)) as pilot:
        plot = pilot.app.query_one(LinePlot)
        await until(pilot, lambda: "train 2" in plot.text)
        await pilot.press("f")
        await until(pilot, lambda: "held-out loss 1.5" in plot.text)
        await pilot.press("f")
        await until(pilot, lambda: "learning rate 0.125" in plot.text)
        await pilot.press("f")
        await until(pilot, lambda: "train 2" in plot.text)


async def test_another_learning_rate_is_stop_clone_change(data: Bench) -> None:
    run = queued(data, "one", lora_r="4")
    told(run, *losses(2.0), state=RunState.RUNNING)
    async with app_at(data, "train").run_test(size=(120, 44)) as pilot:
        await until_shown(pilot, "running")
        await pilot.press("E")
        await until_shown(pilot, "Stop one, and change its settings?")
        assert not RunDirectory(Path(run.directory)).requested()
        await pilot.press("y")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrainForm) and isinstance(pilot.app.focused, Input))
        assert RunDirectory(Path(run.directory)).requested() == "stop"
        form = pilot.app.screen
        assert isinstance(form, TrainForm) and pilot.app.focused is not None
        line = pilot.app.focused.parent
        assert isinstance(line, KnobLine) and line.knob.name == "learning_rate"
        assert form.values().overrides["lora_r"] == "4"


async def test_how_a_run_stopped_is_said_with_the_step_that_it_goes_on_from(data: Bench) -> None:
    run = queued(data, "one")
    told(run, state=RunState.RUNNING)
    async with app_at(data, "train").run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "running")
        saved = RunDirectory(Path(run.directory)).checkpoints / "checkpoint-4"
        saved.mkdir(parents=True)
        (saved / "weights").write_bytes(b"1234")
        mark_complete(saved)
        told(run, state=RunState.STOPPED)
        await until_shown(pilot, "one stopped at step 4; r resumes from step 4")


async def test_a_run_that_waits_is_taken_from_the_queue_to_be_changed(data: Bench) -> None:
    run = queued(data, "one")
    async with app_at(data, "train").run_test(size=(120, 44)) as pilot:
        await until_shown(pilot, "queued 1")
        await pilot.press("E")
        await until_shown(pilot, "Stop one, and change its settings?", "a new one begins")
        assert "saves a checkpoint" not in screen_text(pilot.app)  # type: ignore[arg-type]
        await pilot.press("y")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrainForm))
        status = RunDirectory(Path(run.directory)).status()
        assert status is not None and status.state is RunState.CANCELLED


async def test_a_recipe_file_is_checked_shown_and_queued(
    data: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a short name: every key takes its time
    file = Path("r.toml")
    file.write_text('name = "company"\n[[stage]]\nname = "one"\nmethod = "sft"\ndataset = "answers"\n')
    async with app_at(data, "train").run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "no runs yet")
        await pilot.press("p")
        await until_shown(pilot, "Queue a recipe")
        await pilot.press(*"no.toml", "enter")
        await until_shown(pilot, "cannot be read")
        await pilot.press("p")
        await until_shown(pilot, "Queue a recipe")
        await pilot.press(*str(file), "enter")
        # Not what was wrong before: this takes a while where there are many rows.
        await until_shown(pilot, "checking the stages of r.toml …")
        await until_shown(pilot, "Queue 1 run?", "company-one: sft, 28 rows")
        await pilot.press("y")
        await until_shown(pilot, "queued 1 run of company", "company-one")
        assert [run.group for run in data.store.runs.list()] == ["company"]


async def test_a_sweep_around_a_run_is_queued_and_its_table_shown(data: Bench) -> None:
    told(queued(data, "one", max_steps="5"))
    async with app_at(data, "train").run_test(size=(120, 34)) as pilot:
        await until_shown(pilot, "finished")
        await pilot.press("P")
        await until_shown(pilot, "Sweep around one")
        form = pilot.app.screen
        form.query(Input).first().value = "lora_r=4"
        await pilot.press("enter")
        await until_shown(pilot, "a sweep of one run")
        await pilot.press("P")
        await until_shown(pilot, "Sweep around one")
        pilot.app.screen.query(Input).first().value = "lora_r=4,8"
        await pilot.press("enter")
        await until_shown(pilot, "Queue 2 runs?", "answers-sft-sweep-2: sft, 28 rows, lora_r=8")
        await pilot.press("y")
        await until_shown(pilot, "queued 2 runs of answers-sft-sweep")
        made = [run for run in data.store.runs.list() if run.group]
        assert {flow.spec(run).knobs["lora_r"] for run in made} == {4, 8}
        assert {flow.spec(run).knobs["max_steps"] for run in made} == {5}


async def test_no_run_of_a_sweep_is_queued_while_one_of_them_is_refused_and_a_key_changes_all(
    data: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(bench: Bench, plan: flow.RunPlan, **_: object) -> preflight.Preflight:
        if plan.spec.knobs["per_device_train_batch_size"] == 1:
            return preflight.Preflight((), ())
        fewer = Remedy("fewer rows at once", {"per_device_train_batch_size": "1"})
        large = preflight.Refusal("memory", "it needs more than there is", (fewer,))
        return preflight.Preflight((), (large,) if plan.spec.knobs["lora_r"] == 64 else ())

    monkeypatch.setattr(preflight, "look", look)
    told(queued(data, "one", max_steps="5"))
    async with app_at(data, "train").run_test(size=(120, 34)) as pilot:
        await until_shown(pilot, "finished")
        await pilot.press("P")
        await until_shown(pilot, "Sweep around one")
        pilot.app.screen.query(Input).first().value = "lora_r=4,64"
        await pilot.press("enter")
        await until_shown(pilot, "it needs more than there is", "per_device_train_batch_size=1", "start it as it is")
        assert [run.name for run in data.store.runs.list()] == ["one"]
        await pilot.press("enter")
        await until_shown(pilot, "Queue 2 runs?")
        await pilot.press("y")
        await until(pilot, lambda: len(data.store.runs.list()) == 3)
        made = [run for run in data.store.runs.list() if run.group]
        assert {flow.spec(run).knobs["per_device_train_batch_size"] for run in made} == {1}


def test_what_is_made_around_a_run_is_measured_on_the_rows_that_it_was_measured_on(data: Bench) -> None:
    for number in range(40, 45):
        data.store.examples.add("exam", demo(number), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
    run = flow.launch(data, flow.plan(data, method="sft", dataset="answers", eval_dataset="exam"))
    values = changed_values_of(run)
    assert values_of(run).eval_dataset == values.eval_dataset == "exam"
    assert (
        sweep_of(values, {"space": "lora_r=4,8", "search": "grid", "trials": "", "rank_by": ""}).eval_dataset == "exam"
    )
    (stage,) = parse_recipe(recipes.written(data, [run])).stages
    assert stage.eval_dataset == "exam"


async def test_the_table_of_a_sweep_marks_the_best_and_says_what_that_is_worth(data: Bench) -> None:
    sweep = Sweep("tune", "sft", "answers", ("lora_r=4,8,16",))
    runs = sweeps.launch(data, sweep, sweeps.plan(data, sweep))
    for run, loss in zip(runs, (1.5, 1.25), strict=False):
        told(run, {"event": "eval", "which": "tuned", "step": 4, "loss": loss})
    async with app_at(data, "train").run_test(size=(120, 34)) as pilot:
        await until_shown(pilot, "tune-3")
        await pilot.press("v", "v")
        await until_shown(pilot, "sweep tune: 3 runs", "tune-2 8 1.25 finished ◀ best", "tune-1 4 1.5 finished")
        assert "picked as the best of 2" in screen_text(pilot.app)  # type: ignore[arg-type]


async def test_while_nothing_happens_a_tick_reads_no_curve_and_draws_nothing_and_still_sees_what_comes(
    data: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queued(data, "first")
    told(run, *losses(2.0, 1.5), state=RunState.STOPPED)
    done: list[str] = []
    ticks: list[tuple[bool, int]] = []
    look, draw = train.survey_if_new, train.TrainPane._draw
    readers = {name: getattr(Runs, name) for name in ("metrics", "newest_metric")}

    def looked(bench: Bench, wanted: train.Wanted, last: train.Survey) -> train.Survey | None:
        found = look(bench, wanted, last)
        ticks.append((found is None, len(done)))
        return found

    def watched(reader: str) -> Callable[..., object]:
        def read_one(self: Runs, run_id: int, name: str, **rest: object) -> object:
            done.append(name)
            return readers[reader](self, run_id, name, **rest)

        return read_one

    def drawn(self: train.TrainPane) -> None:
        done.append("drawn")
        draw(self)

    monkeypatch.setattr(train, "TICK_S", 0.1)
    monkeypatch.setattr(train, "survey_if_new", looked)
    for reader in readers:
        monkeypatch.setattr(Runs, reader, watched(reader))
    monkeypatch.setattr(train.TrainPane, "_draw", drawn)
    async with app_at(data, "train").run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "stopped at step 4")
        await until(pilot, lambda: len(ticks) > 3 and ticks[-1][0] and len(set(ticks[-4:])) == 1)
        told(run, {"event": "metrics", "step": 3, "values": {"loss": 0.25}}, state=RunState.FAILED)
        await until_shown(pilot, "FAILED", "0.25")
        queued(data, "second")
        await until_shown(pilot, "second", "queued 1")
        assert run_news.standstill(data, flow.runs(data)) is None  # a trainer may end without a word


async def test_a_tick_of_a_run_at_work_lays_the_screen_out_anew_only_for_more_lines(
    data: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queued(data, "first")
    told(run, *losses(2.0, 1.5), state=RunState.RUNNING)
    updates: list[tuple[str | None, bool]] = []
    update = Static.update

    def updated(self: Static, content: VisualType = "", *, layout: bool = True) -> None:
        updates.append((self.id, layout))
        update(self, content, layout=layout)

    async with app_at(data, "train").run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "running", "1.5")
        monkeypatch.setattr(Static, "update", updated)
        told(run, *losses(2.0, 1.5, 0.25), state=RunState.RUNNING)
        await until_shown(pilot, "0.25")
        log = RunDirectory(Path(run.directory)).log_file
        assert {name for name, _ in updates if name} <= {"train-figures"} and not any(laid for _, laid in updates)
        log.write_text("one line more\n")
        told(run, *losses(2.0, 1.5, 0.25, 0.75), state=RunState.RUNNING)
        await until_shown(pilot, "one line more")
        assert ("train-log", True) in updates
