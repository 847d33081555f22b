"""What is in memory: one base model, the adapters on it, and how a batch runs through them.

Used by the scheduler's thread alone. LoRA adapters share the base in mixed batches through PEFT's ``adapter_names``.
PEFT registers and removes the hooks for that around every call, and leaves them behind when the call raises; here
they are registered once per change of adapters and read the names of the moment.
"""

from __future__ import annotations

import gc
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import psutil
import torch
from jinja2 import TemplateError
from peft import PeftConfig, PeftModel, PeftType
from peft.helpers import DoraCaching
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from transformers import AutoModelForCausalLM, DynamicCache

from workbench.worker.engine.desk import Place, PublicState
from workbench.worker.engine.memory import Memory, Past
from workbench.worker.engine.wire import Refusal
from workbench.worker.speaking import own_tokenizer, tokenizer_of

MAX_ADAPTERS = 16
REMEMBERED_SHARE = 0.05  # of the device's memory, for keys and values of past prompts
CHUNK_TOKENS = {"cpu": 256, "cuda": 2048}  # about a tenth of a second of prefill, in which no other row gets a token
BASE_ROW = "__base__"  # PEFT's word for a row without an adapter
SPOILING_STARTS = ("pissa", "olora", "corda", "loftq")
SPLITTABLE_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}


class Fit(Enum):
    """How an adapter can share the base: in mixed batches, or only by itself."""

    MIXED = "mixed"
    ALONE = "alone"


@dataclass(frozen=True)
class Speaker:
    """A model's side of text: its tokenizer with the chat template, and the tokens that end an answer."""

    tokenizer: Any
    end_ids: frozenset[int]

    def encode(self, turns: Sequence[dict[str, str]]) -> list[int]:
        """The prompt's token ids, ready for the answer; raises ``Refusal`` when the chat template says no."""
        if not self.tokenizer.chat_template:
            hint = "use a chat model, or give its folder a chat_template.jinja"
            raise Refusal("this model has no chat template", code="no_chat_template", hint=hint)
        try:
            text = self.tokenizer.apply_chat_template(list(turns), add_generation_prompt=True, tokenize=False)
        except TemplateError as error:
            raise Refusal(f"the model's chat template refused: {error}", code="chat_template_error") from None
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, tokens: Sequence[int]) -> str:
        """Text without special tokens."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@dataclass(eq=False)
class Loaded:
    """An adapter in memory under a name that PEFT accepts, or the base itself (``inner`` is None)."""

    place: Place
    inner: str | None
    speaker: Speaker
    last_used: float = field(default_factory=time.monotonic)


class Resident:
    """The models in memory. ``announce`` hears one plain sentence per slow step."""

    def __init__(self, public: PublicState, announce: Callable[[str], None]) -> None:
        self._public = public
        self._announce = announce
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = _dtype_for(self.device)
        self._base: Loaded | None = None
        self._model: Any = None
        self._peft: Any = None
        self._alone: Loaded | None = None
        self._adapters: dict[tuple[object, ...], Loaded] = {}
        self._hooks: list[Any] = []
        self._names: list[str] | None = None
        self._count = 0
        self._takes_positions = self._takes_logits_to_keep = False
        self._memory = Memory(int(REMEMBERED_SHARE * _total_memory(self.device)))
        self.chunk_tokens = CHUNK_TOKENS.get(self.device.type, 256)
        public.device, public.dtype = str(self.device), str(self.dtype).removeprefix("torch.")

    # What can be served now

    def can_join(self, place: Place) -> bool:
        """True when a row of this model can start without disturbing rows that are being answered."""
        if self._base is None or self._base.place.key != place.root.key:
            return False
        if place.base is None:
            return True
        if self._alone is not None:
            return self._alone.place.key == place.key
        return place.key in self._adapters or fit_of(place) is Fit.MIXED

    def prepare(self, place: Place, *, in_use: Sequence[Loaded] = ()) -> Loaded:
        """Bring the model into memory if it is not, and give back its handle.

        Only call it for a place that ``can_join``, or when nothing is being answered. ``in_use`` are not evicted.
        Raises ``Refusal``, or whatever the libraries raise when the files are not what they should be.
        """
        fit = fit_of(place) if place.base else None  # refuses before a long load
        if self._base is None or self._base.place.key != place.root.key:
            self.unload()
            self._base = self._load_base(place.root)
        if fit is None:
            return self._base
        loaded = self._adapters.get(place.key)
        if loaded is None:
            if fit is Fit.ALONE or self._alone is not None:
                self._drop_adapters()
            loaded = self._load_adapter(place, fit, in_use)
        loaded.last_used = time.monotonic()
        return loaded

    def batch_key(self, loaded: Loaded) -> str:
        """Rows with the same key may decode in one batch."""
        return "" if self._alone is None else str(loaded.inner)

    # Running

    def forward(self, rows: Sequence[Loaded], inputs: dict[str, Any]) -> torch.Tensor:
        """Logits of the last position, ``(rows, vocabulary)`` in float32; each row through its own adapter."""
        if not self._takes_positions:
            inputs.pop("position_ids", None)
        if self._takes_logits_to_keep:
            inputs["logits_to_keep"] = 1
        if self._alone is not None:
            self._switch_alone(on=rows[0].inner is not None)
        elif self._peft is not None:
            self._names = [row.inner or BASE_ROW for row in rows]
        try:
            return self._there()(**inputs, use_cache=True).logits[:, -1, :].float()
        finally:
            self._names = None

    def recall(self, loaded: Loaded, prompt: Sequence[int]) -> Past:
        """What this model remembers of the beginning of ``prompt``."""
        return self._memory.recall(loaded, prompt) if self._takes_positions else Past()

    def remember(self, loaded: Loaded, ids: Sequence[int], cache: DynamicCache, row: int, seen: torch.Tensor) -> None:
        """Keep a row's keys and values: the positions where ``seen`` is 1, which are those of ``ids``."""
        if self._takes_positions:
            self._memory.keep(loaded, ids, cache, row, seen)

    def new_cache(self) -> DynamicCache:
        """An empty key-value cache of the kind this model needs."""
        return DynamicCache(config=self._there().config)

    def _there(self) -> Any:
        """The model; raises ``Refusal`` when a failed load took it away under rows that were about to start."""
        if self._model is None:
            raise Refusal("the model was lost from memory", code="model_lost", status=503, hint="ask again")
        return self._model

    @property
    def context_tokens(self) -> int | None:
        """The longest text the model was made for, in tokens; None when its settings do not say."""
        config = self._model.config.get_text_config(decoder=True)
        return next((v for n in ("max_position_embeddings", "n_positions") if (v := getattr(config, n, None))), None)

    @property
    def can_batch(self) -> bool:
        """False for models whose memory of the past cannot lose single rows (state-space and hybrid ones)."""
        if self._model is None:
            return True
        kinds = getattr(self._model.config.get_text_config(decoder=True), "layer_types", None)
        return not kinds or set(kinds) <= SPLITTABLE_LAYERS

    # Loading

    def unload(self) -> None:
        """Give all memory back. Only when nothing is being answered."""
        self._drop_adapters()
        self._base = self._model = None
        self._public.base = ""
        self.free_memory()

    def free_memory(self) -> None:
        """Return what is unused to the system, and what was only remembered."""
        self._memory.forget()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _load_base(self, place: Place) -> Loaded:
        self._announce(f"loading weights of {place.name}{_size_of(place)}")
        tokenizer = tokenizer_of(place.path)
        where = {"device_map": {"": self.device}} if self.device.type == "cuda" else {}
        model = AutoModelForCausalLM.from_pretrained(
            place.path, dtype=self.dtype, trust_remote_code=False, use_safetensors=True, **where
        )
        self._model = model.eval().requires_grad_(False)
        parameters = inspect.signature(self._model.forward).parameters
        self._takes_positions = "position_ids" in parameters
        self._takes_logits_to_keep = "logits_to_keep" in parameters
        self._public.base = place.name
        return Loaded(place, None, Speaker(tokenizer, _end_ids(model, tokenizer)))

    def _load_adapter(self, place: Place, fit: Fit, in_use: Sequence[Loaded]) -> Loaded:
        self._announce(f"loading adapter {place.name}{_size_of(place)}")
        self._make_room(place, in_use)
        self._count += 1
        loaded = Loaded(place, f"adapter{self._count}", self._speaker_of(place))
        self._read_adapter(loaded)
        self._adapters[place.key] = loaded
        self._alone = loaded if fit is Fit.ALONE else None
        if self._alone is None:
            self._hook_layers()
        else:
            DoraCaching()(enabled=True)  # without it DoRA computes its norms at every token: 3 to 10 times slower
        self._show_adapters()
        return loaded

    def _read_adapter(self, loaded: Loaded) -> None:
        """Put the adapter's layers on the model and its weights in them, or leave everything as it was."""
        path, whole = loaded.place.path, False
        try:
            if self._peft is None:
                self._peft = PeftModel(self._model, PeftConfig.from_pretrained(path), adapter_name=loaded.inner)
            options = {"is_trainable": False, "torch_device": str(self.device)}
            missing = self._peft.load_adapter(path, adapter_name=loaded.inner, **options).missing_keys
            if missing:  # PEFT only warns, and the base would answer under the adapter's name
                hint = f"{len(missing)} weights are missing, the first is {missing[0]}"
                raise Refusal(f"{loaded.place.name} does not fit its base", code="bad_adapter", hint=hint)
            self._peft.eval()
            whole = True
        finally:
            if not whole:
                self._clear_remains(loaded)

    def _clear_remains(self, failed: Loaded) -> None:
        if self._peft is not None and self._adapters:
            if failed.inner in self._peft.peft_config:
                self._peft.delete_adapter(failed.inner)
            self._hook_layers()
        elif self._peft is not None:
            self._drop_adapters()
        elif any(isinstance(module, BaseTunerLayer) for module in self._model.modules()):
            self._base = self._model = None  # half dressed: only loading it again is sure

    def _speaker_of(self, place: Place) -> Speaker:
        """The adapter's own tokenizer when it was saved with one (its template may differ), else the base's."""
        assert self._base is not None
        tokenizer = own_tokenizer(self._base.place.path, place.path)
        return self._base.speaker if tokenizer is None else Speaker(tokenizer, _end_ids(self._model, tokenizer))

    def _make_room(self, place: Place, in_use: Sequence[Loaded]) -> None:
        """Drop older versions of the same folder, and the adapter longest unused when there are too many."""
        idle = sorted((a for a in self._adapters.values() if a not in in_use), key=lambda a: a.last_used)
        stale = [a for a in idle if a.place.path == place.path]
        crowd = [a for a in idle if a not in stale][: max(0, len(self._adapters) - len(stale) - MAX_ADAPTERS + 1)]
        for loaded in stale + crowd:
            self._drop(loaded)

    def _drop(self, loaded: Loaded) -> None:
        if len(self._adapters) == 1:  # PEFT keeps a last adapter for ever; taking the wrapping off frees it
            self._drop_adapters()
            return
        del self._adapters[loaded.place.key]
        self._memory.forget(loaded)
        self._peft.delete_adapter(loaded.inner)
        self._show_adapters()

    def _drop_adapters(self) -> None:
        self._unhook()
        if self._peft is not None:
            self._model = self._peft.unload()
        self._peft = self._alone = None
        for loaded in self._adapters.values():
            self._memory.forget(loaded)
        self._adapters.clear()
        self._show_adapters()

    def _show_adapters(self) -> None:
        self._public.adapters = tuple(a.place.name for a in self._adapters.values())

    # Adapters at work

    def _hook_layers(self) -> None:
        self._unhook()
        for module in self._model.modules():
            if isinstance(module, LoraLayer | AuxiliaryTrainingWrapper):
                self._hooks.append(module.register_forward_pre_hook(self._give_names, with_kwargs=True))

    def _give_names(self, module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "adapter_names": self._names}

    def _unhook(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _switch_alone(self, *, on: bool) -> None:
        if on:
            self._peft.base_model.enable_adapter_layers()
        else:
            self._peft.base_model.disable_adapter_layers()


def fit_of(place: Place) -> Fit:
    """How the adapter in this folder can share its base; raises ``Refusal`` for one that cannot be served."""
    if not (Path(place.path) / "adapter_model.safetensors").is_file():
        hint = "an adapter folder holds adapter_config.json and adapter_model.safetensors"
        raise Refusal(f"there is no adapter in {place.path}", code="model_not_found", status=404, hint=hint)
    config = PeftConfig.from_pretrained(place.path)
    start = getattr(config, "init_lora_weights", None)
    if config.is_prompt_learning:
        raise _unservable(place, f"{config.peft_type.value.lower()} adapters", "train a LoRA adapter instead")
    if isinstance(start, str) and start.lower().startswith(SPOILING_STARTS):
        hint = "save it converted to a plain LoRA (PEFT: path_initial_model_for_weight_conversion)"
        raise _unservable(place, f"adapters that start from {start}, which change the base's weights,", hint)
    if getattr(config, "bias", "none") != "none" or getattr(config, "layer_replication", None):
        raise _unservable(place, "adapters that change the base's biases or layers", "train it with bias='none'")
    fields = ("use_dora", "modules_to_save", "trainable_token_indices", "target_parameters", "alora_invocation_tokens")
    plain = config.peft_type is PeftType.LORA and not any(getattr(config, f, None) for f in fields)
    return Fit.MIXED if plain else Fit.ALONE


def _unservable(place: Place, what: str, hint: str) -> Refusal:
    return Refusal(f"{place.name}: {what} cannot be served", code="unsupported_adapter", hint=hint)


def _total_memory(device: torch.device) -> int:
    """Bytes of the device's memory."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return psutil.virtual_memory().total


def _dtype_for(device: torch.device) -> torch.dtype:
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    several = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in (*several, tokenizer.eos_token_id) if i is not None)


def _size_of(place: Place) -> str:
    total = sum(size for name, size, _ in place.stamp if name.endswith(".safetensors"))
    if not total:
        return "…"
    return f" ({total / 1e9:.1f} GB)…" if total >= 1e8 else f" ({total / 1e6:.1f} MB)…"
