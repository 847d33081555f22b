"""Every adapter kind found by folder keeps the contract that methods, form and trainer build on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from workbench import methods
from workbench.domain.methods import Adapter, Clash
from workbench.errors import RefusedError, UsageError
from workbench.methods import adapters
from workbench.methods.adapters._clashes import CLASHES

FOUND = list(adapters.find().values())
SFT = methods.get("sft")


def settings(**given: str) -> dict[str, object]:
    return {**SFT.values("auto", given), "method": "sft", "start": "base"}


def test_the_kinds_of_the_product_are_found_and_lora_comes_first() -> None:
    names = [adapter.name for adapter in FOUND]
    wanted = {"lora", "rslora", "dora", "pissa", "qlora", "prefix", "prompt", "p-tuning", "ia3", "full", "last-layers"}
    assert names[0] == "lora" and wanted | {"named"} <= set(names)


@pytest.mark.parametrize("adapter", FOUND, ids=lambda a: a.name)
def test_a_kind_fills_its_fields_from_its_own_knobs_and_its_values_are_allowed(adapter: Adapter) -> None:
    own = {knob.name for knob in adapter.knobs}
    assert adapter.summary and set(adapter.fields) <= own
    assert all(knob.target == "adapter" for knob in adapter.knobs)
    assert not set(adapter.fields.values()) & set(adapter.fixed)
    assert bool(adapter.fields or adapter.fixed) <= bool(adapter.config)
    for name, value in adapter.values.items():
        SFT.knob(name).check(value)


@pytest.mark.parametrize("clash", CLASHES, ids=lambda c: c.reason[:40])
def test_what_cannot_be_combined_names_settings_that_there_are(clash: Clash) -> None:
    assert clash.reason and clash.hint
    for name, values in clash.settings.items():
        match name:
            case "method":
                assert set(values) <= set(methods.find())
            case "start":
                assert set(values) <= {"base", "adapter"}
            case _:
                known = [method.knob(name) for method in methods.find().values() if name in names_of(method)]
                assert known
                assert all(not knob.choices or set(values) <= set(knob.choices) for knob in known)


def names_of(method: methods.Method) -> set[str]:
    return {knob.name for knob in method.knobs}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"adapter": "full", "quantization": "4bit"}, "quantised weights cannot learn"),
        ({"adapter": "pissa", "quantization": "4bit"}, "singular values"),
        ({"adapter": "prefix", "gradient_checkpointing": "true"}, "gradient checkpointing switches off"),
        ({"adapter": "qlora", "quantization": "none"}, "plain LoRA"),
        ({"target_modules": "q_proj, lm_head"}, "would never learn"),
    ],
)
def test_a_combination_that_cannot_be_is_refused_with_the_reason_and_a_way_out(
    given: dict[str, str], reason: str
) -> None:
    with pytest.raises(RefusedError, match=reason) as caught:
        adapters.refuse_clashes(settings(**given))
    assert caught.value.hint


def test_settings_that_go_together_are_not_refused() -> None:
    fine = settings(), settings(adapter="dora", quantization="4bit")
    by_itself = settings(adapter="prefix")  # whose own values switch checkpointing off
    assert not any(clash.is_in(one) for clash in CLASHES for one in (*fine, by_itself))
    for one in (*fine, by_itself):
        adapters.refuse_clashes(one)


def test_an_adapter_s_own_values_stand_between_the_preset_s_and_a_person_s() -> None:
    lora, ia3 = SFT.values("auto", {}), SFT.values("auto", {"adapter": "ia3"})
    assert ia3["learning_rate"] == 20 * float(lora["learning_rate"])
    assert SFT.values("auto", {"adapter": "ia3", "learning_rate": "1e-3"})["learning_rate"] == 1e-3
    assert SFT.values("auto", {"adapter": "qlora"})["quantization"] == "4bit"
    assert SFT.values("auto", {"adapter": "qlora", "quantization": "8bit"})["quantization"] == "8bit"


def test_a_setting_of_another_kind_of_adapter_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="lora_r is no setting of ia3") as caught:
        SFT.values("auto", {"adapter": "ia3", "lora_r": "8"})
    assert "rslora" in caught.value.hint


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"peft_type": "LORA"}, "lora"),
        ({"peft_type": "LORA", "use_rslora": True, "use_dora": False}, "rslora"),
        ({"peft_type": "LORA", "use_rslora": True, "use_dora": True}, "dora"),
        ({"peft_type": "LORA", "init_lora_weights": "pissa"}, "pissa"),
        ({"peft_type": "P_TUNING"}, "p-tuning"),
    ],
)
def test_a_saved_adapter_is_told_by_its_config(config: dict[str, object], name: str) -> None:
    told = adapters.told_by(config)
    assert told is not None and told.name == name
    assert adapters.told_by({"peft_type": "VERA"}) is None


_ASK = """
import dataclasses, importlib, json, sys
fields = {}
for reference in json.loads(sys.argv[1]):
    module, _, name = reference.partition(":")
    fields[reference] = [f.name for f in dataclasses.fields(getattr(importlib.import_module(module), name))]
print(json.dumps(fields))
"""


@pytest.mark.ml
def test_every_field_that_a_kind_fills_is_one_of_peft_s() -> None:
    asked = json.dumps(sorted({a.config for a in FOUND if a.config}))
    told = subprocess.run([sys.executable, "-c", _ASK, asked], capture_output=True, text=True, check=True)
    fields = json.loads(told.stdout.splitlines()[-1])
    for adapter in FOUND:
        if adapter.config:
            assert set(adapter.fields.values()) | set(adapter.fixed) <= set(fields[adapter.config]), adapter.name
