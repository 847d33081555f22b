"""Trainer, view of tokens and engine speak alike, also for an adapter that brings a chat template of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny_llama as tiny
from workbench.domain.chats import Turn
from workbench.domain.models import ModelKind
from workbench.flows import tokens as flow
from workbench.flows.bench import Bench
from workbench.jobs.run_directory import RunDirectory

pytestmark = pytest.mark.ml
OWN = "Brief!\n" + tiny.TEMPLATE


@pytest.fixture
def own_template(tuned: RunDirectory, tmp_path: Path) -> Path:
    """An adapter that was saved with another chat template than its base has."""
    folder = shutil.copytree(tuned.adapter, tmp_path / "adapter")
    (folder / "chat_template.jinja").write_text(OWN)
    return folder


def test_going_on_from_an_adapter_trains_on_the_template_that_the_engine_uses(
    own_template: Path, tiny_llama: Path, tmp_path: Path, train: Callable[[RunDirectory], int]
) -> None:
    from workbench import methods
    from workbench.worker.engine.desk import Place, PublicState
    from workbench.worker.engine.resident import Resident
    from workbench.worker.tokens import ModelTokens
    from workbench.worker.trainer import building

    directory = tiny.make_run(tmp_path / "run", tiny_llama, max_steps=1, adapter_path=str(own_template))
    built = building.build(methods.get("sft"), directory.spec(), directory, [])
    row = built.trainer.train_dataset[0]
    trained = row["input_ids"][: [label != -100 for label in row["labels"]].index(True)]

    place = Place("mine", str(own_template), Place("base", str(tiny_llama)))
    asked = Resident(PublicState(), lambda text: None).prepare(place).speaker.encode(row["prompt"])
    turns = [Turn(turn["role"], turn["content"]) for turn in row["prompt"]]
    shown = ModelTokens(str(tiny_llama), adapter=str(own_template), max_length=100).prompt_ids(turns, "")
    assert trained == asked == shown
    assert built.tokenizer.decode(trained).startswith("Brief!\n")
    assert train(directory) == 0
    assert (directory.adapter / "chat_template.jinja").read_text() == OWN


def test_an_adapter_without_a_template_speaks_as_its_base_does(own_template: Path, tiny_llama: Path) -> None:
    from workbench.worker.speaking import own_tokenizer, tokenizer_of

    (own_template / "chat_template.jinja").unlink()
    assert "chat_template" not in json.loads((own_template / "tokenizer_config.json").read_text())
    assert own_tokenizer(str(tiny_llama), str(own_template)) is None
    assert tokenizer_of(str(tiny_llama), str(own_template)).chat_template == tiny.TEMPLATE


def test_an_adapter_with_a_template_alone_speaks_by_it_with_its_bases_tokenizer(
    own_template: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    from workbench.worker.engine.desk import Place, PublicState
    from workbench.worker.engine.resident import Resident
    from workbench.worker.tokens import ModelTokens

    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (own_template / name).unlink(missing_ok=True)
    turns = [Turn("user", "What about tea?")]
    place = Place("mine", str(own_template), Place("base", str(tiny_llama)))
    asked = Resident(PublicState(), lambda text: None).prepare(place).speaker.encode([t.as_dict() for t in turns])
    tokens = ModelTokens(str(tiny_llama), adapter=str(own_template), max_length=100)
    assert asked == tokens.prompt_ids(turns, "")
    assert "".join(tokens.pieces(asked)).startswith("Brief!\n")


def test_a_child_process_is_told_of_the_adapter_whose_tokens_are_asked_for(bench: Bench, tmp_path: Path) -> None:
    pip = bench.store.models.default()
    bench.store.models.add("tuned", ModelKind.ADAPTER, str(tmp_path), base="pip")
    window = ("--max-length", "64")
    assert flow.model_arguments(bench, "pip", max_length=64) == ("--model", pip.path, *window)
    assert flow.model_arguments(bench, "tuned", max_length=64) == (
        *("--model", pip.path, "--adapter", str(tmp_path)),
        *window,
    )


def test_the_view_tells_of_a_last_turn_without_its_stop_token(tmp_path: Path) -> None:
    from workbench.domain.checks import CheckedRow
    from workbench.domain.examples import Content, Kind
    from workbench.worker.tokens import ModelTokens, view

    talk = (Turn("assistant", "One."), Turn("user", "More?"), Turn("assistant", "A"))
    told = []
    for template in (tiny.TEMPLATE, tiny.WITHOUT_LAST_STOP):
        base = tiny.make(tmp_path / str(len(told)), template=template)
        row = CheckedRow(1, "teas", Content(Kind.DEMONSTRATION, (Turn("user", "Say it."),), talk))
        told.append(view(row, ModelTokens(str(base), max_length=500))["sequences"][0]["stop_token_in_loss"])
    assert told == [True, False]
