"""The memory estimate's sums, checked by hand; ``tests/bench/bench_memory.py`` measures whether it meets the truth."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from workbench.domain.memory import Load, ModelShape, checkpoint_bytes, estimate, learning, load_of, shape_of

CONFIG = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
}
TENSORS = {
    "model.embed_tokens.weight": [300, 64],
    "model.norm.weight": [64],
    **{f"model.layers.{n}.self_attn.q_proj.weight": [64, 64] for n in range(2)},
    **{f"model.layers.{n}.self_attn.k_proj.weight": [32, 64] for n in range(2)},
    **{f"model.layers.{n}.mlp.up_proj.weight": [96, 64] for n in range(2)},
    "lm_head.weight": [300, 64],
}
LINEAR = 2 * (64 * 64 + 32 * 64 + 96 * 64)
ALL = LINEAR + 2 * 300 * 64 + 64
LOAD = Load(sequences=1, tokens=100, learning=1000)


@pytest.fixture
def shape() -> ModelShape:
    found = shape_of(CONFIG, TENSORS)
    assert found is not None
    return found


def test_a_shape_tells_linear_layers_from_the_rest(shape: ModelShape) -> None:
    assert (shape.parameters, shape.in_matrices, shape.key_value) == (ALL, LINEAR, 32)


def test_without_the_numbers_there_is_no_shape() -> None:
    assert shape_of({"model_type": "mamba"}, TENSORS) is None
    assert shape_of(CONFIG, {}) is None


def test_the_text_part_of_a_model_that_also_sees_decides(shape: ModelShape) -> None:
    assert shape_of({"text_config": CONFIG}, TENSORS) == shape


def test_low_rank_matrices_are_counted_on_the_named_layers_only(shape: ModelShape) -> None:
    assert learning(shape, {"adapter": "lora", "lora_r": 3}) == 3 * 2 * ((64 + 64) + (32 + 64) + (96 + 64))
    assert learning(shape, {"adapter": "dora", "lora_r": 3, "target_modules": "q_proj, k_proj"}) == 3 * 2 * (128 + 96)


def test_full_fine_tuning_holds_weights_gradients_and_two_moments_in_single_precision(shape: ModelShape) -> None:
    load = load_of(shape, {"adapter": "full"}, sequences=1, tokens=10, device="cpu", bf16=True)
    parts = estimate(shape, load)
    assert (parts.weights, parts.gradients, parts.optimiser, parts.adapter) == (4 * ALL, 4 * ALL, 8 * ALL, 0)
    assert checkpoint_bytes(shape, load) == 12 * ALL


def test_a_preference_method_that_trains_all_weights_holds_them_twice(shape: ModelShape) -> None:
    run = partial(load_of, shape, sequences=1, tokens=10, device="cpu", bf16=False)
    assert run({"adapter": "full"}, is_compared=True).copies == 1
    assert run({"adapter": "lora"}, is_compared=True).copies == 0
    assert run({"adapter": "full", "beta": 0.1}).copies == 0


def test_a_model_beside_it_is_held_in_the_precision_of_the_run(shape: ModelShape) -> None:
    for bf16, number in ((False, 4), (True, 2)):
        load = load_of(shape, {}, sequences=1, tokens=10, device="cuda", bf16=bf16, beside=1000)
        assert estimate(shape, load).weights - estimate(shape, replace(load, beside=0)).weights == 1000 * number


def test_four_bits_take_linear_layers_only(shape: ModelShape) -> None:
    parts = estimate(shape, replace(LOAD, quantized="4bit"))
    assert parts.weights == pytest.approx(0.516 * LINEAR + 4 * (ALL - LINEAR), abs=1)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_checkpointing_bf16_and_fewer_tokens_never_take_more(shape: ModelShape, device: str) -> None:
    load = replace(LOAD, device=device)
    whole = estimate(shape, load).total
    deep = replace(shape, layers=24)
    assert estimate(deep, replace(load, checkpointing=True)).total < estimate(deep, load).total
    assert estimate(shape, replace(load, tokens=50)).total < whole
    assert estimate(shape, replace(load, quantized="8bit")).total < whole


def test_the_sentence_names_the_largest_part_first(shape: ModelShape) -> None:
    said = estimate(shape, replace(LOAD, tokens=1_000_000)).sentence()
    assert "activations" in said.split(",")[0]


def test_a_score_has_no_logits_and_a_plain_head_has_them_all_at_once(shape: ModelShape) -> None:
    assert estimate(shape, replace(LOAD, head="none")).logits == 0
    plain = [estimate(shape, replace(LOAD, head="plain", tokens=tokens)).logits for tokens in (1_000, 100_000)]
    assert plain[1] == 100 * plain[0] > estimate(shape, replace(LOAD, tokens=100_000)).logits
