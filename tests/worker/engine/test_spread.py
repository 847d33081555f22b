"""A base that accelerate has partly left on the disk answers as the same base whole, with every kind of adapter.

Two GPUs cannot be tried without any; what can be is that the weights are not there until a layer computes, by the same
hooks. ``HALF`` leaves one layer out, ``ALL`` everything that may be.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from bare import Bare
from workbench.worker.engine.wire import Refusal

pytestmark = pytest.mark.ml

PARTS = ("model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "lm_head")
HALF = {**dict.fromkeys(PARTS, "cpu"), "model.layers.1": "disk", "model.rotary_emb": "cpu"}
ALL = {**dict.fromkeys(PARTS, "disk"), "model.rotary_emb": "cpu"}
KINDS = ("base", "tuned", "wide", "dora", "ia3", "prefix", "prompt")
SHORT = "Hi"
LONG = "Tell me everything about the history of the wooden spoon, please."


@pytest.fixture(scope="module", params=[HALF, pytest.param(ALL, marks=pytest.mark.slow)], ids=["half", "all"])
def spread(request: pytest.FixtureRequest, another_engine: Any) -> Iterator[Any]:
    """An engine whose base lies where the map says."""
    from workbench.worker.engine import loading

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "choose", lambda *_: loading.Choice("float32", request.param))
        engine = another_engine()
        yield engine
        engine.unload()


def told(row: Any) -> str:
    return str(row.result()[0]).rstrip("\ufffd")


def test_a_part_of_the_base_is_not_there_between_answers(spread: Any) -> None:
    spread.ask("base", SHORT).result()
    resident = spread.scheduler._resident
    assert "meta" in {weight.device.type for weight in resident._on.model.parameters()}
    assert resident.device.type == "cpu"


@pytest.mark.parametrize("name", KINDS)
def test_alone(spread: Any, bare: Bare, name: str) -> None:
    assert told(spread.ask(name, LONG)) == bare.answer(name, LONG)


def test_all_at_once(spread: Any, bare: Bare) -> None:
    asked = [(name, question) for question in (SHORT, LONG) for name in KINDS]
    rows = spread.together(*asked)
    assert {each: told(row) for each, row in zip(asked, rows, strict=True)} == {
        each: bare.answer(*each) for each in asked
    }


@pytest.mark.parametrize("name", ["base", "tuned", "ia3"])
def test_after_a_cancel_and_a_swap_of_adapters(spread: Any, bare: Bare, name: str) -> None:
    row = spread.ask(name, LONG, max_tokens=100, at_first_piece=lambda asked: asked.cancel())
    row.events.get(timeout=60)
    for other in (name, "dora", name, "base"):
        assert told(spread.ask(other, SHORT)) == bare.answer(other, SHORT), (name, other)


def test_what_would_need_weights_that_are_elsewhere_is_refused_plainly_and_the_rest_still_answer(
    spread: Any, bare: Bare, request: pytest.FixtureRequest
) -> None:
    if "all" in request.node.callspec.id:
        with pytest.raises(Refusal, match="dora_head cannot be put on a base of which a part lies outside"):
            spread.ask("dora_head", SHORT).result()
    else:
        assert told(spread.ask("dora_head", SHORT)) == bare.answer("dora_head", SHORT)
    assert told(spread.ask("tuned", SHORT)) == bare.answer("tuned", SHORT)


def test_all_memory_is_given_back(spread: Any, bare: Bare) -> None:
    spread.ask("tuned", SHORT).result()
    model = weakref.ref(spread.scheduler._resident._on.model)
    layers = [weakref.ref(module) for module in model().modules()]
    spread.unload()
    gc.collect()
    assert model() is None and not [layer for layer in layers if layer() is not None]
    assert told(spread.ask("tuned", SHORT)) == bare.answer("tuned", SHORT)


def test_learnt_keys_move_to_where_their_layer_computes() -> None:
    """A prefix's keys come on the first device; "meta" plays the device of a layer on another one."""
    import torch

    from workbench.worker.engine.sheet import Past, Sheet

    sheet = Sheet(torch.device("cpu"))
    learnt = torch.ones(2, 3, 4)
    sheet.lay([4], 3, [Past([(learnt, learnt)], 3)])
    new = torch.ones(1, 2, 1, 4, device="meta")
    keys, values = sheet.cache.layer(0).update(new, new)
    assert (keys.device.type, values.device.type) == ("meta", "meta")
    assert keys.shape == (1, 2, 4, 4)
