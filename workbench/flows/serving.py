"""Serving models to applications: which may be served together, and the same on vLLM."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.domain.serving import ModelPlace, ServeSpec
from workbench.errors import RefusedError, UsageError
from workbench.flows.registry import place

if TYPE_CHECKING:
    from workbench.flows.bench import Bench

# The ranks that vLLM can be started for; an adapter needs the next one that holds it.
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
VLLM_KINDS = "vLLM serves plain LoRA adapters only: merge this one into its base and serve the result"


def places(bench: Bench, names: Sequence[str]) -> tuple[ModelPlace, ...]:
    """Where the models are, the base of each adapter among them.

    Raises ``RefusedError`` for several bases, and for models on other servers.
    """
    found = [place(bench, name) for name in names]
    for each in found:
        if each.endpoint is not None:
            raise RefusedError(f"{each.name} is on another server", hint="applications can ask that one directly")
    bases = {(each.base or each).path: each.base or each for each in found}
    if len(bases) > 1:
        listed = ", ".join(sorted(each.name for each in bases.values()))
        raise RefusedError(
            f"these models are on several bases: {listed}", hint="a server keeps one base in memory: start one for each"
        )
    return tuple(dict.fromkeys([*bases.values(), *found]))


def check(spec: ServeSpec) -> ServeSpec:
    """``spec`` itself when it may be served; raises ``UsageError`` when a key is missing."""
    if spec.api_key_env and not os.environ.get(spec.api_key_env):
        raise UsageError(f"${spec.api_key_env} is empty", hint="put the key that clients must send in it")
    if not spec.is_local and not spec.api_key_env:
        raise UsageError(
            f"{spec.host} can be reached from other machines, and there is no API key",
            hint="--api-key-env NAME names an environment variable with a key; --host 127.0.0.1 needs none",
        )
    return spec


def vllm_command(spec: ServeSpec) -> list[str]:
    """The command that serves the same models by vLLM. Raises ``RefusedError`` for adapters that it cannot serve."""
    base = next(each for each in spec.models if each.base is None)
    command = ["vllm", "serve", base.path, "--served-model-name", base.name]
    command += ["--host", spec.host, "--port", str(spec.port)]
    if spec.precision == "4bit":
        command += ["--quantization", "bitsandbytes"]
    elif spec.precision in ("float32", "bfloat16", "float16"):
        command += ["--dtype", spec.precision]
    adapters = [each for each in spec.models if each.base is not None]
    if adapters:
        rank = max(_rank(each) for each in adapters)
        command += ["--enable-lora", "--max-lora-rank", str(rank), "--max-loras", str(len(adapters)), "--lora-modules"]
        command += [f"{each.name}={each.path}" for each in adapters]
    if spec.api_key_env:
        command += ["--api-key", f"${spec.api_key_env}"]
    return command


def as_shell(words: Sequence[str]) -> str:
    """The command as it is typed; variables stay variables."""
    return " ".join(f'"{word}"' if word.startswith("$") else shlex.quote(word) for word in words)


def _rank(adapter: ModelPlace) -> int:
    """The smallest rank of vLLM's that holds the adapter; raises ``RefusedError``."""
    config: dict[str, Any] = json.loads((Path(adapter.path) / "adapter_config.json").read_text(encoding="utf-8"))
    if config.get("peft_type") != "LORA" or config.get("use_dora") or config.get("modules_to_save"):
        raise RefusedError(f"{adapter.name} cannot be served by vLLM", hint=VLLM_KINDS)
    needed = max([int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())])
    for rank in VLLM_RANKS:
        if rank >= needed:
            return rank
    raise RefusedError(f"{adapter.name} has rank {needed}, and vLLM takes {VLLM_RANKS[-1]} at most", hint=VLLM_KINDS)
