"""Any argument of TRL's config can be set; another is refused with the nearest name, and nothing is imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from workbench import methods
from workbench.errors import UsageError
from workbench.methods._arguments import fields, values, with_arguments

SFT = methods.get("sft")
_ASK = """
import dataclasses, importlib, json, sys
fields = {}
for reference in json.loads(sys.argv[1]):
    module, _, name = reference.partition(":")
    fields[reference] = sorted(f.name for f in dataclasses.fields(getattr(importlib.import_module(module), name)))
print(json.dumps(fields))
"""
_LOADED = """
import sys
from workbench import methods
methods.with_arguments(methods.get("sft"), {"optim": "adafactor"})
print(sorted({"torch", "trl", "transformers"} & set(sys.modules)))
"""


@pytest.mark.ml
def test_the_fields_read_from_the_sources_are_those_of_the_classes() -> None:
    asked = json.dumps(sorted({method.config for method in methods.find().values()}))
    told = subprocess.run([sys.executable, "-c", _ASK, asked], capture_output=True, text=True, check=True)
    for reference, names in json.loads(told.stdout.splitlines()[-1]).items():
        assert set(names) <= set(fields(reference)), reference


def test_reading_them_loads_no_training_library() -> None:
    told = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_names_that_are_no_knobs_are_gathered_in_one() -> None:
    given = with_arguments(SFT, {"learning_rate": "1e-3", "optim": "adafactor"})
    assert given == {"learning_rate": "1e-3", "arguments": "optim=adafactor"}
    more = with_arguments(SFT, {"arguments": given["arguments"], "adam_beta2": "0.95"})
    assert values(SFT, more["arguments"]) == {"optim": "adafactor", "adam_beta2": 0.95}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("optim", "adafactor", "adafactor"),
        ("adam_beta2", "0.95", 0.95),
        ("dataloader_num_workers", "2", 2),
        ("padding_free", "true", True),
        ("neftune_noise_alpha", "none", None),
        ("lr_scheduler_kwargs", '{"num_cycles": 2}', {"num_cycles": 2}),
    ],
)
def test_a_value_is_what_its_field_takes(name: str, text: str, value: object) -> None:
    given = with_arguments(SFT, {name: text})
    assert values(SFT, given["arguments"]) == {name: value}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("adam_beta3", "1", "no setting 'adam_beta3'"),
        ("learning_rat", "1", "no setting 'learning_rat'"),
        ("output_dir", "/elsewhere", "set by the workbench"),
        ("completion_only_loss", "false", "set by the workbench"),
        ("trust_remote_code", "true", "not handed on"),
        ("adam_beta2", "much", "takes float"),
    ],
)
def test_what_cannot_be_set_is_refused_by_name(name: str, text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        with_arguments(SFT, {name: text})


def test_a_misspelt_name_gets_the_nearest_of_knobs_and_arguments() -> None:
    with pytest.raises(UsageError) as caught:
        with_arguments(SFT, {"learning_rat": "1"})
    assert "'learning_rate'" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        with_arguments(SFT, {"adam_betta2": "1"})
    assert "'adam_beta2'" in caught.value.hint
