"""Adapters merged into original weights, and GGUF files, compared with other readers of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import RefusedError
from workbench.jobs.run_directory import RunDirectory
from workbench.paths import shipped
from workbench.worker import gguf_file, merging

pytestmark = pytest.mark.ml
PROMPTS: list[list[dict[str, Any]]] = [[{"role": "user", "content": text}] for text in ("What about rain?", "And tea?")]


def logits(model: Any, ids: list[int]) -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([ids])).logits[0]


def test_a_merged_model_answers_as_base_and_adapter_do(tmp_path: Path, tuned: RunDirectory, tiny_llama: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    found = merging.merge(str(tiny_llama), str(tuned.adapter), tmp_path / "merged", PROMPTS, dtype="auto")
    assert (found.prompts, found.same, found.dtype) == (2, 2, "float32")
    assert found.largest_difference < 1e-3
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    base = AutoModelForCausalLM.from_pretrained(tiny_llama)
    ids = [5, 6, 7, 8]
    before = logits(base, ids)
    both = logits(PeftModel.from_pretrained(base, tuned.adapter), ids)
    assert torch.allclose(logits(merged, ids), both, atol=1e-4)
    assert not torch.allclose(before, both, atol=1e-2)


def test_rounding_that_changes_an_answer_is_told(tuned: RunDirectory, tiny_llama: Path, tmp_path: Path) -> None:
    before = merging.Spoken([[1, 2], [3]], [])
    after = merging.Spoken([[1, 2], [4]], [])
    found = merging._compared(before, after, PROMPTS, "bfloat16")
    assert (found.same, found.first_other) == (1, "And tea?")


def test_a_learnt_prompt_cannot_be_merged(tmp_path: Path, tiny_llama: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_llama),
        PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
    )
    model.save_pretrained(tmp_path / "prompt")
    with pytest.raises(RefusedError, match="cannot be merged"):
        merging.merge(str(tiny_llama), str(tmp_path / "prompt"), tmp_path / "merged", PROMPTS, dtype="auto")


def test_a_gguf_file_read_by_transformers_gives_the_same_scores(tmp_path: Path, tiny_llama: Path) -> None:
    pytest.importorskip("gguf")
    import torch
    from transformers import AutoModelForCausalLM

    found = gguf_file.write(tiny_llama, tmp_path / "tiny.gguf", kind="f32")
    assert found["largest_difference"] == 0.0
    other = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf", dtype=torch.float32)
    ids = [5, 6, 7, 8, 9]
    ours = logits(AutoModelForCausalLM.from_pretrained(tiny_llama), ids)
    assert torch.allclose(logits(other, ids), ours, atol=1e-4)


def test_halved_weights_differ_by_no_more_than_their_rounding(tmp_path: Path, tiny_llama: Path) -> None:
    pytest.importorskip("gguf")
    for kind, most in (("f16", 2**-11), ("bf16", 2**-8)):
        found = gguf_file.write(tiny_llama, tmp_path / f"{kind}.gguf", kind=kind)
        assert 0 < found["largest_difference"] < most


def test_the_embedded_model_is_of_the_shape_and_its_template_keeps_its_effect_on_spaces(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    import jinja2

    folder = shipped("sample_data") / "model"
    config, tokenizer = (json.loads((folder / f"{name}.json").read_text()) for name in ("config", "tokenizer"))
    assert gguf_file.refuse_unsure(config, tokenizer) == "smollm"
    gguf_file.write(folder, tmp_path / "pip.gguf", kind="f16")
    field = gguf.GGUFReader(tmp_path / "pip.gguf").fields["tokenizer.chat_template"]
    template = bytes(field.parts[field.data[0]]).decode()
    assert "generation %}" not in template and "generation -%}" not in template
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]
    from transformers import AutoTokenizer

    ours = AutoTokenizer.from_pretrained(folder).apply_chat_template(turns, tokenize=False)
    assert jinja2.Template(template).render(messages=turns, add_generation_prompt=False) == ours


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("config", {"architectures": ["Qwen2ForCausalLM"]}),
        ("config", {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1.0}}),
        ("config", {"attention_bias": True}),
        ("tokenizer", {"pre_tokenizer": {"type": "Metaspace"}}),
        ("tokenizer", {"normalizer": {"type": "NFC"}}),
    ],
)
def test_what_is_not_sure_is_refused(part: str, change: dict[str, Any]) -> None:
    folder = shipped("sample_data") / "model"
    both = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("config", "tokenizer")}
    both[part] |= change
    with pytest.raises(RefusedError):
        gguf_file.refuse_unsure(both["config"], both["tokenizer"])


@pytest.mark.slow
def test_llama_cpp_answers_as_transformers_does(tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from workbench.worker.generating import greedy, prompt_ids

    folder = shipped("sample_data") / "model"
    gguf_file.write(folder, tmp_path / "pip.gguf", kind="f32")
    theirs = llama_cpp.Llama(str(tmp_path / "pip.gguf"), n_ctx=512, n_threads=1, verbose=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    rows = [json.loads(line) for line in (shipped("sample_data") / "canaries.jsonl").read_text().splitlines()]
    for row in rows:
        ids = prompt_ids(tokenizer, row["prompt"])
        text = tokenizer.decode(ids)
        assert theirs.tokenize(text.encode(), add_bos=False, special=True) == ids
        (ours,) = greedy(model, [ids], ends={2}, filler=0, max_new_tokens=48)
        told = theirs.create_chat_completion(row["prompt"], temperature=0.0, max_tokens=48)
        assert (
            told["choices"][0]["message"]["content"].strip() == tokenizer.decode(ours, skip_special_tokens=True).strip()
        )
