"""Every method with every adapter kind on the embedded model: ten steps, and a result that bare libraries load."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tiny_llama import make_run, rows
from workbench import methods
from workbench.domain.methods import Task
from workbench.errors import RefusedError
from workbench.jobs.run_directory import RunDirectory
from workbench.methods.adapters import find, refuse_clashes
from workbench.paths import shipped

pytestmark = pytest.mark.ml
Train = Callable[[RunDirectory], int]
BASE = shipped("sample_data") / "model"
PLAIN = [(name, "none") for name in find() if name != "qlora"]
QUANTIZED = [(name, bits) for bits in ("4bit", "8bit") for name in find()]
QUICK = [
    ("sft", "dora", "none"),
    ("sft", "pissa", "none"),
    ("sft", "ia3", "none"),
    ("sft", "prompt", "none"),
    ("sft", "last-layers", "none"),
    ("dpo", "rslora", "none"),
    ("kto", "prefix", "none"),
    ("cpt", "lora", "none"),
    ("reward", "qlora", "4bit"),
    ("simpo", "lora", "none"),
    ("orpo", "ia3", "none"),
    ("cpo", "named", "none"),
    ("rloo", "lora", "none"),
    ("grpo", "dora", "none"),
    ("distillation", "lora", "none"),
]
ALL = [
    pytest.param(method, adapter, bits, marks=() if (method, adapter, bits) in QUICK else pytest.mark.slow)
    for method in methods.find()
    for adapter, bits in PLAIN + QUANTIZED
]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, train: Train) -> Callable[[RunDirectory], Any]:
    """Run a directory and give back what was built, with the model as it ended."""
    from workbench.worker.trainer import training

    seen: list[Any] = []
    save = training._save

    def saved(built: Any, *rest: Any) -> None:
        seen.append(built)
        save(built, *rest)

    monkeypatch.setattr(training, "_save", saved)

    def run(directory: RunDirectory) -> Any:
        assert train(directory) == 0, directory.status()
        return seen[-1]

    return run


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model with other weights, from which there is something to learn."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("teacher")
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    noise = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * weight.std() * torch.randn(weight.shape, generator=noise)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(BASE).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def engine() -> Iterator[Callable[[Path, str], str]]:
    """The engine's greedy answer by an adapter on the embedded model."""
    from workbench.worker.engine.desk import Desk, Done, Piece, Read, Row
    from workbench.worker.engine.scheduler import Scheduler
    from workbench.worker.engine.wire import parse_request

    desk = Desk()
    threading.Thread(target=Scheduler(desk).run, daemon=True).start()

    def ask(folder: Path, text: str) -> str:
        import queue

        events: queue.Queue[Any] = queue.Queue()
        desk.register(str(folder), str(folder), ("base", str(BASE)) if folder.name == "adapter" else None)
        body = {"model": str(folder), "messages": [{"role": "user", "content": text}], "temperature": 0}
        desk.submit(Row(parse_request(body | {"max_tokens": 12}), desk.place(str(folder)), events.put))
        told = ""
        while True:
            match events.get(timeout=60):
                case Piece(piece):
                    told += piece
                case Done():
                    return told
                case Read():
                    pass
                case refusal:
                    raise AssertionError(refusal)

    yield ask


def bare(directory: RunDirectory, bits: str) -> Any:
    """The result as transformers and PEFT load it, over a base in the same number of bits."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, BitsAndBytesConfig

    kind: Any = AutoModelForCausalLM
    options: dict[str, Any] = {}
    if methods.get(directory.spec().method).task is Task.SCORE:
        kind, options = AutoModelForSequenceClassification, {"num_labels": 1}
    if directory.model.is_dir():
        return kind.from_pretrained(directory.model)
    options["dtype"] = "float32"
    if bits != "none":
        four: dict[str, Any] = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
        # Of these layers bitsandbytes misreads the scales on a CPU: their width is no multiple of 64.
        four |= {"llm_int8_skip_modules": ["lm_head", "score", "down_proj"]}
        config = BitsAndBytesConfig(**(four if bits == "4bit" else {"load_in_8bit": True}))
        options |= {"quantization_config": config, "device_map": {"": "cpu"}}
    base = kind.from_pretrained(BASE, **options)
    for module in base.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return PeftModel.from_pretrained(base, directory.adapter)


def answer(model: Any, tokenizer: Any, question: str) -> list[float]:
    import torch

    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    with torch.no_grad():
        if model.config.num_labels == 1:
            return [float(model.eval()(**asked).logits[0, 0])]
        told = model.eval().generate(**asked, max_new_tokens=12, do_sample=False)
    # A model with learnt prompts gives the new tokens alone behind the question, as the others do.
    return told[0, asked["input_ids"].shape[1] :].tolist()


@pytest.mark.parametrize(("method", "adapter", "bits"), ALL)
def test_ten_steps_teach_and_the_result_stands_on_its_own(
    method: str,
    adapter: str,
    bits: str,
    tmp_path: Path,
    trained: Callable[[RunDirectory], Any],
    engine: Callable[[Path, str], str],
    train: Train,
    teacher: Path,
) -> None:
    given: dict[str, object] = {"adapter": adapter, "quantization": bits, "max_steps": 10, "warmup_steps": 1}
    if method in {"rloo", "grpo"}:
        given |= {"max_completion_length": 8}
    if method == "distillation":
        given |= {"max_completion_length": 16, "teacher_path": teacher}
    directory = make_run(tmp_path / "run", BASE, method, train=16, held_out=5, per_device_train_batch_size=4, **given)
    spec = directory.spec()
    try:
        refuse_clashes({**spec.knobs, "method": method, "start": "base"})
    except RefusedError as refused:
        assert train(directory) == 1
        status = directory.status()
        assert status is not None and status.error == refused.message
        return
    result = trained(directory)
    measured = {e["which"]: e for e in directory.events()[0] if e["event"] == "eval"}
    if adapter not in {"prefix", "prompt", "p-tuning"} and "loss" in measured["base"]:
        nearer = "divergence" if method == "distillation" else "loss"
        assert measured["tuned"][nearer] < measured["base"][nearer]
    question = str(rows("sft", 1)[0]["prompt"][0]["content"])  # type: ignore[index]
    # Over a quantised base they learn in bf16, and PEFT loads them as fp32. The network behind p-tuning's prompts is
    # not loaded, only what it said in bf16: it stays as it is, for in fp32 its third digit would be another.
    for name, weight in result.trainer.model.named_parameters():
        if weight.requires_grad and "prompt_encoder" not in name:
            weight.data = weight.data.float()
    told = answer(bare(directory, bits), result.tokenizer, question)
    assert told == pytest.approx(answer(result.trainer.model, result.tokenizer, question), rel=1e-4)
    if method == "reward":  # which answers nothing
        return

    folder = directory.model if directory.model.is_dir() else directory.adapter
    told = answer(bare(directory, "none"), result.tokenizer, question)
    text = result.tokenizer.decode([int(token) for token in told], skip_special_tokens=True)
    assert engine(folder, question) == text.rstrip("\ufffd")
