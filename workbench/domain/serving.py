"""What a bench asks an engine, and what it hears back. The words of the engine protocol, without HTTP or weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from workbench.domain.chats import Sampling, StopReason, Turn
from workbench.domain.endpoints import Endpoint


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
    """Where the engine finds a model: a base's folder or hub id; for an adapter its folder and its base's place.

    A model with an ``endpoint`` is asked there, and the engine does not see it.
    """

    name: str
    path: str
    base: ModelPlace | None = None
    endpoint: Endpoint | None = None

    def answers_beside(self, other: ModelPlace) -> bool:
        """True when both can be asked at the same time: they share a base, or one of them is on another server."""
        if self.endpoint is not None or other.endpoint is not None:
            return True
        return (self.base or self).path == (other.base or other).path


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
