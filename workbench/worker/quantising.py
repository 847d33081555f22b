"""Loading a base in 4 or 8 bits: one way for the trainer and for the engine, so that both mean the same weights.

Owns also whether bitsandbytes is imported at all, which costs a fifth of a process's start.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


_BLOCK = 64


def leave_out_bitsandbytes() -> None:
    """Have PEFT, TRL and accelerate find no bitsandbytes in this process, until it is brought back.

    They import it wherever it is installed, which takes 1.0 to 1.4 of a trainer's 6.8 processor seconds of imports,
    and only weights in 4 or 8 bits and some optimisers need it. For a process that imported none of them yet, and that
    does nothing else: call it at the door of one.
    """
    sys.modules.setdefault("bitsandbytes", None)  # type: ignore[arg-type] # what the import system takes for "not there"


def bring_back_bitsandbytes() -> None:
    """Undo :func:`leave_out_bitsandbytes`: the next who asks for bitsandbytes finds what is installed."""
    if sys.modules.get("bitsandbytes", sys) is not None:
        return
    del sys.modules["bitsandbytes"]
    from peft import import_utils as of_peft
    from transformers.utils import import_utils as of_transformers

    for asked in (of_peft.is_bnb_available, of_peft.is_bnb_4bit_available, of_transformers.is_bitsandbytes_available):
        asked.cache_clear()


def is_quantised(path: str) -> bool:
    """True for a folder whose weights were saved with fewer bits, which then stay as they are."""
    config = Path(path) / "config.json"
    return config.is_file() and "quantization_config" in json.loads(config.read_text(encoding="utf-8"))


def quantised(bits: str, compute: torch.dtype, kind: Any, path: str, *, on_cpu: bool) -> dict[str, Any]:
    """What ``kind.from_pretrained(path)`` is to be given for ``4bit`` (double-quantised nf4) or ``8bit`` weights.

    On a CPU a layer whose width is no multiple of 64 stays whole in 4 bits: bitsandbytes takes the scales of its blocks
    row by row there when it reads them, though they were made over all rows, and the weights come out wrong.
    """
    bring_back_bitsandbytes()
    from transformers import BitsAndBytesConfig

    four = {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": compute,
        "llm_int8_skip_modules": _left_whole(kind, path) if on_cpu and bits == "4bit" else None,
    }
    return {"quantization_config": BitsAndBytesConfig(**(four if bits == "4bit" else {"load_in_8bit": True}))}


def _left_whole(kind: Any, path: str) -> list[str] | None:
    """The layers that bitsandbytes misreads, and those that transformers leaves out by itself; None for those alone."""
    import torch
    from transformers import AutoConfig
    from transformers.quantizers.base import get_keys_to_not_convert

    with torch.device("meta"):
        model = kind.from_config(AutoConfig.from_pretrained(path, trust_remote_code=False), trust_remote_code=False)
    linear = [(name, each) for name, each in model.named_modules() if isinstance(each, torch.nn.Linear)]
    odd = [name for name, each in linear if each.in_features % _BLOCK]
    return [*get_keys_to_not_convert(model), *odd] if odd else None


def keep_four_bit_layers_as_they_are(model: Any) -> None:
    """Switch off bitsandbytes' repacking for inference on CPUs with AVX-512 BF16.

    It changes the weights in place at the first forward pass outside training, as a measurement of the held-out loss
    is, and fails on layers whose width is no multiple of its block of 64.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
