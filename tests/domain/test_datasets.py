from __future__ import annotations

import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samples import demo, user
from workbench.domain.chats import Turn
from workbench.domain.datasets import Dealable, Groups, Shares, deal_rows, deal_split, groups_of, stratum_of, strictest
from workbench.domain.examples import Example, Source, SourceKind, Split, demonstration
from workbench.errors import UsageError

THIRDS = Shares(0.8, 0.1, 0.1)
DEALT = (Split.TRAIN, Split.VALIDATION, Split.TEST)
IMPORT = Source(SourceKind.IMPORT)


def test_about_the_share_asked_for_is_held_out() -> None:
    dealt = [deal_split(f"chat:{n}", seed=7, validation_share=0.2) for n in range(5000)]
    assert abs(dealt.count(Split.VALIDATION) / 5000 - 0.2) < 0.02  # 3.5 standard deviations
    assert set(dealt) == {Split.TRAIN, Split.VALIDATION}


def test_a_key_stays_where_it_is_when_the_share_grows() -> None:
    for n in range(500):
        if deal_split(f"chat:{n}", seed=7, validation_share=0.1) is Split.VALIDATION:
            assert deal_split(f"chat:{n}", seed=7, validation_share=0.3) is Split.VALIDATION


def test_another_seed_deals_otherwise() -> None:
    deals = [[deal_split(f"{n}", seed=seed, validation_share=0.5) for n in range(50)] for seed in (1, 2, 1)]
    assert deals[0] == deals[2] != deals[1]


def test_nothing_and_everything_can_be_held_out() -> None:
    assert {deal_split(f"{n}", seed=1, validation_share=0.0) for n in range(50)} == {Split.TRAIN}
    assert {deal_split(f"{n}", seed=1, validation_share=1.0) for n in range(50)} == {Split.VALIDATION}


def test_a_group_in_the_test_split_stays_there_when_its_share_grows() -> None:
    for n in range(500):
        if deal_split(f"{n}", seed=7, validation_share=0.1, test_share=0.1) is Split.TEST:
            assert deal_split(f"{n}", seed=7, validation_share=0.3, test_share=0.3) is Split.TEST


def row(number: int, *, chat: int | None = None, asks: str = "", origins: tuple[int, ...] = ()) -> Example:
    source = Source(SourceKind.CHAT_KEEP, chat_id=chat, origins=origins)
    return Example(number, "d", demonstration(user(asks or f"question {number}"), "So."), source)


def test_rows_hang_together_by_chat_prompt_and_origin_along_any_chain() -> None:
    chat, same_chat, same_prompt = row(1, chat=5), row(2, chat=5, asks="Why?"), row(3, asks="Why?")
    made, copied, alone = row(4, origins=(3,)), row(5, origins=(99, 4)), row(6, chat=6)
    groups = groups_of([made, alone, chat, copied, same_prompt, same_chat])
    assert {groups[n] for n in (1, 2, 3, 4, 5)} == {"chat:5"}
    assert groups[6] == "chat:6"


def test_copies_of_one_row_that_is_elsewhere_hang_together() -> None:
    groups = groups_of([row(1, origins=(50,)), row(2, origins=(51, 50))])
    assert groups[1] == groups[2]


def test_texts_without_a_prompt_are_groups_of_their_own() -> None:
    from workbench.domain.examples import plain_text

    texts = [Example(n, "d", plain_text(f"text {n}"), IMPORT) for n in range(3)]
    assert len(set(groups_of(texts).values())) == 3


ROWS = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from(("tea", "bread", "")),
        st.sampled_from((Split.NONE, Split.NONE, Split.NONE, Split.TRAIN, Split.TEST)),
    ),
    max_size=60,
)


@given(ROWS, st.integers(1, 59), st.booleans(), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_no_row_moves_when_rows_are_added_and_no_new_group_straddles(
    drawn: list[tuple[int, str, Split]], cut: int, stratified: bool, seed: int
) -> None:
    rows = [Dealable(n, f"g{group}", split, stratum) for n, (group, stratum, split) in enumerate(drawn)]
    few = deal_rows(rows[:cut], seed=seed, shares=THIRDS, stratified=stratified)
    dealt = [Dealable(r.id, r.group, few.get(r.id, r.split), r.stratum) for r in rows[:cut]]
    more = deal_rows([*dealt, *rows[cut:]], seed=seed, shares=THIRDS, stratified=stratified)
    assert set(few) == {r.id for r in rows[:cut] if r.split is Split.NONE}
    assert set(more) == {r.id for r in rows[cut:] if r.split is Split.NONE}
    for group in {r.group for r in rows}:
        marked = {r.split for r in rows if r.group == group} - {Split.NONE}
        if len(marked) <= 1 and not marked & {Split.TEST, Split.TRAIN}:
            assert len({(few | more)[r.id] for r in rows if r.group == group}) == 1


@given(st.permutations(range(40)), st.integers(0, 39))
@settings(max_examples=50, deadline=None)
def test_groups_are_dealt_alike_in_any_order_and_stay_when_others_come(order: list[int], cut: int) -> None:
    plain = Shares(0.5, 0.25, 0.25)
    rows = [Dealable(n, f"g{n}", Split.NONE) for n in order]
    whole = deal_rows(rows, seed=3, shares=plain)
    assert whole == deal_rows(sorted(rows, key=lambda row: row.id), seed=3, shares=plain)
    part = deal_rows(rows[:cut], seed=3, shares=plain)
    there = [Dealable(row.id, row.group, part[row.id]) for row in rows[:cut]]
    rest = deal_rows([*there, *rows[cut:]], seed=3, shares=plain)
    assert not set(rest) & set(part)
    counts = Counter((part | rest).values())
    assert all(abs(counts[split] - plain.of(split) * 40) <= 1 for split in DEALT)


@given(
    st.lists(st.integers(1, 8), min_size=10, max_size=120),
    st.integers(0, 20),
    st.sampled_from([(0.8, 0.1, 0.1), (0.6, 0.2, 0.2), (0.9, 0.1, 0.0), (0.5, 0.0, 0.5)]),
)
@settings(max_examples=150, deadline=None)
def test_a_share_is_missed_by_no_more_than_a_group(sizes: list[int], seed: int, given: tuple[float, ...]) -> None:
    shares = Shares(*given)
    rows = [Dealable(100 * n + k, f"g{n}", Split.NONE) for n, size in enumerate(sizes) for k in range(size)]
    dealt = deal_rows(rows, seed=seed, shares=shares)
    counts = Counter(dealt.values())
    for split in DEALT:
        assert abs(counts[split] - shares.of(split) * len(rows)) <= max(sizes), (split, counts)
    for n in range(len(sizes)):
        assert len({dealt[row.id] for row in rows if row.group == f"g{n}"}) == 1, "no chat straddles"


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 2)), min_size=1, max_size=300), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_stratified_every_stratum_has_its_shares(drawn: list[tuple[str, int]], seed: int) -> None:
    rows = [
        Dealable(10 * n + k, f"g{n}", Split.NONE, stratum)
        for n, (stratum, size) in enumerate(drawn)
        for k in range(size)
    ]
    dealt = deal_rows(rows, seed=seed, shares=THIRDS, stratified=True)
    for stratum in {r.stratum for r in rows}:
        counts = Counter(dealt[r.id] for r in rows if r.stratum == stratum)
        for split, share in ((Split.TRAIN, 0.8), (Split.VALIDATION, 0.1), (Split.TEST, 0.1)):
            assert abs(counts[split] - share * counts.total()) <= 4, (stratum, counts)
    if len(rows) >= 100:
        assert abs(Counter(dealt.values())[Split.TEST] / len(rows) - 0.1) < 0.05


def test_strata_of_one_row_each_still_get_the_shares_together() -> None:
    rows = [Dealable(n, f"g{n}", Split.NONE, f"s{n}") for n in range(100)]
    assert Counter(deal_rows(rows, seed=1, shares=THIRDS, stratified=True).values()) == {
        Split.TRAIN: 80,
        Split.VALIDATION: 10,
        Split.TEST: 10,
    }


def test_a_new_row_joins_the_strictest_split_of_its_group() -> None:
    rows = [Dealable(1, "g", Split.TRAIN), Dealable(2, "g", Split.TEST), Dealable(3, "g", Split.NONE)]
    assert deal_rows(rows, seed=1, shares=THIRDS) == {3: Split.TEST}
    assert strictest({Split.TRAIN, Split.VALIDATION}) is Split.VALIDATION


@pytest.mark.parametrize("shares", [(0.5, 0.1, 0.1), (1.1, -0.1, 0.0), (0.0, 0.5, 0.5), (0.9, 0.2, 0.0)])
def test_shares_that_are_none_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError):
        Shares(*shares).check()


def test_a_stratum_is_a_rows_tags_or_its_way_in() -> None:
    tagged = Example(1, "d", demo(), Source(SourceKind.IMPORT, file="a.jsonl"), tags=("b", "a"))
    assert (stratum_of(tagged, "tag"), stratum_of(tagged, "source")) == ("a b", "import a.jsonl")
    assert stratum_of(row(1), "source") == "chat-keep"
    with pytest.raises(UsageError):
        stratum_of(tagged, "mood")


def test_dealing_a_row_takes_some_hundred_bytes_of_memory() -> None:
    examples = [
        Example(10**6 + n, "d", demonstration([Turn("user", f"question {n}")], "a"), Source(SourceKind.IMPORT, line=n))
        for n in range(2000)
    ]
    tracemalloc.start()
    try:
        groups = Groups()
        for example in examples:
            groups.add(example)
        rows = [Dealable(example.id, groups.of(example.id), example.split) for example in examples]
        deal_rows(rows, seed=1, shares=THIRDS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / len(examples) < 850
