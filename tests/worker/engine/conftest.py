"""Tiny random models in a temporary folder, a scheduler in this process, and an engine in a process of its own."""

from __future__ import annotations

import json
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bare import Bare
from workbench.domain.serving import ModelPlace
from workbench.jobs.engine import EngineClient
from workbench.paths import Workspace

if TYPE_CHECKING:
    from workbench.worker.engine.desk import Desk, Done, Row, RowEvent

CHATML = (
    "{%- for message in messages -%}"
    "{%- if message['role'] not in ['system', 'user', 'assistant'] -%}"
    "{{- raise_exception('Unknown role: ' + message['role']) -}}{%- endif -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
CONTEXT_TOKENS = 256


@dataclass(frozen=True)
class TinyModels:
    """Folders of a random Llama and of random adapters on it, and of a second base."""

    root: Path

    def place(self, name: str) -> ModelPlace:
        base = None if name in {"base", "second", "endless"} else ModelPlace("base", str(self.root / "base"))
        return ModelPlace(name, str(self.root / name), base)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    root = tmp_path_factory.mktemp("models")
    tokenizer = _tokenizer()
    for number, name in enumerate(("base", "second")):
        _save_llama(root / name, tokenizer, seed=number)
    _save_endless(root)
    import peft

    shapes = {
        "tuned": peft.LoraConfig(r=4, lora_alpha=32, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
        "wide": peft.LoraConfig(
            r=8, lora_alpha=32, target_modules=["o_proj", "down_proj", "embed_tokens"], init_lora_weights=False
        ),
        "dora": peft.LoraConfig(
            r=4, lora_alpha=64, target_modules=["q_proj", "v_proj"], use_dora=True, init_lora_weights=False
        ),
        "ia3": peft.IA3Config(
            target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], init_ia3_weights=False
        ),
        "prefix": peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
        "prompt": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        "encoder": peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=24),
        "dora_head": peft.LoraConfig(
            r=4, lora_alpha=64, target_modules=["embed_tokens", "v_proj"], use_dora=True, init_lora_weights=False
        ),
        "pissa": peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights="pissa"),
    }
    for number, (name, config) in enumerate(shapes.items()):
        _save_adapter(root, name, config, seed=10 + number)
    return TinyModels(root)


def _tokenizer() -> Any:
    """Byte level without merges: every byte is a token, so that no character beyond ASCII is a single one."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    specials = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*specials, *alphabet])}
    plain = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    plain.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<|pad|>", eos_token="<|im_end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = CHATML
    return tokenizer


def _save_llama(folder: Path, tokenizer: Any, *, seed: int) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,  # widths that hold whole blocks of 4 bits
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_TOKENS,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _save_endless(root: Path) -> None:
    """The base with room for an answer that no test waits to see the end of."""
    shutil.copytree(root / "base", root / "endless")
    for name, changed in (
        ("config.json", {"max_position_embeddings": 1_000_000, "eos_token_id": None}),
        ("generation_config.json", {"eos_token_id": None}),
        ("tokenizer_config.json", {"eos_token": None}),
    ):
        path = root / "endless" / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def _save_adapter(root: Path, name: str, config: Any, *, seed: int) -> None:
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(root / "base"), config)
    if name == "ia3":
        for parameter_name, parameter in model.named_parameters():
            if "ia3_l" in parameter_name:
                torch.nn.init.uniform_(parameter, 0.2, 2.0)
    if name in {"prompt", "encoder"}:  # else the learnt words are as small as the embeddings, and change little
        for parameter in model.prompt_encoder.parameters():
            parameter.data *= 10
    model.save_pretrained(root / name, save_embedding_layers=False)


class Asked:
    """One row submitted to the scheduler in this process, and what it has answered."""

    def __init__(self, desk: Desk, name: str, text: str, **options: Any) -> None:
        from workbench.worker.engine.desk import Row
        from workbench.worker.engine.wire import parse_request

        self.desk = desk
        self._at_first_piece = options.pop("at_first_piece", None)
        self.events: queue.Queue[RowEvent] = queue.Queue()
        self.heard: list[RowEvent] = []
        self.reads: list[tuple[int, int]] = []
        self._ended = False
        body = {"model": name, "messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 24}
        self.row: Row = Row(parse_request(body | options), desk.place(name), self._hear)
        desk.submit(self.row)

    def _hear(self, event: RowEvent) -> None:
        from workbench.worker.engine.desk import Read

        if isinstance(event, Read):
            self.reads.append((event.prompt_tokens, event.remembered_tokens))
            return
        act, self._at_first_piece = self._at_first_piece, None
        if act is not None:
            act(self)
        self.heard.append(event)
        self.events.put(event)

    def cancel(self) -> None:
        self.desk.cancel(self.row)

    def result(self) -> tuple[str, Done]:
        """The whole text and the end, as often as one asks; raises the refusal if that is what came."""
        from workbench.worker.engine.desk import Done, Piece
        from workbench.worker.engine.wire import Refusal

        while not self._ended:
            last = self.events.get(timeout=60)
            self._ended = isinstance(last, Done | Refusal)
        last = self.heard[-1]
        if isinstance(last, Done):
            return "".join(event.text for event in self.heard if isinstance(event, Piece)), last
        assert isinstance(last, Refusal)
        raise last


class InProcess:
    """A desk with a scheduler thread behind it."""

    def __init__(self, models: TinyModels, precision: str = "auto") -> None:
        from workbench.worker.engine.desk import Desk
        from workbench.worker.engine.scheduler import Scheduler

        self.models = models
        self.desk = Desk()
        self.scheduler = Scheduler(self.desk, precision)
        for folder in models.root.iterdir():
            self.register(folder.name)
        threading.Thread(target=self.scheduler.run, daemon=True).start()

    def register(self, name: str) -> None:
        place = self.models.place(name)
        self.desk.register(name, place.path, (place.base.name, place.base.path) if place.base else None)

    def ask(self, name: str, text: str, **options: Any) -> Asked:
        return Asked(self.desk, name, text, **options)

    def unload(self) -> None:
        from workbench.worker.engine.desk import Unload

        item = Unload()
        self.desk.submit(item)
        assert item.done.wait(60)

    def together(self, *questions: tuple[str, str], **options: Any) -> list[Asked]:
        """Several questions that the scheduler sees at the same moment."""
        with self.desk.changed:
            return [self.ask(name, text, **options) for name, text in questions]


@pytest.fixture(scope="session")
def bare(tiny_models: TinyModels) -> Bare:
    return Bare(tiny_models.root)


@pytest.fixture(scope="session")
def in_process(tiny_models: TinyModels) -> InProcess:
    return InProcess(tiny_models)


@pytest.fixture(scope="session")
def another_engine(tiny_models: TinyModels) -> Callable[[], InProcess]:
    """Makes engines of a test's own."""
    return lambda: InProcess(tiny_models)


@pytest.fixture(scope="session")
def in_four_bits(tiny_models: TinyModels) -> InProcess:
    return InProcess(tiny_models, "4bit")


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory, tiny_models: TinyModels) -> Iterator[EngineClient]:
    """A real engine process, shared by the tests that leave it as it was."""
    folder = Path(tempfile.mkdtemp(prefix="wb-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        shared = EngineClient(Workspace(tmp_path_factory.mktemp("workspace")), idle_minutes=5)
        shared.ensure()
    yield shared
    shared.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
