"""The Train pane: runs that others work on are shown as they are, and keys reach the flows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from textual.widgets import Input

from pilots import app_at, screen_lines, until, until_shown
from samples import IMPORTED, demo, pair, user
from workbench.config import Appearance, Settings
from workbench.domain.examples import Status, demonstration
from workbench.domain.methods import knob_text
from workbench.domain.models import ModelKind
from workbench.domain.runs import Run, RunState, RunStatus
from workbench.errors import RunError
from workbench.flows import datasets, preflight
from workbench.flows import train as flow
from workbench.flows.bench import Bench
from workbench.jobs.devices import Device
from workbench.jobs.processes import ProcessIdentity
from workbench.jobs.run_directory import RunDirectory, spec_as_dict
from workbench.tui import run_pages
from workbench.tui.app import WorkbenchApp
from workbench.tui.messages import ModelsChanged, News, RunsChanged
from workbench.tui.screens.arena_form import load_round
from workbench.tui.screens.train_form import FormValues, TrainForm, load_form
from workbench.tui.screens.train_knobs import KnobLine
from workbench.tui.widgets.listing import PlainListing
from workbench.tui.widgets.picker import Picker
from workbench.tui.widgets.plot import LinePlot

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """No runner is started; the folders for which one was wanted."""
    wanted: list[Path] = []
    for function in (flow.launch, flow.sync, flow.resume):
        monkeypatch.setitem(function.__kwdefaults__, "start_runner", wanted.append)
    yield wanted


@pytest.fixture
def data(bench: Bench) -> Bench:
    """A bench with a dataset per method."""
    for number in range(30):
        bench.store.examples.add("answers", demo(number), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
        bench.store.examples.add("pairs", pair(number), source=IMPORTED, status=Status.ACCEPTED, rater="rater")
    return bench


def queued(bench: Bench, name: str = "first") -> Run:
    plan = flow.plan(bench, method="sft", dataset="answers", name=name)
    return flow.launch(bench, plan, start_runner=lambda _: None)


def at_work(run: Run, step: int, total: int = 40) -> None:
    """The run's folder as a trainer leaves it after ``step`` steps; the process is this one."""
    me = ProcessIdentity.own()
    status = RunStatus(RunState.RUNNING, step, total, me.pid, me.started, started_utc=START.isoformat())
    RunDirectory(Path(run.directory)).write_status(status)


def over(run: Run, state: RunState, step: int = 40, *, error: str = "", hint: str = "") -> None:
    ended = (START + timedelta(seconds=90)).isoformat()
    status = RunStatus(state, step, 40, started_utc=START.isoformat(), ended_utc=ended, error=error, hint=hint)
    RunDirectory(Path(run.directory)).write_status(status)


def events(run: Run, *losses: float | None, base: float | None = None, tuned: float | None = None) -> None:
    """Append one metrics event per loss, two seconds apart; ``base`` and ``tuned`` are held-out losses."""
    directory = RunDirectory(Path(run.directory))
    done = sum(event["event"] == "metrics" for event in directory.events()[0])
    lines: list[dict[str, object]] = []
    if base is not None:
        lines.append({"event": "eval", "which": "base", "step": 0, "loss": base})
    for step, loss in enumerate(losses, start=done + 1):
        values = {"loss": loss, "learning_rate": 0.001 / step, "tokens_per_second": 5000.0}
        lines.append({"event": "metrics", "step": step, "values": values, "seconds": 2 * step})
    last = done + len(losses)
    if tuned is not None:
        lines.append({"event": "eval", "which": "tuned", "step": last, "loss": tuned})
    lines.append({"event": "device", "step": last, "values": {"memory_bytes": 2.5e9, "cpu_percent": 180.0}})
    with directory.events_file.open("a") as file:
        for line in lines:
            at = START + timedelta(seconds=float(str(line.pop("seconds", 0))))
            file.write(json.dumps(line | {"at_utc": at.isoformat()}) + "\n")
    with directory.log_file.open("a") as file:
        file.writelines(f"step {step} done\n" for step in range(done + 1, last + 1))


async def test_a_running_run_shows_curve_figures_time_left_and_log(data: Bench) -> None:
    run = queued(data)
    at_work(run, 10)
    events(run, *[2.0 - 0.1 * i for i in range(10)], base=2.5, tuned=1.25)
    app = app_at(data, "train")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "10/40", "running", "train 1.1", "held-out 1.25", "tok/s 5.0k", "mem 2.5 GB")
        await until_shown(pilot, "left ~1m 00s", "step 10 done")  # 30 steps of 2 seconds; fewer than 20 were timed
        assert all(len(line) == 80 for line in screen_lines(app))


async def test_new_events_are_taken_in_while_one_watches(data: Bench) -> None:
    run = queued(data)
    at_work(run, 2)
    events(run, 2.0, 1.9)
    app = app_at(data, "train")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "2/40")
        events(run, 1.8, 1.5)
        at_work(run, 4)
        await until_shown(pilot, "4/40", "train 1.5")


async def test_a_run_that_ends_is_said_once_with_a_bell_and_news(data: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = queued(data)
    at_work(run, 2)
    events(run, 2.0, 1.9, base=2.0)
    app = app_at(data, "train")
    bells: list[int] = []
    monkeypatch.setattr(app, "bell", lambda: bells.append(1))
    heard: list[News] = []
    async with app.run_test(
        size=(120, 30), message_hook=lambda m: heard.append(m) if isinstance(m, News) else None
    ) as p:
        await until_shown(p, "2/40")
        events(run, 1.0, tuned=1.0)
        over(run, RunState.FINISHED)
        await until_shown(p, "finished in 1m 30s", "held-out loss 2 → 1 (-50 %)")
        await until(p, lambda: bells)
        await p.pause(1.2)
        assert bells == [1]
        assert any(isinstance(news, ModelsChanged) for news in heard)
        assert any(isinstance(news, RunsChanged) and news.run_ids == (run.id,) for news in heard)


async def test_without_the_bell_setting_nothing_rings(data: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = queued(data)
    at_work(run, 2)
    app = app_at(data, "train", Settings(appearance=Appearance(bell=False)))
    monkeypatch.setattr(app, "bell", lambda: pytest.fail("it rang"))
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "2/40")
        over(run, RunState.FINISHED)
        await until_shown(pilot, "finished in")


async def test_a_lost_run_says_so_with_its_last_lines_and_the_way_back(data: Bench) -> None:
    run = queued(data)
    events(run, 2.0, 1.9)
    directory = RunDirectory(Path(run.directory))
    directory.write_status(RunStatus(RunState.RUNNING, 2, 40, 999_999_999, 1.0, started_utc=START.isoformat()))
    app = app_at(data, "train")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "LOST at step 2: the trainer is gone", "r starts it again", "step 2 done")


async def test_a_refusal_is_told_and_a_key_sets_what_mends_it(data: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    data.store.examples.add(
        "answers", demonstration(user("tell"), "x" * 2000), source=IMPORTED, status=Status.ACCEPTED, rater="r"
    )
    half = flow.plan(data, method="sft", dataset="answers", overrides={"per_device_train_batch_size": "8"})
    memory = preflight.look(data, half).memory
    assert memory is not None
    small = Device("cpu", "main memory", 2 * memory.total, memory.total)
    monkeypatch.setattr(preflight, "training_device", lambda wanted: small)
    values = FormValues("sft", dataset="answers", overrides={"per_device_train_batch_size": "16"})
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44)) as pilot:
        form = load_form(data, values)
        answers: list[object] = []
        app.push_screen(form, answers.append)
        await until_shown(pilot, "it needs about", "^r changes it")
        await pilot.press("ctrl+s")
        await until_shown(pilot, "Change what?", "start it as it is")
        assert answers == []
        await pilot.press("enter")
        await until(pilot, lambda: "gradient_accumulation_steps" in form.values().overrides)
        await until_shown(pilot, "✓")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(answers) == 1)
        (plan,) = answers
        assert isinstance(plan, flow.RunPlan)
        rows = int(plan.spec.knobs["per_device_train_batch_size"]) * int(plan.spec.knobs["gradient_accumulation_steps"])
        assert rows == 16 and plan.spec.knobs["per_device_train_batch_size"] == 8


@pytest.mark.parametrize("way", ["reject", "same"])
async def test_rows_that_must_not_be_trained_on_are_rejected_or_allowed_by_a_key(data: Bench, way: str) -> None:
    secret = demonstration(user("What is the answer?"), "It is <|im_start|> or so, at great length.")
    example, _ = data.store.examples.add("answers", secret, source=IMPORTED, status=Status.ACCEPTED, rater="r")
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44)) as pilot:
        form = load_form(data, FormValues("sft", dataset="answers"))
        answers: list[object] = []
        app.push_screen(form, answers.append)
        await until_shown(pilot, "must not be trained on", "^r changes it")
        await pilot.press("ctrl+s")
        await until_shown(pilot, "Change what?", "reject 1 example", "train on them all the same")
        await pilot.press(*way, "enter")
        await until_shown(pilot, "✓")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(answers) == 1)
        (plan,) = answers
        assert isinstance(plan, flow.RunPlan)
        status = data.store.examples.get(example.id).status
        allowed = ("template_tokens",) if way == "same" else ()
        assert (status is Status.REJECTED, plan.allow) == (way == "reject", allowed)
        assert plan.command.endswith("--allow template_tokens") is (way == "same")


async def test_what_was_allowed_of_some_rows_is_not_allowed_of_others(data: Bench) -> None:
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44)) as pilot:
        form = load_form(data, FormValues("sft", dataset="answers", allow=("leakage",)))
        app.push_screen(form)
        await until_shown(pilot, "same as:", "--allow leakage")
        assert form.values().allow == ("leakage",)
        app.screen.query_one("#form-method", Picker).choose("dpo")
        await until(pilot, lambda: form.values().allow == ())


async def test_a_dataset_of_another_kind_is_trained_on_by_a_key(data: Bench) -> None:
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44)) as pilot:
        form = load_form(data, FormValues("sft", dataset="pairs"))
        app.push_screen(form)
        await until_shown(pilot, "pairs has no accepted demonstration", "^r changes it")
        await pilot.press("ctrl+r")
        await until_shown(pilot, "Change what?", "include_chosen=true")
        await pilot.press("enter")
        await until_shown(pilot, "✓")


async def test_a_refusal_that_nobody_may_allow_has_no_way_past_it(data: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    against = preflight.Refusal("", "the stop token is not in the loss", hint="the template must write it")
    monkeypatch.setattr(preflight, "look", lambda bench, plan, **_: preflight.Preflight((), (against,)))
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44), notifications=True) as pilot:
        answers: list[object] = []
        app.push_screen(load_form(data, FormValues("sft", dataset="answers")), answers.append)
        await until_shown(pilot, "✗ the stop token is not in the loss", "the template must write it")
        await pilot.press("ctrl+s")
        await until_shown(pilot, "nothing can be changed here")
        assert answers == []


async def test_a_start_waits_until_the_plan_was_looked_at_and_a_refusal_holds_it(
    data: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = threading.Event()
    refused = preflight.Preflight((), (preflight.Refusal("memory", "it needs more than there is", ()),))

    def look(bench: Bench, plan: flow.RunPlan, *, count: bool = True, **_: object) -> preflight.Preflight:
        if count:
            counted.wait(20)
        return refused

    monkeypatch.setattr(preflight, "look", look)
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44)) as pilot:
        answers: list[object] = []
        app.push_screen(load_form(data, FormValues("sft", dataset="answers")), answers.append)
        await until_shown(pilot, "counting tokens")
        await pilot.press("ctrl+s")
        await until_shown(pilot, "starts as soon as that is looked at")
        assert answers == []
        counted.set()
        await until_shown(pilot, "Change what?", "it needs more than there is")
        assert answers == []


async def test_a_start_whose_look_came_to_nothing_is_looked_at_again_by_the_next(
    data: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []

    def look(bench: Bench, plan: flow.RunPlan, *, count: bool = True, **_: object) -> preflight.Preflight:
        looks.append(count)
        if len(looks) == 1:
            raise RunError("the child that counts is gone")
        return preflight.Preflight((), ())

    monkeypatch.setattr(preflight, "look", look)
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44)) as pilot:
        answers: list[object] = []
        app.push_screen(load_form(data, FormValues("sft", dataset="answers")), answers.append)
        await until_shown(pilot, "the child that counts is gone")
        assert answers == []
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(answers) == 1)
        assert isinstance(answers[0], flow.RunPlan) and len(looks) == 2


def test_a_dataset_whose_rows_are_all_deleted_is_not_offered(data: Bench) -> None:
    names = [dataset.name for dataset in datasets.shown(data)]
    form = load_form(data, FormValues(dataset="pairs"))
    assert [one.name for one in form._datasets] == names and "pairs" in names
    datasets.delete(data, "pairs")
    data.store.models.add("other", ModelKind.ADAPTER, "/nowhere", base="pip")
    form = load_form(data, FormValues(dataset="pairs"))
    assert "pairs" not in {one.name for one in form._datasets} and form._start_values.dataset != "pairs"
    assert "pairs" not in load_round(data)._datasets


async def test_a_run_that_waits_for_the_disk_says_so_and_what_to_do(data: Bench) -> None:
    run = queued(data)
    at_work(run, 4)
    app = app_at(data, "train")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "4/40")
        directory = RunDirectory(Path(run.directory))
        status = directory.status()
        assert status is not None
        error, hint = "the disk is full at step 4", "free some space"
        directory.write_status(replace(status, state=RunState.PAUSED, error=error, hint=hint))
        await until_shown(pilot, "PAUSED: the disk is full at step 4 · free some space")


def test_names_and_values_from_a_foreign_folder_reach_the_pages_clean(data: Bench) -> None:
    run, evil = queued(data), "a\x1b]52;c;AAAA\x07"
    directory = RunDirectory(Path(run.directory))
    told = directory.spec()
    odd = replace(told, knobs={**told.knobs, evil: evil}, versions={evil: evil})
    directory.write_json(directory.root / "spec.json", spec_as_dict(odd))
    directory.adjust({evil: "other"})
    directory.events_file.write_text(
        json.dumps({"event": "sample", "step": evil, "answers": [{"prompt": evil, "answer": evil}]}) + "\n"
    )
    for name in ("config", "samples"):
        shown = run_pages.page(data, run, name, 80).plain
        assert "AAAA" in shown and "\x1b" not in shown and "\x07" not in shown


async def test_a_failed_run_shows_its_error_and_what_to_do(data: Bench) -> None:
    run = queued(data)
    over(run, RunState.FAILED, 7, error="out of memory at \x1b]0;x\x07[/b]", hint="halve the batch")
    app = app_at(data, "train")
    async with app.run_test(size=(100, 24)) as pilot:
        await until_shown(pilot, "FAILED: out of memory at ␛]0;x␇[/b] · halve the batch")


async def test_a_loss_that_is_no_number_is_said_in_words(data: Bench) -> None:
    run = queued(data)
    at_work(run, 4)
    events(run, 2.0, 1.9, None, None)
    app = app_at(data, "train")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "2 not a number, first at step 3")
        await until_shown(pilot, "the loss is not a number since step 3; stop it (s)")


async def test_the_cursor_chooses_the_run_that_is_shown(data: Bench) -> None:
    for name in ("one", "two"):
        run = queued(data, name)
        events(run, 2.0)
        over(run, RunState.STOPPED)
    app = app_at(data, "train")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "two sft pip ← answers")
        await pilot.press("down")
        await until_shown(pilot, "one sft pip ← answers")


async def test_s_asks_the_trainer_to_stop_with_a_checkpoint(data: Bench) -> None:
    run = queued(data)
    at_work(run, 2)
    app = app_at(data, "train")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "2/40")
        await pilot.press("s")
        await until(pilot, lambda: RunDirectory(Path(run.directory)).requested() == "stop")
        await until_shown(pilot, "first saves a checkpoint and stops")


async def test_a_kill_needs_the_runs_name(data: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[str] = []
    monkeypatch.setattr(flow, "kill", lambda _bench, run: killed.append(run.name))
    run = queued(data)
    at_work(run, 2)
    app = app_at(data, "train")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "2/40")
        await pilot.press("k")
        await until_shown(pilot, "Kill first?")
        await pilot.press(*"wrong", "enter")
        await until_shown(pilot, "that is not the name")
        await pilot.press(*["backspace"] * 5, *"first", "enter")
        await until(pilot, lambda: killed == ["first"])


async def test_r_queues_a_stopped_run_again(data: Bench, started: list[Path]) -> None:
    run = queued(data)
    over(run, RunState.STOPPED, 5)
    app = app_at(data, "train")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "stopped at step 5")
        await pilot.press("r")
        await until(pilot, lambda: data.store.runs.get(run.id).state is RunState.QUEUED)
        assert data.workspace.runs in started


async def test_enter_zooms_l_shows_the_log_and_escape_comes_back(data: Bench) -> None:
    run = queued(data)
    events(run, *[2.0] * 60)
    over(run, RunState.STOPPED)
    app = app_at(data, "train")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "step 60 done")
        low = app.query_one(LinePlot).size.height
        await pilot.press("enter")
        await until(pilot, lambda: app.query_one(LinePlot).size.height > low + 4)
        await pilot.press("l")
        await until(pilot, lambda: app.query_one(LinePlot).size.height == 0)
        await until_shown(pilot, "step 45 done")
        await pilot.press("escape")
        await until(pilot, lambda: app.query_one(LinePlot).size.height == low)
        assert isinstance(app.focused, PlainListing)


async def test_y_makes_the_axis_logarithmic(data: Bench) -> None:
    run = queued(data)
    events(run, 100.0, 1.0, 0.01)
    over(run, RunState.STOPPED)
    app = app_at(data, "train")
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "train 0.01")
        assert "log y" not in app.query_one(LinePlot).text
        await pilot.press("y")
        await until(pilot, lambda: "log y" in app.query_one(LinePlot).text)


async def test_without_runs_the_pane_says_how_to_make_one(bench: Bench) -> None:
    app = app_at(bench, "train")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "no runs yet: n sets one up")
        await pilot.press("s", "k", "r", "R", "A")
        await until_shown(pilot, "there is no run here yet")
        await pilot.press("n")
        await until_shown(pilot, "there is no dataset yet")


async def test_the_form_starts_a_run_with_what_was_chosen(data: Bench, started: list[Path]) -> None:
    app = app_at(data, "train")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "no runs yet")
        await pilot.press("n")
        await until_shown(pilot, "New run", "same as:")
        form = app.screen
        assert isinstance(form, TrainForm)
        form.query_one("#form-method", Picker).choose("sft")
        form.query_one("#form-dataset", Picker).choose("answers")
        await until_shown(pilot, "--method sft", "--dataset answers", "✓")
        line = next(line for line in form.query(KnobLine) if line.knob.name == "learning_rate")
        line.query_one(Input).value = "0.0123"
        await until_shown(pilot, "--set learning_rate=0.0123")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: data.store.runs.list())
        run = data.store.runs.list()[0]
        assert flow.spec(run).knobs["learning_rate"] == 0.0123
        assert data.workspace.runs in started
        await until_shown(pilot, f"queued {run.name}")
        assert app.query_one("#train-runs", PlainListing).key == str(run.id)


async def test_keys_pressed_before_the_workspace_is_open_wait_for_it(data: Bench) -> None:
    gate = threading.Event()

    def opened_late() -> Bench:
        gate.wait(20)
        return data

    app = WorkbenchApp(opened_late, first_pane="train")
    async with app.run_test(size=(120, 44)) as pilot:
        await pilot.press("n", "s", "enter", "escape", "l", "l")
        assert not isinstance(app.screen, TrainForm)
        gate.set()
        await until_shown(pilot, "New run")


async def test_a_wrong_value_is_said_in_its_line_and_nothing_starts(data: Bench) -> None:
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44)) as pilot:
        await until_shown(pilot, "no runs yet")
        await pilot.press("n")
        await until_shown(pilot, "same as:")
        line = next(line for line in app.screen.query(KnobLine) if line.knob.name == "lora_r")
        line.query_one(Input).value = "many"
        await until_shown(pilot, "✗ lora_r takes a whole number, not 'many'")
        await pilot.press("ctrl+s")
        await pilot.pause(0.5)
        assert isinstance(app.screen, TrainForm)
        assert data.store.runs.list() == []


async def test_a_refused_plan_shows_the_reason_and_the_way_out(data: Bench) -> None:
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44)) as pilot:
        await until_shown(pilot, "no runs yet")
        await pilot.press("n")
        await until_shown(pilot, "same as:")
        app.screen.query_one("#form-method", Picker).choose("sft")
        app.screen.query_one("#form-dataset", Picker).choose("pairs")
        await until_shown(pilot, "✗ pairs has no accepted demonstration", "include_chosen")


async def test_another_method_goes_to_a_dataset_that_fits_it(data: Bench) -> None:
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44)) as pilot:
        await until_shown(pilot, "no runs yet")
        await pilot.press("n")
        await until_shown(pilot, "--method sft --dataset answers")
        app.screen.query_one("#form-method", Picker).choose("dpo")
        await until_shown(pilot, "--method dpo --dataset pairs")


async def test_every_knob_of_every_method_has_a_line_in_the_form(data: Bench) -> None:
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44)) as pilot:
        await until_shown(pilot, "no runs yet")
        await pilot.press("n")
        await until_shown(pilot, "New run")
        for name, method in flow.methods().items():
            app.screen.query_one("#form-method", Picker).choose(name)
            wanted = {knob.name for knob in method.knobs}
            await until(pilot, lambda wanted=wanted: {x.knob.name for x in app.screen.query(KnobLine)} == wanted)


async def test_the_form_shows_the_settings_of_the_chosen_adapter_and_of_no_other(data: Bench) -> None:
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44)) as pilot:
        await until_shown(pilot, "no runs yet")
        await pilot.press("n")
        await until_shown(pilot, "New run", "lora_r", "same as:")
        form = app.screen
        assert isinstance(form, TrainForm)
        lines = {line.knob.name: line for line in form.query(KnobLine)}
        lines["lora_r"].query_one(Input).value = "4"
        await until_shown(pilot, "lora_r=4")
        lines["adapter"].query_one(Picker).choose("prompt")
        await until_shown(pilot, "num_virtual_tokens", "adapter=prompt")
        assert not lines["lora_r"].display and "lora_r" not in form.values().overrides
        lines["adapter"].query_one(Picker).choose("lora")
        await until_shown(pilot, "lora_r=4")


async def test_rerun_fills_the_form_from_the_run(data: Bench) -> None:
    plan = flow.plan(data, method="dpo", dataset="pairs", name="first", overrides={"beta": "0.33"})
    run = flow.launch(data, plan)
    over(run, RunState.STOPPED)
    app = app_at(data, "train")
    async with app.run_test(size=(120, 44)) as pilot:
        await until_shown(pilot, "stopped at step")
        await pilot.press("R")
        await until_shown(pilot, "--method dpo", "--dataset pairs", "--set beta=0.33")


async def test_the_same_command_is_copied(data: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_at(data, "train")
    copied: list[str] = []
    monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
    async with app.run_test(size=(120, 44)) as pilot:
        await until_shown(pilot, "no runs yet")
        await pilot.press("n")
        await until_shown(pilot, "same as:")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: copied)
        assert copied[0].startswith("workbench train --method ")


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (160, 45), (240, 60)])
async def test_nothing_is_cut_at_any_size(data: Bench, size: tuple[int, int]) -> None:
    run = queued(data)
    at_work(run, 10)
    events(run, *[2.0 - 0.1 * i for i in range(10)], base=2.5, tuned=1.25)
    app = app_at(data, "train")
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "10/40", "held-out 1.25", "tok/s", "step 10 done", "n New", "F1 Help")
        for widget in app.screen.query("TrainPane *").exclude("VerticalScroll *"):
            if widget.display and widget.region.area:
                assert app.screen.region.contains_region(widget.region), widget


def test_a_knobs_text_parses_back_to_the_same_value() -> None:
    for method in flow.methods().values():
        for knob in method.knobs:
            assert knob.parse(knob_text(knob.default)) == knob.default
    assert knob_text(1 / 3) == repr(1 / 3)
