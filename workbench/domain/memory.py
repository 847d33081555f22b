"""How much memory a training run will need, part by part, from the model's shape and the run's settings.

Weights, adapter, gradients and optimiser are sums; activations and the head are fitted to measurements of decoder
models of the Llama family (``tests/bench/bench_memory.py`` compares). What the trainer measures on the longest batch
before its first step is the truth; this is what can be said before any of it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import prod

from workbench.domain.methods import KnobValue

# TRL's chunked log-probabilities work on at most so many tokens and so many entries of the vocabulary at once.
_HEAD_TOKENS, _HEAD_ENTRIES = 4_096, 32_768
_HEAD_BYTES_CPU = 29.0
# Where the logits are whole: themselves, their log-softmax and its gradient.
_PLAIN_HEAD_BYTES = 13.5
_PROGRAM_BYTES = {"cpu": 600_000_000, "cuda": 600_000_000}
# What a library keeps for each frozen number: nf4 with its scales quantised again, and 8 bits with a scale a row.
_QUANTIZED_BYTES = {"4bit": 0.516, "8bit": 1.002}
_OPTIMISER_BYTES = {"sgd": 0.0, "adafactor": 0.1, "adamw_8bit": 2.1, "paged_adamw_8bit": 2.1, "adamw_bnb_8bit": 2.1}
_ADAMW_BYTES = 8.0
_WHOLE = {"full", "last-layers", "named"}


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight matrix that many layers have: its name, its two sides, and how many there are."""

    name: str
    outputs: int
    inputs: int
    count: int


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What decides a model's memory. ``matrices`` are the linear layers' but the head; the rest is in ``others``."""

    layers: int
    hidden: int
    feed_forward: int
    key_value: int
    vocabulary: int
    matrices: tuple[Matrix, ...]
    others: int

    @property
    def parameters(self) -> int:
        """All numbers of the model."""
        return self.others + self.in_matrices

    @property
    def in_matrices(self) -> int:
        """The numbers in linear layers, which quantisation takes."""
        return sum(m.outputs * m.inputs * m.count for m in self.matrices)


@dataclass(frozen=True, slots=True)
class Load:
    """What a run puts on a model: the longest batch (sequences and their padded tokens) and how it is trained.

    ``learning`` counts the numbers that learn; ``whole`` says that they are the model's own. ``copies`` of the frozen
    model stand beside it as a reference, and other models of ``beside`` numbers to learn from. ``quantized`` is "none",
    "4bit" or "8bit". ``head`` is "fused" (TRL's chunks), "plain" (all logits at once) or "none" (a score).
    """

    sequences: int
    tokens: int
    learning: int
    whole: bool = False
    copies: int = 0
    beside: int = 0
    bf16: bool = False
    quantized: str = "none"
    checkpointing: bool = False
    optimiser: str = "adamw"
    head: str = "fused"
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class MemoryParts:
    """Bytes by what they are for. ``program`` is what the libraries take before any model is there."""

    weights: int
    adapter: int
    gradients: int
    optimiser: int
    activations: int
    logits: int
    program: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, part.name) for part in fields(self))

    def sentence(self) -> str:
        """``3.2 GB: weights 1.1, activations 1.6, …``, the largest first, without what hardly counts."""
        parts = sorted(((getattr(self, part.name), part.name) for part in fields(self)), reverse=True)
        told = ", ".join(f"{name} {gigabytes(size)}" for size, name in parts if size > self.total / 100)
        return f"{gigabytes(self.total)} GB: {told}"


def gigabytes(size: float) -> str:
    """Two digits that count: ``0.34``, ``3.4``, ``34``."""
    value = size / 1e9
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"


def estimate(shape: ModelShape, load: Load) -> MemoryParts:
    """The peak of a training step on the longest batch, by parts."""
    number = 2 if load.bf16 and not load.whole else 4
    weights = shape.others * number + shape.in_matrices * _QUANTIZED_BYTES.get(load.quantized, float(number))
    return MemoryParts(
        weights=round(weights * (1 + load.copies) + load.beside * number),
        adapter=0 if load.whole else 4 * load.learning,
        gradients=4 * load.learning,
        optimiser=round(_OPTIMISER_BYTES.get(load.optimiser, _ADAMW_BYTES) * load.learning),
        activations=round(_activations(shape, load)),
        logits=round(_logits(shape, load)),
        program=_PROGRAM_BYTES[load.device],
    )


def _activations(shape: ModelShape, load: Load) -> float:
    """What the forward pass keeps for the backward pass."""
    one_layer = _per_token(shape, load) * load.tokens
    if not load.checkpointing:
        return one_layer * shape.layers
    kept = (2.0 if load.bf16 else 4.0) * shape.hidden * load.tokens * shape.layers
    return kept + one_layer


def _per_token(shape: ModelShape, load: Load) -> float:
    """Bytes per token and layer, by hidden width, feed-forward width and key-value width; fitted."""
    h, i, k = shape.hidden, shape.feed_forward, shape.key_value
    if load.whole:
        return (28.5 * h + 8.2 * i + 0.4 * k) if load.bf16 else (40.5 * h + 16.3 * i + 0.9 * k)
    if load.bf16 or load.quantized != "none":
        return 40.5 * h + 10.2 * i + 0.4 * k if load.bf16 else 32.6 * h + 16.4 * i + 1.1 * k
    return 32.6 * h + 16.4 * i + 1.1 * k


def _logits(shape: ModelShape, load: Load) -> float:
    """The head's tile with what is computed on it; on a GPU the tile is whole whatever the vocabulary."""
    if load.head != "fused":
        return _PLAIN_HEAD_BYTES * load.tokens * shape.vocabulary if load.head == "plain" else 0.0
    tokens = min(load.tokens, _HEAD_TOKENS)
    if load.device == "cpu":
        return _HEAD_BYTES_CPU * tokens * min(shape.vocabulary, _HEAD_ENTRIES)
    return (2 if load.bf16 else 4) * tokens * _HEAD_ENTRIES + 4.0 * shape.hidden * load.tokens


def load_of(
    shape: ModelShape,
    knobs: Mapping[str, KnobValue],
    *,
    sequences: int,
    tokens: int,
    device: str,
    bf16: bool,
    is_compared: bool = False,
    beside: int = 0,
    head: str = "fused",
) -> Load:
    """What a run with these knobs puts on the model; ``tokens`` are those of the longest batch, padded.

    ``is_compared`` says that it is held to where it started: for that, whole weights need a copy. ``beside`` are the
    numbers of a teacher or of a reward model, ``head`` is as for ``Load``.
    """
    adapter = str(knobs.get("adapter", "lora"))
    whole = adapter in _WHOLE
    quantized = str(knobs.get("quantization", "none"))
    return Load(
        sequences=sequences,
        tokens=tokens,
        learning=learning(shape, knobs),
        whole=whole,
        copies=int(is_compared and whole),
        beside=beside,
        head=head,
        bf16=bf16,
        quantized="4bit" if adapter == "qlora" and quantized == "none" else quantized,
        checkpointing=bool(knobs.get("gradient_checkpointing", False)),
        optimiser=str(knobs.get("optim", "adamw")),
        device=device,
    )


def learning(shape: ModelShape, knobs: Mapping[str, KnobValue]) -> int:
    """How many numbers learn under these knobs; more than will rather than fewer where a name decides."""
    positions = int(knobs.get("num_virtual_tokens", 20))
    match str(knobs.get("adapter", "lora")):
        case "full" | "named":
            return shape.parameters
        case "last-layers":
            return shape.in_matrices * min(shape.layers, int(knobs.get("last_layers", 2))) // shape.layers
        case "prefix":
            return positions * 2 * shape.layers * shape.key_value
        case "prompt" | "p-tuning":
            return positions * shape.hidden + 3 * shape.hidden * int(knobs.get("encoder_hidden_size", 0))
        case "ia3":
            return sum((m.outputs + m.inputs) * m.count for m in shape.matrices)
        case _:
            named = str(knobs.get("target_modules", "all-linear"))
            return _low_rank(shape, int(knobs.get("lora_r", 16)), () if named == "all-linear" else named.split(","))


def checkpoint_bytes(shape: ModelShape, load: Load) -> int:
    """What one checkpoint takes on the disk: what learns (or the whole model), and the optimiser's state."""
    saved = 4 * (shape.parameters if load.whole else load.learning)
    return saved + round(_OPTIMISER_BYTES.get(load.optimiser, _ADAMW_BYTES) * load.learning)


def best_bytes(load: Load) -> int:
    """What the weights of the best measurement so far take on the disk beside the checkpoints: what learns."""
    return 4 * load.learning


def _low_rank(shape: ModelShape, rank: int, targets: Sequence[str]) -> int:
    wanted = {name.strip() for name in targets}
    return sum(rank * (m.outputs + m.inputs) * m.count for m in shape.matrices if not wanted or m.name in wanted)


def shape_of(config: Mapping[str, object], tensors: Mapping[str, Sequence[int]]) -> ModelShape | None:
    """The shape from a model's ``config.json`` and its tensors' shapes by name; None when it is not told there."""
    text = config.get("text_config")
    facts = {**config, **text} if isinstance(text, Mapping) else config
    names = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
    numbers = [facts.get(name) for name in names]
    if not tensors or not all(isinstance(n, int) and n > 0 for n in numbers):
        return None
    layers, hidden, feed_forward, heads, vocabulary = (int(str(n)) for n in numbers)
    groups = _number(facts.get("num_key_value_heads"), heads)
    width = _number(facts.get("head_dim"), hidden // heads)
    counts: dict[tuple[str, int, int], int] = {}
    others = 0
    for name, sides in tensors.items():
        module = name.removesuffix(".weight").rpartition(".")[2]
        if len(sides) == 2 and name.endswith(".weight") and "embed" not in name and module not in {"lm_head", "wte"}:
            key = (module, sides[0], sides[1])
            counts[key] = counts.get(key, 0) + 1
        else:
            others += prod(sides)
    matrices = tuple(Matrix(name, out, into, count) for (name, out, into), count in counts.items())
    return ModelShape(layers, hidden, feed_forward, groups * width, vocabulary, matrices, others)


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and value > 0 else default
