"""Over a base in 4 or 8 bits an adapter learns in as many bits as over any other."""

from __future__ import annotations

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
