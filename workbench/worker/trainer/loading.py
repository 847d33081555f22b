"""Base model, tokenizer and adapter as a run asks for them. Safetensors only, and never code that came with a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import methods
from workbench.domain.examples import Kind
from workbench.domain.methods import Task
from workbench.domain.runs import RunSpec
from workbench.errors import RefusedError
from workbench.worker.quantising import keep_four_bit_layers_as_they_are, quantised
from workbench.worker.speaking import tokenizer_of
from workbench.worker.trainer import ranks
from workbench.worker.trainer.adapters import adapter_of, choose_weights, settings

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Precision:
    """How numbers are held: the dtype of the weights, and whether the arithmetic runs under bf16 autocast."""

    weights: torch.dtype
    bf16: bool


def device_name() -> str:
    """``cuda`` when there is a GPU that torch can use, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def precision(spec: RunSpec) -> Precision:
    """The precision that the knob means on this machine. Full fine-tuning keeps fp32 weights under autocast."""
    import torch

    wanted = spec.knobs["precision"]
    if wanted == "auto":
        has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        wanted = "bf16" if has_bf16 else "fp32"
    bf16 = wanted == "bf16"
    weights = torch.bfloat16 if bf16 and not adapter_of(spec).saves_model else torch.float32
    return Precision(weights, bf16)


def load_tokenizer(spec: RunSpec) -> PreTrainedTokenizerBase:
    """The tokenizer that the engine uses for the model that training starts from; refuses one without a chat template,
    because chat and training must render alike.
    """
    tokenizer = tokenizer_of(spec.base_path, spec.adapter_path)
    if not tokenizer.chat_template and methods.get(spec.method).kinds[0] is not Kind.TEXT:
        raise RefusedError(
            f"{spec.base} has no chat template", hint="train a chat model, or put chat_template.jinja into its folder"
        )
    return tokenizer


def load_model(spec: RunSpec, *, trainable: bool = True) -> PreTrainedModel:
    """The model that training starts from: the base, quantised where the run says so, with the adapter to go on from.

    With ``trainable`` the adapter stays an adapter that learns; a run that trains weights has it merged into them.
    """
    model = _started(spec, trainable=trainable)
    if not trainable:
        return model.requires_grad_(False)
    if adapter_of(spec).saves_model:
        choose_weights(model, spec)
    return model


def learning(model: Any) -> list[tuple[Any, torch.Tensor]]:
    """The parameters that learn, each with its numbers as they are now."""
    return [(weight, weight.data) for weight in model.parameters() if weight.requires_grad]


def learn_in_fp32(model: Any, spec: RunSpec, before: list[tuple[Any, torch.Tensor]]) -> None:
    """Give what learns over a quantised base 32 bits, as over any other base; ``before`` are the numbers it came with.

    TRL's trainers make it bf16 there. Most of AdamW's steps are smaller than what bf16 can tell from nothing, and its
    mean of squared gradients, which fades by a thousandth a step, never fades in bf16. A new head that gives a score
    gets the dtype of what comes into it: unlike an adapter, it does not convert that.
    """
    import torch

    exact = {id(weight): data for weight, data in before}
    is_score, is_quantised = methods.get(spec.method).task is Task.SCORE, settings(spec)["quantization"] != "none"
    for name, weight in model.named_parameters():
        if weight.requires_grad and is_score and ".score." in f".{name}":
            weight.data = weight.data.to(precision(spec).weights)
        elif weight.requires_grad and is_quantised:
            weight.data = exact.get(id(weight), weight.data).to(torch.float32)


def _started(spec: RunSpec, *, trainable: bool) -> PreTrainedModel:
    model = _load_base(spec)
    if not spec.adapter_path:
        return model
    from peft import PeftModel

    if not (Path(spec.adapter_path) / "adapter_model.safetensors").is_file():
        raise RefusedError(f"{spec.adapter} has no adapter_model.safetensors in {spec.adapter_path}")
    whole = adapter_of(spec).saves_model
    adapted = PeftModel.from_pretrained(model, spec.adapter_path, is_trainable=trainable and not whole)
    return adapted.merge_and_unload().requires_grad_(True) if whole else adapted


def _load_base(spec: RunSpec) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, set_seed

    chosen = precision(spec)
    options: dict[str, Any] = {"dtype": chosen.weights, "use_safetensors": True, "trust_remote_code": False}
    kind = AutoModelForCausalLM
    if methods.get(spec.method).task is Task.SCORE:
        kind, options["num_labels"] = AutoModelForSequenceClassification, 1
    set_seed(spec.seed)  # the head that gives a score is new, and drawn
    if (bits := settings(spec)["quantization"]) != "none":
        device = {"": ranks.local_rank()} if device_name() == "cuda" else {"": "cpu"}
        options |= quantised(str(bits), chosen.weights, kind, spec.base_path, on_cpu=device_name() == "cpu") | {
            "device_map": device
        }
    model = kind.from_pretrained(spec.base_path, **options)
    keep_four_bit_layers_as_they_are(model)
    return model
