"""What is frozen beside a run's rows, and where its rows came from."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from workbench.domain.chats import Turn
from workbench.domain.examples import Source, SourceKind, Status, demonstration
from workbench.domain.models import ModelKind
from workbench.errors import DataError, NotFoundError
from workbench.flows import retention, train
from workbench.flows.bench import Bench
from workbench.flows.origins import git_state
from workbench.jobs.run_directory import RunDirectory


def add(bench: Bench, count: int, dataset: str = "chats") -> None:
    for number in range(count):
        content = demonstration((Turn("user", f"Question {number}"),), f"Answer {number}.")
        source = Source(SourceKind.IMPORT, file="a.jsonl", line=number)
        bench.store.examples.add(dataset, content, source=source, status=Status.ACCEPTED, rater="rater")


def test_the_model_that_comes_with_the_program_is_measured_on_what_comes_with_it(bench: Bench) -> None:
    aside = retention.aside_of(bench, bench.store.models.get("pip"))
    assert aside.source == "heldout.jsonl"
    assert len(aside.files["general.jsonl"].splitlines()) == 60
    assert len(aside.files["canaries.jsonl"].splitlines()) >= 5


def test_another_model_is_measured_on_nothing_until_something_is_named(bench: Bench, tmp_path: Path) -> None:
    other = bench.store.models.add("other", ModelKind.BASE, "org/other")
    nothing = retention.aside_of(bench, other)
    assert (nothing.source, nothing.files) == ("", {})
    assert "what it forgets will not be measured" in nothing.findings[0]
    text, prompts = tmp_path / "mine.txt", tmp_path / "prompts.txt"
    text.write_text("One paragraph.\n\nAnother one.\n")
    prompts.write_text("Who are you?\n")
    aside = retention.aside_of(bench, other, general=str(text), canaries=str(prompts))
    assert [json.loads(line)["text"] for line in aside.files["general.jsonl"].splitlines()] == [
        "One paragraph.",
        "Another one.",
    ]
    assert json.loads(aside.files["canaries.jsonl"])["prompt"][-1]["content"] == "Who are you?"
    assert aside.source == "mine.txt"


def test_a_dataset_can_be_the_general_text_and_none_switches_it_off(bench: Bench) -> None:
    add(bench, 3, "general")
    pip = bench.store.models.get("pip")
    assert len(retention.aside_of(bench, pip, general="general").files["general.jsonl"].splitlines()) == 3
    assert retention.aside_of(bench, pip, general="none", canaries="none") == retention.Aside()


def test_what_cannot_be_measured_is_refused_with_the_reason(bench: Bench, tmp_path: Path) -> None:
    pip = bench.store.models.get("pip")
    with pytest.raises(NotFoundError, match="neither a file nor a dataset"):
        retention.aside_of(bench, pip, general="nowhere")
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{no json\n")
    with pytest.raises(DataError):
        retention.aside_of(bench, pip, general=str(broken))


def test_a_run_keeps_where_its_rows_came_from_and_what_it_is_measured_on(bench: Bench) -> None:
    add(bench, 30)
    plan = train.plan(bench, method="sft", dataset="chats")
    run = train.launch(bench, plan, start_runner=lambda _: None)
    directory = RunDirectory(Path(run.directory))
    origin = directory.read_json(directory.origin_file)
    assert origin["data"]["train"]["examples"] + origin["data"]["held_out"]["examples"] == 30
    assert list(origin["data"]["train"]["sources"]) == ["import of a.jsonl"]
    assert origin["base_sha256"] == bench.store.models.get("pip").sha256 != ""
    assert origin["retention_limit"] == 0.1
    assert directory.general_file.is_file() and directory.canary_file.is_file()
    assert directory.spec().general == "heldout.jsonl"


def test_the_state_of_the_working_folder_is_told_and_a_folder_without_git_is_no_fault(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {}
    for words in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)
    (tmp_path / "new.txt").write_text("x")
    state = git_state(tmp_path)
    assert len(str(state["commit"])) == 40 and state["branch"] == "main" and state["changed"] == 1
