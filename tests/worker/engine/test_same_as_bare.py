"""Whatever happens around it, a greedy answer is the one that bare transformers and PEFT give.

For every kind of adapter, in full precision and over a base in 4 bits: alone, in one batch with all the others, and
after what leaves traces in other servers: a cancel in the middle, another adapter on the base, an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bare import Bare
from workbench.worker.engine.wire import Refusal

pytestmark = pytest.mark.ml

KINDS = ("base", "tuned", "wide", "dora", "dora_head", "ia3", "prefix", "prompt", "encoder")
IN_FOUR_BITS = ("base", "tuned", "dora", "ia3", "prefix")
QUESTIONS = ("Hi", "Tell me everything about the history of the wooden spoon, please, and then some more.")


@pytest.fixture(scope="module")
def full(in_process: Any, bare: Bare) -> tuple[Any, Bare]:
    return in_process, bare


@pytest.fixture(scope="module")
def four_bits(tiny_models: Any, in_four_bits: Any) -> tuple[Any, Bare]:
    import torch
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    bare = Bare(tiny_models.root, quantization_config=config, dtype=torch.float32, device_map={"": "cpu"})
    return in_four_bits, bare


@pytest.fixture(params=["full", "four_bits"])
def pair(request: pytest.FixtureRequest) -> tuple[Any, Bare, tuple[str, ...]]:
    """An engine, the bare libraries in the same precision, and the models to ask."""
    engine, bare = request.getfixturevalue(request.param)
    return engine, bare, KINDS if request.param == "full" else IN_FOUR_BITS


Pair = tuple[Any, Bare, tuple[str, ...]]


def told(row: Any) -> str:
    """The whole answer, as the bare one is given: without a part of a character at its end."""
    return str(row.result()[0]).rstrip("\ufffd")


def ask_all(pair: Pair) -> None:
    """Ask every model, one after another, and hold the answers against the bare ones."""
    engine, bare, names = pair
    for name in names:
        for question in QUESTIONS:
            assert told(engine.ask(name, question)) == bare.answer(name, question), (name, question)


def test_the_models_here_answer_differently(pair: Pair) -> None:
    _, bare, names = pair
    answers = {name: bare.answer(name, QUESTIONS[1]) for name in names}
    assert len(set(answers.values())) == len(names), answers


def test_alone(pair: Pair) -> None:
    ask_all(pair)


def test_all_at_once(pair: Pair) -> None:
    engine, bare, names = pair
    asked = [(name, question) for question in QUESTIONS for name in names]
    rows = engine.together(*asked)
    assert {each: told(row) for each, row in zip(asked, rows, strict=True)} == {
        each: bare.answer(*each) for each in asked
    }


def cancelled_in_the_middle(engine: Any, name: str) -> None:
    row = engine.ask(name, QUESTIONS[1], max_tokens=100, at_first_piece=lambda asked: asked.cancel())
    row.events.get(timeout=60)


def an_error_in_the_middle(engine: Any, name: str) -> None:
    """The model raises in the third forward pass of an answer, deep in its layers."""
    import torch

    resident = engine.scheduler._resident
    engine.ask(name, QUESTIONS[0], max_tokens=1).result()
    last_layer = resident._on.model.get_output_embeddings()
    passes = 0

    def fail(*_: Any) -> None:
        nonlocal passes
        passes += 1
        if passes == 3:
            raise RuntimeError("a fault of the hardware")

    hook = last_layer.register_forward_pre_hook(fail)
    try:
        with pytest.raises(Refusal, match="a fault of the hardware"):
            engine.ask(name, QUESTIONS[0] + "!").result()
    finally:
        hook.remove()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("trouble", [cancelled_in_the_middle, an_error_in_the_middle])
def test_after(pair: Pair, trouble: Callable[[Any, str], None]) -> None:
    engine, bare, names = pair
    for name in names:
        trouble(engine, name)
        for other in (name, "base", "tuned"):
            assert told(engine.ask(other, QUESTIONS[1])) == bare.answer(other, QUESTIONS[1]), (name, other)


def test_after_each_other(pair: Pair) -> None:
    """Adapters come on and go off the same base: each kind after each other kind."""
    engine, bare, names = pair
    chosen = [name for name in names if name not in {"wide", "prompt", "encoder"}]
    for first in chosen:
        for second in chosen:
            for name in (first, second):
                assert told(engine.ask(name, QUESTIONS[0])) == bare.answer(name, QUESTIONS[0]), (first, second)


def test_one_copy_of_the_base_serves_them_all(full: tuple[Any, Bare]) -> None:
    engine, _ = full
    engine.ask("base", QUESTIONS[0]).result()
    weights = engine.scheduler._resident._on.model.get_input_embeddings().weight.data_ptr()
    for name in ("tuned", "dora", "prefix", "ia3", "wide"):
        engine.ask(name, QUESTIONS[0]).result()
    now = engine.scheduler._resident._on.model.get_input_embeddings()
    assert getattr(now, "base_layer", now).weight.data_ptr() == weights
