"""Rows and adapters that come and go in disorder: every answer is still the one of the bare libraries."""

from __future__ import annotations

import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from bare import Bare

pytestmark = pytest.mark.ml

SHORT = "Hi"
LONG = "Tell me everything about the history of the wooden spoon, please, and then some more."
QUESTIONS = (SHORT, LONG, LONG[:40] + " Or less?")  # the last one shares its beginning with another
MODELS = ("base", "tuned", "wide", "dora", "dora_head", "prefix", "prompt", "ia3")


def told(asked: Any) -> str:
    """The whole answer, without a part of a character at its end."""
    return str(asked.result()[0]).rstrip("\ufffd")


def chunks(in_process: Any, monkeypatch: pytest.MonkeyPatch, draw: random.Random, most: int) -> None:
    """Have prompts read a few tokens at a time, beginning with nothing in memory."""
    from workbench.worker.engine.pace import Pace

    in_process.unload()
    monkeypatch.setattr(Pace, "columns", lambda self, rows, is_alone: draw.randint(1, most))


@pytest.mark.parametrize("seed", range(3))
def test_whoever_joins_leaves_and_asks_again_gets_the_bare_answer(
    in_process: Any, bare: Bare, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Each question is asked when the one before has given its first words: of any model, with siblings, and few of the
    models have room at once, so that adapters go while others answer. Some are stopped, all end at different lengths.
    """
    draw = random.Random(seed)
    monkeypatch.setattr("workbench.worker.engine.resident.MAX_ADAPTERS", 3)
    chunks(in_process, monkeypatch, random.Random(seed), most=40)
    asked: list[tuple[Any, str, str]] = []
    all_asked = threading.Event()
    names = MODELS if seed else MODELS[:-1]  # ia3 waits for the others to end
    plan = [
        (draw.choice(names), draw.choice(QUESTIONS), draw.choices((1, 5, 24), k=draw.choice((1, 1, 2, 4))))
        for _ in range(14)
    ]
    stopped = {number for number in range(len(plan)) if draw.random() < 0.2}

    def ask(number: int) -> None:
        if number == len(plan):
            all_asked.set()
            return
        name, text, (most, *siblings) = plan[number]

        def at_first(row: Any) -> None:
            if number in stopped:
                row.cancel()
            ask(number + 1)

        first = in_process.ask(name, text, max_tokens=most, at_first_piece=at_first)
        if number not in stopped:
            asked.append((first, name, text))
        asked.extend((in_process.ask(name, text, max_tokens=each), name, text) for each in siblings)

    ask(0)
    assert all_asked.wait(60)
    for row, name, text in asked:
        whole, done = row.result()
        assert bare.answer(name, text).startswith(whole.rstrip("\ufffd")), (name, text)
        assert done.tokens == row.row.asked.max_tokens or whole.rstrip("\ufffd") == bare.answer(name, text)


def without_numbers(tiny_models: Any, folder: Path) -> None:
    """An adapter all of whose answers are NaN."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_models.root / "tuned", folder)
    weights = load_file(folder / "adapter_model.safetensors")
    save_file({name: each * float("nan") for name, each in weights.items()}, folder / "adapter_model.safetensors")


def test_a_row_without_numbers_that_is_stopped_while_it_is_read_spoils_no_other(
    in_process: Any, bare: Bare, tiny_models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_numbers(tiny_models, tmp_path / "nan")
    base = ("base", str(tiny_models.root / "base"))
    in_process.desk.register("nan", str(tmp_path / "nan"), base)
    chunks(in_process, monkeypatch, random.Random(0), most=1)
    forward, asked, passes = in_process.scheduler._resident.forward, list[Any](), [0]

    def counted(*arguments: Any) -> Any:
        passes[0] += 1
        if passes[0] == 3:
            asked[0].cancel()
        return forward(*arguments)

    with in_process.desk.changed:
        asked += in_process.together(("nan", LONG), ("base", LONG), ("tuned", SHORT))
        monkeypatch.setattr(in_process.scheduler._resident, "forward", counted)
    assert [told(row) for row in asked[1:]] == [bare.answer("base", LONG), bare.answer("tuned", SHORT)]


@pytest.mark.parametrize("others", [(), ("wide",)])
def test_an_adapter_that_finds_no_memory_to_be_settled_leaves_nothing_on_the_base(
    in_process: Any, bare: Bare, monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...]
) -> None:
    import torch

    from workbench.worker.engine import dora
    from workbench.worker.engine.wire import Refusal

    def starve(*_: Any) -> bool:
        raise torch.OutOfMemoryError("CUDA out of memory")

    in_process.unload()
    for name in others:
        in_process.ask(name, SHORT).result()
    with monkeypatch.context() as patch:
        patch.setattr(dora, "settle", starve)
        with pytest.raises(Refusal, match="out of memory"):
            in_process.ask("dora", LONG).result()
    for name in ("base", *others, "tuned", "dora"):
        assert told(in_process.ask(name, LONG)) == bare.answer(name, LONG), name
