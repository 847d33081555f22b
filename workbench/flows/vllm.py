"""The vLLM command for what ``serve`` would serve: the same names, numbers, templates and sampling, or a refusal.

Checked against vLLM's documentation and its reader of adapters (vllm/lora/peft_helper.py, vllm/config/lora.py), and
started as printed with vLLM 0.32.0 on a CPU.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.domain.serving import ModelPlace, ServeSpec
from workbench.errors import DataError, RefusedError

# The ranks that vLLM can be started for; an adapter needs the next one that holds it.
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
MERGE = "merge it into its base (workbench models merge) and serve the result"
# What adapters may be and vLLM refuses or, worse, leaves out: most versions scale all layers by r and lora_alpha alone.
_NOT_READ = {
    "use_dora": "DoRA",
    "modules_to_save": "whole layers beside LoRA",
    "rank_pattern": "ranks of its own for some layers",
    "alpha_pattern": "scales of its own for some layers",
    "lora_bias": "biases",
    "layer_replication": "repeated layers",
    "target_parameters": "parameters that are no layers",
    "trainable_token_indices": "learnt tokens",
    "alora_invocation_tokens": "words that switch it on",
}


def command(spec: ServeSpec) -> list[str]:
    """The command that serves the same models by vLLM. Raises ``RefusedError`` for what vLLM would serve otherwise."""
    base = next(each for each in spec.models if each.base is None)
    words = ["vllm", "serve", base.path, "--served-model-name", base.name]
    words += ["--host", spec.host, "--port", str(spec.port)]
    words += _precision(base, spec.precision)
    # Without it vLLM takes sampling that a request does not name from the model's generation_config.json.
    words += ["--generation-config", "vllm"]
    words += ["--allowed-origins", json.dumps(list(spec.origins))]  # by itself it lets every web page ask
    if adapters := [each for each in spec.models if each.base is not None]:
        rank = max(_rank(each) for each in adapters)
        words += ["--enable-lora", "--max-lora-rank", str(rank), "--max-loras", str(len(adapters)), "--lora-modules"]
        words += [f"{each.name}={each.path}" for each in adapters]
    return words


def environment(spec: ServeSpec) -> dict[str, str]:
    """The variables of that command: the key stands there, because every user of a machine can list its commands."""
    return {"VLLM_API_KEY": f"${spec.api_key_env}"} if spec.api_key_env else {}


def as_shell(words: Sequence[str], variables: Mapping[str, str]) -> str:
    """The command as it is typed; what is in ``variables`` stays a variable."""
    return " ".join([*(f'{name}="{value}"' for name, value in variables.items()), shlex.join(words)])


def _precision(base: ModelPlace, precision: str) -> list[str]:
    if precision == "auto" or "quantization_config" in _json(base, "config.json"):
        return []  # vLLM reads from the model's own settings how it was quantised
    if precision == "4bit":
        return ["--quantization", "bitsandbytes"]
    if precision == "8bit":
        raise RefusedError(
            "vLLM cannot make 8-bit weights of these while it loads them",
            hint="take --precision 4bit, or leave it out and give vLLM a quantization of its own, such as fp8",
        )
    return ["--dtype", precision]


def _rank(adapter: ModelPlace) -> int:
    """The smallest rank of vLLM's that holds the adapter; raises ``RefusedError`` when it would answer otherwise."""
    config = _json(adapter, "adapter_config.json")
    others = [what for field, what in _NOT_READ.items() if config.get(field)]
    if config.get("peft_type") != "LORA":
        others = [f"{config.get('peft_type')} adapters"]
    elif config.get("bias", "none") != "none":
        others.append("biases")
    if others:
        raise RefusedError(f"{adapter.name} cannot be served by vLLM, which does not read {others[0]}", hint=MERGE)
    assert adapter.base is not None
    if (own := _template(adapter)) and Path(adapter.base.path).is_dir() and own != _template(adapter.base):
        message = f"{adapter.name} speaks by a chat template of its own, and vLLM has one for a base and its adapters"
        raise RefusedError(message, hint=MERGE)
    for rank in RANKS:
        if rank >= config["r"]:
            return rank
    raise RefusedError(f"{adapter.name} has rank {config['r']}, and vLLM takes {RANKS[-1]} at most", hint=MERGE)


def _template(place: ModelPlace) -> str:
    """The chat template in a model's folder, as it stands; "" when there is none."""
    file = Path(place.path) / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8").strip()
    return str(_json(place, "tokenizer_config.json").get("chat_template") or "").strip()


def _json(place: ModelPlace, name: str) -> dict[str, Any]:
    file = Path(place.path) / name
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:  # of its bytes, its JSON, or what stands in it
        raise DataError(f"this is not a model's settings: {error}", where=str(file)) from None
