"""What a bench asks an engine, and what it hears back. The words of the engine protocol, without HTTP or weights."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from workbench.domain.chats import Sampling, StopReason, Turn
from workbench.domain.endpoints import Endpoint

PRECISIONS = ("auto", "float32", "bfloat16", "float16", "8bit", "4bit")
MAX_TOP_LOGPROBS = 20
# What a request for the rest of an answer says, by the names of vLLM and SGLang.
GO_ON_FIELDS = {"continue_final_message": True, "add_generation_prompt": False}


class EngineState(StrEnum):
    """What the engine is doing. ``OFF`` was never started or ended as it should; ``DIED`` ended by itself.

    ``REMOTE`` is said of a server elsewhere while an answer is waited for, never of the engine.
    """

    OFF = "off"
    STARTING = "starting"
    IDLE = "idle"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    DIED = "died"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The engine as seen from outside: ``detail`` is one plain sentence (progress, or what went wrong), ``note`` one
    about how the base was loaded when that is not the usual way ("" when it is). ``precision`` is what the engine was
    started with, ``dtype`` what its base is held in.
    """

    state: EngineState
    detail: str = ""
    base: str = ""
    adapters: tuple[str, ...] = ()
    device: str = ""
    dtype: str = ""
    pid: int | None = None
    active: int = 0
    memory_bytes: int = 0
    note: str = ""
    precision: str = ""


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where the engine finds a model: a base's folder or hub id; for an adapter its folder and its base's place.

    A model with an ``endpoint`` is asked there, and the engine does not see it.
    """

    name: str
    path: str
    base: ModelPlace | None = None
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One answer to ask for. ``sampling.seed`` must be set; ``stop`` are texts that end the answer (not included).

    With ``trim`` a chat that is longer than the model reads loses its oldest turns, which an ``AnswerNotice`` tells;
    without, it is refused. ``top_logprobs`` asks for each token's log-probability and that many others (0 to 20); a
    server elsewhere that has none to give answers without.
    With ``go_on`` the last turn is the beginning of the answer: only what comes after it is made and given back.
    """

    model: ModelPlace
    turns: tuple[Turn, ...]
    sampling: Sampling
    stop: tuple[str, ...] = field(default=())
    trim: bool = False
    top_logprobs: int | None = None
    go_on: bool = False


@dataclass(frozen=True, slots=True)
class TokenChance:
    """A token of an answer with its log-probability, and the most likely tokens at its place with theirs."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Some more text of an answer, as it is made; ``chances`` has its tokens when they were asked for."""

    text: str
    chances: tuple[TokenChance, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerNotice:
    """One sentence to show beside an answer: what happened to the prompt. Comes before the text."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The end of an answer: counts in tokens, times in milliseconds since the request reached the engine.

    ``remembered_tokens`` of the prompt were known from earlier questions, and not read again.
    """

    stop_reason: StopReason
    prompt_tokens: int
    tokens: int
    first_token_ms: int
    duration_ms: int
    remembered_tokens: int = 0


AnswerEvent = TextPiece | AnswerNotice | AnswerEnd


@dataclass(frozen=True, slots=True)
class ServeLimits:
    """What one client may ask of a served model; 0 means no limit."""

    concurrent: int = 32
    body_bytes: int = 4_000_000
    max_tokens: int = 16_384
    seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class ServeSpec:
    """A model server for applications: models on one base, where it listens, who may ask.

    ``api_key_env`` names the environment variable with the key; "" means none, which only loopback may have.
    ``origins`` are the web pages that may ask from a browser.
    """

    models: tuple[ModelPlace, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    api_key_env: str = ""
    origins: tuple[str, ...] = ()
    precision: str = "auto"
    drain_seconds: float = 30.0
    limits: ServeLimits = field(default_factory=ServeLimits)

    @property
    def is_local(self) -> bool:
        """True when only this machine can reach it."""
        return is_loopback(self.host)

    def as_dict(self) -> dict[str, Any]:
        """JSON for the process that serves."""
        return asdict(self)


def serve_spec_from_dict(data: Mapping[str, Any]) -> ServeSpec:
    """The inverse of ``as_dict``."""
    models = tuple(_place(each) for each in data["models"])
    limits = ServeLimits(**data["limits"])
    return ServeSpec(**{**data, "models": models, "limits": limits, "origins": tuple(data["origins"])})


def _place(data: Mapping[str, Any]) -> ModelPlace:
    return ModelPlace(data["name"], data["path"], _place(data["base"]) if data["base"] else None)


def is_loopback(host: str) -> bool:
    """True for ``localhost`` and addresses that never leave the machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
