from __future__ import annotations

from workbench.domain.datasets import deal_split
from workbench.domain.examples import Split


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
