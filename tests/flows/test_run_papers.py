"""A run's page, its removal, its differences to another, and the same run once more."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from finished_run import add_rows, finish, launched, nobody
from workbench.domain.decisions import Action
from workbench.domain.examples import Split
from workbench.domain.runs import RunState
from workbench.errors import NotFoundError, RefusedError, RunError
from workbench.flows import registry, rerun, run_diff, run_papers, run_scores, train
from workbench.flows.bench import Bench
from workbench.jobs.run_directory import RunDirectory, spec_as_dict

HOSTILE = "</pre><script>alert(1)</script> | `x` \x1b]52;c;AAAA\x07 ![a](http://example.com/a.png)"


def test_a_page_says_what_the_numbers_say_and_holds_what_made_them(bench: Bench) -> None:
    add_rows(bench)
    run = launched(bench, name="mine", learning_rate="1e-4")
    directory = finish(bench, run)
    made = run_papers.report(run)
    text, html = made.markdown.read_text(), made.html.read_text()
    for part in (
        "It forgot: loss on general text 1 → 1.3",
        "held-out loss",
        "-40.0 %",
        directory.spec().row_hash,
        "learning_rate",
        "0.0001",
        "import of a.jsonl",
        "workbench train --method sft --dataset chats --model pip --preset tiny --name mine",
        "training on 27 rows",
        bench.store.models.get("pip").sha256,
        "1 min 5 s",
        " CPUs",
    ):
        assert part in re.sub(r"\\(.)", r"\1", text), part
        assert part in html, part
    assert made.summary["retention"]["forgot"] is True
    assert made.summary["held_out"]["loss"] == {"base": 2.0, "tuned": 1.2}


def test_the_page_of_pairs_judges_by_the_loss_of_the_pairs_and_draws_that_of_the_answers_apart(bench: Bench) -> None:
    add_rows(bench)
    run = launched(bench, name="mine")
    directory = finish(bench, run)
    answers = (0.28, 0.9, 0.31)
    events = [
        {
            "event": "eval",
            "which": which,
            "step": step,
            "loss": loss,
            "accuracy": right,
            "margin": 0.1,
            "pair_loss": pairs,
        }
        for which, step, loss, right, pairs in (
            ("base", 0, answers[0], 0.5, 0.69),
            ("during", 2, answers[1], 0.9, 0.4),
            ("tuned", 3, answers[2], 0.95, 0.3),
        )
    ]
    directory.events_file.write_text("".join(json.dumps(event) + "\n" for event in events))
    made = run_papers.report(run)
    said = {found["name"]: found["said"] for found in made.summary["findings"]}
    assert (
        "held-out loss of the pairs 0.69 → 0.3" in said["better"] and "95% of the held-out rows" in said["preference"]
    )
    # The loss of the answers was highest in the middle, which says nothing of the pairs.
    assert "overfitting" not in said
    html = made.html.read_text()
    assert "● held-out loss of the pairs" in html and "● held-out loss of answers" in html


def test_a_page_is_one_file_that_loads_nothing_and_runs_nothing_whatever_a_model_said(
    bench: Bench, tmp_path: Path
) -> None:
    add_rows(bench, said=HOSTILE)
    run = launched(bench)
    finish(bench, run, canaries=[(HOSTILE, HOSTILE, "fine")], scores={1: (3.0, 2.0)})
    run_papers.report(run, to=tmp_path / "copy.html")
    html = (tmp_path / "copy.html").read_text()
    assert "<script" not in html and "\x1b" not in html
    assert not re.search(r"<(img|link|iframe|object|embed)|(src|href)=", html)
    assert "default-src &#x27;none&#x27;" in html and "<svg" in html
    run_papers.report(run, to=tmp_path / "copy.md")
    text = (tmp_path / "copy.md").read_text()
    outside = re.sub(r"(?ms)^(`{3,})text$.*?^\1$", "", text)
    assert not re.search(r"(?<!\\)(<|!\[)", outside) and "\x1b" not in text


def test_the_page_of_a_run_that_is_not_over_is_written_too_and_of_a_lost_folder_is_refused(bench: Bench) -> None:
    add_rows(bench)
    run = launched(bench)
    assert "queued" in run_papers.report(run).html.read_text()
    with pytest.raises(RunError):
        run_papers.report(replace(run, directory="/nowhere"))


def test_the_scores_of_a_finished_run_are_in_the_store_and_go_with_it(bench: Bench) -> None:
    ids = add_rows(bench)
    run = launched(bench)
    finish(bench, run, scores={ids[0]: (3.0, 0.5)})
    run_scores.take_over(bench, run, RunDirectory(Path(run.directory)))
    (score,) = run_scores.of_example(bench, ids[0])
    assert run_scores.sentence(score) == f"loss 3 → 0.5 · {run.name} (held out, 5 tokens)"
    assert run_scores.named_order(bench, f"-loss@{run.name}") == f"-loss@{run.id}"
    assert run_scores.orders(bench)[0][0] == f"-loss@{run.id}"
    run_papers.delete(bench, run)
    assert run_scores.of_example(bench, ids[0]) == []


def test_every_run_that_measured_rows_can_order_them_and_by_margins_only_where_it_has_some(bench: Bench) -> None:
    ids = add_rows(bench)
    for number in range(10):
        run = launched(bench, name=f"run-{number}")
        directory = finish(bench, run, scores={ids[0]: (3.0, 0.5)})
        if number == 9:
            row = {"split": "held_out", "row": 1, "example": ids[0], "tokens": 5}
            directory.write_rows([row | {"base": {"loss": 1.0, "margin": 0.0}, "tuned": {"loss": 0.5, "margin": 2.0}}])
        run_scores.take_over(bench, run, directory)
    said = [text for _, text in run_scores.orders(bench)]
    assert len([text for text in said if text.endswith("the highest first")]) == 10
    assert [text for text in said if text.startswith("margin")] == ["margin after run-9, the lowest first"]


def test_a_deleted_run_leaves_neither_folder_nor_curves(bench: Bench) -> None:
    add_rows(bench)
    run = launched(bench)
    finish(bench, run)
    train.sync(bench, start_runner=nobody)
    run_papers.delete(bench, run)
    assert train.runs(bench) == [] and list(bench.workspace.runs.glob("*")) == []
    with pytest.raises(NotFoundError):
        bench.store.runs.get(run.id)


def test_a_run_at_work_and_one_whose_model_is_registered_are_not_deleted(bench: Bench) -> None:
    add_rows(bench)
    run = launched(bench)
    directory = finish(bench, run, state=RunState.RUNNING)
    with pytest.raises(RefusedError, match="running"):
        run_papers.delete(bench, run)
    directory = finish(bench, run, adapter=True)
    train.sync(bench, start_runner=nobody)
    with pytest.raises(RefusedError, match="lie in the folder"):
        run_papers.delete(bench, run)
    assert directory.root.is_dir()
    bench.store.models.remove(run.name)
    run_papers.delete(bench, run)
    assert not directory.root.exists()


def test_two_runs_differ_in_what_was_changed_and_in_nothing_else(bench: Bench) -> None:
    add_rows(bench)
    one, other = launched(bench, name="one"), launched(bench, name="other", learning_rate="1e-4")
    for run in (one, other):
        finish(bench, run)
    found = run_diff.diff(one, other)
    assert [d.name for d in found.settings] == ["learning_rate"]
    assert found.same_rows and found.shared_rows == train.spec(one).train_rows
    assert (found.data, found.versions) == ((), ())
    assert "learning_rate" in "\n".join(run_diff.lines(found))
    assert run_diff.equal_losses(one, other).is_equal


def test_what_a_run_went_on_from_is_told_beside_the_kind_of_its_adapter(bench: Bench) -> None:
    add_rows(bench)
    one, other = launched(bench, name="one"), launched(bench, name="other")
    directory = RunDirectory(Path(other.directory))
    told = replace(directory.spec(), adapter="one", knobs={**directory.spec().knobs, "adapter": "dora"})
    directory.write_json(directory.root / "spec.json", spec_as_dict(told))
    found = {d.name: (d.a, d.b) for d in run_diff.diff(one, other).settings}
    assert found == {"went on from": ("", "one"), "adapter": ("lora", "dora")}


def test_other_rows_are_told_by_their_hash_and_how_many_both_have(bench: Bench) -> None:
    add_rows(bench, 30)
    one = launched(bench, name="one", eval_share="0")
    add_rows(bench, 30, said="Other")
    other = launched(bench, name="other", eval_share="0")
    found = run_diff.diff(one, other)
    assert not found.same_rows and found.shared_rows == 30
    assert {"train_rows", "train.jsonl"} <= {d.name for d in found.data}


def test_losses_that_differ_in_the_last_bit_are_not_equal(bench: Bench) -> None:
    add_rows(bench)
    one, other = launched(bench, name="one"), launched(bench, name="other")
    finish(bench, one, losses=(1.0, 0.5))
    finish(bench, other, losses=(1.0, 0.5000000000000001))
    found = run_diff.equal_losses(one, other)
    assert (found.is_equal, found.steps) == (False, 2) and 0 < found.largest < 1e-15


def test_the_same_run_once_more_has_the_same_rows_settings_and_asides(bench: Bench) -> None:
    add_rows(bench)
    run = launched(bench, name="mine", learning_rate="1e-4")
    again = train.launch(bench, rerun.plan_again(bench, run), start_runner=nobody)
    one, other = (RunDirectory(Path(r.directory)) for r in (run, again))
    assert again.name == "mine-again"
    assert other.spec().row_hash == one.spec().row_hash and other.spec().knobs == one.spec().knobs
    assert other.general_file.read_bytes() == one.general_file.read_bytes()
    assert other.read_json(other.origin_file)["rerun_of"] == "mine"


def test_a_rerun_is_refused_when_rows_versions_or_weights_are_not_those_of_then(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rows(bench)
    run = launched(bench, name="mine")
    monkeypatch.setattr(rerun, "versions", lambda: {**train.spec(run).versions, "torch": "0.1"})
    with pytest.raises(RefusedError, match=r"torch .* → 0\.1"):
        rerun.plan_again(bench, run)
    plan = rerun.plan_again(bench, run, allow=["versions"])
    assert "other versions" in plan.findings[0]
    monkeypatch.undo()
    directory = RunDirectory(Path(run.directory))
    origin = directory.read_json(directory.origin_file)
    directory.write_json(directory.origin_file, {**origin, "base_sha256": "0" * 64})
    with pytest.raises(RefusedError, match="not those of then"):
        rerun.plan_again(bench, run)
    assert rerun.plan_again(bench, run, allow=["base"]).findings
    directory.train_file.write_text(directory.train_file.read_text() + "\n")
    with pytest.raises(RefusedError, match="changed after"):
        rerun.plan_again(bench, run, allow=["versions", "base"])


def test_a_rerun_is_refused_when_a_row_of_it_is_in_a_test_split_now(bench: Bench) -> None:
    add_rows(bench)
    run = launched(bench, name="mine")
    trained = train.spec(run).example_ids
    bench.store.examples.change([trained[0]], Action.SPLIT, split=Split.TEST, rater="r")
    with pytest.raises(RefusedError, match="1 of its training rows is in a test split") as refused:
        rerun.plan_again(bench, run)
    assert refused.value.hint == "plan a new run"


def test_a_rerun_passes_the_gate_of_a_new_run(bench: Bench) -> None:
    add_rows(bench)
    run = launched(bench, name="mine")
    trained = bench.store.examples.get(train.spec(run).example_ids[0])
    (asked,) = add_rows(bench, 1, dataset="exam")
    bench.store.examples.change([asked], Action.EDIT, content=trained.content, rater="r")
    bench.store.examples.change([asked], Action.SPLIT, split=Split.TEST, rater="r")
    with pytest.raises(RefusedError, match="leakage") as refused:
        rerun.plan_again(bench, run)
    assert "--allow leakage" in refused.value.hint
    assert any("leakage" in finding for finding in rerun.plan_again(bench, run, allow=["leakage", "memory"]).findings)


def test_a_rerun_says_how_many_of_its_rows_were_changed_since(bench: Bench) -> None:
    ids = add_rows(bench)
    run = launched(bench, name="mine")
    assert not any("changed" in finding for finding in rerun.plan_again(bench, run).findings)
    first, second = train.spec(run).example_ids[:2]
    other = bench.store.examples.get(next(i for i in ids if i not in {first, second}))
    bench.store.examples.change([first], Action.EDIT, content=other.content, rater="r")
    plan = rerun.plan_again(bench, run)
    assert "1 row of it changed in the workspace since: it trains on what they were then" in plan.findings
    assert plan.train_rows[0].row["prompt"][0]["content"] == "Question 0"


def test_a_rerun_of_a_distillation_is_refused_when_the_teacher_is_another_by_now(bench: Bench, tmp_path: Path) -> None:
    add_rows(bench)
    path = tmp_path / "teacher"
    shutil.copytree(bench.store.models.default().path, path)
    registry.add_model(bench, path, name="teacher")
    overrides = {"teacher": "teacher", "include_demonstrations": "true"}
    plan = train.plan(bench, method="distillation", dataset="chats", name="taught", overrides=overrides)
    run = train.launch(bench, plan, start_runner=nobody)
    assert bench.store.models.get("teacher").sha256 in run_papers.report(run).markdown.read_text()
    assert rerun.plan_again(bench, run).spec.teacher == "teacher"
    with (path / "model.safetensors").open("ab") as weights:
        weights.write(b"other")
    with pytest.raises(RefusedError, match="the weights of teacher are not those of then"):
        rerun.plan_again(bench, run)
    assert rerun.plan_again(bench, run, allow=["base"]).findings[0] == "other weights of teacher than then"
    shutil.rmtree(path)
    with pytest.raises(NotFoundError, match="teacher is not in"):
        rerun.plan_again(bench, run)


def test_a_rerun_is_of_no_sweep_and_wants_the_same_gpus(bench: Bench) -> None:
    add_rows(bench)
    run = launched(bench, name="mine")
    directory = RunDirectory(Path(run.directory))
    told = {"group": "s", "group_kind": "sweep", "stage": "one", "varied": ("lora_r",)}
    directory.write_json(directory.root / "spec.json", spec_as_dict(replace(directory.spec(), **told)))  # type: ignore[arg-type]
    directory.write_ticket(replace(directory.ticket(), gpus="1"))
    plan = rerun.plan_again(bench, run)
    assert (plan.spec.group, plan.spec.group_kind, plan.spec.stage, plan.spec.varied) == ("", "", "", ())
    assert plan.gpus == "1"
