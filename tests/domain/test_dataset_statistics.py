from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples import IMPORTED, demo, pair, thumb, user
from workbench.domain import dataset_statistics
from workbench.domain.checks import TokenCount
from workbench.domain.dataset_statistics import (
    Measuring,
    Statistics,
    estimated,
    histogram,
    lengths,
    meanings,
    token_figures,
)
from workbench.domain.examples import Content, Example, Split, Status, demonstration, preference
from workbench.methods import find, get


def example(number: int, content: Content, **given: object) -> Example:
    return replace(Example(number, "d", content, IMPORTED, status=Status.ACCEPTED), **given)  # type: ignore[arg-type]


def answers(*texts: str) -> Statistics:
    measuring = Measuring()
    for number, text in enumerate(texts):
        measuring.add(example(number, demonstration(user(f"q{number}"), text)))
    return measuring.statistics()


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=60))
def test_lengths_agree_with_the_statistics_module(values: list[int]) -> None:
    found = lengths(values)
    assert found is not None
    assert (found.count, found.minimum, found.maximum) == (len(values), min(values), max(values))
    assert found.median == statistics.median_low(values) and math.isclose(found.mean, statistics.fmean(values))
    assert sum(value <= found.p95 for value in values) >= 0.95 * len(values)
    assert sum(value < found.p95 for value in values) < 0.95 * len(values)


@given(st.lists(st.integers(0, 10_000), max_size=60))
def test_every_value_is_in_the_one_bucket_that_says_so(values: list[int]) -> None:
    buckets = histogram(values)
    for bucket in buckets:
        assert bucket.count == sum(bucket.low <= value <= bucket.high for value in values)
    assert sum(bucket.count for bucket in buckets) == len(values)
    assert all(after.low == before.high + 1 for before, after in pairwise(buckets))


def test_distinct_words_and_pairs_are_shares_of_all() -> None:
    found = answers("the tea the", "the tea")
    assert found.vocabulary == 2
    assert found.distinct_1 == 2 / 5  # the, tea among five words
    assert found.distinct_2 == 2 / 3  # the-tea, tea-the among three pairs


def test_answers_that_share_no_pair_are_unlike_and_twins_alike() -> None:
    assert answers("one two three", "four five six").self_similarity == 0.0
    assert answers("one two three", "One, two, three!").self_similarity == 1.0
    assert answers("one two three", "one two four").self_similarity == pytest.approx(1 / 3)  # one-two of three pairs
    assert answers("alone").self_similarity is None


def test_twins_are_found_whatever_their_case_and_spaces() -> None:
    found = answers("So  it is.", "so it is.", "No.")
    assert (found.duplicates, found.repeated_prompts) == (0, 0), "they answer different questions"
    measuring = Measuring()
    for number, text in enumerate(("So  it is.", "so it is.", "No.")):
        measuring.add(example(number, demonstration(user("Is it?"), text)))
    assert (measuring.statistics().duplicates, measuring.statistics().repeated_prompts) == (1, 2)


@given(st.text() | st.characters())
def test_folding_the_case_keeps_the_number_of_words(text: str) -> None:
    assert len(text.casefold().split()) == len(text.split())


def test_the_sample_is_of_the_rows_whose_ids_are_drawn_first_in_whatever_order_they_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataset_statistics, "SAMPLE", 5)
    examples = [example(number, demonstration(user("q"), f"word{number}")) for number in range(1, 60)]
    drawn = sorted(examples, key=lambda one: dataset_statistics._drawn(one.id))[:5]
    wanted = {one.answer_text for one in drawn}
    for order in (examples, examples[::-1]):
        measuring = Measuring()
        for one in order:
            measuring.add(one)
        assert {answer for _, _, answer in measuring._sample} == wanted


def test_rejected_rows_are_counted_and_not_measured() -> None:
    measuring = Measuring()
    measuring.add(example(1, thumb(1, label=True)))
    measuring.add(example(2, thumb(2, label=False), status=Status.REJECTED))
    found = measuring.statistics()
    assert (found.rows, found.statuses, found.labels) == (2, {"accepted": 1, "rejected": 1}, {"up": 1, "down": 0})
    assert found.answer_words is not None and found.answer_words.count == 1


def test_the_share_of_longer_chosen_answers_is_told() -> None:
    measuring = Measuring()
    measuring.add(example(1, preference(user("q"), "a longer answer", "short")))
    measuring.add(example(2, preference(user("q2"), "short", "a longer answer")))
    assert measuring.statistics().chosen_longer == 0.5


def test_every_figure_that_is_there_has_its_sentence() -> None:
    measuring = Measuring()
    for number, content in enumerate((demo(1), pair(2), thumb(3))):
        measuring.add(example(number, content, tags=("t",)))
    knobs = get("sft").values("auto", {})
    tokens = token_figures([TokenCount(1, "chosen", 3, 9, 8, 5)], model="pip", max_length=8)
    found = measuring.statistics(estimate=estimated("sft", "auto", knobs, Counter({Split.NONE: 90})), tokens=tokens)
    told = meanings(found)
    figures = {name for name, value in found.as_dict().items() if value not in (None, {})}
    assert figures - {"statuses", "sampled", "compared", "meanings"} == set(told)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in told.values())
    assert "1 sequences are cut at 8 tokens" in told["tokens"]
    assert set(meanings(Measuring().statistics())) == {
        *("rows", "kinds", "splits", "sources", "turns", "duplicates", "repeated_prompts")
    }


def test_token_figures_count_what_the_window_takes() -> None:
    counts = [
        TokenCount(1, "chosen", 3, 9, 8, 5),
        TokenCount(1, "rejected", 3, 8, 8, 5),
        TokenCount(2, "chosen", 9, 20, 8, 0),
    ]
    found = token_figures(counts, model="pip", max_length=8)
    assert (found.truncated, found.nothing_learnt) == (2, 1)
    assert found.lengths is not None and (found.lengths.minimum, found.lengths.maximum) == (8, 20)


@pytest.mark.parametrize("name", sorted(find()))
def test_steps_are_those_of_the_trainer(name: str) -> None:
    method = get(name)
    for preset in method.presets:
        knobs = method.values(preset.name, {"eval_share": "0.1"})
        found = estimated(name, preset.name, knobs, Counter({Split.NONE: 1000, Split.TEST: 500}))
        assert found is not None and (found.train_rows, found.held_out_rows) == (900, 100)
        # transformers 5.23, Trainer.set_initial_training_values: batches rounded up, then steps rounded up per epoch
        batches = -(-900 // int(knobs["per_device_train_batch_size"]))
        a = int(knobs["gradient_accumulation_steps"])
        assert found.steps == math.ceil(float(knobs["num_train_epochs"]) * max(batches // a + (batches % a > 0), 1))


def test_steps_that_were_set_decide_the_epochs() -> None:
    knobs = get("sft").values("auto", {"max_steps": "50", "per_device_train_batch_size": "4"})
    knobs |= {"gradient_accumulation_steps": 1}
    found = estimated("sft", "auto", knobs, Counter({Split.TRAIN: 100, Split.VALIDATION: 7}))
    assert found is not None
    assert (found.steps, found.epochs, found.train_rows, found.held_out_rows) == (50, 2.0, 100, 7)
    assert estimated("sft", "auto", knobs, Counter({Split.TEST: 9})) is None
