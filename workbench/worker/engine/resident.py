"""What is in memory: one base model, the adapters on it, and what is remembered of past prompts.

Owns what is loaded when and what goes when there is too much. Used by the scheduler's thread alone.
"""

from __future__ import annotations

import gc
import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from workbench.worker.engine import loading, spread
from workbench.worker.engine.adapters import Adapters, Fit, Loaded, fit_of
from workbench.worker.engine.desk import Place, PublicState
from workbench.worker.engine.memory import Memory
from workbench.worker.engine.pace import Pace
from workbench.worker.engine.sheet import Columns, Past, Sheet, Single
from workbench.worker.engine.speaker import Speaker, end_ids
from workbench.worker.engine.wire import Refusal
from workbench.worker.speaking import own_tokenizer, tokenizer_of

MAX_ADAPTERS = 16
REMEMBERED_SHARE = 0.05  # of the device's memory, for keys and values of past prompts
# Kinds of layers that hold keys and values; windows and chunks are cut out of them by the masks.
SPLITTABLE_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}


class Resident:
    """The models in memory. ``announce`` hears one plain sentence per slow step; ``precision`` is for every base."""

    def __init__(self, public: PublicState, announce: Callable[[str], None], precision: str = "auto") -> None:
        self._public = public
        self._announce = announce
        self._precision = precision
        self.device = loading.best_device()
        self._base: Loaded | None = None
        self._on: Adapters | None = None
        self._adapters: dict[tuple[object, ...], Loaded] = {}
        self._takes_positions = self._takes_logits_to_keep = False
        self.pace = Pace(self.device, 0)
        self.memory = Memory(int(REMEMBERED_SHARE * loading.memory_of(self.device)))
        public.device = str(self.device)
        public.precision = precision
        public.dtype = loading.natural(self.device) if precision == "auto" else precision

    # What can be served now

    def can_join(self, place: Place) -> bool:
        """True when a row of this model can start without disturbing rows that are being answered."""
        if self._base is None or self._on is None or self._base.place.key != place.root.key:
            return False
        if place.base is None or place.key in self._adapters:
            return True
        fit = fit_of(place)
        return fit is Fit.VIRTUAL or (fit is not Fit.ALONE and self._on.alone is None)

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
            adapters = self._there()
            if fit is not Fit.VIRTUAL and (fit is Fit.ALONE or adapters.alone is not None):
                self._drop_adapters()
            loaded = self._load_adapter(adapters, place, in_use)
        loaded.last_used = time.monotonic()
        return loaded

    def batch_key(self, loaded: Loaded) -> str:
        """Rows with the same key may decode in one batch."""
        return self._there().batch_key(loaded)

    # Running

    def forward(self, rows: Sequence[Loaded], inputs: dict[str, Any]) -> torch.Tensor:
        """Logits of the last position, ``(rows, vocabulary)`` in float32; each row through its own adapter."""
        adapters = self._there()
        if not self._takes_positions:
            inputs.pop("position_ids", None)
        if self._takes_logits_to_keep:
            inputs["logits_to_keep"] = 1
        return adapters.run(rows, {**inputs, "use_cache": True}).logits[:, -1, :].float()

    def new_sheet(self) -> Columns:
        """An empty key-value cache of the kind this model needs."""
        return Sheet(self.device) if self.can_batch else Single(self.device, self._there().model.config)

    def recall(self, loaded: Loaded, prompt: Sequence[int]) -> Past:
        """What this model remembers of the beginning of ``prompt``."""
        return self.memory.recall(loaded, prompt) if self.can_batch else Past()

    def remember(self, loaded: Loaded, ids: Sequence[int], past: Past) -> None:
        """Keep a row's keys and values for a prompt that begins alike, if there is memory for a copy of them."""
        try:
            self.memory.keep(loaded, ids, past)
        except RuntimeError as error:  # a GPU's lack of memory has a class of its own, a CPU's has words
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            self.free_memory()

    def _there(self) -> Adapters:
        """The model; raises ``Refusal`` when a failed load took it away under rows that were about to start."""
        if self._on is None or self._on.model is None:
            raise Refusal("the model was lost from memory", code="model_lost", status=503, hint="ask again")
        return self._on

    @property
    def context_tokens(self) -> int | None:
        """The longest text the model was made for, in tokens; None when its settings do not say."""
        config = self._there().model.config.get_text_config(decoder=True)
        return next((v for n in ("max_position_embeddings", "n_positions") if (v := getattr(config, n, None))), None)

    @property
    def can_batch(self) -> bool:
        """False for models whose memory of the past cannot lose single rows (state-space and hybrid ones), and for
        those that tell positions by the columns of the batch.
        """
        kinds = getattr(self._there().model.config.get_text_config(decoder=True), "layer_types", None)
        return self._takes_positions and (not kinds or set(kinds) <= SPLITTABLE_LAYERS)

    # Loading

    def unload(self) -> None:
        """Give all memory back. Only when nothing is being answered."""
        self._drop_adapters()
        self._base = self._on = None
        self._public.base = self._public.note = ""
        self.free_memory()

    def free_memory(self) -> None:
        """Return what is unused to the system, and what was only remembered."""
        self.memory.forget()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _load_base(self, place: Place) -> Loaded:
        self._announce(f"loading weights of {place.name}{_size_of(place)}")
        tokenizer = tokenizer_of(place.path)
        model, choice = loading.load(place, self.device, self._precision)
        self._on = Adapters(model, self.device)
        self.device = spread.device_of(model.get_input_embeddings())
        self.pace = Pace(self.device, model.num_parameters())
        parameters = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in parameters
        self._takes_logits_to_keep = "logits_to_keep" in parameters
        self._public.base, self._public.device, self._public.dtype = place.name, str(self.device), choice.precision
        self._public.note = choice.reason and f"{place.name} was loaded {choice.reason}"
        return Loaded(place, Speaker(tokenizer, end_ids(model, tokenizer)))

    def _load_adapter(self, adapters: Adapters, place: Place, in_use: Sequence[Loaded]) -> Loaded:
        self._announce(f"loading adapter {place.name}{_size_of(place)}")
        self._make_room(adapters, place, in_use)
        speaker = self._speaker_of(place)
        try:
            loaded = adapters.put_on(place, speaker)
        finally:
            if adapters.model is None:
                self._base = self._on = None
                self._public.base = ""
        self._adapters[place.key] = loaded
        self._show_adapters()
        return loaded

    def _speaker_of(self, place: Place) -> Speaker:
        """The adapter's own tokenizer when it was saved with one (its template may differ), else the base's."""
        assert self._base is not None
        tokenizer = own_tokenizer(self._base.place.path, place.path)
        return self._base.speaker if tokenizer is None else Speaker(tokenizer, end_ids(self._there().model, tokenizer))

    def _make_room(self, adapters: Adapters, place: Place, in_use: Sequence[Loaded]) -> None:
        """Drop older versions of the same folder, and the adapter longest unused when there are too many."""
        idle = sorted((a for a in self._adapters.values() if a not in in_use), key=lambda a: a.last_used)
        stale = [a for a in idle if a.place.path == place.path]
        crowd = [a for a in idle if a not in stale][: max(0, len(self._adapters) - len(stale) - MAX_ADAPTERS + 1)]
        for loaded in stale + crowd:
            del self._adapters[loaded.place.key]
            self.memory.forget(loaded)
            adapters.take_off(loaded)
        self._show_adapters()

    def _drop_adapters(self) -> None:
        if self._on is not None:
            self._on.take_all_off()
        for loaded in self._adapters.values():
            self.memory.forget(loaded)
        self._adapters.clear()
        self._show_adapters()

    def _show_adapters(self) -> None:
        self._public.adapters = tuple(a.place.name for a in self._adapters.values())


def _size_of(place: Place) -> str:
    total = sum(size for name, size, _ in place.stamp if name.endswith(".safetensors"))
    if not total:
        return "…"
    return f" ({total / 1e9:.1f} GB)…" if total >= 1e8 else f" ({total / 1e6:.1f} MB)…"
