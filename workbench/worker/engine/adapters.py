"""The adapters on the base in memory: which can share a batch with which, and putting each row through its own.

LoRA and DoRA share the base in mixed batches through PEFT's ``adapter_names``. PEFT registers and removes hooks for
that around every call, and leaves them behind when the call raises; here the layers are led once per change of adapters
and read the names of the moment. Rows that all want the same take a shorter way: past the adapters' layers for the
base, and through PEFT's way for a single adapter for one of them. Other kinds that change layers (IA3, AdaLoRA, VeRA,
trained heads) are on the base alone: PEFT would answer wrongly for them in a mixed batch, and says nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, PeftType
from peft.tuners.ia3 import IA3Model
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer

from workbench.worker.engine import dora, spread, virtual
from workbench.worker.engine.desk import Place
from workbench.worker.engine.sheet import Past
from workbench.worker.engine.speaker import Speaker
from workbench.worker.engine.wire import Refusal

BASE_ROW = "__base__"  # PEFT's word for a row without an adapter
SPOILING_STARTS = ("pissa", "olora", "corda", "loftq")


class Fit(Enum):
    """How an adapter can share the base."""

    MIXED = "mixed"  # in any batch
    APART = "apart"  # in batches of its own, while others are on the base too
    ALONE = "alone"  # with no other adapter on the base
    VIRTUAL = "virtual"  # as rows of the base with a past


@dataclass(eq=False)
class Loaded:
    """An adapter in memory (``inner`` is the name PEFT knows it by), or the base itself."""

    place: Place
    speaker: Speaker
    inner: str | None = None
    fit: Fit = Fit.MIXED
    virtual: Past = field(default_factory=Past)
    last_used: float = field(default_factory=time.monotonic)

    @property
    def virtual_ids(self) -> list[int]:
        """Stand-ins for the learnt words in front of its prompts; no tokenizer has such ids."""
        return [-1 - number for number in range(self.virtual.tokens)]


class Adapters:
    """What is on one base model. ``device`` is where adapters go. ``model`` is None after a load that failed so badly
    that only loading the base again is sure.
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        self.model: Any = model
        self.alone: Loaded | None = None
        self._device = device
        self._peft: Any = None
        self._inner: list[str] = []
        self._led: list[tuple[Any, Any]] = []
        self._names: list[str] | None = None
        self._is_bare = False
        self._active: str | None = None
        self._count = 0

    def put_on(self, place: Place, speaker: Speaker) -> Loaded:
        """Load the adapter in a folder, or leave everything as it was."""
        config, fit = config_of(place), fit_of(place)
        if fit is Fit.VIRTUAL:
            self._switch(on=False)
            try:
                return Loaded(
                    place, speaker, fit=fit, virtual=virtual.read(place.path, config, self.model, self._device)
                )
            finally:
                self._switch(on=True)
        self._count += 1
        inner = f"adapter{self._count}"
        try:
            self._read(place, config, inner)
            if fit is Fit.APART and dora.settle(self.model, inner):
                fit = Fit.MIXED
        except BaseException:
            self._clear_remains(inner)
            raise
        loaded = Loaded(place, speaker, inner, fit)
        self.alone = loaded if fit is Fit.ALONE else None
        self._inner.append(inner)
        self._lead_layers()
        return loaded

    def take_off(self, loaded: Loaded) -> None:
        """Free one adapter's memory."""
        if loaded.inner is None:
            return
        if self._inner == [loaded.inner]:  # PEFT keeps a last adapter for ever; taking the wrapping off frees it
            self.take_all_off()
            return
        self._inner.remove(loaded.inner)
        self._peft.delete_adapter(loaded.inner)
        self._active = None

    def take_all_off(self) -> None:
        """Leave the bare base."""
        self._let_go()
        if self._peft is not None:
            self.model = _bare(self._peft)
        self._peft = self.alone = self._active = None
        self._inner.clear()

    def batch_key(self, loaded: Loaded) -> str:
        """Rows with the same key may decode in one batch."""
        return str(loaded.inner) if loaded.fit in (Fit.APART, Fit.ALONE) else ""

    def run(self, rows: Sequence[Loaded], inputs: dict[str, Any]) -> Any:
        """The model's output for a batch of rows with one key, each through its own adapter."""
        inner = {row.inner for row in rows}
        if self.alone is not None:
            self._switch(on=rows[0] is self.alone)
        elif inner == {None}:
            self._is_bare = True
        elif len(inner) == 1:
            self._activate(rows[0].inner)
        elif self._peft is not None:
            self._names = [row.inner or BASE_ROW for row in rows]
        try:
            return self.model(**inputs)
        finally:
            self._names, self._is_bare = None, False

    def _read(self, place: Place, config: PeftConfig, inner: str) -> None:
        """Put the adapter's layers on the model and its weights in them."""
        base = self.model
        if self._peft is None:
            self._peft = PeftModel(base, config, adapter_name=inner)
        else:
            self._peft.add_adapter(inner, config)
        spread.find_room(self._peft, inner)
        options = {"is_trainable": False, "torch_device": str(self._device)}
        with spread.kept_as_it_is(base):
            missing = self._peft.load_adapter(place.path, adapter_name=inner, **options).missing_keys
        if not spread.can_answer(self._peft, inner):
            what = f"{place.name} cannot be put on a base of which a part lies outside the device's memory"
            hint = "engine.precision = 4bit may make it fit; LoRA adapters without whole modules can be put on it"
            raise Refusal(what, code="unsupported_adapter", hint=hint)
        if missing:  # PEFT only warns, and the base would answer under the adapter's name
            hint = f"{len(missing)} weights are missing, the first is {missing[0]}"
            raise Refusal(f"{place.name} does not fit its base", code="bad_adapter", hint=hint)
        self._peft.eval()
        self._active = None

    def _clear_remains(self, failed: str) -> None:
        if self._peft is not None and self._inner:
            if failed in self._peft.peft_config:
                self._peft.delete_adapter(failed)
            self._active = None
            self._lead_layers()
        elif self._peft is not None:
            self.take_all_off()
        elif any(isinstance(module, BaseTunerLayer) for module in self.model.modules()):
            self.model = None  # half dressed

    def _lead_layers(self) -> None:
        """Have every layer with LoRA adapters run through ``_through``."""
        self._let_go()
        for module in self.model.modules():
            if isinstance(module, LoraLayer):
                self._led.append((module, vars(module).get("forward")))
                module.forward = partial(self._through, module, module.forward)

    def _through(self, layer: Any, whole: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._is_bare:
            return layer.base_layer(*args, **kwargs)
        return whole(*args, **kwargs, adapter_names=self._names)

    def _let_go(self) -> None:
        for module, before in self._led:
            del module.forward  # the class has its own
            if before is not None:
                module.forward = before
        self._led.clear()

    def _activate(self, inner: str | None) -> None:
        if self._active != inner:  # it walks through all modules
            self._peft.base_model.set_adapter(inner, inference_mode=True)
            self._active = inner

    def _switch(self, *, on: bool) -> None:
        if self._peft is None:
            return
        if on:
            self._peft.base_model.enable_adapter_layers()
        else:
            self._peft.base_model.disable_adapter_layers()


def _bare(wrapped: PeftModel) -> Any:
    """The model without PEFT's layers."""
    if isinstance(wrapped.base_model, IA3Model):  # refuses over a quantised base, which it could not merge with
        return BaseTuner._unload_and_optionally_merge(wrapped.base_model, merge=False)
    return wrapped.unload()


def config_of(place: Place) -> PeftConfig:
    """The adapter's settings; raises ``Refusal`` where there is none."""
    if not (Path(place.path) / "adapter_model.safetensors").is_file():
        hint = "an adapter folder holds adapter_config.json and adapter_model.safetensors"
        raise Refusal(f"there is no adapter in {place.path}", code="model_not_found", status=404, hint=hint)
    return PeftConfig.from_pretrained(place.path)


def fit_of(place: Place) -> Fit:
    """How the adapter in this folder can share its base; raises ``Refusal`` for one that cannot be served."""
    config = config_of(place)
    if config.peft_type in virtual.KINDS:
        return Fit.VIRTUAL
    if config.is_prompt_learning:
        raise _unservable(place, f"{config.peft_type.value.lower()} adapters", "train a prefix or LoRA adapter instead")
    start = getattr(config, "init_lora_weights", None)
    if isinstance(start, str) and start.lower().startswith(SPOILING_STARTS):
        hint = "save it converted to a plain LoRA (PEFT: path_initial_model_for_weight_conversion)"
        raise _unservable(place, f"adapters that start from {start}, which change the base's weights,", hint)
    if getattr(config, "bias", "none") != "none" or getattr(config, "layer_replication", None):
        raise _unservable(place, "adapters that change the base's biases or layers", "train it with bias='none'")
    fields = ("modules_to_save", "trainable_token_indices", "target_parameters", "alora_invocation_tokens")
    if config.peft_type is not PeftType.LORA or any(getattr(config, f, None) for f in fields):
        return Fit.ALONE
    return Fit.APART if config.use_dora else Fit.MIXED


def _unservable(place: Place, what: str, hint: str) -> Refusal:
    return Refusal(f"{place.name}: {what} cannot be served", code="unsupported_adapter", hint=hint)
