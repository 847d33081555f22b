from __future__ import annotations

import math

import pytest

from workbench import methods
from workbench.domain.sweeps import Outcome, SweepTable, dimensions, drawn, grid, ranked
from workbench.errors import UsageError

SFT = methods.get("sft")


def outcome(run_id: int, value: float | None, state: str = "finished") -> Outcome:
    return Outcome(run_id, f"r{run_id}", {}, state, value, state == "finished")


def table(*outcomes: Outcome, same_rows: bool = True) -> SweepTable:
    return SweepTable("s", ("lora_r",), "held-out loss", ranked(outcomes), same_rows)


def test_a_grid_has_every_combination_once() -> None:
    space = dimensions(SFT, ["learning_rate=1e-4, 2e-4", "lora_r=4,8,8", "packing=true"][:2])
    assert grid(space) == [
        {"learning_rate": "1e-4", "lora_r": "4"},
        {"learning_rate": "1e-4", "lora_r": "8"},
        {"learning_rate": "2e-4", "lora_r": "4"},
        {"learning_rate": "2e-4", "lora_r": "8"},
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["learning_rate"], "is not K=V1,V2"),
        (["learning_rat=1,2"], "no setting 'learning_rat'"),
        (["learning_rate=fast,slow"], "takes a number"),
        (["seed=1,2"], "differ by chance"),
        (["eval_share=0.1,0.2"], "cannot be compared"),
        (["lora_r=4,8", "lora_r=16"], "swept twice"),
        (["lora_r=8..4"], "is no range"),
        (["adapter=a..b"], "is no number"),
        (["lora_r=0,4"], "outside"),
    ],
)
def test_what_cannot_be_swept_is_said(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        dimensions(SFT, words)


def test_a_range_has_no_grid_and_a_huge_grid_is_refused() -> None:
    with pytest.raises(UsageError, match="has no grid"):
        grid(dimensions(SFT, ["learning_rate=1e-5..1e-3"]))
    many = ",".join(str(n) for n in range(1, 21))
    with pytest.raises(UsageError, match="400 runs"):
        grid(dimensions(SFT, [f"lora_r={many}", f"lora_alpha={many}"]))


def test_random_settings_are_different_the_same_again_and_even_over_orders_of_magnitude() -> None:
    space = dimensions(SFT, ["learning_rate=1e-6..1e-2", "lora_r=4..64", "lr_scheduler_type=cosine,linear"])
    found = drawn(space, 200, seed=3)
    assert found == drawn(space, 200, seed=3) != drawn(space, 200, seed=4)
    assert len({tuple(one.items()) for one in found}) == 200
    rates = sorted(float(one["learning_rate"]) for one in found)
    assert rates[0] >= 1e-6 and rates[-1] <= 1e-2
    # A log-uniform draw has its median at the geometric middle, 1e-4; a plain one at 5e-3.
    assert abs(math.log10(rates[100]) + 4) < 0.6
    assert all(4 <= int(one["lora_r"]) <= 64 for one in found)


def test_fewer_settings_than_asked_for_are_given_once_each() -> None:
    assert len(drawn(dimensions(SFT, ["lora_r=4,8"]), 10, seed=1)) == 2


def test_the_best_is_the_lowest_loss_of_a_run_that_finished() -> None:
    found = table(outcome(1, 1.5), outcome(2, 0.5, "stopped"), outcome(3, math.nan), outcome(4, 1.2), outcome(5, None))
    assert [one.run_id for one in found.outcomes] == [4, 1, 3, 5, 2]
    assert found.best is not None and found.best.run_id == 4
    assert "best of 4" in found.advice and "too good to be true" in found.advice


def test_where_more_is_better_the_highest_is_first() -> None:
    assert [one.run_id for one in ranked([outcome(1, 0.2), outcome(2, 0.9)], higher_is_better=True)] == [2, 1]


def test_what_a_table_is_worth_before_there_is_something_to_compare() -> None:
    assert table(outcome(1, None, "queued")).advice == "no run of it has finished yet"
    assert "nothing to compare" in table(outcome(1, 1.0), outcome(2, None, "queued")).advice
    assert "not trained on the same rows" in table(outcome(1, 1.0), outcome(2, 2.0), same_rows=False).advice
