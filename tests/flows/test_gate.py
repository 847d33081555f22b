"""The gate before training: many rows are checked elsewhere and once, and what is found is the same as here."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from samples import IMPORTED, candidate, demo, pair, user
from workbench.domain.checks import Severity
from workbench.domain.examples import Content, Example, Split, Status, demonstration
from workbench.domain.training import TrainingRow
from workbench.errors import RefusedError, WorkbenchError
from workbench.flows import curate, gate, gathered, train
from workbench.flows.bench import Bench
from workbench.flows.gathered import Gathered
from workbench.jobs.run_directory import RunDirectory
from workbench.store.store import Store

TOKEN = demonstration(user("a token"), "Sencha.<|im_end|>")
LONG = "Pour the water over the leaves when it has cooled to eighty degrees, wait two minutes, and take them out again."


def add(bench: Bench, *contents: Content, dataset: str = "d", split: Split = Split.NONE) -> list[Example]:
    given = {"source": IMPORTED, "status": Status.ACCEPTED, "rater": "r", "split": split}
    ids = [bench.store.examples.add(dataset, content, **given)[0].id for content in contents]  # type: ignore[arg-type]
    return list(bench.store.examples.many(ids))


@pytest.fixture
def rows(bench: Bench) -> list[Example]:
    add(bench, demonstration(user("examined"), LONG), dataset="exam", split=Split.TEST)
    voted = candidate("pip", "a"), candidate("pip", "b")
    bench.store.comparisons.add(user("question 3"), *voted, draw_seed=1)
    near = demonstration(user("examined"), LONG.replace("two", "three"))
    mail = demonstration(user("mail"), "ann.meyer@firma-meyer.de")
    return add(
        bench, *(demo(n) for n in range(30)), near, mail, demonstration(user("question 7"), "ANSWER 7."), pair(1)
    )


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every set of rows goes to a child; the modules that were started."""
    started: list[str] = []
    converse = gate.converse

    def counting(module: str, *rest: object, **given: object) -> object:
        started.append(module)
        return converse(module, *rest, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(gate, "_FEW", 0)
    monkeypatch.setattr(gate, "converse", counting)
    return started


def test_a_child_finds_what_is_found_here_and_is_asked_once(
    bench: Bench, rows: list[Example], elsewhere: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: set[str] = set()
    there = gate.gate(bench, rows, [], on_progress=lambda doing, seen, total: heard.add(doing))
    again = gate.gate(bench, rows, [])
    assert len(elsewhere) == 1 and "reading" in heard
    monkeypatch.setattr(gate, "_FEW", 1000)
    here = gate.gate(bench, rows, [])
    assert there == again == here and len(elsewhere) == 1
    assert [sentence.split(":")[0] for sentence in here] == ["exact_duplicates", "leakage", "personal_data"]


def test_what_must_not_be_trained_on_is_refused_alike_from_here_from_a_child_and_from_the_cache(
    bench: Bench, rows: list[Example], elsewhere: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows += add(bench, TOKEN, demonstration(user("examined"), LONG))
    said = []
    for few in (0, 0, 1000):
        monkeypatch.setattr(gate, "_FEW", few)
        with pytest.raises(RefusedError) as refused:
            gate.gate(bench, rows, [])
        said.append((refused.value.message, refused.value.hint, refused.value.where))
    assert said[0] == said[1] == said[2] and len(elsewhere) == 1
    assert said[0][0].startswith("2 of 36 rows must not be trained on (leakage: example")
    allowed = gate.gate(bench, rows, [], allow=["leakage", "template_tokens"])
    assert any(sentence.startswith("template_tokens: 1 row") for sentence in allowed)


def test_another_row_another_test_set_and_other_checks_are_looked_at_anew(
    bench: Bench, rows: list[Example], elsewhere: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.gate(bench, rows, [])
    gate.gate(bench, rows[1:], [])
    add(bench, demo(999), dataset="exam", split=Split.TEST)
    gate.gate(bench, rows, [])
    gate.gate(bench, rows, rows[:1])
    monkeypatch.setattr(gate, "_versions", lambda: "other checks")
    gate.gate(bench, rows, [])
    assert len(elsewhere) == 5


def test_a_check_that_is_stopped_keeps_nothing(bench: Bench, rows: list[Example], elsewhere: list[str]) -> None:
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(WorkbenchError, match="stopped"):
        gate.gate(bench, rows, [], cancelled=stopped)
    assert elsewhere == [] and not list((bench.workspace.root / "cache").glob("gate/*"))


def test_a_kept_file_that_is_broken_is_no_answer(bench: Bench, rows: list[Example], elsewhere: list[str]) -> None:
    first = gate.gate(bench, rows, [])
    (file,) = (bench.workspace.root / "cache" / "gate").iterdir()
    file.write_text("{", encoding="utf-8")
    assert gate.gate(bench, rows, []) == first and len(elsewhere) == 2


def test_rows_that_a_run_was_measured_on_are_told_though_a_child_looks(bench: Bench, elsewhere: list[str]) -> None:
    trained = add(bench, *(demo(n) for n in range(5)))
    measured = add(bench, *(demo(n) for n in range(20, 25)), dataset="exam")
    run = train.plan(bench, method="sft", dataset="d", eval_dataset="exam")
    train.launch(bench, run, start_runner=lambda _: None)
    with pytest.raises(RefusedError, match=r"5 of 5 rows .* an evaluation set that runs were measured on"):
        gate.gate(bench, measured, trained)


def test_a_run_of_another_workspace_makes_no_dataset_of_this_one_an_evaluation_set(bench: Bench) -> None:
    trained = add(bench, *(demo(n) for n in range(5)))
    measured = add(bench, *(demo(n) for n in range(20, 25)), dataset="exam")
    plan = train.plan(bench, method="sft", dataset="d", eval_dataset="exam")
    run = train.launch(bench, plan, start_runner=lambda _: None)
    directory = RunDirectory(Path(run.directory))
    origin = directory.read_json(directory.origin_file)
    directory.write_json(directory.origin_file, {**origin, "imported_from": "far.tar.gz"})
    assert gate.gate(bench, measured, trained) == []


def test_a_knob_that_chooses_no_rows_reads_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    add(bench, *(demo(n) for n in range(30)))
    looked: list[object] = []
    gather = gathered.gather
    monkeypatch.setattr(gathered, "gather", lambda *a, **k: looked.append(a) or gather(*a, **k))
    kept = Gathered()

    def plan(**overrides: str) -> tuple[TrainingRow, ...]:
        made = train.plan(bench, method="sft", dataset="d", overrides=overrides, gathered=kept)
        assert made.spec.knobs["learning_rate"] == float(overrides.get("learning_rate", 4e-4))
        return made.train_rows

    assert plan() == plan(learning_rate="1e-3") == plan(lora_r="4", max_length="64") and len(looked) == 1
    assert plan(seed="9") != plan() and len(looked) == 3
    curate.reject(bench, [1])
    assert {row.example_id for row in plan()} <= set(range(2, 31)) and len(looked) == 4


def test_a_refusal_is_kept_too_until_somebody_writes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bad,) = add(bench, TOKEN)
    add(bench, *(demo(n) for n in range(5)))
    kept = Gathered()
    for _ in range(2):
        with pytest.raises(RefusedError, match="control token"):
            train.plan(bench, method="sft", dataset="d", gathered=kept)
        monkeypatch.setattr(gathered, "gather", lambda *a, **k: pytest.fail("looked again"))
    monkeypatch.undo()
    curate.reject(bench, [bad.id])
    assert train.plan(bench, method="sft", dataset="d", gathered=kept).spec.train_rows == 4


def test_the_version_of_a_store_follows_every_commit_of_anybody(bench: Bench) -> None:
    before = bench.store.version()
    assert bench.store.version() == before
    add(bench, demo(1))
    after = bench.store.version()
    other = Store.open(bench.workspace)
    other.drafts.save("key", "text")
    other.close()
    assert len({before, after, bench.store.version()}) == 3


def test_what_only_informs_is_not_told_before_a_run(bench: Bench, rows: list[Example]) -> None:
    found = gate._Found()
    found.add(gate.Finding(Severity.INFO, "so", example_id=1))
    assert (found.told, found.errors, found.first) == ([], [], None)


def test_rows_are_those_that_were_asked_for_whoever_asks_next(bench: Bench) -> None:
    add(bench, *(demo(n) for n in range(5)))
    add(bench, *(demo(n) for n in range(10, 20)), dataset="other")
    kept = Gathered()

    class Impatient:
        """A lock at which another waits, who is done as soon as it is free."""

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            kept._lock = threading.Lock()
            train.plan(bench, method="sft", dataset="other", gathered=kept)

    kept._lock = Impatient()  # type: ignore[assignment]
    rows = train.plan(bench, method="sft", dataset="d", gathered=kept).train_rows
    assert {bench.store.examples.get(row.example_id).dataset for row in rows} == {"d"}
