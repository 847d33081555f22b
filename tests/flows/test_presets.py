"""What a run takes by itself: by the size of the model, by the number of rows, and why."""

from __future__ import annotations

import pytest

from samples import IMPORTED, demo
from workbench import methods
from workbench.domain.examples import Status
from workbench.flows import train
from workbench.flows.bench import Bench
from workbench.flows.presets import for_rows

SFT = methods.get("sft")


@pytest.mark.parametrize(
    ("preset", "rows", "passes", "epochs"),
    [
        *(("auto", 50, 1, 3.0), ("auto", 199, 1, 3.0), ("auto", 200, 4, 3.0), ("auto", 19_999, 4, 3.0)),
        *(("auto", 20_000, 4, 1.0), ("tiny", 20_000, 1, 1.0), ("tiny", 500, 1, 7.0), ("gentle", 50, 1, 1.0)),
    ],
)
def test_few_rows_make_more_steps_and_many_are_seen_once(preset: str, rows: int, passes: int, epochs: float) -> None:
    taken = for_rows(SFT, preset, SFT.values(preset, {}), rows=rows, given={})
    assert (taken.knobs["gradient_accumulation_steps"], taken.knobs["num_train_epochs"]) == (passes, epochs)
    size = {"auto": "few rows" if rows < 200 else "many rows" if rows >= 20_000 else ""}.get(preset, "")
    assert any(why.startswith(f"{size}:") for why in taken.reasons.values()) == bool(size)


def test_what_a_person_asked_for_stays_and_needs_no_reason() -> None:
    given = {"num_train_epochs": "5", "learning_rate": "1e-3"}
    taken = for_rows(SFT, "tiny", SFT.values("tiny", given), rows=50_000, given=given)
    assert taken.knobs["num_train_epochs"] == 5.0
    assert not {"num_train_epochs", "learning_rate"} & set(taken.reasons) and "warmup_steps" in taken.reasons


def test_a_value_that_the_adapter_changed_is_not_explained_by_the_preset() -> None:
    lora, ia3 = (for_rows(SFT, "tiny", SFT.values("tiny", g), rows=500, given=g) for g in ({}, {"adapter": "ia3"}))
    assert "learning_rate" in lora.reasons and "learning_rate" not in ia3.reasons


def test_a_plan_says_why(bench: Bench) -> None:
    for number in range(30):
        bench.store.examples.add("d", demo(number), source=IMPORTED, status=Status.ACCEPTED, rater="r")
    plan = train.plan(bench, method="sft", dataset="d", overrides={"lora_r": "4"})
    assert plan.spec.preset == "tiny" and set(plan.reasons) == set(SFT.preset("tiny").reasons)
    assert plan.reasons["max_length"] == "tiny models were made for short windows"
