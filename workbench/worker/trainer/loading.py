"""Base model, tokenizer and adapter as a run asks for them. Safetensors only, and never code that came with a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.domain.runs import RunSpec
from workbench.errors import RefusedError
from workbench.worker.speaking import tokenizer_of

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig
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
    weights = torch.bfloat16 if bf16 and spec.knobs["adapter"] != "full" else torch.float32
    return Precision(weights, bf16)


def load_tokenizer(spec: RunSpec) -> PreTrainedTokenizerBase:
    """The tokenizer that the engine uses for the model that training starts from; refuses one without a chat template,
    because chat and training must render alike.
    """
    tokenizer = tokenizer_of(spec.base_path, spec.adapter_path)
    if not tokenizer.chat_template:
        raise RefusedError(
            f"{spec.base} has no chat template", hint="train a chat model, or put chat_template.jinja into its folder"
        )
    return tokenizer


def load_model(spec: RunSpec, *, trainable: bool = True) -> PreTrainedModel:
    """The model that training starts from: the base, 4-bit for qlora, with the adapter to go on from.

    With ``trainable`` the adapter stays an adapter that learns; a full fine-tuning has it merged into the weights.
    """
    model = _load_base(spec)
    if not spec.adapter_path:
        return model
    from peft import PeftModel

    if not (Path(spec.adapter_path) / "adapter_model.safetensors").is_file():
        raise RefusedError(f"{spec.adapter} has no adapter_model.safetensors in {spec.adapter_path}")
    full = spec.knobs["adapter"] == "full"
    adapted = PeftModel.from_pretrained(model, spec.adapter_path, is_trainable=trainable and not full)
    return adapted.merge_and_unload().requires_grad_(trainable) if full else adapted


def lora_config(spec: RunSpec) -> LoraConfig | None:
    """The adapter to make; None for a full fine-tuning, and when an adapter is gone on from."""
    if spec.knobs["adapter"] == "full" or spec.adapter_path:
        return None
    from peft import LoraConfig

    modules = str(spec.knobs["target_modules"])
    names = [part.strip() for part in modules.split(",") if part.strip()]
    return LoraConfig(
        r=int(spec.knobs["lora_r"]),
        lora_alpha=int(spec.knobs["lora_alpha"]),
        lora_dropout=float(spec.knobs["lora_dropout"]),
        target_modules=modules if modules == "all-linear" else names,
        task_type="CAUSAL_LM",
    )


def _load_base(spec: RunSpec) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    chosen = precision(spec)
    options: dict[str, Any] = {"dtype": chosen.weights, "use_safetensors": True, "trust_remote_code": False}
    if spec.knobs["adapter"] == "qlora":
        options |= _four_bit(chosen)
    model = AutoModelForCausalLM.from_pretrained(spec.base_path, **options)
    _keep_four_bit_layers_as_they_are(model)
    return model


def _keep_four_bit_layers_as_they_are(model: PreTrainedModel) -> None:
    """Switch off bitsandbytes' repacking for inference on CPUs with AVX-512 BF16.

    It changes the weights in place at the first forward pass outside training, as a measurement of the held-out loss
    is, and fails on layers whose width is no multiple of its block of 64.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _four_bit(chosen: Precision) -> dict[str, Any]:
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=chosen.weights,
    )
    device = {"": 0} if device_name() == "cuda" else {"": "cpu"}
    return {"quantization_config": quantization, "device_map": device}
