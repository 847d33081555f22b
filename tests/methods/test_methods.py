"""Every method found by folder keeps the contract that form, command line and trainer build on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from workbench import methods
from workbench.domain.methods import Method
from workbench.errors import NotFoundError, UsageError

FOUND = list(methods.find().values())


def test_the_three_methods_of_the_product_are_found() -> None:
    assert {"sft", "dpo", "kto"} <= set(methods.find())


def test_an_unknown_method_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(NotFoundError, match="'sfft'") as caught:
        methods.get("sfft")
    assert "'sft'" in caught.value.hint


def test_a_method_that_trl_no_longer_has_is_named_with_what_takes_its_place() -> None:
    with pytest.raises(NotFoundError, match="ppo left TRL") as caught:
        methods.get("ppo")
    assert caught.value.hint.startswith("rloo") and "rloo" in methods.find()
    assert not set(methods.GONE) & set(methods.find())


def test_every_method_gives_a_reason_for_each_value_of_its_presets_and_sizes() -> None:
    for method in FOUND:
        for given in (*method.presets, *method.sizes):
            assert set(given.reasons) == set(given.values), f"{method.name} {given.name}"
            assert all(reason and not reason.endswith(".") for reason in given.reasons.values())
        assert method.sizes and not any(size.fits(1000) for size in method.sizes)
        for size in method.sizes:
            for name, value in size.values.items():
                assert type(value) is type(method.knob(name).default)
                method.knob(name).check(value)


@pytest.mark.parametrize("method", FOUND, ids=lambda m: m.name)
def test_knobs_have_a_name_of_their_own_a_help_and_a_default_that_is_allowed(method: Method) -> None:
    names = [knob.name for knob in method.knobs]
    assert len(names) == len(set(names))
    for knob in method.knobs:
        assert knob.help and knob.help == knob.help.strip()
        assert knob.target in {"trainer", "adapter", "workbench"}
        knob.check(knob.default)


@pytest.mark.parametrize("method", FOUND, ids=lambda m: m.name)
def test_presets_name_known_knobs_with_valid_values_of_the_knob_s_type(method: Method) -> None:
    assert {"auto", "tiny", "gentle"} <= {preset.name for preset in method.presets}
    for preset in method.presets:
        assert preset.summary
        for name, value in preset.values.items():
            knob = method.knob(name)
            assert type(value) is type(knob.default), f"{preset.name}.{name}"
            knob.check(value)


@pytest.mark.parametrize("method", FOUND, ids=lambda m: m.name)
def test_fixed_values_are_not_knobs_as_well(method: Method) -> None:
    assert not set(method.fixed) & {knob.name for knob in method.knobs}


@pytest.mark.parametrize("method", FOUND, ids=lambda m: m.name)
def test_a_method_that_converts_other_kinds_has_the_knob_that_allows_it(method: Method) -> None:
    optional = [knob.name for knob in method.knobs if knob.name.startswith("include_")]
    assert len(optional) == len(method.kinds) - 1


def test_an_override_out_of_bounds_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="learning_rate"):
        methods.get("sft").values("tiny", {"learning_rate": "-1"})


def test_a_batch_of_one_is_refused_for_kto() -> None:
    with pytest.raises(UsageError, match="per_device_train_batch_size"):
        methods.get("kto").values("tiny", {"per_device_train_batch_size": "1"})


_ASK = """
import importlib, inspect, json, sys
def load(reference):
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
print(json.dumps({trainer: [sorted(inspect.signature(load(config)).parameters),
                            sorted(inspect.signature(load(trainer)).parameters)]
                  for trainer, config in json.loads(sys.argv[1])}))
"""


@pytest.mark.ml
def test_trainers_and_configs_import_and_take_every_knob_that_is_handed_to_them() -> None:
    asked = json.dumps([[m.trainer, m.config] for m in FOUND])
    told = subprocess.run([sys.executable, "-c", _ASK, asked], capture_output=True, text=True, check=True)
    taken = json.loads(told.stdout.splitlines()[-1])
    for method in FOUND:
        config, trainer = taken[method.trainer]
        handed = {k.name for k in method.knobs if k.target == "trainer"} | set(method.fixed)
        assert handed <= set(config), method.name
        assert {"model", "args", "train_dataset", "eval_dataset", "processing_class", "peft_config"} <= set(trainer)
