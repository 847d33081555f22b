from __future__ import annotations

from pathlib import Path

import pytest

from fakes import FakeEngine
from samples import IMPORTED, demo, pair, thumb
from workbench.domain.datasets import Shares
from workbench.domain.examples import Content, Source, SourceKind, Split, Status, plain_text
from workbench.errors import DataError, EngineError, NotFoundError, RefusedError, UsageError
from workbench.flows import augment, curate, datasets
from workbench.flows.bench import Bench


def add(bench: Bench, *contents: Content, **given: object) -> list[int]:
    options = {"source": IMPORTED, "status": Status.ACCEPTED, "rater": "setup"} | given
    return [bench.store.examples.add("d", content, **options)[0].id for content in contents]  # type: ignore[arg-type]


def made(bench: Bench) -> list[int]:
    return list(curate.ids(bench, "source:synthetic", dataset="d"))


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    file = tmp_path / "ways.txt"
    file.write_text("# ways of asking\nTell me: {prompt}\n{prompt} Be brief.\n")
    return file


def test_each_row_is_asked_by_each_template_pending_marked_and_traceable(bench: Bench, templates: Path) -> None:
    one, two, three = add(bench, demo(1), pair(2), thumb(3, label=False), tags=("tea",), split=Split.TRAIN)
    done = augment.by_templates(bench, "d", templates)
    assert (done.seeds, done.added, done.duplicates) == (3, 6, 0)
    rows = [curate.get(bench, i) for i in made(bench)]
    assert [r.prompt_text for r in rows[:2]] == ["Tell me: question 1", "question 1 Be brief."]
    for row, seed_id in zip(rows, (one, one, two, two, three, three), strict=True):
        seed = curate.get(bench, seed_id)
        assert (row.content.chosen, row.content.rejected, row.content.label) == (
            *(seed.content.chosen, seed.content.rejected),
            seed.content.label,
        )
        assert (row.status, row.split, row.tags) == (Status.PENDING, Split.TRAIN, ("synthetic", "tea"))
        assert row.source.kind is SourceKind.SYNTHETIC and row.source.origins == (seed_id,)
    assert (rows[1].source.file, rows[1].source.line) == (str(templates), 3)
    again = augment.by_templates(bench, "d", templates)
    assert (again.added, again.duplicates) == (0, 6)
    curate.undo(bench)
    curate.undo(bench)
    assert made(bench) == []


def test_what_was_made_stays_on_the_side_of_its_seed(bench: Bench, templates: Path) -> None:
    add(bench, *(demo(n) for n in range(40)))
    augment.by_templates(bench, "d", templates)
    datasets.deal_splits(bench, "d", seed=5, shares=Shares(0.5, 0.25, 0.25))
    for example_id in made(bench):
        row = curate.get(bench, example_id)
        assert row.split is curate.get(bench, row.source.origins[0]).split


def test_held_out_pending_and_made_rows_are_no_seeds(bench: Bench, templates: Path) -> None:
    add(bench, demo(1), split=Split.TEST)
    add(bench, demo(2), split=Split.VALIDATION)
    add(bench, demo(3), status=Status.PENDING)
    add(bench, demo(4), source=Source(SourceKind.SYNTHETIC, origins=(1,)))
    add(bench, plain_text("a text"))
    with pytest.raises(RefusedError, match="no row to make others from"):
        augment.by_templates(bench, "d", templates)
    add(bench, demo(5))
    assert augment.by_templates(bench, "d", templates, limit=1).added == 1


def test_a_file_that_is_no_template_is_refused_and_nothing_made(bench: Bench, tmp_path: Path) -> None:
    add(bench, demo(1))
    file = tmp_path / "bad.txt"
    file.write_text("Fine: {prompt}\nnot fine\n")
    with pytest.raises(DataError) as refused:
        augment.by_templates(bench, "d", file)
    assert refused.value.where == f"{file}:2" and made(bench) == []
    with pytest.raises(NotFoundError):
        augment.by_templates(bench, "d", tmp_path / "missing")
    with pytest.raises(UsageError):
        augment.by_templates(bench, "d", file, limit=-1)


def test_a_model_puts_the_questions_in_other_words(bench: Bench, engine: FakeEngine) -> None:
    one, two, three, four = add(bench, demo(1), pair(2), demo(3), demo(4))
    engine.enqueue('"What is one?"', "question 2", " ", "And four?")
    seen: list[tuple[int, int]] = []
    done = augment.by_paraphrase(bench, "d", "pip", seed=5, on_progress=lambda n, of: seen.append((n, of)))
    assert (done.seeds, done.added, done.unusable) == (4, 2, 2)
    rows = [curate.get(bench, i) for i in made(bench)]
    assert [(r.prompt_text, r.source.origins, r.source.models) for r in rows] == [
        ("What is one?", (one,), ("pip",)),
        ("And four?", (four,), ("pip",)),
    ]
    assert {r.status for r in rows} == {Status.PENDING} and all("synthetic" in r.tags for r in rows)
    assert "question 1" in engine.requests[0].turns[-1].content
    assert [request.sampling.seed for request in engine.requests] == [5, 6, 7, 8]
    assert seen[-1] == (4, 4)
    curate.undo(bench)
    assert made(bench) == [] and {two, three} <= set(curate.ids(bench, ""))


def test_an_answer_that_is_cut_off_is_not_taken(bench: Bench, engine: FakeEngine) -> None:
    add(bench, demo(1))
    engine.enqueue(" ".join(["word"] * 300))
    assert augment.by_paraphrase(bench, "d", "pip").unusable == 1


def test_what_was_made_before_the_engine_died_stays(bench: Bench, engine: FakeEngine) -> None:
    add(bench, demo(1), demo(2))
    engine.enqueue("What is one?", "What is two?")

    def then_die(done: int, of: int) -> None:
        engine.die_after(1)

    with pytest.raises(EngineError):
        augment.by_paraphrase(bench, "d", "pip", on_progress=then_die)
    assert len(made(bench)) == 1
