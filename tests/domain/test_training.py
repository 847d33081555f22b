from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.domain.chats import Turn
from workbench.domain.datasets import group_key
from workbench.domain.examples import (
    Content,
    Example,
    Kind,
    Source,
    SourceKind,
    Split,
    Status,
    demonstration,
    judgement,
    preference,
)
from workbench.domain.training import deal, shuffled, taken_kinds, training_rows, usable
from workbench.errors import DataError
from workbench.methods import get

ASK = (Turn("user", "Why?"),)


def example(number: int, content: Content, *, chat: int | None = None, split: Split = Split.NONE) -> Example:
    source = Source(SourceKind.CHAT_KEEP, chat_id=chat) if chat is not None else Source(SourceKind.IMPORT)
    return Example(number, "chats", content, source, status=Status.ACCEPTED, split=split)


def asked(number: int) -> Example:
    return example(number, demonstration((Turn("user", f"Question {number}"),), "Because."))


def test_a_demonstration_becomes_prompt_and_completion() -> None:
    (row,) = training_rows([example(4, demonstration(ASK, "So."))], Kind.DEMONSTRATION)
    assert row.example_id == 4
    assert row.row == {
        "prompt": [{"role": "user", "content": "Why?"}],
        "completion": [{"role": "assistant", "content": "So."}],
    }


def test_a_pair_taken_for_sft_is_its_better_answer_alone() -> None:
    (row,) = training_rows([example(1, preference(ASK, "Good.", "Bad."))], Kind.DEMONSTRATION)
    assert row.row["completion"] == [{"role": "assistant", "content": "Good."}]
    assert "rejected" not in row.row


def test_a_pair_taken_for_kto_is_a_thumb_up_and_a_thumb_down() -> None:
    up, down = training_rows([example(1, preference(ASK, "Good.", "Bad."))], Kind.JUDGEMENT)
    assert (up.row["completion"][0]["content"], up.row["label"]) == ("Good.", True)  # type: ignore[index]
    assert (down.row["completion"][0]["content"], down.row["label"]) == ("Bad.", False)  # type: ignore[index]
    assert up.example_id == down.example_id == 1


def test_other_kinds_are_taken_only_when_their_knob_is_on() -> None:
    method = get("sft")
    assert taken_kinds(method, {"include_chosen": False}) == (Kind.DEMONSTRATION,)
    assert taken_kinds(method, {"include_chosen": True}) == (Kind.DEMONSTRATION, Kind.PREFERENCE)
    assert taken_kinds(get("dpo"), {}) == (Kind.PREFERENCE,)


@pytest.mark.parametrize(
    "spoilt", [{"status": Status.PENDING}, {"status": Status.REJECTED}, {"split": Split.TEST}], ids=str
)
def test_pending_rejected_and_test_examples_are_never_used(spoilt: dict[str, object]) -> None:
    good = asked(1)
    assert usable([good, replace(asked(2), **spoilt)], (Kind.DEMONSTRATION,)) == [good]  # type: ignore[arg-type]


def test_a_row_without_a_split_is_not_used_when_its_chat_or_prompt_is_tested_on() -> None:
    held = example(1, demonstration(ASK, "A."), chat=7, split=Split.TEST)
    same_chat, same_prompt = replace(asked(2), source=held.source), example(3, demonstration(ASK, "B."))
    made = replace(asked(4), source=replace(asked(4).source, origins=(1,)))
    by_hand = replace(asked(5), source=held.source, split=Split.TRAIN)
    assert usable([held, same_chat, same_prompt, made, by_hand, asked(6)], (Kind.DEMONSTRATION,)) == [by_hand, asked(6)]


def test_rows_without_a_split_follow_the_marked_rows_of_their_group() -> None:
    held, trained = (
        example(n, demonstration((Turn("user", f"q{n}"),), "a"), chat=n, split=split)
        for n, split in ((1, Split.VALIDATION), (2, Split.TRAIN))
    )
    with_held, with_trained = (example(n, demonstration((Turn("user", f"q{n}"),), "a"), chat=n - 10) for n in (11, 12))
    dealt = deal([held, trained, with_held, with_trained], seed=7, share=0.5)
    assert {e.id for e in dealt.held_out} == {1, 11}
    assert deal([trained, with_trained, *(asked(n) for n in range(20, 40))], seed=7, share=0.99).train[:2] == (
        trained,
        with_trained,
    )


def test_a_judgement_is_not_silently_a_demonstration() -> None:
    assert usable([example(1, judgement(ASK, "Yes.", True))], (Kind.DEMONSTRATION, Kind.PREFERENCE)) == []


def test_rows_of_one_chat_or_of_one_prompt_have_one_group() -> None:
    first, second = example(1, demonstration(ASK, "A."), chat=7), example(2, demonstration(ASK, "B."), chat=7)
    assert group_key(first) == group_key(second)
    assert group_key(example(3, demonstration(ASK, "A."))) == group_key(example(4, demonstration(ASK, "B.")))
    assert group_key(asked(1)) != group_key(asked(2))


def test_dealing_holds_about_the_share_out_and_splits_no_group() -> None:
    examples = [example(n, demonstration((Turn("user", f"q{n // 3}"),), f"a{n}")) for n in range(900)]
    dealt = deal(examples, seed=7, share=0.2)
    groups = [{group_key(e) for e in part} for part in (dealt.train, dealt.held_out)]
    assert not groups[0] & groups[1]
    assert len(dealt.train) + len(dealt.held_out) == 900
    # 300 groups, each held out with probability 0.2: four standard deviations are 4 * sqrt(300 * 0.16) = 28 groups
    assert abs(len(groups[1]) - 60) < 28


def test_dealing_again_after_adding_rows_moves_no_row() -> None:
    few, many = [asked(n) for n in range(50)], [asked(n) for n in range(80)]
    held_before = {e.id for e in deal(few, seed=7, share=0.2).held_out}
    assert held_before == {e.id for e in deal(many, seed=7, share=0.2).held_out if e.id < 50}


def test_rows_marked_as_validation_are_the_held_out_ones_and_no_others() -> None:
    examples = [replace(asked(n), split=Split.VALIDATION if n == 3 else Split.NONE) for n in range(10)]
    assert [e.id for e in deal(examples, seed=7, share=0.5).held_out] == [3]


def test_rows_marked_as_train_are_never_held_out() -> None:
    examples = [replace(asked(n), split=Split.TRAIN) for n in range(50)]
    assert deal(examples, seed=7, share=0.5).held_out == ()


def test_something_is_held_out_of_a_few_rows_but_not_of_three() -> None:
    share = 1e-9
    assert len(deal([asked(n) for n in range(4)], seed=7, share=share).held_out) == 1
    assert deal([asked(n) for n in range(3)], seed=7, share=share).held_out == ()


def test_nothing_is_held_out_with_a_share_of_zero() -> None:
    assert deal([asked(n) for n in range(40)], seed=7, share=0.0).held_out == ()


def test_the_drawn_order_is_another_one_and_the_same_each_time() -> None:
    rows = training_rows([asked(n) for n in range(20)], Kind.DEMONSTRATION)
    assert shuffled(rows, seed=1) == shuffled(rows, seed=1) != rows
    assert sorted(r.example_id for r in shuffled(rows, seed=1)) == [r.example_id for r in rows]


def weighted(*weights: int) -> Content:
    """A dialogue whose n-th answer is ``an``, with these weights."""
    said = [(Turn("user", f"q{n}"), Turn("assistant", f"a{n}", f'{{"weight":{w}}}')) for n, w in enumerate(weights)]
    first, *later = [turn for pair in said for turn in pair]
    return Content(Kind.DEMONSTRATION, (first,), tuple(later))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((1, 1), [(["q0"], ["a0", "q1", "a1"])]),
        ((1, 0, 1), [(["q0"], ["a0"]), (["q0", "a0", "q1", "a1", "q2"], ["a2"])]),
        ((1, 0), [(["q0"], ["a0"])]),
        ((0, 0, 1, 1), [(["q0", "a0", "q1", "a1", "q2"], ["a2", "q3", "a3"])]),
    ],
    ids=["all", "one between", "the last", "the first two"],
)
def test_answers_of_weight_0_stand_in_prompts_and_in_no_completion(
    weights: tuple[int, ...], expected: list[tuple[list[str], list[str]]]
) -> None:
    rows = training_rows([example(5, weighted(*weights))], Kind.DEMONSTRATION)
    texts = [tuple([turn["content"] for turn in row.row[part]] for part in ("prompt", "completion")) for row in rows]  # type: ignore[attr-defined]
    assert texts == expected
    assert {row.example_id for row in rows} == {5}


def test_a_dialogue_of_which_nothing_is_learnt_is_no_demonstration() -> None:
    with pytest.raises(DataError, match="weight 0"):
        weighted(0, 0).check()
