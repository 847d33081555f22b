"""The vLLM command: what ``serve`` would serve, answered the same way, or a refusal that says why not."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from workbench.domain.serving import ModelPlace, ServeSpec
from workbench.errors import DataError, RefusedError
from workbench.flows import vllm


@pytest.fixture
def base(tmp_path: Path) -> ModelPlace:
    return ModelPlace("one", _folder(tmp_path / "one", "config.json", {"model_type": "llama"}))


def adapter(base: ModelPlace, name: str, **config: Any) -> ModelPlace:
    folder = Path(base.path).parent / name
    return ModelPlace(name, _folder(folder, "adapter_config.json", {"peft_type": "LORA", "r": 8, **config}), base)


def _folder(folder: Path, file: str, content: dict[str, Any]) -> str:
    folder.mkdir()
    (folder / file).write_text(json.dumps(content))
    return str(folder)


def after(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_a_base_alone_is_served_without_loras_by_its_name(base: ModelPlace) -> None:
    words = vllm.command(ServeSpec((base,), port=9000))
    assert words[:5] == ["vllm", "serve", base.path, "--served-model-name", "one"]
    assert after(words, "--port") == "9000"
    assert "--enable-lora" not in words


@pytest.mark.parametrize("text", ["{", "[1]", "\\xff"])
def test_settings_that_cannot_be_read_are_named(base: ModelPlace, text: str) -> None:
    file = Path(base.path) / "config.json"
    file.write_bytes(text.encode().decode("unicode_escape").encode("latin-1"))
    with pytest.raises(DataError, match="not a model's settings") as refused:
        vllm.command(ServeSpec((base,), precision="4bit"))
    assert refused.value.where == str(file)


def test_sampling_that_a_request_does_not_name_is_that_of_serve_not_the_models(base: ModelPlace) -> None:
    assert after(vllm.command(ServeSpec((base,))), "--generation-config") == "vllm"


def test_the_same_web_pages_may_ask(base: ModelPlace) -> None:
    assert json.loads(after(vllm.command(ServeSpec((base,))), "--allowed-origins")) == []
    page = "https://a.example"
    assert json.loads(after(vllm.command(ServeSpec((base,), origins=(page,))), "--allowed-origins")) == [page]


def test_adapters_come_with_the_rank_that_holds_them_all(base: ModelPlace) -> None:
    adapters = adapter(base, "small", r=4), adapter(base, "wide", r=40)
    words = vllm.command(ServeSpec((base, *adapters)))
    assert after(words, "--max-lora-rank") == "64"  # 40 is not one of its ranks
    assert after(words, "--max-loras") == "2"
    first = words.index("--lora-modules") + 1
    assert words[first:] == [f"{each.name}={each.path}" for each in adapters]


def test_the_key_is_no_word_of_a_command_that_others_can_list(base: ModelPlace) -> None:
    spec = ServeSpec((base,), api_key_env="OUR_KEY")
    words, variables = vllm.command(spec), vllm.environment(spec)
    assert not any("OUR_KEY" in word for word in words)
    assert vllm.as_shell(words, variables).startswith('VLLM_API_KEY="$OUR_KEY" vllm serve ')
    assert vllm.environment(ServeSpec((base,))) == {}


def test_names_with_blanks_come_through_a_shell(base: ModelPlace) -> None:
    odd = ModelPlace("my base", base.path)
    assert shlex.split(vllm.as_shell(vllm.command(ServeSpec((odd,))), {})) == vllm.command(ServeSpec((odd,)))


@pytest.mark.parametrize(
    ("precision", "words"),
    [("auto", []), ("4bit", ["--quantization", "bitsandbytes"]), ("bfloat16", ["--dtype", "bfloat16"])],
)
def test_the_base_is_loaded_in_the_numbers_asked_for(base: ModelPlace, precision: str, words: list[str]) -> None:
    plain = vllm.command(ServeSpec((base,)))
    assert [w for w in vllm.command(ServeSpec((base,), precision=precision)) if w not in plain] == words


def test_eight_bits_which_vllm_does_not_make_are_refused_and_not_left_out(base: ModelPlace) -> None:
    with pytest.raises(RefusedError, match="8-bit") as caught:
        vllm.command(ServeSpec((base,), precision="8bit"))
    assert "4bit" in caught.value.hint


@pytest.mark.parametrize("precision", ["4bit", "8bit", "float16"])
def test_weights_that_are_quantised_already_stay_as_they_are(base: ModelPlace, precision: str) -> None:
    config = {"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}
    (Path(base.path) / "config.json").write_text(json.dumps(config))
    assert vllm.command(ServeSpec((base,), precision=precision)) == vllm.command(ServeSpec((base,)))


@pytest.mark.parametrize(
    "config",
    [
        {"peft_type": "IA3"},
        {"use_dora": True},
        {"bias": "all"},
        {"modules_to_save": ["lm_head"]},
        {"rank_pattern": {"q_proj": 40}},
        {"alpha_pattern": {"q_proj": 64}},
        {"r": 1024},
    ],
)
def test_an_adapter_that_vllm_would_read_otherwise_is_refused(base: ModelPlace, config: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="odd") as caught:
        vllm.command(ServeSpec((base, adapter(base, "odd", **config))))
    assert "merge" in caught.value.hint


def test_an_adapter_with_a_template_of_its_own_is_refused_unless_it_is_the_bases(base: ModelPlace) -> None:
    tuned = adapter(base, "tuned")
    (Path(base.path) / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ one }}"}))
    (Path(tuned.path) / "chat_template.jinja").write_text("{{ one }}\n")
    assert "--lora-modules" in vllm.command(ServeSpec((base, tuned)))
    (Path(tuned.path) / "chat_template.jinja").write_text("{{ other }}")
    with pytest.raises(RefusedError, match="chat template of its own"):
        vllm.command(ServeSpec((base, tuned)))
