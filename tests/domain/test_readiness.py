from __future__ import annotations

from dataclasses import replace

import pytest

from samples import user
from workbench.domain.examples import Kind, demonstration
from workbench.domain.readiness import ADVICE, APPROACH, MISSING, OWN, RULES, START, FactCounter, Facts, readiness

GOOD = Facts(
    accepted=500,
    pending=0,
    usable=450,
    kind=Kind.DEMONSTRATION,
    held_out=50,
    test=50,
    errors=0,
    chat_template=True,
    facts_share=0.1,
    self_similarity=0.2,
)


@pytest.mark.parametrize(
    ("usable", "approach", "start"),
    [
        (0, "prompting", "instruct"),
        (9, "prompting", "instruct"),
        (10, "prompting first", "instruct"),
        (49, "prompting first", "instruct"),
        (50, "fine-tuning", "instruct"),
        (299, "fine-tuning", "instruct"),
        (300, "fine-tuning", "instruct or base"),
        (1000, "fine-tuning", "base or instruct"),
    ],
)
def test_the_number_of_rows_decides_what_to_do_and_where_to_start(usable: int, approach: str, start: str) -> None:
    found = readiness(replace(GOOD, usable=usable))
    assert (found.approach.answer, found.start.answer) == (approach, start)
    assert found.ready == (usable >= 50)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"held_out": 0}, "no-held-out"),
        ({"errors": 1}, "errors"),
        ({"chat_template": False}, "no-template"),
        ({"kind": Kind.JUDGEMENT, "ups": 90, "downs": 10}, "lopsided"),
        ({"kind": Kind.JUDGEMENT, "ups": 0, "downs": 10}, "lopsided"),
        ({"usable": 49}, "more-rows"),
    ],
)
def test_what_is_missing_is_told_and_makes_it_not_ready(changed: dict[str, object], rule: str) -> None:
    found = readiness(replace(GOOD, **changed))  # type: ignore[arg-type]
    assert [one.rule for one in found.missing] == [rule]
    assert not found.ready


@pytest.mark.parametrize(
    ("changed", "rule"), [({"test": 0}, "no-test"), ({"pending": 3}, "pending"), ({"self_similarity": 0.7}, "alike")]
)
def test_advice_leaves_a_dataset_ready(changed: dict[str, object], rule: str) -> None:
    found = readiness(replace(GOOD, **changed))  # type: ignore[arg-type]
    assert [one.rule for one in found.advice] == [rule] and found.ready


def test_nothing_is_missing_of_a_good_dataset() -> None:
    found = readiness(GOOD)
    assert (found.ready, found.missing, found.advice) == (True, (), ())


def test_answers_full_of_facts_are_for_retrieval_but_not_when_there_are_too_few_rows() -> None:
    assert readiness(replace(GOOD, facts_share=0.8)).approach.rule == "new-facts"
    assert readiness(replace(GOOD, facts_share=0.8, usable=5)).approach.rule == "too-few"


def test_texts_continue_a_base_model_and_need_no_template() -> None:
    found = readiness(replace(GOOD, kind=Kind.TEXT, chat_template=False))
    assert (found.start.answer, found.missing) == ("base", ())


def test_every_rule_decides_something_fills_in_its_reason_and_names_its_source() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.decides in {APPROACH, START, MISSING, ADVICE}
        assert "{" not in rule.reason.format(n=rule.threshold)
        assert rule.source == OWN or len(rule.source) > 20


def test_facts_are_names_and_numbers_that_the_prompt_does_not_say() -> None:
    counter = FactCounter()
    for number in range(30):
        counter.add(demonstration(user("Where is Berlin?"), f"It is near Potsdam and Berlin, at {number + 100} m."))
    # Potsdam in every answer; a number of its own in each; Berlin stands in the prompt
    assert counter.share() == 0.5


def test_a_handful_of_facts_tells_nothing() -> None:
    counter = FactCounter()
    counter.add(demonstration(user("When?"), "In 1999."))
    assert counter.share() is None
