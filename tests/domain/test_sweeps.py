from __future__ import annotations

import math
import random
from functools import partial

import pytest

from workbench import methods
from workbench.domain.sweeps import Outcome, SweepTable, dimensions, drawn, grid, measure_for, measures_of, ranked
from workbench.errors import UsageError

SFT = partial(methods.setting, methods.get("sft"))
DPO = methods.get("dpo")


def outcome(run_id: int, value: float | None, state: str = "finished") -> Outcome:
    return Outcome(run_id, f"r{run_id}", {}, state, value, state == "finished")


def table(*outcomes: Outcome, same_rows: bool = True) -> SweepTable:
    return SweepTable("s", ("lora_r",), "loss", ranked(outcomes, "loss"), same_rows)


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


def test_any_argument_of_the_trainers_config_is_swept_and_an_unknown_one_is_told_with_the_nearest() -> None:
    assert grid(dimensions(SFT, ["optim=adamw_torch,adafactor", "adam_beta2=0.9,0.99"]))[1] == {
        "optim": "adamw_torch",
        "adam_beta2": "0.99",
    }
    (rate,) = dimensions(SFT, ["adam_beta2=0.9..0.999"])
    assert not rate.is_whole and 0.9 <= float(rate.draw(random.Random(1))) <= 0.999
    (whole,) = dimensions(SFT, ["torch_empty_cache_steps=1..4"])
    assert whole.is_whole and whole.draw(random.Random(1)) in {"1", "2", "3", "4"}
    for words, said in (
        (["adam_beta_2=0.9,0.99"], "no setting 'adam_beta_2'"),
        (["adam_beta2=high,low"], "takes float"),
        (["optim=a..b"], "is no number"),
        (["output_dir=a,b"], "set by the workbench itself"),
        (["data_seed=1,2"], "differ by chance"),
    ):
        with pytest.raises(UsageError, match=said) as refused:
            dimensions(SFT, words)
        assert "adam_beta_2" not in words[0] or "'adam_beta2'" in refused.value.hint


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
    assert [one.run_id for one in ranked([outcome(1, 0.2), outcome(2, 0.9)], "reward")] == [2, 1]


def test_between_equal_values_the_other_figures_decide() -> None:
    equal = [
        Outcome(number, f"r{number}", {}, "finished", 0.9, True, {"pair_loss": loss})
        for number, loss in ((1, 0.4), (2, None), (3, 0.3))
    ]
    assert [one.run_id for one in ranked(equal, "accuracy")] == [3, 1, 2]


def test_pairs_are_compared_by_what_says_which_weights_of_a_run_are_best_and_not_by_the_loss_of_answers() -> None:
    assert measure_for(DPO, "", ["learning_rate"]) == "pair_loss"
    assert measure_for(methods.get("kto"), "", ["learning_rate"]) == "pair_loss"
    assert measure_for(methods.get("sft"), "", ["learning_rate"]) == "loss"
    assert measure_for(methods.get("grpo"), "", ["learning_rate"]) == "reward"
    assert measure_for(methods.get("distillation"), "", ["learning_rate"]) == "divergence"
    assert measure_for(DPO, "margin", ["learning_rate"]) == "margin"
    with pytest.raises(UsageError, match="sft measures no 'accuracy'"):
        measure_for(methods.get("sft"), "accuracy", [])
    assert all(measures_of(method) for method in methods.find().values())


def test_a_sweep_of_what_scales_the_margins_is_compared_by_how_often_the_better_answer_is_ahead() -> None:
    assert measure_for(DPO, "", ["beta", "learning_rate"]) == "accuracy"
    assert "scaled by beta" in SweepTable("s", ("beta",), "margin", ()).order
    assert SweepTable("s", ("beta",), "accuracy", ()).order == "ranked by held-out accuracy, the highest first"


def test_a_winner_that_forgot_what_it_could_do_is_told() -> None:
    forgot = Outcome(1, "r1", {}, "finished", 0.1, True, warnings=("forgot", "length"))
    assert "r1 forgot what it could do before" in table(forgot, outcome(2, 0.2)).advice
    assert "forgot" not in table(outcome(3, 0.05), forgot).advice


def test_what_a_table_is_worth_before_there_is_something_to_compare() -> None:
    assert table(outcome(1, None, "queued")).advice == "no run of it has finished yet"
    assert "nothing to compare" in table(outcome(1, 1.0), outcome(2, None, "queued")).advice
    assert "not trained on the same rows" in table(outcome(1, 1.0), outcome(2, 2.0), same_rows=False).advice
