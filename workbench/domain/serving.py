"""What a bench asks an engine, and what it hears back. The words of the engine protocol, without HTTP or weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from workbench.domain.chats import Sampling, StopReason, Turn


class EngineState(StrEnum):
    """What the engine is doing. ``OFF`` was never started or ended as it should; ``DIED`` ended by itself."""

    OFF = "off"
    STARTING = "starting"
    IDLE = "idle"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    DIED = "died"


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The engine as seen from outside: ``detail`` is one plain sentence (progress, or what went wrong)."""

    state: EngineState
    detail: str = ""
    base: str = ""
    adapters: tuple[str, ...] = ()
    device: str = ""
    dtype: str = ""
    pid: int | None = None
    active: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where the engine finds a model: a base's folder or hub id; for an adapter its folder and its base's place."""

    name: str
    path: str
    base: ModelPlace | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One answer to ask for. ``sampling.seed`` must be set; ``stop`` are texts that end the answer (not included)."""

    model: ModelPlace
    turns: tuple[Turn, ...]
    sampling: Sampling
    stop: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Some more text of an answer, as it is made."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The end of an answer: counts in tokens, times in milliseconds since the request reached the engine."""

    stop_reason: StopReason
    prompt_tokens: int
    tokens: int
    first_token_ms: int
    duration_ms: int


AnswerEvent = TextPiece | AnswerEnd
