from __future__ import annotations

import json
from pathlib import Path

import pytest

from samples import IMPORTED, demo, pair, user
from workbench.domain.checks import checked_row
from workbench.domain.datasets import Shares
from workbench.domain.examples import (
    Content,
    Source,
    SourceKind,
    Split,
    Status,
    demonstration,
    plain_text,
)
from workbench.domain.mixing import Part
from workbench.errors import DataError, NotFoundError, RefusedError, UsageError
from workbench.flows import check, curate, datasets, train
from workbench.flows.bench import Bench
from workbench.flows.presets import default_window
from workbench.jobs.run_directory import RunDirectory


def add(
    bench: Bench,
    *contents: Content,
    source: Source = IMPORTED,
    dataset: str = "d",
    status: Status = Status.PENDING,
    **given: object,
) -> list[int]:
    """Added by somebody else, so that the bench's own undo does not reach them."""
    add_one = bench.store.examples.add
    return [
        add_one(dataset, content, source=source, status=status, rater="setup", **given)[0].id  # type: ignore[arg-type]
        for content in contents
    ]


def deal(bench: Bench, *, seed: int = 1, validation: float = 0.5, test: float = 0.0, by: str = "") -> dict[str, int]:
    shares = Shares(1.0 - validation - test, validation, test)
    return datasets.deal_splits(bench, "d", seed=seed, shares=shares, by=by).splits


def test_splits_are_dealt_by_chat_and_repeatably(bench: Bench) -> None:
    for chat_id in range(40):
        for number in range(3):
            source = Source(SourceKind.CHAT_KEEP, chat_id=chat_id, message_id=number)
            add(bench, demo(100 * chat_id + number), source=source)
    counts = deal(bench, seed=7, validation=0.25)
    assert counts["train"] + counts["validation"] == 120 and counts["validation"] > 0
    splits: dict[int | None, set[Split]] = {}
    for example in (curate.get(bench, i) for i in curate.ids(bench, "")):
        splits.setdefault(example.source.chat_id, set()).add(example.split)
    assert all(len(found) == 1 for found in splits.values()), "a chat is on one side"
    dealt = list(curate.ids(bench, "split:validation"))
    curate.undo(bench)
    assert len(curate.ids(bench, "split:none")) == 120
    deal(bench, seed=7, validation=0.25)
    assert list(curate.ids(bench, "split:validation")) == dealt


def test_dealing_leaves_splits_that_were_set_before(bench: Bench) -> None:
    ids = add(bench, *(demo(n) for n in range(30)))
    curate.split(bench, ids[:1], Split.TEST)
    curate.split(bench, ids[1:2], Split.VALIDATION)
    first = deal(bench, seed=1, validation=0.5)
    before = {i: curate.get(bench, i).split for i in ids}
    assert (before[ids[0]], before[ids[1]]) == (Split.TEST, Split.VALIDATION)
    add(bench, *(demo(n) for n in range(30, 60)))
    second = deal(bench, seed=2, validation=0.5)
    assert {i: curate.get(bench, i).split for i in ids} == before
    assert (sum(first.values()), sum(second.values())) == (30, 60)


def test_a_small_share_of_few_rows_still_holds_one_out(bench: Bench) -> None:
    add(bench, *(demo(n) for n in range(5)))
    assert deal(bench, seed=1, validation=0.001) == {"train": 4, "validation": 1, "test": 0}


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_a_share_that_is_none_is_refused(bench: Bench, share: float) -> None:
    add(bench, demo())
    with pytest.raises(UsageError):
        deal(bench, seed=1, validation=share)


def test_all_train_when_nothing_is_to_be_held_out(bench: Bench) -> None:
    add(bench, *(demo(n) for n in range(5)))
    assert deal(bench, seed=1, validation=0.0)["train"] == 5


def test_a_deal_by_tag_is_right_in_each_tag_and_one_undo_takes_it_back(bench: Bench) -> None:
    for number in range(200):
        add(bench, demo(number), tags=("rare",) if number % 10 == 0 else ("common",))
    done = datasets.deal_splits(bench, "d", seed=7, shares=Shares(0.8, 0.1, 0.1), by="tag")
    assert done.splits == {"train": 160, "validation": 20, "test": 20}
    assert done.strata == {
        "rare": {"train": 16, "validation": 2, "test": 2},
        "common": {"train": 144, "validation": 18, "test": 18},
    }
    assert (done.dealt, done.straddling) == (200, 0)
    curate.undo(bench)
    assert len(curate.ids(bench, "split:none")) == 200


def test_rows_added_later_join_their_chat_and_their_prompt(bench: Bench) -> None:
    chat = Source(SourceKind.CHAT_KEEP, chat_id=1)
    (held,) = add(bench, demo(1), source=chat)
    curate.split(bench, [held], Split.TEST)
    add(bench, *(demo(n) for n in range(10, 30)))
    same_chat = add(bench, demo(2), source=chat)
    same_prompt = add(bench, demonstration(user("question 2"), "otherwise"))
    deal(bench, validation=0.1)
    assert {curate.get(bench, i).split for i in (*same_chat, *same_prompt)} == {Split.TEST}


def test_no_row_of_the_test_split_reaches_the_file_that_is_trained_on(bench: Bench) -> None:
    for number in range(60):
        source = Source(SourceKind.CHAT_KEEP, chat_id=number // 2)
        add(bench, demo(number), source=source, status=Status.ACCEPTED)
    deal(bench, validation=0.2, test=0.3)
    tested = {curate.get(bench, i).prompt_text for i in curate.ids(bench, "split:test")}
    held_chat = curate.get(bench, curate.ids(bench, "split:test")[0]).source
    add(bench, demo(1000), source=held_chat, status=Status.ACCEPTED)  # goes on in a chat that is tested on
    run = train.launch(bench, train.plan(bench, method="sft", dataset="d"), start_runner=lambda _: None)
    directory = RunDirectory(Path(run.directory))
    asked = [json.loads(line)["prompt"][-1]["content"] for line in directory.train_file.read_text().splitlines()]
    measured = [json.loads(line)["prompt"][-1]["content"] for line in directory.eval_file.read_text().splitlines()]
    assert tested and not tested & {*asked, *measured}
    assert "question 1000" not in {*asked, *measured}
    assert len(asked) + len(measured) == 60 - len(tested)


def test_merging_copies_rows_whole_and_leads_back(bench: Bench) -> None:
    chat = Source(SourceKind.CHAT_KEEP, chat_id=3, message_id=4, origins=(77,))
    (a,) = add(bench, demo(1), source=chat, dataset="a", status=Status.ACCEPTED, tags=("tea",), note="good")
    add(bench, demo(1), pair(2), dataset="b")
    done = datasets.merge(bench, ["a", "b"], into="c")
    assert (done.added, done.duplicates, done.of) == (2, 1, {"a": 1, "b": 2})
    copy, other = (curate.get(bench, i) for i in curate.ids(bench, "", dataset="c"))
    assert (copy.content, copy.tags, copy.note, copy.status) == (demo(1), ("tea",), "good", Status.ACCEPTED)
    assert copy.source == Source(SourceKind.CHAT_KEEP, chat_id=3, message_id=4, origins=(a, 77))
    assert other.status is Status.PENDING
    curate.undo(bench)
    assert [d.name for d in datasets.shown(bench)] == ["a", "b"]


def test_a_merged_row_is_held_out_when_its_prompt_is_elsewhere(bench: Bench) -> None:
    add(bench, demo(1), dataset="a", split=Split.TEST)
    add(bench, demonstration(user("question 1"), "another"), dataset="b", split=Split.TRAIN)
    add(bench, demo(2), dataset="b", split=Split.TRAIN)
    assert datasets.merge(bench, ["a", "b"], into="c").moved == 1
    splits = {curate.get(bench, i).answer_text: curate.get(bench, i).split for i in curate.ids(bench, "", dataset="c")}
    assert splits == {"answer 1": Split.TEST, "another": Split.TEST, "answer 2": Split.TRAIN}


def test_a_dataset_is_not_merged_with_itself(bench: Bench) -> None:
    add(bench, demo(1), dataset="a")
    with pytest.raises(UsageError):
        datasets.merge(bench, ["a", "a"], into="c")
    with pytest.raises(UsageError):
        datasets.merge(bench, ["a"], into="a")
    with pytest.raises(NotFoundError):
        datasets.merge(bench, ["missing"], into="c")


def test_a_mixture_has_its_weights_its_cap_its_marks_and_leads_back(bench: Bench) -> None:
    add(bench, *(demo(n) for n in range(100)), dataset="a", status=Status.ACCEPTED)
    add(bench, *(demo(n) for n in range(200, 300)), dataset="b", status=Status.ACCEPTED)
    add(bench, demo(999), dataset="b", status=Status.PENDING)
    add(bench, demo(998), dataset="b", status=Status.ACCEPTED, split=Split.TEST)
    parts = [Part("a", 0.7, prefix="[A] "), Part("b", 0.3, tag="b-task")]
    done = datasets.mix(bench, "m", parts, cap=50, seed=3)
    assert (done.added, done.of) == (50, {"a": 35, "b": 15})
    rows = [curate.get(bench, i) for i in curate.ids(bench, "", dataset="m")]
    for row in rows:
        origin = curate.get(bench, row.source.origins[0])
        prefix = "[A] " if origin.dataset == "a" else ""
        assert row.prompt_text == prefix + origin.prompt_text
        assert row.tags == (("b-task",) if origin.dataset == "b" else ())
        assert origin.status is Status.ACCEPTED and origin.split is not Split.TEST
    again = datasets.mix(bench, "again", parts, cap=50, seed=3)
    assert again.added == 50
    assert {r.content for r in rows} == {curate.get(bench, i).content for i in curate.ids(bench, "", dataset="again")}
    with pytest.raises(RefusedError, match="has rows already"):
        datasets.mix(bench, "m", parts)


def test_without_a_cap_the_scarcest_part_decides(bench: Bench) -> None:
    add(bench, *(demo(n) for n in range(100)), dataset="a", status=Status.ACCEPTED)
    add(bench, *(demo(n) for n in range(200, 210)), dataset="b", status=Status.ACCEPTED)
    assert datasets.mix(bench, "m", [Part("a", 1), Part("b", 1)]).of == {"a": 10, "b": 10}


def test_a_mixture_that_cannot_be_is_refused_and_nothing_is_made(bench: Bench) -> None:
    add(bench, demo(1), dataset="pending")
    add(bench, plain_text("a text"), dataset="texts", status=Status.ACCEPTED)
    with pytest.raises(RefusedError, match="pending has no row"):
        datasets.mix(bench, "m", [Part("pending", 1)])
    with pytest.raises(DataError):
        datasets.mix(bench, "m", [Part("texts", 1, prefix="[T] ")])
    assert {d.name for d in bench.store.datasets.list()} == {"pending", "texts"}


def test_deleting_hides_every_row_until_it_is_undone(bench: Bench) -> None:
    ids = add(bench, *(demo(n) for n in range(250)))
    curate.split(bench, ids[:1], Split.TEST)
    datasets.delete(bench, "d")
    assert datasets.shown(bench) == [] and len(curate.ids(bench, "")) == 0
    with pytest.raises(NotFoundError):
        curate.get(bench, ids[0])
    undone = curate.undo(bench)
    assert undone is not None and undone.text == "deleting 250 examples"
    assert [d.total for d in datasets.shown(bench)] == [250]
    assert len(curate.ids(bench, "question")) == 250
    assert curate.redo(bench) is not None and len(curate.ids(bench, "")) == 0


def test_the_estimate_is_what_a_plan_comes_to(bench: Bench) -> None:
    add(bench, *(demo(n) for n in range(50)), status=Status.ACCEPTED)
    add(bench, pair(90), status=Status.ACCEPTED)
    deal(bench, validation=0.2, test=0.2)
    found = datasets.statistics(bench, "d").estimate
    plan = train.plan(bench, method="sft", dataset="d")
    assert found is not None
    assert (found.method, found.preset) == ("sft", plan.spec.preset)
    assert (found.train_rows, found.held_out_rows) == (plan.spec.train_rows, plan.spec.eval_rows)
    assert found.epochs == plan.spec.knobs["num_train_epochs"]


def test_statistics_are_of_a_dataset_a_query_or_both(bench: Bench) -> None:
    add(bench, demo(1), pair(2), dataset="a")
    add(bench, demo(3), dataset="b")
    assert datasets.statistics(bench).rows == 3
    assert datasets.statistics(bench, "a", query="kind:preference").kinds == {"preference": 1}
    assert datasets.statistics(bench, query="question 3").rows == 1
    empty = datasets.statistics(bench, query="nowhere")
    assert (empty.rows, empty.answer_words, empty.estimate) == (0, None, None)
    with pytest.raises(NotFoundError):
        datasets.statistics(bench, "missing")


def test_readiness_counts_what_may_be_trained_on_and_the_errors_of_the_last_check(bench: Bench) -> None:
    add(bench, *(demo(n) for n in range(60)), status=Status.ACCEPTED)
    add(bench, demo(70), status=Status.ACCEPTED, split=Split.TEST)
    add(bench, demo(71))
    found = datasets.ready(bench, "d")
    assert (found.facts.accepted, found.facts.usable, found.facts.pending, found.facts.test) == (61, 60, 1, 1)
    assert found.ready and found.facts.chat_template is True
    add(bench, demonstration(user("q"), "Tea.<|im_end|>"), status=Status.ACCEPTED)
    check.run(bench, dataset="d", only=["template_tokens"])
    spoilt = datasets.ready(bench, "d")
    assert not spoilt.ready and [one.rule for one in spoilt.missing] == ["errors"]


@pytest.mark.ml
def test_lengths_in_tokens_are_those_of_the_token_view(bench: Bench) -> None:
    from workbench.worker.tokens import ModelTokens, view

    ids = add(bench, demo(1), pair(2), demonstration(user("why? " * 300), "So."), status=Status.ACCEPTED)
    add(bench, plain_text("not a conversation"))
    found = datasets.statistics(bench, "d", model="pip").tokens
    pip = bench.store.models.get("pip")
    window = default_window(bench, pip)
    model = ModelTokens(pip.path, max_length=window)
    views = [view(checked_row(bench.store.examples.get(i)), model) for i in ids]
    lengths = sorted(len(sequence["tokens"]) for shown in views for sequence in shown["sequences"])
    assert found is not None and found.lengths is not None
    assert (found.lengths.count, found.lengths.minimum, found.lengths.maximum) == (4, lengths[0], lengths[-1])
    assert (found.max_length, found.truncated, found.nothing_learnt) == (window, 1, 1)
