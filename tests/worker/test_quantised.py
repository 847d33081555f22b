"""Over a base in 4 or 8 bits an adapter learns in as many bits as over any other; bitsandbytes is there when needed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_llama import make_run
from workbench.jobs.run_directory import RunDirectory

pytestmark = pytest.mark.ml
Train = Callable[[RunDirectory], int]


@pytest.mark.parametrize(("method", "bits"), [("sft", "4bit"), ("sft", "8bit"), ("dpo", "4bit")])
def test_an_adapter_over_a_quantised_base_learns_in_32_bits(
    method: str, bits: str, tmp_path: Path, tiny_llama: Path, train: Train
) -> None:
    import torch
    from safetensors.torch import load_file

    run = make_run(tmp_path / "run", tiny_llama, method, adapter="qlora", quantization=bits, max_steps=3)

    assert train(run) == 0, run.status()

    learnt = load_file(run.adapter / "adapter_model.safetensors")
    assert {weight.dtype for weight in learnt.values()} == {torch.float32}
    # As many as came out of bf16 by chance would be one in 65,536.
    rounded = [(weight == weight.bfloat16().float()).float().mean().item() for weight in learnt.values()]
    assert max(rounded) < 0.5


def test_an_adapter_that_is_gone_on_from_over_a_quantised_base_starts_with_its_own_numbers(
    tmp_path: Path, tiny_llama: Path, tuned: RunDirectory, train: Train
) -> None:
    from safetensors.torch import load_file

    run = make_run(
        tmp_path / "run",
        tiny_llama,
        adapter="qlora",
        adapter_path=tuned.adapter,
        max_steps=1,
        warmup_steps=0,
        learning_rate=0,
    )

    assert train(run) == 0, run.status()

    before, after = (load_file(one.adapter / "adapter_model.safetensors") for one in (tuned, run))
    assert all((after[name] == weight).all() for name, weight in before.items())


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({}, False),
        ({"arguments": "optim=adafactor"}, False),
        ({"arguments": "optim=paged_adamw_8bit"}, True),
        ({"adapter": "qlora"}, True),
        ({"adapter": "lora", "quantization": "8bit"}, True),
    ],
)
def test_bitsandbytes_is_left_out_of_a_run_that_does_not_need_it(
    given: dict[str, str], needed: bool, tmp_path: Path
) -> None:
    from workbench.worker.trainer.environment import may_need_bitsandbytes

    base = tmp_path / "base"
    base.mkdir()
    run = make_run(tmp_path / "run", base, **given)

    assert may_need_bitsandbytes(run.spec()) is needed
    (base / "config.json").write_text(json.dumps({"quantization_config": {"load_in_4bit": True}}))
    assert may_need_bitsandbytes(run.spec())
    (base / "config.json").write_text("{")
    assert may_need_bitsandbytes(run.spec())


WITHOUT_AND_WITH = """
import sys
from workbench.worker.quantising import leave_out_bitsandbytes, quantised
leave_out_bitsandbytes()
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from trl import SFTTrainer
plain = get_peft_model(AutoModelForCausalLM.from_pretrained(sys.argv[1]), LoraConfig(target_modules="all-linear"))
assert sys.modules["bitsandbytes"] is None
options = quantised("4bit", torch.float32, AutoModelForCausalLM, sys.argv[1], on_cpu=True)
base = AutoModelForCausalLM.from_pretrained(sys.argv[1], **options)
import bitsandbytes
small = get_peft_model(base, LoraConfig(target_modules="all-linear"))
layer = small.base_model.model.model.layers[0].mlp.up_proj
assert isinstance(layer.base_layer, bitsandbytes.nn.Linear4bit) and "bnb" in type(layer).__module__, layer
ids = torch.arange(3, 40)[None]
print((plain(ids).logits - small(ids).logits).abs().max().item())
"""


def test_bitsandbytes_comes_back_when_weights_in_4_bits_are_asked_for(tiny_llama: Path) -> None:
    argv = [sys.executable, "-c", WITHOUT_AND_WITH, str(tiny_llama)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 1


def test_every_layer_in_4_bits_has_the_error_of_4_bits_whatever_its_width(tmp_path: Path) -> None:
    """nf4 moves normally distributed weights by 9 % (root mean square); a misread scale by much more."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    from workbench.worker.engine.desk import Place
    from workbench.worker.engine.loading import load

    torch.manual_seed(1)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "vocab_size": 16}
    LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4)).save_pretrained(tmp_path)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)

    held, _ = load(Place("base", str(tmp_path)), torch.device("cpu"), "4bit")

    with torch.no_grad():
        for name, layer in whole.named_modules():
            if isinstance(layer, torch.nn.Linear):
                asked = torch.eye(layer.in_features)
                wanted, told = layer(asked), held.get_submodule(name)(asked)
                assert (told - wanted).norm() < 0.12 * wanted.norm(), name
    kinds = {name: type(held.get_submodule(name)).__name__ for name in ("model.layers.0.mlp.up_proj", "lm_head")}
    assert kinds == {"model.layers.0.mlp.up_proj": "Linear4bit", "lm_head": "Linear"}
